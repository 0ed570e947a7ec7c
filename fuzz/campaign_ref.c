/* campaign_ref.c - a second interpreter: one switch, every access checked, the verifier's facts compared on the way.
 *
 * Semantics: RFC 9669. It shares with the engine the helpers, the regions that a program may touch (exec.h, E5), and
 * nothing else. Calls and callbacks are recursion.
 */
#include "campaign.h"

#define FRAME PF_STACK_FRAME

static bool frame_run(struct pf_machine *ref, const struct pf_prog *prog, uint32_t pc, uint64_t r[11]);

static bool stop(struct pf_machine *ref, enum pf_ref_end end, uint32_t insn)
{
	if (ref->end == PF_REF_DONE) {
		ref->end = end;
		ref->insn = insn;
	}
	return false;
}

/* ---- facts ---- */

/* A pointer to what starts at base, whose distance the fact bounds. */
static bool at_distance(const struct pf_fact *f, uint64_t value, uint64_t base)
{
	return pf_scalar_contains(&f->range, value - base);
}

static bool in_value(const struct pf_machine *ref, const struct pf_fact *f, uint64_t value)
{
	if (f->map == UINT16_MAX || f->range.umax >= 1u << 20)
		return true; /* of an inner map, of several, or far outside */
	const struct pf_map *map = ref->prog->maps[f->map].map;
	const uint64_t arena = (uint64_t)(uintptr_t)map->arena + map->value_offset;
	for (uint64_t e = 0; e < map->elements; e++)
		for (uint32_t cpu = 0; cpu < map->cpus; cpu++)
			if (at_distance(f, value, arena + e * map->stride + (uint64_t)cpu * map->value_step))
				return true;
	return false;
}

static bool fact_holds(const struct pf_machine *ref, const struct pf_fact *f, uint64_t value, uint64_t r10)
{
	const struct pf_packet *p = &ref->x->packet;

	if (f->kind != PF_FACT_SCALAR && f->maybe_null && value == 0)
		return true;
	switch ((enum pf_fact_kind)f->kind) {
	case PF_FACT_UNREACHED:
	case PF_FACT_ANY:
	case PF_FACT_MAP_KEY:
	case PF_FACT_MEMORY:
		return true;
	case PF_FACT_SCALAR:
		return pf_scalar_contains(&f->range, value);
	case PF_FACT_CTX:
		return at_distance(f, value, (uint64_t)(uintptr_t)p);
	case PF_FACT_PACKET:
		return at_distance(f, value, (uint64_t)(uintptr_t)p->data) &&
		       (!f->proved || value + f->proved <= (uint64_t)(uintptr_t)p->data_end);
	case PF_FACT_PACKET_META:
		return at_distance(f, value, (uint64_t)(uintptr_t)p->data_meta) &&
		       (!f->proved || value + f->proved <= (uint64_t)(uintptr_t)p->data);
	case PF_FACT_PACKET_END:
		return value == (uint64_t)(uintptr_t)p->data_end;
	case PF_FACT_STACK:
		return at_distance(f, value, r10);
	case PF_FACT_MAP:
		return f->map == UINT16_MAX || value == (uint64_t)(uintptr_t)ref->prog->maps[f->map].map;
	case PF_FACT_MAP_VALUE:
		return in_value(ref, f, value);
	case PF_FACT_FUNC:
		return (value & PF_FUNC_MASK) == PF_FUNC_TAG;
	}
	return false;
}

static bool facts_hold(struct pf_machine *ref, uint32_t pc, const uint64_t r[11])
{
	const struct pf_fact *facts = &ref->result->facts[(size_t)pc * 11];

	if (facts[10].kind == PF_FACT_UNREACHED)
		return stop(ref, PF_REF_UNREACHED, pc);
	for (uint32_t left = ref->interesting[pc]; left; left &= left - 1) {
		const uint32_t n = (uint32_t)__builtin_ctz(left);
		if (fact_holds(ref, &facts[n], r[n], r[10]))
			continue;
		ref->reg = n;
		ref->value = r[n];
		return stop(ref, PF_REF_FACT, pc);
	}
	return true;
}

/* ---- memory ---- */

static bool allowed(struct pf_exec *x, uint64_t at, uint32_t size, bool write)
{
	const uint64_t top = (uint64_t)(uintptr_t)(x->stack + sizeof(x->stack));
	const uint64_t frames = (uint64_t)(x->depth + 1) * FRAME;
	const uint64_t start = (uint64_t)(uintptr_t)x->packet.data_meta;
	const uint64_t length = (uint64_t)(x->packet.data_end - x->packet.data_meta);

	if (at - (top - frames) <= frames - size || (length >= size && at - start <= length - size))
		return true;
	x->window_len = 0;
	return write ? pf_exec_writable(x, at, size) : pf_exec_readable(x, at, size);
}

