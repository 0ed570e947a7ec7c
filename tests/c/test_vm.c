/* test_vm.c - the interpreter's memory, calls, tail calls, callbacks, faults, budget and helpers, in both builds. */
#include "vm_fixture.h"

static struct pf_map *new_map(enum pf_map_type type, uint32_t key, uint32_t value, uint32_t entries, uint32_t flags)
{
	const struct pf_map_def def = { type, key, value, entries, flags }, inner = { PF_MAP_ARRAY, 4, 8, 1, 0 };
	const int outer = type == PF_MAP_ARRAY_OF_MAPS || type == PF_MAP_HASH_OF_MAPS;
	struct pf_map *map = NULL;
	CHECK_EQ(pf_map_create(&def, outer ? &inner : NULL, 1, "m", 1, &map, NULL), PF_OK);
	return map;
}

/* A world with one binding. */
static struct pf_bindings_slot slots[8];
static const struct pf_bindings world = { 7, slots };

static void set_world(struct pf_map *map)
{
	const uint64_t h = ((uint64_t)(uintptr_t)map >> 6) * 0x9e3779b97f4a7c15u >> 32;
	memset(slots, 0, sizeof(slots));
	slots[h & 7].map = map;
	slots[h & 7].binding = pf_map_binding(map);
	x->bindings = &world;
}

static void clear_world(void)
{
	for (unsigned i = 0; i < COUNT(slots); i++)
		if (slots[i].binding)
			pf_ref_put(&slots[i].binding->ref);
	memset(slots, 0, sizeof(slots));
	x->bindings = NULL;
}

static void bind(struct pf_map *map, uint32_t key, struct pf_ref *object)
{
	uint32_t published;
	CHECK_EQ(pf_map_bind(map, &key, object, 0, &published, NULL), PF_OK);
}

/* Every load and store size at every offset of 16 bytes; one byte outside faults, below and above. */
static void test_memory(void)
{
	static const struct { uint8_t load, store, bytes, sign; } sizes[] = {
		{ 0x71, 0x73, 1, 0 }, { 0x69, 0x6b, 2, 0 }, { 0x61, 0x63, 4, 0 }, { 0x79, 0x7b, 8, 0 },
		{ 0x91, 0, 1, 1 },    { 0x89, 0, 2, 1 },    { 0x81, 0, 4, 1 },
	};
	for (unsigned s = 0; s < COUNT(sizes); s++) {
		for (int off = -9; off <= 17; off++) {
			uint8_t memory[16];
			for (int i = 0; i < 16; i++)
				memory[i] = (uint8_t)(0x71 + 13 * i);
			x->memory = memory;
			x->memory_len = sizeof(memory);
			const int bytes = sizes[s].bytes, inside = off >= 0 && off + bytes <= 16;
			const struct pf_insn insns[] = { I(sizes[s].load, 0, 1, (int16_t)off, 0), EXIT };
			const struct pf_insn stores[] = { LDDW(2, 0, 0x55667788, 0x11223344), I(sizes[s].store, 1, 2, (int16_t)off, 0),
							  MOVI(0, 0), EXIT };
			struct pf_prog *prog = load(PF_PROG_MEMORY, insns, 2, NULL, 0, NULL);
			char place[64];
			snprintf(place, sizeof(place), "memory%+d (length 16)", off);
			if (!inside) {
				expect_fault(prog, PF_DIAG_VM_LOAD, 0, place);
				CHECK_EQ(x->fault.diag.expected, bytes);
			} else {
				uint64_t want = 0;
				for (int i = bytes; i-- > 0;)
					want = want << 8 | memory[off + i];
				if (sizes[s].sign && want >> (8 * bytes - 1))
					want |= ~(uint64_t)0 << (8 * bytes);
				CHECK_EQ(run_both(prog, memory, 16), want);
			}
			pf_prog_put(prog);
			if (!sizes[s].store)
				continue;
			prog = load(PF_PROG_MEMORY, stores, 5, NULL, 0, NULL);
			x->memory = memory;
			x->memory_len = 16;
			if (!inside) {
				expect_fault(prog, PF_DIAG_VM_STORE, 2, place);
			} else {
				run_both(prog, memory, 16);
				CHECK_EQ(pf_vm_execute(x, prog, PF_ENGINE_INTERP, memory, 16, &(uint64_t){ 0 }), PF_OK);
				for (int i = 0; i < bytes; i++)
					CHECK_EQ(memory[off + i], (uint8_t)(0x1122334455667788u >> (8 * i)));
			}
			pf_prog_put(prog);
		}
	}
}

