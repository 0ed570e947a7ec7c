/* tiers_gen.c - dense programs: every instruction form on numbers out of the packet, with all registers written to a map at
 * the end, so that a wrong result anywhere shows. Nearly all are accepted, since only numbers are computed with.
 *
 * r6 is ctx, r8 the packet (64 bytes are proved), r9 the value of PF_POOL_DIRECT; r0 to r5 and r7 hold numbers.
 */
#include "tiers.h"

#define PROVED 64u
#define SLOTS 16u /* of 8 bytes, below r10 */
#define KEPT 128u /* byte of the value from which registers are written */

struct dense {
	struct pf_rng *rng;
	struct pf_sample *s;
	uint32_t jumps[16], jump_count; /* that are to land further down */
	uint32_t calls[4], call_count;  /* of the function behind the program */
	bool tails;                     /* the function tail-calls */
};

static const uint8_t numbers[] = { 0, 1, 2, 3, 4, 5, 7 };

static uint32_t below(struct dense *d, uint32_t n) { return pf_rng_below(d->rng, n); }
static bool chance(struct dense *d, uint32_t percent) { return pf_rng_chance(d->rng, percent); }
static uint32_t any(struct dense *d) { return numbers[below(d, sizeof(numbers))]; }
static int32_t edge(struct dense *d) { return (int32_t)pf_rng_edge(d->rng); }

static uint32_t emit(struct dense *d, uint32_t code, uint32_t dst, uint32_t src, int32_t off, int32_t imm)
{
	struct pf_sample *s = d->s;
	PF_REQUIRE(s->count < PF_CAMPAIGN_INSNS);
	s->insns[s->count] = (struct pf_insn){ (uint8_t)code, (uint8_t)(dst & 15), (uint8_t)(src & 15), (int16_t)off, imm };
	return s->count++;
}

static void emit_wide(struct dense *d, uint32_t dst, uint32_t src, uint32_t low, uint32_t high)
{
	emit(d, 0x18, dst, src, 0, (int32_t)low);
	emit(d, 0, 0, 0, 0, (int32_t)high);
}

/* A number from the packet, or near an edge. */
static void renew(struct dense *d, uint32_t r)
{
	static const uint8_t loads[] = { 0x61, 0x69, 0x71, 0x79, 0x79, 0x81, 0x89, 0x91 };
	if (chance(d, 15)) {
		const uint64_t value = pf_rng_edge(d->rng);
		emit_wide(d, r, 0, (uint32_t)value, (uint32_t)(value >> 32));
	} else if (chance(d, 15)) {
		emit(d, chance(d, 50) ? 0xb4 : 0xb7, r, 0, 0, edge(d));
	} else {
		emit(d, loads[below(d, sizeof(loads))], r, 8, (int32_t)below(d, PROVED - 8), 0);
	}
}

static void say_alu(struct dense *d)
{
	static const uint8_t ops[] = { 0x00, 0x10, 0x20, 0x30, 0x30, 0x40, 0x50, 0x60, 0x60, 0x70, 0x70, 0x80, 0x90, 0x90,
				       0xa0, 0xb0, 0xc0, 0xc0, 0xd0 };
	const uint32_t op = ops[below(d, sizeof(ops))], wide = below(d, 2), by = below(d, 2), dst = any(d), src = any(d);
	const uint32_t class = wide ? 7 : 4;
	if (op == 0xd0) {
		const uint32_t bits = 16u << below(d, 3);
		emit(d, chance(d, 30) ? 0xd7 : chance(d, 50) ? 0xdc : 0xd4, dst, 0, 0, (int32_t)bits);
	} else if (op == 0x80) {
		emit(d, op | class, dst, 0, 0, 0);
	} else if (op == 0xb0 && by) {
		const int32_t sign = 8 << below(d, wide ? 3 : 2);
		emit(d, op | 8 | class, dst, src, chance(d, 70) ? sign : 0, 0);
	} else if (by) {
		emit(d, op | 8 | class, dst, src, (op == 0x30 || op == 0x90) && chance(d, 50), 0);
	} else {
		const bool divides = op == 0x30 || op == 0x90, shifts = op == 0x60 || op == 0x70 || op == 0xc0;
		int32_t imm = shifts ? (int32_t)below(d, wide ? 64 : 32) : edge(d);
		imm += divides && !imm;
		emit(d, op | class, dst, 0, divides && chance(d, 50), imm);
	}
}