static uint64_t peek(uint64_t at, uint32_t size)
{
	uint64_t value = 0;
	memcpy(&value, (const void *)(uintptr_t)at, size);
	return value;
}

static void poke(uint64_t at, uint32_t size, uint64_t value)
{
	memcpy((void *)(uintptr_t)at, &value, size);
}

static uint64_t extended(uint64_t value, uint32_t bits)
{
	return (uint64_t)((int64_t)(value << (64 - bits)) >> (64 - bits));
}

static bool ctx_field(const struct pf_exec *x, uint64_t at, uint64_t *value)
{
	switch (at - (uint64_t)(uintptr_t)&x->packet) {
	case 0:
		*value = (uint64_t)(uintptr_t)x->packet.data;
		return true;
	case 4:
		*value = (uint64_t)(uintptr_t)x->packet.data_end;
		return true;
	case 8:
		*value = (uint64_t)(uintptr_t)x->packet.data_meta;
		return true;
	case 12:
		*value = x->packet.ingress_ifindex;
		return true;
	case 16:
		*value = x->packet.rx_queue_index;
		return true;
	case 20:
		*value = x->packet.egress_ifindex;
		return true;
	}
	return false;
}

static bool load(struct pf_machine *ref, uint32_t pc, struct pf_insn i, uint32_t size, uint64_t r[11])
{
	const uint64_t at = r[i.src] + (uint64_t)(int64_t)i.off;

	if (i.code == 0x61 && ctx_field(ref->x, at, &r[i.dst]))
		return true;
	/* Of ctx only numbers can be sign-extended: fields behind the three addresses. */
	if (i.code == 0x81 && at >= (uint64_t)(uintptr_t)&ref->x->packet + 12 && ctx_field(ref->x, at, &r[i.dst])) {
		r[i.dst] = extended(r[i.dst], 32);
		return true;
	}
	if (!allowed(ref->x, at, size, false))
		return stop(ref, PF_REF_FAULT, pc);
	r[i.dst] = peek(at, size);
	if ((i.code & 0xe0) == 0x80)
		r[i.dst] = extended(r[i.dst], size * 8);
	return true;
}

static bool atomic(struct pf_machine *ref, uint32_t pc, struct pf_insn i, uint32_t size, uint64_t r[11])
{
	const bool acquire = i.imm == 0x100, release = i.imm == 0x110;
	const uint64_t at = r[acquire ? i.src : i.dst] + (uint64_t)(int64_t)i.off;
	const uint64_t mask = size == 8 ? UINT64_MAX : UINT32_MAX;

	if (at % size || !allowed(ref->x, at, size, !acquire))
		return stop(ref, PF_REF_FAULT, pc);
	const uint64_t old = peek(at, size), with = r[i.src] & mask;
	if (acquire) {
		r[i.dst] = old;
		return true;
	}
	uint64_t now = with;
	switch (i.imm & 0xf0) {
	case 0x00:
		now = old + with;
		break;
	case 0x40:
		now = old | with;
		break;
	case 0x50:
		now = old & with;
		break;
	case 0xa0:
		now = old ^ with;
		break;
	case 0xf0:
		now = old == (r[0] & mask) ? with : old;
		break;
	}
	poke(at, size, release ? r[i.src] : now);
	if (i.imm == 0xf1)
		r[0] = old;
	else if (i.imm & 1)
		r[i.src] = old;
	return true;
}

/* ---- arithmetic ---- */

static uint64_t divided(bool rest, bool sign, bool wide, uint64_t a, uint64_t b)
{
	if (!b)
		return rest ? a : 0;
	if (!sign)
		return rest ? a % b : a / b;
	const int64_t x = wide ? (int64_t)a : (int32_t)a, y = wide ? (int64_t)b : (int32_t)b;
	if (y == -1)
		return rest ? 0 : 0 - (uint64_t)x;
	return (uint64_t)(rest ? x % y : x / y);
}

static uint64_t swapped(struct pf_insn i, uint64_t a)
{
	if (i.code != 0xd4)
		a = __builtin_bswap64(a) >> (64 - i.imm);
	return i.imm == 64 ? a : a & ((UINT64_C(1) << i.imm) - 1);
}

