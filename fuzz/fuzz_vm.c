/* fuzz_vm.c - any bytes as bytecode: a checked run must end and must touch nothing but its regions.
 *
 * The bytes choose instructions (all legal, with registers, offsets and constants that are often near an edge), maps of
 * every family, and packets. Packets and small map arenas are blocks of exactly their size, so that AddressSanitizer sees
 * an access outside. One kind of input runs two programs (the second a target of tail calls) over a batch in a datapath;
 * the other runs one program without ctx pointers three times: checked over two different old contents of the stack, and
 * unchecked; when the checked run does not fault, all three agree (vm.h, V1 and V6).
 *
 * With libFuzzer (make) or, built with -DPF_FUZZ_FILES, as a program that runs the files given as arguments.
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run/run.h"

#define REQUIRE(cond)                                                                                                  \
	do {                                                                                                           \
		if (!(cond)) {                                                                                         \
			fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #cond);                           \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

#define I(code_, dst_, src_, off_, imm_) ((struct pf_insn){ (uint8_t)(code_), (dst_), (src_), (int16_t)(off_), (imm_) })
#define INSNS 256u
#define BUDGET 20000u
#define CPUS 2u
#define PACKETS 3u
#define CTX_LOADS 2u /* the first instructions of a program: loads of data and data_end */
#define CTX_R6 6 /* the registers that the prologue fills in */
#define DATA_R7 7
#define VALUE_R9 9

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input; behind its end everything is 0. */
struct bytes {
	const uint8_t *at, *end;
};

static uint8_t take(struct bytes *b) { return b->at < b->end ? *b->at++ : 0; }
static uint32_t below(struct bytes *b, uint32_t n) { return take(b) % n; }

/* ---- maps ---- */

enum { DIRECT, ARRAY, PERCPU_ARRAY, HASH, PERCPU_HASH, LRU, LPM, OUTER_ARRAY, OUTER_HASH, DEVMAP, DEVMAP_HASH, PROGS, RING, MAPS };

static const struct pf_map_def map_defs[MAPS] = {
	[DIRECT] = { PF_MAP_ARRAY, 4, 21, 1, 0 },
	[ARRAY] = { PF_MAP_ARRAY, 4, 12, 3, 0 },
	[PERCPU_ARRAY] = { PF_MAP_PERCPU_ARRAY, 4, 12, 2, 0 },
	[HASH] = { PF_MAP_HASH, 5, 13, 2, 0 },
	[PERCPU_HASH] = { PF_MAP_PERCPU_HASH, 8, 8, 2, 0 },
	[LRU] = { PF_MAP_LRU_HASH, 4, 16, 2, 0 },
	[LPM] = { PF_MAP_LPM_TRIE, 8, 8, 3, PF_MAP_F_NO_PREALLOC },
	[OUTER_ARRAY] = { PF_MAP_ARRAY_OF_MAPS, 4, 4, 2, 0 },
	[OUTER_HASH] = { PF_MAP_HASH_OF_MAPS, 4, 4, 2, 0 },
	[DEVMAP] = { PF_MAP_DEVMAP, 4, 4, 2, 0 },
	[DEVMAP_HASH] = { PF_MAP_DEVMAP_HASH, 4, 4, 2, 0 },
	[PROGS] = { PF_MAP_PROG_ARRAY, 4, 4, 2, 0 },
	[RING] = { PF_MAP_RINGBUF, 0, 0, 4096, 0 },
};

struct maps {
	struct pf_prog_map named[MAPS]; /* the number is the index */
	struct pf_map *inner;
};