static void test_store_imm(void)
{
	uint8_t memory[32] = { 0 };
	const struct pf_insn insns[] = { I(0x72, 1, 0, 0, -2), I(0x6a, 1, 0, 2, -3), I(0x62, 1, 0, 4, -4),
					 I(0x7a, 1, 0, 9, -5), MOVI(0, 0),	     EXIT };
	struct pf_prog *prog = load(PF_PROG_MEMORY, insns, COUNT(insns), NULL, 0, NULL);
	static const uint8_t want[17] = { 0xfe, 0, 0xfd, 0xff, 0xfc, 0xff, 0xff, 0xff, 0, 0xfb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	for (int engine = 0; engine < 2; engine++) {
		uint64_t r0;
		memset(memory, 0, sizeof(memory));
		CHECK_EQ(pf_vm_execute(x, prog, (enum pf_engine)engine, memory, sizeof(memory), &r0), PF_OK);
		CHECK_EQ(memcmp(memory, want, sizeof(want)), 0);
	}
	pf_prog_put(prog);
}

/* Each atomic: memory after, and the register that gets the old value. */
static void test_atomics(void)
{
	static const uint64_t values[] = { 0, 1, 0xff, 0x80000000, 0xffffffff, 0x1234567890abcdef, ~(uint64_t)0 };
	static const int32_t ops[] = { 0, 0x40, 0x50, 0xa0, 1, 0x41, 0x51, 0xa1, 0xe1, 0xf1 };
	for (int wide = 0; wide < 2; wide++)
		for (unsigned o = 0; o < COUNT(ops); o++)
			for (unsigned i = 0; i < COUNT(values) * COUNT(values) * 2; i++) {
				const uint64_t mask = wide ? ~(uint64_t)0 : 0xffffffff;
				const uint64_t old = values[i % COUNT(values)], b = values[i / COUNT(values) % COUNT(values)];
				const uint64_t r0 = i < COUNT(values) * COUNT(values) ? old : b;
				uint64_t memory[4] = { old, b, r0, 0 };
				const struct pf_insn insns[] = {
					LDX(SIZE_DW, 3, 1, 8), LDX(SIZE_DW, 0, 1, 16),
					I(wide ? 0xdb : 0xc3, 1, 3, 0, ops[o]), STX(SIZE_DW, 1, 3, 24), EXIT };
				struct pf_prog *prog = load(PF_PROG_MEMORY, insns, COUNT(insns), NULL, 0, NULL);
				uint64_t want = b & mask, reg = ops[o] & 1 ? old & mask : b, ret = r0;
				const uint64_t a = old & mask;
				if ((ops[o] & 0xf0) == 0)
					want = (a + want) & mask;
				else if ((ops[o] & 0xf0) == 0x40)
					want |= a;
				else if ((ops[o] & 0xf0) == 0x50)
					want &= a;
				else if ((ops[o] & 0xf0) == 0xa0)
					want ^= a;
				else if (ops[o] == 0xf1) {
					want = a == (r0 & mask) ? want : a;
					reg = b;
					ret = a;
				}
				want |= old & ~mask;
				CHECK_EQ(run_both(prog, (uint8_t *)memory, 32), ret);
				CHECK_EQ(pf_vm_execute(x, prog, PF_ENGINE_CHECKED, (uint8_t *)memory, 32, &ret), PF_OK);
				memory[0] = old;
				CHECK_EQ(pf_vm_execute(x, prog, PF_ENGINE_INTERP, (uint8_t *)memory, 32, &ret), PF_OK);
				CHECK_EQ(memory[0], want);
				CHECK_EQ(memory[3], reg);
				pf_prog_put(prog);
			}
	/* V7, and the four sizes of load-acquire and store-release. */
	const struct pf_insn odd[] = { MOVI(2, 1), I(0xdb, 1, 2, 4, 0), MOVI(0, 0), EXIT };
	struct pf_prog *prog = load(PF_PROG_MEMORY, odd, COUNT(odd), NULL, 0, NULL);
	uint64_t memory[2] = { 0xffffffff00000000, 0 }, r0;
	x->memory = (uint8_t *)memory;
	x->memory_len = 16;
	expect_fault(prog, PF_DIAG_VM_ALIGN, 1, "memory+4 (length 16)");
	CHECK_EQ(pf_vm_execute(x, prog, PF_ENGINE_INTERP, (uint8_t *)memory, 16, &r0), PF_OK);
	CHECK_EQ(memory[0], 0);
	CHECK_EQ(memory[1], 1);
	pf_prog_put(prog);
	static const uint8_t codes[] = { 0xd3, 0xcb, 0xc3, 0xdb };
	for (unsigned i = 0; i < 4; i++) {
		const struct pf_insn insns[] = { LDX(SIZE_DW, 2, 1, 0), I(codes[i], 1, 2, 8, 0x110), I(codes[i], 0, 1, 8, 0x100), EXIT };
		uint64_t bytes[2] = { 0x1122334455667788, ~(uint64_t)0 };
		const uint64_t keep = i == 3 ? ~(uint64_t)0 : ((uint64_t)1 << (8 << i)) - 1;
		CHECK_EQ(run_insns(insns, COUNT(insns), (uint8_t *)bytes, 16), bytes[0] & keep);
	}
}

static void test_stack(void)
{
	/* A frame's own 512 bytes and not one more. */
	static const struct { int16_t off; int ok; } cases[] = { { -512, 1 }, { -513, 0 }, { -1, 1 }, { 0, 0 }, { -1000, 0 } };
	for (unsigned i = 0; i < COUNT(cases); i++) {
		const struct pf_insn insns[] = { I(0x72, 10, 0, cases[i].off, 7), LDX(SIZE_B, 0, 10, cases[i].off), EXIT };
		struct pf_prog *prog = load(PF_PROG_MEMORY, insns, 3, NULL, 0, NULL);
		char place[64];
		snprintf(place, sizeof(place), "stack%+d", cases[i].off);
		x->memory_len = 0;
		if (cases[i].ok)
			CHECK_EQ(run_both(prog, (uint8_t *)"", 0), 7);
		else
			expect_fault(prog, PF_DIAG_VM_STORE, 0, place);
		pf_prog_put(prog);
	}
	/* V6: what one run leaves, the next does not see; also through a copy of r10 and in callee frames. */
	const struct pf_insn dirty[] = { MOV(2, 10), ADDI(2, -256), LDX(SIZE_DW, 6, 2, 0), I(0x7a, 2, 0, 0, 77),
					 CALLP(2),   I(0x0f, 0, 6, 0, 0), EXIT,
					 LDX(SIZE_DW, 0, 10, -8), I(0x7a, 10, 0, -8, 99), EXIT };
	for (int i = 0; i < 3; i++)
		CHECK_EQ(run_insns(dirty, COUNT(dirty), (uint8_t *)"", 0), 0);
}

static void test_calls(void)
{
	/* r6..r9 and the frame pointer survive; the callee sees r1..r5 and has a frame of its own. */
	const struct pf_insn insns[] = {
		MOVI(6, 6), MOVI(7, 7), MOVI(8, 8), MOVI(9, 9), I(0x7a, 10, 0, -8, 1000), MOVI(1, 5),
		CALLP(7), /* -> 14 */
		I(0x0f, 0, 6, 0, 0), I(0x0f, 0, 7, 0, 0), I(0x0f, 0, 8, 0, 0), I(0x0f, 0, 9, 0, 0),
		LDX(SIZE_DW, 2, 10, -8), I(0x0f, 0, 2, 0, 0), EXIT,
		MOVI(6, 0), MOVI(7, 0), MOVI(8, 0), MOVI(9, 0), I(0x7a, 10, 0, -8, 1), MOV(0, 1), EXIT,
	};
	CHECK_EQ(run_insns(insns, COUNT(insns), (uint8_t *)"", 0), 5 + 30 + 1000);
	/* Recursion: r1 counts down; 8 frames are there, the 9th is not. */
	for (int frames = 1; frames <= 10; frames++) {
		const struct pf_insn deep[] = { MOVI(1, frames - 1), MOVI(0, 0), I(0x15, 1, 0, 3, 0), CALLP(3), ADDI(0, 1), EXIT,
						EXIT, I(0x17, 1, 0, 0, 1), I(0x15, 1, 0, 2, 0), CALLP(-3), ADDI(0, 1), EXIT };
		struct pf_prog *prog = load(PF_PROG_MEMORY, deep, COUNT(deep), NULL, 0, NULL);
		x->memory_len = 0;
		if (frames <= 8)
			CHECK_EQ(run_both(prog, (uint8_t *)"", 0), frames - 1);
		else
			expect_fault(prog, PF_DIAG_VM_DEPTH, 9, NULL);
		pf_prog_put(prog);
	}
}

static void test_budget(void)
{
	const struct pf_insn forever[] = { MOVI(0, 0), ADDI(0, 1), I(0x05, 0, 0, -2, 0), EXIT };
	const struct pf_insn loop[] = { MOVI(0, 0), ADDI(0, 1), I(0xa5, 0, 0, -2, 1000), EXIT };
	struct pf_prog *prog = load(PF_PROG_MEMORY, forever, 4, NULL, 0, NULL);
	x->budget = 3000;
	x->memory_len = 0;
	expect_fault(prog, PF_DIAG_VM_BUDGET, 2, NULL);
	CHECK_EQ(x->fault.diag.found, 3000);
	pf_prog_put(prog);
	prog = load(PF_PROG_MEMORY, loop, 4, NULL, 0, NULL);
	CHECK_EQ(run_both(prog, (uint8_t *)"", 0), 1000);
	CHECK_EQ(pf_vm_execute(x, prog, PF_ENGINE_CHECKED, (uint8_t *)"", 0, &(uint64_t){ 0 }), PF_OK);
	CHECK(x->executed >= 2002 && x->executed <= 3010);
	x->budget = 1500;
	expect_fault(prog, PF_DIAG_VM_BUDGET, 2, NULL);
	pf_prog_put(prog);
	/* A callback that loops in bpf_loop is charged too. */
	const struct pf_insn called[] = { MOVI(1, 8000000), LDDW(2, 4, 5, 0), MOVI(3, 0), MOVI(4, 0), CALL(181), EXIT, MOVI(0, 0), EXIT };
	prog = load(PF_PROG_MEMORY, called, COUNT(called), NULL, 0, NULL);
	x->budget = 100000;
	uint64_t r0;
	CHECK_EQ(pf_vm_execute(x, prog, PF_ENGINE_CHECKED, (uint8_t *)"", 0, &r0), PF_EFAULT);
	CHECK_EQ(x->fault.diag.code, PF_DIAG_VM_BUDGET);
	pf_prog_put(prog);
	x->budget = PF_EXEC_BUDGET;
}

static struct pf_prog *load_map(enum pf_prog_type type, const struct pf_insn *insns, uint32_t count, struct pf_map *map)
{
	const struct pf_prog_map maps[] = { { 1, map } };
	return load(type, insns, count, maps, 1, NULL);
}

static void set_packet(uint32_t len)
{
	static uint8_t bytes[9000];
	for (uint32_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)i;
	CHECK_EQ(pf_packet_load(&x->packet, bytes, len, NULL, 0, PF_PACKET_LINEAR), PF_OK);
	pf_exec_begin(x, 0, 1);
}

/* Type xdp: the result in both builds; types says which instructions load ctx. */
static uint64_t run_xdp(const struct pf_prog *prog, uint32_t len)
{
	uint64_t checked = 0, unchecked = 1;
	set_packet(len);
	const enum pf_err err = pf_vm_run(x, prog, PF_ENGINE_CHECKED, (uint64_t)(uintptr_t)&x->packet, 0, &checked);
	if (err)
		fprintf(stderr, "fault %s at %u: %s\n", pf_diag_text(x->fault.diag.code), x->fault.diag.insn, x->fault.diag.name);
	CHECK_EQ(err, PF_OK);
	set_packet(len);
	CHECK_EQ(pf_vm_run(x, prog, PF_ENGINE_INTERP, (uint64_t)(uintptr_t)&x->packet, 0, &unchecked), PF_OK);
	CHECK_EQ(unchecked, checked);
	return checked;
}

static void test_ctx(void)
{
	x->packet.ingress_ifindex = 11;
	x->packet.rx_queue_index = 22;
	x->packet.egress_ifindex = 33;
	const struct pf_insn insns[] = {
		LDX(SIZE_W, 2, 1, 0), LDX(SIZE_W, 3, 1, 4), LDX(SIZE_W, 4, 1, 8), LDX(SIZE_W, 5, 1, 12), LDX(SIZE_W, 6, 1, 16),
		LDX(SIZE_W, 7, 1, 20), MOV(0, 3), I(0x1f, 0, 2, 0, 0), I(0x1f, 4, 2, 0, 0), I(0x67, 0, 0, 0, 32), I(0x4f, 0, 4, 0, 0),
		I(0x67, 5, 0, 0, 8), I(0x4f, 0, 5, 0, 0), I(0x67, 6, 0, 0, 16), I(0x4f, 0, 6, 0, 0), I(0x67, 7, 0, 0, 24),
		I(0x4f, 0, 7, 0, 0), EXIT };
	uint8_t types[COUNT(insns)] = { 1, 1, 1, 1, 1, 1 };
	struct pf_prog *prog = load(PF_PROG_XDP, insns, COUNT(insns), NULL, 0, types);
	CHECK_EQ(run_xdp(prog, 64), (uint64_t)64 << 32 | 33u << 24 | 22 << 16 | 11 << 8);
	pf_prog_put(prog);
	/* Anything but a whole field at its offset. */
	static const struct { uint8_t code; int16_t off; int store; } bad[] = {
		{ 0x61, 1, 0 }, { 0x61, 24, 0 }, { 0x61, -1, 0 }, { 0x69, 0, 0 }, { 0x71, 4, 0 }, { 0x79, 0, 0 }, { 0x63, 0, 1 }, { 0x63, 16, 1 } };
	for (unsigned i = 0; i < COUNT(bad); i++) {
		const struct pf_insn one[] = { MOVI(2, 0), I(bad[i].code, bad[i].store ? 1 : 0, bad[i].store ? 2 : 1, bad[i].off, 0), EXIT };
		prog = load(PF_PROG_XDP, one, 3, NULL, 0, NULL);
		set_packet(64);
		expect_fault(prog, PF_DIAG_VM_CTX, 1, "ctx");
		CHECK_EQ((int64_t)x->fault.diag.found, bad[i].off);
		pf_prog_put(prog);
	}
	/* A type on what is no ctx load is refused. */
	const struct pf_insn plain[] = { LDX(SIZE_W, 0, 1, 2), EXIT };
	const uint8_t wrong[] = { PF_INSN_CTX_LOAD, 0 };
	struct pf_prog_def def = { .type = PF_PROG_XDP, .name = "t", .insns = plain, .count = 2 };
	CHECK_EQ(pf_prog_create(&def, &prog, NULL), PF_OK);
	CHECK_EQ(pf_vm_stage(prog, PF_ENGINE_INTERP, wrong, NULL), PF_EINVAL);
	pf_prog_put(prog);
}

static void test_packet_bounds(void)
{
	for (int off = 58; off <= 66; off++) {
		const struct pf_insn insns[] = { LDX(SIZE_W, 2, 1, 0), LDX(SIZE_W, 0, 2, (int16_t)off), EXIT };
		const struct pf_insn below[] = { LDX(SIZE_W, 2, 1, 0), I(0x72, 2, 0, -1, 0), EXIT };
		const uint8_t types[] = { 1, 0, 0 };
		struct pf_prog *prog = load(PF_PROG_XDP, insns, 3, NULL, 0, types);
		char place[64];
		snprintf(place, sizeof(place), "packet+%d (length 64)", off);
		set_packet(64);
		if (off <= 60)
			CHECK_EQ(run_xdp(prog, 64), 0x3f3e3d3cu - 0x01010101u * (unsigned)(60 - off));
		else
			expect_fault(prog, PF_DIAG_VM_LOAD, 1, place);
		pf_prog_put(prog);
		prog = load(PF_PROG_XDP, below, 3, NULL, 0, NULL);
		set_packet(64);
		expect_fault(prog, PF_DIAG_VM_STORE, 1, "packet-1 (length 64)");
		pf_prog_put(prog);
	}
	/* Windows follow the packet: after the tail moved in, what was inside is outside. */
	const struct pf_insn shrink[] = { MOV(6, 1), LDX(SIZE_W, 7, 1, 0), LDX(SIZE_B, 0, 7, 40), MOVI(2, -30), CALL(65), LDX(SIZE_B, 0, 7, 40), EXIT };
	struct pf_prog *prog = load(PF_PROG_XDP, shrink, COUNT(shrink), NULL, 0, NULL);
	set_packet(64);
	expect_fault(prog, PF_DIAG_VM_LOAD, 5, "packet+40 (length 34)");
	pf_prog_put(prog);
	const struct pf_insn null[] = { MOVI(2, 0), LDX(SIZE_W, 0, 2, 8), EXIT };
	prog = load(PF_PROG_XDP, null, 3, NULL, 0, NULL);
	set_packet(64);
	expect_fault(prog, PF_DIAG_VM_LOAD, 1, "null+8");
	pf_prog_put(prog);
}

/* Lookup of key 0 (on the stack) into r0. */
#define LOOKUP LDDW(1, 1, 1, 0), I(0x62, 10, 0, -4, 0), MOV(2, 10), ADDI(2, -4), CALL(1)
#define LOOKUP_LEN 6

static void test_values(void)
{
	struct pf_map *map = new_map(PF_MAP_ARRAY, 4, 12, 4, 0), *one = new_map(PF_MAP_ARRAY, 4, 12, 1, 0);
	struct pf_map *fixed = new_map(PF_MAP_ARRAY, 4, 12, 1, PF_MAP_F_RDONLY_PROG);
	x->memory_len = 0;
	const uint8_t value[12] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 };
	CHECK_EQ(pf_map_user_update(map, &(uint32_t){ 0 }, value, 0), PF_OK);
	CHECK_EQ(pf_map_user_update(one, &(uint32_t){ 0 }, value, 0), PF_OK);
	CHECK_EQ(pf_map_user_update(fixed, &(uint32_t){ 0 }, value, 0), PF_OK);
	static const struct { int16_t off; const char *place; } cases[] = {
		{ 0, NULL }, { 8, NULL }, { 9, "map m value+9" }, { -1, "map m value-1" }, { 12, "map m value+12" } };
	for (unsigned i = 0; i < COUNT(cases); i++) {
		const struct pf_insn insns[] = { LOOKUP, I(0x62, 0, 0, cases[i].off, 5), LDX(SIZE_W, 0, 0, cases[i].off), EXIT };
		struct pf_prog *prog = load_map(PF_PROG_MEMORY, insns, COUNT(insns), map);
		x->memory_len = 0;
		if (!cases[i].place)
			CHECK_EQ(run_both(prog, (uint8_t *)"", 0), 5);
		else
			expect_fault(prog, PF_DIAG_VM_STORE, LOOKUP_LEN, cases[i].off < 0 ? NULL : cases[i].place);
		pf_prog_put(prog);
	}
	const struct pf_insn direct[] = { LDDW(1, 2, 1, 4), LDX(SIZE_W, 0, 1, 0), I(0x62, 1, 0, 0, 0), EXIT };
	struct pf_prog *prog = load_map(PF_PROG_MEMORY, direct, COUNT(direct), fixed);
	expect_fault(prog, PF_DIAG_VM_STORE, 3, "map m value+4");
	uint64_t r0;
	pf_prog_put(prog);
	prog = load_map(PF_PROG_MEMORY, direct, COUNT(direct), one);
	CHECK_EQ(pf_vm_execute(x, prog, PF_ENGINE_CHECKED, NULL, 0, &r0), PF_OK);
	CHECK_EQ(r0, 0x08070605);
	pf_prog_put(prog);
	/* Another map's value is not reachable; nor is the map itself. */
	const struct pf_insn peek[] = { LDDW(1, 1, 1, 0), LDX(SIZE_DW, 0, 1, 0), EXIT };
	prog = load_map(PF_PROG_MEMORY, peek, COUNT(peek), map);
	expect_fault(prog, PF_DIAG_VM_LOAD, 2, NULL);
	pf_prog_put(prog);
	pf_map_put(map);
	pf_map_put(one);
	pf_map_put(fixed);
}