static uint64_t computed(struct pf_insn i, uint64_t a, uint64_t b)
{
	const bool wide = (i.code & 7) == 7;
	const uint32_t k = (uint32_t)b & (wide ? 63 : 31);

	if (!wide) {
		a = (uint32_t)a;
		b = (uint32_t)b;
	}
	switch (i.code & 0xf0) {
	case 0x00:
		return a + b;
	case 0x10:
		return a - b;
	case 0x20:
		return a * b;
	case 0x30:
		return divided(false, i.off == 1, wide, a, b);
	case 0x40:
		return a | b;
	case 0x50:
		return a & b;
	case 0x60:
		return a << k;
	case 0x70:
		return a >> k;
	case 0x80:
		return 0 - a;
	case 0x90:
		return divided(true, i.off == 1, wide, a, b);
	case 0xa0:
		return a ^ b;
	case 0xb0:
		return i.off ? extended(b, (uint32_t)i.off) : b;
	case 0xc0:
		return (uint64_t)((wide ? (int64_t)a : (int32_t)a) >> k);
	}
	return 0;
}

static bool compared(struct pf_insn i, uint64_t a, uint64_t b)
{
	const bool wide = (i.code & 7) == 5;
	const int64_t x = wide ? (int64_t)a : (int32_t)a, y = wide ? (int64_t)b : (int32_t)b;

	if (!wide) {
		a = (uint32_t)a;
		b = (uint32_t)b;
	}
	switch (i.code & 0xf0) {
	case 0x10:
		return a == b;
	case 0x20:
		return a > b;
	case 0x30:
		return a >= b;
	case 0x40:
		return a & b;
	case 0x50:
		return a != b;
	case 0x60:
		return x > y;
	case 0x70:
		return x >= y;
	case 0xa0:
		return a < b;
	case 0xb0:
		return a <= b;
	case 0xc0:
		return x < y;
	case 0xd0:
		return x <= y;
	}
	return false;
}

/* ---- calls ---- */

/* The run that x->call continues: one at a time. */
static struct pf_machine *running;

static bool call_frame(struct pf_machine *ref, const struct pf_prog *prog, uint32_t pc, uint64_t r10, const uint64_t args[5],
		       uint64_t *r0)
{
	struct pf_exec *x = ref->x;
	const struct pf_prog *caller = x->prog;
	const uint32_t floor = x->floor;
	uint64_t r[11] = { 0 };

	memcpy(&r[1], args, 5 * sizeof(r[0]));
	r[10] = r10 - FRAME;
	x->depth++;
	memset((void *)(uintptr_t)(r[10] - FRAME), 0, FRAME);
	const bool good = frame_run(ref, prog, pc, r);
	x->depth--;
	x->prog = caller;
	x->floor = floor;
	*r0 = r[0];
	return good;
}

static enum pf_err call_back(struct pf_exec *x, uint32_t pc, const uint64_t args[5], uint64_t *r0)
{
	const uint64_t r10 = (uint64_t)(uintptr_t)(x->stack + sizeof(x->stack)) - (uint64_t)x->depth * FRAME;

	if (x->depth - x->floor + 1 >= PF_STACK_FRAMES) {
		(void)stop(running, PF_REF_FAULT, pc);
		return PF_EFAULT;
	}
	return call_frame(running, x->prog, pc, r10, args, r0) ? PF_OK : PF_EFAULT;
}

static bool call_helper(struct pf_machine *ref, uint32_t pc, uint32_t number, uint64_t r[11])
{
	struct pf_exec *x = ref->x;
	const pf_helper_fn fn = pf_helper_find(number);

	x->window_len = 0;
	if (!fn || pf_helper_check(x, pf_helper_info(number), &r[1], pc))
		return stop(ref, PF_REF_FAULT, pc);
	r[0] = fn(x, r[1], r[2], r[3], r[4], r[5]);
	return ref->end == PF_REF_DONE;
}

/* The target, or NULL: the call is not made. */
static const struct pf_prog *tail_target(struct pf_exec *x, uint64_t map, uint64_t index)
{
	const uint32_t key = (uint32_t)index;
	const struct pf_binding *binding = pf_bindings_of(x->bindings, (const struct pf_map *)(uintptr_t)map);

	if (!binding || x->tail_calls >= PF_TAIL_CALLS)
		return NULL;
	const struct pf_prog *target = (const struct pf_prog *)pf_binding_find(binding, &key);
	if (!target || target->type != x->prog->type)
		return NULL;
	x->tail_calls++;
	x->prog = target;
	x->floor = x->depth;
	return target;
}

static uint64_t wide_value(const struct pf_prog *prog, uint32_t pc)
{
	const struct pf_insn *i = &prog->insns[pc];
	struct pf_map *map;

	switch (i->src) {
	case 1:
	case 5:
		return (uint64_t)(uintptr_t)pf_prog_insn_map(prog, pc);
	case 2:
	case 6:
		map = pf_prog_insn_map(prog, pc);
		return (uint64_t)(uintptr_t)pf_map_direct_value(map, (uint32_t)i[1].imm);
	case 4:
		return PF_FUNC_TAG | (pc + 1 + (uint32_t)i->imm);
	}
	return (uint32_t)i->imm | (uint64_t)(uint32_t)i[1].imm << 32;
}