static void maps_create(struct maps *maps)
{
	const struct pf_map_def inner = { PF_MAP_ARRAY, 4, 9, 2, 0 };
	const uint32_t key = 0;
	static const char format[21] = "%s %-30lld%c%%%p %d"; /* DIRECT's value, which programs may print from any byte */
	REQUIRE(pf_map_create(&inner, NULL, 1, "inner", 99, &maps->inner, NULL) == PF_OK);
	for (uint32_t i = 0; i < MAPS; i++) {
		maps->named[i].number = i;
		REQUIRE(pf_map_create(&map_defs[i], &inner, CPUS, "m", i, &maps->named[i].map, NULL) == PF_OK);
	}
	memcpy(maps->named[DIRECT].map->arena, format, sizeof(format));
	REQUIRE(pf_map_bind(maps->named[OUTER_ARRAY].map, &key, &maps->inner->ref, 0, NULL, NULL) == PF_OK);
	REQUIRE(pf_map_bind(maps->named[OUTER_HASH].map, &key, &maps->inner->ref, 0, NULL, NULL) == PF_OK);
	REQUIRE(pf_map_user_update(maps->named[DEVMAP].map, &key, &(uint32_t){ 7 }, 0) == PF_OK);
}

static void maps_release(struct maps *maps)
{
	for (uint32_t i = 0; i < MAPS; i++)
		pf_map_put(maps->named[i].map);
	pf_map_put(maps->inner);
}

/* ---- programs ---- */

struct code {
	struct pf_insn insns[INSNS];
	uint8_t types[INSNS];
	uint8_t second[INSNS]; /* second half of a 64-bit load */
	uint32_t count;
	int plain; /* no ctx pointer, and only maps whose contents can be put back */
	uint32_t value_offset; /* of VALUE_R9 */
};

static void add(struct code *c, struct pf_insn insn)
{
	if (c->count < INSNS)
		c->insns[c->count++] = insn;
}

static void add_wide(struct code *c, uint32_t dst, uint32_t src, uint64_t value)
{
	if (c->count + 2 > INSNS)
		return;
	add(c, I(0x18, dst, src, 0, (int32_t)value));
	c->second[c->count] = 1;
	add(c, I(0, 0, 0, 0, (int32_t)(value >> 32)));
}

/* Distances that matter: sizes of regions, wrap-around, and from ctx to the stack. */
static int64_t constant(struct bytes *b, int plain)
{
	static const int64_t edges[] = {
		0, 1, -1, 2, 3, 4, 7, 8, 12, 13, 14, 16, 21, 64, 216, 252, 256, 511, 512, -512, 520, 3520, 4096, 0xffff, 0x10000,
		INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, UINT32_MAX, 1ll << 32, 0x00636261, 0x2573, 0x7825,
	};
	const uint32_t choice = take(b);
	if (choice < 64)
		return edges[choice % (sizeof(edges) / sizeof(edges[0]))];
	if (choice < 68 && !plain)
		return (int64_t)(offsetof(struct pf_exec, stack) + PF_STACK_DEPTH * PF_STACK_FRAME) - 8 * below(b, 255) -
		       (int64_t)offsetof(struct pf_exec, packet);
	if (choice < 160)
		return (int8_t)take(b);
	return (int32_t)(take(b) | (uint32_t)take(b) << 8 | (uint32_t)take(b) << 16 | (uint32_t)take(b) << 24);
}

static uint32_t pick_map(struct bytes *b, int plain)
{
	static const uint32_t plain_maps[] = { DIRECT, ARRAY };
	return plain ? plain_maps[below(b, 2)] : below(b, MAPS);
}