static void test_helper_arguments(void)
{
	struct pf_map *map = new_map(PF_MAP_ARRAY, 4, 8, 1, 0);
	struct pf_insn insns[][9] = {
		{ MOVI(1, 8), MOV(2, 10), ADDI(2, -4), CALL(1), EXIT },                       /* no map */
		{ LDDW(1, 1, 1, 0), MOV(2, 10), ADDI(2, -2), CALL(1), EXIT },                 /* key beyond the stack */
		{ LDDW(1, 1, 1, 0), MOVI(2, 0), CALL(1), EXIT },                              /* key null */
		{ LDDW(1, 1, 1, 0), MOV(2, 10), ADDI(2, -4), MOVI(3, 64), MOVI(4, 0), CALL(2), EXIT },    /* value */
		{ MOVI(1, 5), MOVI(2, 5), MOVI(3, 0), MOVI(4, 0), CALL(181), EXIT },          /* no callback */
		{ MOV(1, 10), ADDI(1, -8), MOVI(2, 9), MOVI(3, 0), MOVI(4, 0), MOVI(5, 0), CALL(6), EXIT },                       /* 9 of 8 bytes */
		{ MOV(1, 10), ADDI(1, -8), MOVI(2, 0), MOVI(3, 0), MOVI(4, 0), MOVI(5, 0), CALL(6), EXIT },                       /* size 0 */
		{ MOVI(1, 0), MOVI(2, 4), MOVI(3, 0), MOVI(4, 0), MOVI(5, 0), CALL(28), EXIT },           /* null with a size */
		{ LDDW(1, 1, 1, 0), MOVI(2, 0), MOVI(3, 0), CALL(51), EXIT },                 /* no port map */
	};
	static const uint64_t argument[] = { 1, 2, 2, 3, 2, 1, 2, 1, 1 };
	for (unsigned i = 0; i < COUNT(insns); i++) {
		uint32_t count = 1, call = 0;
		for (; insns[i][count - 1].code != 0x95; count++)
			if (insns[i][count - 1].code == 0x85)
				call = count - 1;
		struct pf_prog *prog = load_map(PF_PROG_MEMORY, insns[i], count, map);
		x->memory_len = 0;
		expect_fault(prog, PF_DIAG_VM_HELPER_ARG, call, NULL);
		CHECK_EQ(x->fault.diag.found, argument[i]);
		pf_prog_put(prog);
	}
	const struct pf_insn ctx[] = { ADDI(1, 4), MOVI(2, 0), CALL(44), EXIT };
	struct pf_prog *prog = load(PF_PROG_XDP, ctx, COUNT(ctx), NULL, 0, NULL);
	set_packet(64);
	expect_fault(prog, PF_DIAG_VM_HELPER_ARG, 2, "xdp_adjust_head");
	pf_prog_put(prog);
	pf_map_put(map);
}