static void say_jump(struct dense *d)
{
	static const uint8_t ops[] = { 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0xa0, 0xb0, 0xc0, 0xd0 };
	const uint32_t op = ops[below(d, sizeof(ops))], class = chance(d, 50) ? 5 : 6;
	if (d->jump_count == sizeof(d->jumps) / sizeof(d->jumps[0]))
		return;
	const uint32_t at = chance(d, 50) ? emit(d, op | 8 | class, any(d), any(d), 0, 0) : emit(d, op | class, any(d), 0, 0, edge(d));
	d->jumps[d->jump_count++] = at;
}

static void land(struct dense *d, uint32_t which)
{
	const uint32_t at = d->jumps[which];
	d->s->insns[at].off = (int16_t)(d->s->count - at - 1);
	d->jumps[which] = d->jumps[--d->jump_count];
}

/* Value or stack: register and offset of an aligned place of this size. */
static uint32_t say_place(struct dense *d, uint32_t size, int32_t *off)
{
	const bool stack = chance(d, 40);
	*off = stack ? -(int32_t)(8 * (1 + below(d, SLOTS))) : (int32_t)(8 * below(d, KEPT / 8));
	*off += (int32_t)(size * below(d, 8 / size));
	return stack ? 10 : 9;
}

static void say_memory(struct dense *d)
{
	static const uint8_t modes[4] = { 0x10, 0x08, 0x00, 0x18 }; /* by log2 of the size */
	const uint32_t log = below(d, 4), size = 1u << log, mode = modes[log];
	int32_t off;
	const uint32_t base = say_place(d, size, &off);
	switch (below(d, 5)) {
	case 0:
		emit(d, 0x61 | mode, any(d), base, off, 0);
		break;
	case 1:
		emit(d, size < 8 ? 0x81 | mode : 0x79, any(d), base, off, 0);
		break;
	case 2:
		emit(d, 0x62 | mode, base, 0, off, edge(d));
		break;
	case 3:
		emit(d, 0x63 | mode, base, any(d), off, 0);
		break;
	case 4:
		emit(d, chance(d, 50) ? 0x73 : 0x63 | mode, 8, any(d), (int32_t)(14 + below(d, PROVED - 22)), 0);
		break;
	}
}

static void say_atomic(struct dense *d)
{
	static const int32_t ops[] = { 0x00, 0x01, 0x40, 0x41, 0x50, 0x51, 0xa0, 0xa1, 0xe1, 0xf1, 0xf1 };
	const bool wide = chance(d, 50);
	int32_t off;
	if (chance(d, 20)) {
		static const uint8_t codes[4] = { 0xd3, 0xcb, 0xc3, 0xdb };
		const uint32_t log = below(d, 4), base = say_place(d, 1u << log, &off), r = any(d);
		const bool loads = chance(d, 50);
		emit(d, codes[log], loads ? r : base, loads ? base : r, off, loads ? 0x100 : 0x110);
		return;
	}
	const uint32_t base = say_place(d, wide ? 8 : 4, &off);
	const int32_t op = ops[below(d, sizeof(ops) / sizeof(ops[0]))];
	if (op == 0xf1 && chance(d, 60))
		emit(d, wide ? 0x79 : 0x61, 0, base, off, 0); /* so that it is equal */
	emit(d, wide ? 0xdb : 0xc3, base, any(d), off, op);
}

static void renew_arguments(struct dense *d)
{
	for (uint32_t r = 1; r <= 5; r++)
		renew(d, r);
}

static void say_call(struct dense *d)
{
	static const int32_t helpers[] = { PF_HELPER_ID_get_prandom_u32, PF_HELPER_ID_ktime_get_ns,
					   PF_HELPER_ID_get_smp_processor_id };
	if (d->call_count < 3 && chance(d, 50))
		d->calls[d->call_count++] = emit(d, 0x85, 0, 1, 0, 0);
	else
		emit(d, 0x85, 0, 0, 0, helpers[below(d, 3)]);
	renew_arguments(d);
}