/* One argument as the helper's row wants it; one in eight is left to chance. */
static void argument(struct code *c, struct bytes *b, const struct pf_helper_info *info, uint32_t i)
{
	static const uint8_t memories[] = { 10, DATA_R7, VALUE_R9, 10 };
	const uint32_t dst = i + 1, chance = take(b);
	if (chance < 32)
		return;
	switch ((enum pf_helper_arg)info->args[i]) {
	case PF_ARG_NONE:
		break;
	case PF_ARG_CTX:
		add(c, I(0xbf, dst, CTX_R6, 0, 0));
		break;
	case PF_ARG_MAP:
		add_wide(c, dst, 1, info->name[0] == 'r' && !c->plain ? RING : pick_map(b, c->plain)); /* ringbuf_ */
		break;
	case PF_ARG_PROG_ARRAY:
		add_wide(c, dst, 1, c->plain ? DIRECT : PROGS);
		break;
	case PF_ARG_PORT_MAP:
		add_wide(c, dst, 1, c->plain ? DIRECT : DEVMAP + below(b, 2));
		break;
	case PF_ARG_MAP_KEY:
	case PF_ARG_MAP_VALUE:
	case PF_ARG_MAP_VALUE_OUT:
	case PF_ARG_MEM_READ:
	case PF_ARG_MEM_READ_OR_NULL:
	case PF_ARG_SLICE_BUFFER:
	case PF_ARG_MEM_UPDATE:
	case PF_ARG_MEM_UPDATE_OR_NULL:
	case PF_ARG_MEM_UPDATE_4:
	case PF_ARG_MEM_READ_20:
	case PF_ARG_MEM_READ_40:
	case PF_ARG_MEM_WRITE:
	case PF_ARG_OUT_16:
	case PF_ARG_OUT_32:
	case PF_ARG_OUT_64: {
		const uint32_t from = memories[chance % 4];
		add(c, I(0xbf, dst, from, 0, 0));
		if (from != VALUE_R9 || chance < 64)
			add(c, I(0x07, dst, 0, 0, from == 10 ? -(int32_t)(8 * below(b, 66)) : (int32_t)below(b, 32)));
		break;
	}
	case PF_ARG_SIZE:
	case PF_ARG_SIZE_OR_ZERO:
	case PF_ARG_CONST_SIZE:
		if (chance < 128) { /* to the value's end */
			add(c, I(0xb7, dst, 0, 0, (int32_t)(map_defs[DIRECT].value_size - c->value_offset)));
			break;
		}
		/* fall through */
	case PF_ARG_ANYTHING:
		add(c, I(0xb7, dst, 0, 0, (int32_t)constant(b, c->plain)));
		break;
	case PF_ARG_FUNC:
		add_wide(c, dst, 4, take(b)); /* becomes a distance in aim */
		break;
	case PF_ARG_DYNPTR:
	case PF_ARG_DYNPTR_NEW_XDP:
	case PF_ARG_DYNPTR_NEW_LOCAL:
	case PF_ARG_DYNPTR_NEW_CLONE:
		add(c, I(0xbf, dst, 10, 0, 0)), add(c, I(0x07, dst, 0, 0, -16 - (int32_t)(8 * below(b, 3))));
		break;
	case PF_ARG_SPIN_LOCK: case PF_ARG_SOCKET: case PF_ARG_RECORD:
	case PF_ARG_CONN: case PF_ARG_CONN_INIT:
		add(c, I(0xbf, dst, chance & 1 ? 0 : VALUE_R9, 0, 0));
		break;
	case PF_ARG_CALLBACK_CTX:
		add(c, chance & 1 ? I(0xbf, dst, 10, 0, 0) : I(0xb7, dst, 0, 0, 0)), add(c, I(0x07, dst, 0, 0, chance & 1 ? -8 : 0));
		break;
	}
}

static void helper_call(struct code *c, struct bytes *b)
{
	const struct pf_helper_info *info;
	uint32_t number = take(b) | (uint32_t)(take(b) & 1) << 8; /* kernel functions have numbers above those of helpers */
	while (!(info = pf_helper_info(number)) || !info->supported)
		number = number ? number - 1 : 274;
	for (uint32_t i = 0; i < 5; i++)
		argument(c, b, info, i);
	add(c, I(0x85, 0, number < PF_KFUNC_FIRST ? 0 : 2, 0, (int32_t)number));
	if (info->ret == PF_RET_MAP_VALUE_OR_NULL && take(b) & 3)
		add(c, I(0x15, 0, 0, 1, 0));
	for (uint32_t i = 0; i < 5 && take(b) & 1; i++)
		add(c, I(0xbf, i + 1, take(b) & 1 ? VALUE_R9 : 0, 0, 0));
}