static void test_refusals(void)
{
	static const struct { struct pf_insn insn; enum pf_diag_code code; enum pf_prog_type type; } cases[] = {
		{ { 0x85, 0, 0, 0, 4 }, PF_DIAG_PROG_HELPER, PF_PROG_XDP },
		{ { 0x85, 0, 0, 0, 100000 }, PF_DIAG_PROG_HELPER_UNKNOWN, PF_PROG_XDP },
		{ { 0x85, 0, 0, 0, 0 }, PF_DIAG_PROG_HELPER_UNKNOWN, PF_PROG_XDP },
		{ { 0x85, 0, 2, 0, 7 }, PF_DIAG_PROG_KFUNC, PF_PROG_XDP },
		{ { 0x85, 0, 0, 0, 44 }, PF_DIAG_PROG_HELPER_TYPE, PF_PROG_MEMORY },
	};
	struct pf_diag diag;
	struct pf_prog *prog;
	for (unsigned i = 0; i < COUNT(cases); i++) {
		const struct pf_insn insns[] = { cases[i].insn, EXIT };
		const struct pf_prog_def def = { .type = cases[i].type, .name = "t", .insns = insns, .count = 2 };
		CHECK(pf_prog_create(&def, &prog, &diag) != PF_OK);
		CHECK_EQ(diag.code, cases[i].code);
	}
	struct pf_map *map = new_map(PF_MAP_HASH, 4, 8, 1, 0), *array = new_map(PF_MAP_ARRAY, 4, 8, 1, 0);
	const struct { uint8_t src; int32_t imm, offset; enum pf_diag_code code; } loads[] = {
		{ 1, 9, 0, PF_DIAG_PROG_MAP_FD }, { 5, 2, 0, PF_DIAG_PROG_MAP_FD }, { 2, 1, 0, PF_DIAG_PROG_VALUE_MAP },
		{ 2, 2, 8, PF_DIAG_PROG_VALUE_RANGE }, { 3, 1, 0, PF_DIAG_PROG_BTF_VAR }, { 6, 1, 7, PF_DIAG_NONE },
		{ 5, 0, 0, PF_DIAG_NONE } };
	const struct pf_prog_map maps[] = { { 1, map }, { 2, array } };
	for (unsigned i = 0; i < COUNT(loads); i++) {
		const struct pf_insn insns[] = { LDDW(1, loads[i].src, loads[i].imm, loads[i].offset), MOVI(0, 0), EXIT };
		const struct pf_prog_def def = { .name = "t", .insns = insns, .count = COUNT(insns), .maps = maps, .map_count = 2 };
		memset(&diag, 0, sizeof(diag));
		if (!pf_prog_create(&def, &prog, &diag))
			pf_prog_put(prog);
		CHECK_EQ(diag.code, loads[i].code);
	}
	pf_map_put(map);
	pf_map_put(array);
}