/* ---- the loop ---- */

static uint32_t access_size(uint8_t code)
{
	static const uint8_t sizes[4] = { 4, 2, 1, 8 };
	return sizes[code >> 3 & 3];
}

static bool frame_run(struct pf_machine *ref, const struct pf_prog *prog, uint32_t pc, uint64_t r[11])
{
	for (;; pc++) {
		if (pc >= prog->count)
			return stop(ref, PF_REF_UNREACHED, pc);
		const struct pf_insn i = prog->insns[pc];
		const uint64_t imm = (uint64_t)(int64_t)i.imm;

		if (++ref->executed > PF_CAMPAIGN_BUDGET)
			return stop(ref, PF_REF_BUDGET, pc);
		if (ref->covered && prog == ref->prog)
			ref->covered[pc] = 1;
		if (ref->interesting && prog == ref->prog && !facts_hold(ref, pc, r))
			return false;
		switch (i.code & 7) {
		case 0: /* 64-bit immediate */
			r[i.dst] = wide_value(prog, pc);
			pc++;
			break;
		case 1:
			if (!load(ref, pc, i, access_size(i.code), r))
				return false;
			break;
		case 2:
		case 3:
			if ((i.code & 0xe0) == 0xc0) {
				if (!atomic(ref, pc, i, access_size(i.code), r))
					return false;
				break;
			}
			if (!allowed(ref->x, r[i.dst] + (uint64_t)(int64_t)i.off, access_size(i.code), true))
				return stop(ref, PF_REF_FAULT, pc);
			poke(r[i.dst] + (uint64_t)(int64_t)i.off, access_size(i.code), (i.code & 7) == 2 ? imm : r[i.src]);
			break;
		case 4:
		case 7:
			r[i.dst] = (i.code & 0xf0) == 0xd0 ? swapped(i, r[i.dst]) :
				computed(i, r[i.dst], i.code & 8 ? r[i.src] : imm);
			if ((i.code & 7) == 4 && (i.code & 0xf0) != 0xd0)
				r[i.dst] = (uint32_t)r[i.dst];
			break;
		case 5:
		case 6:
			if (i.code == 0x95)
				return true;
			if (i.code == 0x85 && i.src == 1) {
				if (ref->x->depth - ref->x->floor + 1 >= PF_STACK_FRAMES)
					return stop(ref, PF_REF_FAULT, pc);
				if (!call_frame(ref, prog, pc + 1 + (uint32_t)i.imm, r[10], &r[1], &r[0]))
					return false;
			} else if (i.code == 0x85 && i.imm == PF_HELPER_ID_tail_call) {
				if (pf_helper_check(ref->x, pf_helper_info(12), &r[1], pc))
					return stop(ref, PF_REF_FAULT, pc);
				const struct pf_prog *target = tail_target(ref->x, r[2], r[3]);
				if (target) {
					memset((void *)(uintptr_t)(r[10] - FRAME), 0, FRAME);
					prog = target;
					pc = UINT32_MAX; /* next is 0 */
				}
			} else if (i.code == 0x85) {
				if (!call_helper(ref, pc, (uint32_t)i.imm, r))
					return false;
			} else if (i.code == 0x05) {
				pc += (uint32_t)(int32_t)i.off;
			} else if (i.code == 0x06) {
				pc += (uint32_t)i.imm;
			} else if (compared(i, r[i.dst], i.code & 8 ? r[i.src] : imm)) {
				pc += (uint32_t)(int32_t)i.off;
			}
			break;
		}
	}
}

enum pf_ref_end pf_machine_run(struct pf_machine *ref, uint64_t *r0)
{
	struct pf_exec *x = ref->x;
	uint64_t r[11] = { 0 };

	running = ref;
	x->prog = ref->prog;
	x->depth = x->floor = 0;
	x->visiting = NULL;
	x->fault.diag.err = PF_OK;
	x->tail_calls = 0;
	x->grant_count = 0;
	x->window_len = 0;
	x->checked = 1; /* a lookup grants */
	x->call = call_back;
	ref->executed = 0;
	ref->end = PF_REF_DONE;
	r[1] = (uint64_t)(uintptr_t)&x->packet;
	if (ref->prog->type == PF_PROG_MEMORY) {
		r[1] = (uint64_t)(uintptr_t)x->memory;
		r[2] = x->memory_len;
	}
	r[10] = (uint64_t)(uintptr_t)(x->stack + sizeof(x->stack));
	memset((void *)(uintptr_t)(r[10] - FRAME), 0, FRAME);
	(void)frame_run(ref, ref->prog, 0, r);
	*r0 = r[0];
	return ref->end;
}