/* Any row of insn.def with any fields that it has. */
static void any_insn(struct code *c, struct bytes *b)
{
	const enum pf_op op = (enum pf_op)below(b, PF_OPS);
	const struct pf_op_info *info = pf_isa_info(op);
	const unsigned fields = pf_isa_fields(op);
	const uint32_t registers = take(b);
	struct pf_insn insn = { .code = info->opcode };
	if (fields & PF_FIELD_DST)
		insn.dst = registers % 11;
	if (fields & PF_FIELD_SRC)
		insn.src = registers / 11 % 11;
	if (fields & PF_FIELD_OFF)
		insn.off = (int16_t)constant(b, c->plain);
	if (fields & PF_FIELD_IMM)
		insn.imm = (int32_t)constant(b, c->plain);
	if (info->selector == PF_SELECT_OFF)
		insn.off = (int16_t)info->value;
	else if (info->selector == PF_SELECT_IMM)
		insn.imm = info->value;
	else if (info->selector == PF_SELECT_SRC)
		insn.src = (uint8_t)info->value & 15;
	if (op == PF_OP_CALL_HELPER || op == PF_OP_CALL_KFUNC || op == PF_OP_LDDW_BTF_ID)
		return;
	if (info->form != PF_FORM_LDDW)
		add(c, insn);
	else if (op == PF_OP_LDDW_VALUE || op == PF_OP_LDDW_VALUE_IDX)
		add_wide(c, insn.dst % 10, insn.src, DIRECT | (uint64_t)below(b, 21) << 32);
	else if (op == PF_OP_LDDW_MAP || op == PF_OP_LDDW_MAP_IDX)
		add_wide(c, insn.dst % 10, insn.src, pick_map(b, c->plain));
	else
		add_wide(c, insn.dst % 10, insn.src, op == PF_OP_LDDW ? (uint64_t)constant(b, c->plain) : take(b));
}

/* A move of 1 to 8 bytes at a pointer that is often good. */
static void move(struct code *c, struct bytes *b)
{
	static const uint8_t pointers[] = { 10, 10, DATA_R7, VALUE_R9, 0, 1, 2, 8 }, sizes[] = { 0x00, 0x08, 0x10, 0x18 };
	const uint32_t choice = take(b), pointer = pointers[choice & 7], size = sizes[choice >> 3 & 3];
	int16_t off = (int16_t)below(b, 24);
	if (pointer == 10)
		off = (int16_t)(-8 * (int)below(b, 67));
	if (choice & 0x80)
		add(c, I(0x61 | size, choice >> 5 & 3, pointer, off, 0));
	else
		add(c, I(0x63 | size, pointer, choice >> 5 & 3, off, 0));
}

/* Jumps, calls and callbacks get targets inside the program. In a plain one none is a load of ctx fields (the first two):
 * an instruction has one type in a verified program, and there r1 may hold another pointer by then. */
static void aim(struct code *c, uint32_t first)
{
	for (uint32_t at = first; at < c->count; at++) {
		struct pf_insn *insn = &c->insns[at];
		if (c->second[at])
			continue;
		const enum pf_op op = pf_isa_op(*insn);
		const enum pf_form form = op == PF_OPS ? PF_FORMS : pf_isa_info(op)->form;
		const int far = form == PF_FORM_JA32 || op == PF_OP_CALL_LOCAL || op == PF_OP_LDDW_FUNC;
		if (!far && form != PF_FORM_JA && form != PF_FORM_JMP_IMM && form != PF_FORM_JMP_REG)
			continue;
		uint32_t target = ((uint32_t)(far ? insn->imm : insn->off) + at + 1) % c->count;
		target -= c->second[target];
		if (c->plain && target < CTX_LOADS)
			target = CTX_LOADS;
		if (far)
			insn->imm = (int32_t)(target - at - 1);
		else
			insn->off = (int16_t)(target - at - 1);
	}
}