/* A tail call in main and in a subprogram, through a world (V4, E7). Numbers as Linux 6.18 gives them. */
static void test_tail_calls(void)
{
	struct pf_map *array = new_map(PF_MAP_PROG_ARRAY, 4, 4, 4, 0);
	const struct pf_insn direct[] = { MOV(6, 1), LDX(SIZE_W, 7, 1, 0), LDX(SIZE_B, 3, 7, 0), ADDI(3, 1), STX(SIZE_B, 7, 3, 0), MOV(1, 6),
					  LDDW(2, 1, 1, 0), MOVI(3, 0), CALL(12), LDX(SIZE_B, 0, 7, 0), EXIT };
	const struct pf_insn nested[] = { CALLP(2), ADDI(0, 1), EXIT, LDDW(2, 1, 1, 0), MOVI(3, 1), CALL(12), MOVI(0, 7), EXIT };
	const uint8_t types[COUNT(direct)] = { 0, 1 };
	const struct pf_prog_map maps[] = { { 1, array } };
	struct pf_prog *a = load(PF_PROG_XDP, direct, COUNT(direct), maps, 1, types), *b = load_map(PF_PROG_XDP, nested, COUNT(nested), array);
	CHECK_EQ(run_xdp(a, 64), 1); /* no world: nothing to call */
	bind(array, 0, &a->ref);
	bind(array, 1, &b->ref);
	set_world(array);
	CHECK_EQ(run_xdp(a, 64), 34);
	CHECK_EQ(run_xdp(b, 64), 7 + 34);
	CHECK_EQ(x->depth, 0);
	clear_world();
	bind(array, 0, NULL);
	bind(array, 1, NULL);
	pf_prog_put(a);
	pf_prog_put(b);
	pf_map_put(array);
}