/* A key from the packet; the value, if there is one, is changed. */
static void say_lookup(struct dense *d)
{
	static const uint8_t places[] = { PF_POOL_ARRAY, PF_POOL_PERCPU_ARRAY, PF_POOL_PERCPU_ARRAY, PF_POOL_HASH,
					  PF_POOL_PERCPU_HASH, PF_POOL_LRU };
	const uint32_t by = 8 * (1 + below(d, SLOTS));
	emit(d, 0x71, 1, 8, (int32_t)below(d, PROVED), 0);
	emit(d, 0x57, 1, 0, 0, 7);
	emit(d, 0xbf, 2, 10, 0, 0);
	emit(d, 0x07, 2, 0, 0, -(int32_t)by);
	emit(d, 0x63, 10, 1, -(int32_t)by, 0);
	emit_wide(d, 1, 1, places[below(d, sizeof(places))], 0);
	emit(d, 0x85, 0, 0, 0, PF_HELPER_ID_map_lookup_elem);
	emit(d, 0x15, 0, 0, chance(d, 50) ? 3 : 2, 0);
	const bool three = d->s->insns[d->s->count - 1].off == 3;
	emit(d, 0x79, 1, 0, 8, 0);
	emit(d, 0xdb, 0, 1, 0, 0x01);
	if (three)
		emit(d, 0x7b, 0, 7, 8, 0);
	emit(d, 0xb7, 0, 0, 0, edge(d));
	renew_arguments(d);
}

static void say(struct dense *d)
{
	const uint32_t what = below(d, 100);
	if (what < 55)
		say_alu(d);
	else if (what < 68)
		say_jump(d);
	else if (what < 80)
		say_memory(d);
	else if (what < 88)
		say_atomic(d);
	else if (what < 91)
		say_call(d);
	else if (what < 93)
		say_lookup(d);
	else
		renew(d, any(d));
	if (d->jump_count && chance(d, 20))
		land(d, below(d, d->jump_count));
}

/* Its own frame, all five arguments, and now and then a tail call, after which the caller goes on. */
static void make_function(struct dense *d)
{
	for (uint32_t i = 0; i < d->call_count; i++)
		d->s->insns[d->calls[i]].imm = (int32_t)(d->s->count - d->calls[i] - 1);
	if (d->tails) {
		emit(d, 0xbf, 3, 2, 0, 0);
		emit(d, 0x57, 3, 0, 0, 3);
		emit_wide(d, 2, 1, PF_POOL_PROGS, 0);
		emit(d, 0x85, 0, 0, 0, PF_HELPER_ID_tail_call);
		emit(d, 0xb7, 0, 0, 0, 7);
	} else {
		emit(d, 0x79, 0, 10, -8, 0);
		emit(d, 0x7b, 10, 1, -16, 0);
		for (uint32_t r = 1; r <= 5; r++) {
			emit(d, 0x27, 0, 0, 0, 31);
			emit(d, chance(d, 50) ? 0x0f : 0xaf, 0, r, 0, 0);
		}
		emit(d, 0x7b, 10, 0, -8, 0);
	}
	emit(d, 0x95, 0, 0, 0, 0);
}

void pf_tier_make_dense(struct pf_sample *s, struct pf_rng *rng)
{
	struct dense d = { .rng = rng, .s = s };
	const uint32_t steps = 10 + below(&d, 90);

	s->count = 0;
	s->mutated = false;
	emit(&d, 0xbf, 6, 1, 0, 0);
	emit(&d, 0x61, 8, 6, 0, 0);
	emit(&d, 0x61, 3, 6, 4, 0);
	emit(&d, 0xbf, 1, 8, 0, 0);
	emit(&d, 0x07, 1, 0, 0, PROVED);
	emit(&d, 0xb7, 0, 0, 0, 2);
	emit(&d, 0x3d, 3, 1, 1, 0);
	emit(&d, 0x95, 0, 0, 0, 0);
	emit_wide(&d, 9, 2, PF_POOL_DIRECT, 0);
	renew(&d, 0);
	renew(&d, 7);
	renew_arguments(&d);
	for (uint32_t i = 0; i < steps && s->count + 128 < PF_CAMPAIGN_INSNS; i++)
		say(&d);
	while (d.jump_count)
		land(&d, 0);
	for (uint32_t i = 0; i < sizeof(numbers); i++)
		emit(&d, 0x7b, 9, numbers[i], (int32_t)(KEPT + 8 * i), 0);
	d.tails = !d.call_count && chance(&d, 30);
	for (uint32_t i = 0; d.tails && i < 3; i++) {
		emit(&d, 0xbf, 1, 6, 0, 0);
		emit(&d, 0x79, 2, 9, (int32_t)(KEPT + 8 * i), 0);
		d.calls[d.call_count++] = emit(&d, 0x85, 0, 1, 0, 0);
		emit(&d, 0x7b, 9, 0, (int32_t)(KEPT + 64 + 8 * i), 0);
	}
	if (!d.tails && chance(&d, 50))
		emit(&d, 0xaf, 0, 7, 0, 0);
	emit(&d, 0x95, 0, 0, 0, 0);
	if (d.call_count)
		make_function(&d);
}