static void generate(struct code *c, struct bytes *b, int plain)
{
	memset(c, 0, sizeof(*c));
	c->plain = plain;
	c->types[0] = c->types[1] = PF_INSN_CTX_LOAD;
	add(c, I(0x61, DATA_R7, 1, 0, 0));
	add(c, I(0x61, 8, 1, 4, 0));
	add(c, plain ? I(0xb7, CTX_R6, 0, 0, 0) : I(0xbf, CTX_R6, 1, 0, 0));
	if (plain)
		add(c, I(0xb7, 1, 0, 0, 8));
	c->value_offset = below(b, 21);
	add_wide(c, VALUE_R9, 2, DIRECT | (uint64_t)c->value_offset << 32);
	add(c, I(0xb7, 0, 0, 0, 0));
	add(c, I(0xbf, 2, 10, 0, 0));
	add(c, I(0xbf, 3, DATA_R7, 0, 0));
	add_wide(c, 4, 0, (uint64_t)constant(b, plain));
	add(c, I(0xb7, 5, 0, 0, 2));
	const uint32_t first = c->count, length = 4 + below(b, 60);
	for (uint32_t i = 0; i < length && c->count + 24 < INSNS; i++) {
		const uint32_t kind = take(b);
		if (kind < 72)
			helper_call(c, b);
		else if (kind < 144)
			move(c, b);
		else
			any_insn(c, b);
	}
	add(c, I(0x95, 0, 0, 0, 0));
	aim(c, first);
}

/* NULL when it is refused. */
static struct pf_prog *prog_of(const struct code *c, const struct maps *maps)
{
	const struct pf_prog_def def = { .type = PF_PROG_XDP, .name = "p", .insns = c->insns, .count = c->count,
					 .maps = maps->named, .map_count = MAPS };
	struct pf_prog *prog = NULL;
	return pf_prog_create(&def, &prog, NULL) ? NULL : prog;
}

/* ---- packets ---- */

static struct pf_desc packet_of(struct bytes *b)
{
	static const uint16_t lengths[] = { 14, 13, 60, 64, 1514, 3520, 3521, 9000 };
	const uint32_t choice = take(b), len = choice < 64 ? lengths[choice % 8] : choice - 64;
	struct pf_desc desc = { .data = malloc(len), .caplen = len, .wire_len = len, .ts_ns = 1000000 + choice };
	REQUIRE(desc.data || !len);
	for (uint32_t i = 0; i < len; i++)
		desc.data[i] = (uint8_t)(i * 7 + choice);
	return desc;
}

/* ---- two programs over a batch ---- */

static void keep(struct pf_sink *sink, const struct pf_source *source, const struct pf_desc *desc,
		 const struct pf_packet *p, const struct pf_verdict *verdict)
{
	(void)sink, (void)source, (void)desc;
	uint32_t sum = 0;
	REQUIRE(p->data_meta <= p->data && p->data <= p->data_end && p->data_end <= p->hard_end);
	for (const uint8_t *at = p->data_meta; at < p->data_end; at++)
		sum += *at;
	for (uint32_t i = 0; i < p->extra_len; i++)
		sum += p->extra[i];
	REQUIRE(verdict->action < PF_ACTIONS && (sum || !sum));
}

static void run_batch(struct bytes *b, struct maps *maps, struct code *code)
{
	struct pf_prog *progs[2] = { NULL, NULL };
	for (uint32_t i = 0; i < 2; i++) {
		generate(code, b, 0);
		progs[i] = prog_of(code, maps);
	}
	struct pf_desc desc[PACKETS];
	struct pf_batch batch = { .desc = desc, .n = PACKETS, .capacity = PACKETS };
	struct pf_sink sink = { .emit = keep };
	struct pf_worker_options options = { .cpu = below(b, CPUS), .budget = BUDGET, .trace = 1 };
	struct pf_datapath *dp;
	struct pf_worker *worker;
	struct pf_link *link;
	uint32_t hook;
	REQUIRE(pf_datapath_create(&dp, NULL) == PF_OK && pf_datapath_add_hook(dp, &hook, NULL) == PF_OK);
	for (uint32_t i = 0; i < 2; i++)
		if (progs[i])
			REQUIRE(pf_map_bind(maps->named[PROGS].map, &i, &progs[i]->ref, 0, NULL, NULL) == PF_OK);
	for (uint32_t i = 0; i < 2; i++) {
		if (!progs[i])
			continue;
		REQUIRE(pf_link_attach(dp, hook, progs[i], 0, below(b, 32), &link, NULL, NULL) == PF_OK);
		pf_link_put(link);
	}
	REQUIRE(pf_worker_create(dp, hook, &options, &worker, NULL) == PF_OK);
	for (uint32_t i = 0; i < PACKETS; i++)
		desc[i] = packet_of(b);
	pf_worker_run(worker, &batch, NULL, NULL, NULL);
	pf_worker_run(worker, &batch, NULL, NULL, &sink);
	for (uint32_t i = 0; i < PACKETS; i++)
		free(desc[i].data);
	pf_worker_destroy(worker);
	for (uint32_t i = 0; i < 2; i++) { /* empties the array first: it and the programs hold each other */
		(void)pf_map_bind(maps->named[PROGS].map, &i, NULL, 0, NULL, NULL);
		if (progs[i])
			pf_prog_put(progs[i]);
	}
	pf_datapath_put(dp);
}