static void test_outer_maps(void)
{
	struct pf_map *outer = new_map(PF_MAP_ARRAY_OF_MAPS, 4, 4, 2, 0), *inner = new_map(PF_MAP_ARRAY, 4, 8, 1, 0);
	CHECK_EQ(pf_map_user_update(inner, &(uint32_t){ 0 }, &(uint64_t){ 4242 }, 0), PF_OK);
	bind(outer, 0, &inner->ref);
	const struct pf_insn insns[] = { LOOKUP, I(0x15, 0, 0, 5, 0), MOV(1, 0), MOV(2, 10), ADDI(2, -4), CALL(1), LDX(SIZE_DW, 0, 0, 0), EXIT };
	struct pf_prog *prog = load_map(PF_PROG_MEMORY, insns, COUNT(insns), outer);
	CHECK_EQ(run_both(prog, (uint8_t *)"", 0), 0);
	set_world(outer);
	CHECK_EQ(run_both(prog, (uint8_t *)"", 0), 4242);
	pf_prog_put(prog);
	/* The inner map's own memory stays out of reach. */
	const struct pf_insn peek[] = { LOOKUP, LDX(SIZE_W, 0, 0, 0), EXIT };
	prog = load_map(PF_PROG_MEMORY, peek, COUNT(peek), outer);
	expect_fault(prog, PF_DIAG_VM_LOAD, LOOKUP_LEN, NULL);
	pf_prog_put(prog);
	clear_world();
	bind(outer, 0, NULL);
	pf_map_put(outer);
	pf_map_put(inner);
}