/* ---- one program, three runs ---- */

struct result {
	enum pf_err err;
	uint64_t r0;
	uint32_t len;
	uint8_t packet[16384];
	uint8_t values[2][64];
};

static void run_once(struct pf_exec *x, const struct pf_prog *prog, enum pf_engine engine, const struct pf_desc *desc,
		     struct maps *maps, uint8_t old, struct result *out)
{
	uint8_t *data = desc->data;
	memset(out, 0, sizeof(*out));
	for (uint32_t i = 0; i < 2; i++)
		memset(maps->named[i].map->arena, 0x5a, maps->named[i].map->elements * maps->named[i].map->stride);
	for (uint32_t i = 0; i < desc->caplen; i++)
		data[i] = (uint8_t)(i * 7);
	memset(x->stack, old, sizeof(x->stack));
	pf_exec_begin(x, 1, 1000);
	pf_packet_init(&x->packet, data, desc->caplen, PF_PACKET_LINEAR);
	out->err = pf_vm_run(x, prog, engine, (uint64_t)(uintptr_t)&x->packet, 0, &out->r0);
	out->len = (uint32_t)(x->packet.data_end - x->packet.data_meta);
	REQUIRE(out->len <= sizeof(out->packet));
	memcpy(out->packet, x->packet.data_meta, out->len);
	for (uint32_t i = 0; i < 2; i++)
		memcpy(out->values[i], maps->named[i].map->arena, maps->named[i].map->elements * maps->named[i].map->stride);
}

static void run_three(struct bytes *b, struct maps *maps, struct code *code)
{
	static struct result results[3];
	struct pf_exec *x;
	generate(code, b, 1);
	struct pf_prog *prog = prog_of(code, maps);
	if (!prog)
		return;
	REQUIRE(pf_vm_stage(prog, PF_ENGINE_CHECKED, NULL, NULL) == PF_OK);
	REQUIRE(pf_vm_stage(prog, PF_ENGINE_INTERP, code->types, NULL) == PF_OK);
	REQUIRE(pf_exec_create(&x) == PF_OK);
	x->budget = BUDGET;
	struct pf_desc desc = packet_of(b);
	run_once(x, prog, PF_ENGINE_CHECKED, &desc, maps, 0xaa, &results[0]);
	run_once(x, prog, PF_ENGINE_CHECKED, &desc, maps, 0x55, &results[1]);
	REQUIRE(!memcmp(&results[0], &results[1], sizeof(results[0])));
	if (!results[0].err) {
		run_once(x, prog, PF_ENGINE_INTERP, &desc, maps, 0xaa, &results[2]);
		REQUIRE(!memcmp(&results[0], &results[2], sizeof(results[0])));
	}
	free(desc.data);
	pf_exec_destroy(x);
	pf_prog_put(prog);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct code code;
	struct bytes b = { data, data + size };
	struct maps maps;
	maps_create(&maps);
	if (take(&b) & 1)
		run_three(&b, &maps, &code);
	else
		run_batch(&b, &maps, &code);
	maps_release(&maps);
	return 0;
}

#ifdef PF_FUZZ_FILES
int main(int argc, char **argv)
{
	static uint8_t data[1u << 20];
	for (int i = 1; i < argc; i++) {
		FILE *file = fopen(argv[i], "rb");
		if (!file) {
			fprintf(stderr, "cannot read %s\n", argv[i]);
			return 1;
		}
		const size_t size = fread(data, 1, sizeof(data), file);
		fclose(file);
		LLVMFuzzerTestOneInput(data, size);
	}
	return 0;
}
#endif