static void test_callbacks(void)
{
	/* bpf_loop over a counter in ctx; stops when the callback says so. */
	for (int stop = 0; stop <= 10; stop += 5) {
		const struct pf_insn insns[] = { I(0x7a, 10, 0, -8, 0), MOVI(1, 20), LDDW(2, 4, 7, 0), MOV(3, 10), ADDI(3, -8), MOVI(4, 0), CALL(181),
						 LDX(SIZE_DW, 1, 10, -8), I(0x67, 1, 0, 0, 8), /* -> r0 | sum << 8 */
						 I(0x05, 0, 0, 5, 0), LDX(SIZE_DW, 3, 2, 0), ADDI(3, 3), STX(SIZE_DW, 2, 3, 0), MOVI(0, 0), I(0x05, 0, 0, 2, 0),
						 I(0x4f, 0, 1, 0, 0), EXIT, I(0x55, 1, 0, 1, stop ? stop : 99), MOVI(0, 1), EXIT };
		struct pf_insn code[COUNT(insns)];
		memcpy(code, insns, sizeof(insns));
		code[10].off = 5; /* over the callback */
		code[2].imm = 8;  /* slot 11 */
		struct pf_prog *prog = load(PF_PROG_MEMORY, code, COUNT(code), NULL, 0, NULL);
		const uint64_t calls = stop ? (uint64_t)stop + 1 : 20;
		CHECK_EQ(run_both(prog, (uint8_t *)"", 0), calls | calls * 3 << 8);
		pf_prog_put(prog);
	}
	const struct pf_insn limits[] = { LDX(SIZE_DW, 4, 1, 8), LDX(SIZE_DW, 1, 1, 0), LDDW(2, 4, 3, 0), MOVI(3, 0), CALL(181), EXIT, MOVI(0, 1), EXIT };
	struct pf_insn code[COUNT(limits)];
	memcpy(code, limits, sizeof(limits));
	struct pf_prog *prog;
	code[2].imm = 4;
	prog = load(PF_PROG_MEMORY, code, COUNT(code), NULL, 0, NULL);
	CHECK_EQ(run_both(prog, (uint8_t *)(uint64_t[]){ 8388609, 0 }, 16), (uint64_t)-PF_E2BIG);
	CHECK_EQ(run_both(prog, (uint8_t *)(uint64_t[]){ 5, 1 }, 16), (uint64_t)-PF_EINVAL);
	CHECK_EQ(run_both(prog, (uint8_t *)(uint64_t[]){ 8388608, 0 }, 16), 1);
	CHECK_EQ(run_both(prog, (uint8_t *)(uint64_t[]){ 0, 0 }, 16), 0);
	pf_prog_put(prog);
	/* A fault in a callback ends the run, and names the callback's instruction. */
	code[7] = LDX(SIZE_B, 0, 10, 0x600);
	prog = load(PF_PROG_MEMORY, code, COUNT(code), NULL, 0, NULL);
	x->memory = (uint8_t *)(uint64_t[]){ 3, 0 };
	x->memory_len = 16;
	expect_fault(prog, PF_DIAG_VM_LOAD, 7, NULL);
	pf_prog_put(prog);
	/* for_each: adds keys and values of a hash into ctx. */
	struct pf_map *map = new_map(PF_MAP_HASH, 4, 8, 8, 0);
	for (uint32_t k = 1; k <= 5; k++)
		CHECK_EQ(pf_map_user_update(map, &k, &(uint64_t){ k * 100 }, 0), PF_OK);
	const struct pf_insn each[] = { I(0x7a, 10, 0, -8, 0), LDDW(1, 1, 1, 0), LDDW(2, 4, 8, 0), MOV(3, 10), ADDI(3, -8), MOVI(4, 0), CALL(164),
					LDX(SIZE_DW, 1, 10, -8), I(0x27, 0, 0, 0, 100000), I(0x0f, 0, 1, 0, 0), EXIT,
					LDX(SIZE_W, 5, 2, 0), LDX(SIZE_DW, 0, 3, 0), I(0x0f, 5, 0, 0, 0), LDX(SIZE_DW, 0, 4, 0), I(0x0f, 0, 5, 0, 0),
					STX(SIZE_DW, 4, 0, 0), MOVI(0, 0), EXIT };
	struct pf_insn each_code[COUNT(each)];
	memcpy(each_code, each, sizeof(each));
	each_code[3].imm = 9; /* slot 13 */
	prog = load_map(PF_PROG_MEMORY, each_code, COUNT(each_code), map);
	CHECK_EQ(run_both(prog, (uint8_t *)"", 0), 5 * 100000 + 1515);
	pf_prog_put(prog);
	each_code[13].off = 1; /* four bytes from the key's second: outside */
	prog = load_map(PF_PROG_MEMORY, each_code, COUNT(each_code), map);
	expect_fault(prog, PF_DIAG_VM_LOAD, 13, NULL);
	pf_prog_put(prog);
	pf_map_put(map);
}

static void test_environment(void)
{
	const struct pf_insn draw[] = { CALL(7), MOV(6, 0), CALL(7), I(0x67, 0, 0, 0, 32), I(0x4f, 0, 6, 0, 0), EXIT };
	struct pf_prog *prog = load(PF_PROG_MEMORY, draw, COUNT(draw), NULL, 0, NULL);
	uint64_t seen[64], r0;
	for (uint64_t i = 0; i < 64; i++) {
		x->seed = i / 8;
		for (int again = 0; again < 2; again++) {
			pf_exec_begin(x, i % 8, 5);
			CHECK_EQ(pf_vm_execute(x, prog, (enum pf_engine)again, NULL, 0, &r0), PF_OK);
			if (again)
				CHECK_EQ(r0, seen[i]); /* E4: nothing else matters */
			seen[i] = r0;
		}
		CHECK(r0 >> 32 != (uint32_t)r0);
		for (uint64_t k = 0; k < i; k++)
			CHECK(seen[k] != seen[i]);
	}
	pf_prog_put(prog);
	static const struct { int32_t helper; uint64_t want; } clocks[] = {
		{ 5, 9000000000 }, { 125, 9000000000 }, { 160, 9000000000 }, { 208, 9000000000 }, { 118, 9 * PF_HZ }, { 8, 3 } };
	x->cpu = 3;
	pf_exec_begin(x, 1, 9000000000);
	pf_exec_begin(x, 2, 1000); /* never backward (E3) */
	for (unsigned i = 0; i < COUNT(clocks); i++) {
		const struct pf_insn insns[] = { CALL(clocks[i].helper), EXIT };
		CHECK_EQ(run_insns(insns, 2, (uint8_t *)"", 0), clocks[i].want);
	}
	x->cpu = 0;
}

static void test_trace(void)
{
	static struct pf_trace ring;
	const struct pf_insn insns[] = { LDDW(1, 0, 0x253d6e20, 0x25207820 + 0), STX(SIZE_DW, 10, 1, -16), I(0x7a, 10, 0, -8, 0x642575), MOV(1, 10), ADDI(1, -16),
					 MOVI(2, 12), MOVI(3, -7), MOVI(4, 8), MOVI(5, 0), CALL(6), EXIT };
	char text[16] = "n=%d x=%lx";
	struct pf_insn code[COUNT(insns)];
	memcpy(code, insns, sizeof(insns));
	memcpy(&code[0].imm, text, 4);
	memcpy(&code[1].imm, text + 4, 4);
	memcpy(&code[3].imm, text + 8, 4);
	x->trace = &ring;
	CHECK_EQ(run_insns(code, COUNT(code), (uint8_t *)"", 0), 8);
	CHECK_EQ(strcmp(ring.text, "n=-7 x=8"), 0);
	CHECK_EQ(ring.used, 18); /* both builds wrote */
	ring.used = PF_TRACE_RING - 8;
	run_insns(code, COUNT(code), (uint8_t *)"", 0);
	CHECK_EQ(ring.lost, 2);
	x->trace = NULL;
	CHECK_EQ(run_insns(code, COUNT(code), (uint8_t *)"", 0), 8);
}

int main(void)
{
	new_exec();
	test_memory();
	test_store_imm();
	test_atomics();
	test_stack();
	test_calls();
	test_budget();
	test_ctx();
	test_packet_bounds();
	test_values();
	test_helper_arguments();
	test_refusals();
	test_tail_calls();
	test_outer_maps();
	test_callbacks();
	test_environment();
	test_trace();
	pf_exec_destroy(x);
	return 0;
}
