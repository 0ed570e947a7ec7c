/* campaign_gen.c - makes random but plausible programs: numbers, branches, loops; and mutates any. */
#include "campaign_gen.h"

uint32_t pick_free(struct gen *g, uint32_t except)
{
	except |= g->kept_regs | 1u << 6;
	for (uint32_t tries = 0; tries < 12; tries++) {
		const uint32_t r = below(g, 10);
		const uint8_t kind = g->now.r[r].kind;
		if (except >> r & 1)
			continue;
		if (kind == NONE || (kind == NUM && tries > 2) || tries > 6)
			return r;
	}
	for (uint32_t r = 0; r < 6; r++)
		if (!(except >> r & 1))
			return r;
	return 0;
}

uint32_t pick(struct gen *g, enum kind kind)
{
	const uint32_t start = below(g, 10);
	for (uint32_t i = 0; i < 10; i++)
		if (g->now.r[(start + i) % 10].kind == kind)
			return (start + i) % 10;
	return 16;
}

static bool writable(const struct gen *g, uint32_t r)
{
	return !(g->kept_regs >> r & 1);
}

uint32_t pick_num(struct gen *g)
{
	uint32_t r = pick(g, NUM);
	if (r < 10 && writable(g, r) && chance(g, 85))
		return r;
	r = pick_free(g, 0);
	const uint32_t from = need_packet(g);
	const uint32_t value = pick(g, VAL);
	if (r != from && from < 10 && chance(g, 60)) {
		const struct belief *p = &g->now.r[from];
		const uint32_t room = p->off < 0 ? 0 : g->now.proved[p->object] - p->off;
		if (room >= 8 && room < 60000) {
			access_at(g, from, 0, room, true);
			const uint32_t found = pick(g, NUM);
			if (found < 10 && writable(g, found))
				return found;
		}
	}
	if (value < 10 && !g->now.r[value].null && chance(g, 50)) {
		static const uint8_t loads[] = { 0x61, 0x69, 0x71, 0x79, 0x81, 0x89, 0x91 };
		const uint8_t code = loads[below(g, 7)];
		if (g->now.r[value].off >= 0 && g->now.r[value].off + g->now.r[value].max < 8) {
			emit(g, code, r, value, 0, 0);
			set_num(g, r, code == 0x61 ? UINT32_MAX : code == 0x69 ? 0xffff : code == 0x71 ? 0xff : UINT64_MAX);
			return r;
		}
	}
	if (g->now.r[6].kind == CTX && chance(g, 50)) {
		emit(g, 0x61, r, 6, 12 + 4 * (int)below(g, 2), 0);
		set_num(g, r, UINT32_MAX);
	} else {
		emit_const(g, r, (int32_t)pf_rng_edge(g->rng));
	}
	return r;
}

static uint64_t filled(uint64_t n)
{
	for (uint32_t k = 1; k < 64; k <<= 1)
		n |= n >> k;
	return n;
}

/* The greatest result, roughly; UINT64_MAX: not known. */
static uint64_t max_after(uint8_t op, uint64_t a, uint64_t b, bool constant)
{
	switch (op) {
	case 0x00:
		return a < INT64_MAX && b < INT64_MAX ? a + b : UINT64_MAX;
	case 0x20:
		return a < UINT32_MAX && b < UINT32_MAX ? a * b : UINT64_MAX;
	case 0x30:
		return constant && b ? a / b : a;
	case 0x40:
	case 0xa0:
		return filled(a | b);
	case 0x50:
		return a < b ? a : b;
	case 0x60:
		return constant && b < 20 && a < UINT32_MAX ? a << b : UINT64_MAX;
	case 0x70:
		return constant ? a >> (b & 63) : a;
	case 0x90:
		return constant && b ? (b - 1 < a ? b - 1 : a) : a;
	}
	return UINT64_MAX;
}

static void say_alu(struct gen *g)
{
	static const uint8_t ops[] = { 0x00, 0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x50, 0x60, 0x70, 0x70, 0x90, 0xa0, 0xc0 };
	const uint32_t d = pick_num(g), other = pick(g, NUM);
	struct belief *b = &g->now.r[d];
	uint8_t op = ops[below(g, sizeof(ops))];
	const bool wide = chance(g, 60), reg = other < 10 && chance(g, 40);
	const uint32_t bits = wide ? 64 : 32;
	const uint32_t sign = (op == 0x30 || op == 0x90) && chance(g, 30);
	int32_t imm = (int32_t)pf_rng_edge(g->rng);

	if (chance(g, 6)) { /* unary, swaps, sign extensions */
		static const struct { uint8_t code, off, imm; } unary[] = {
			{ 0x87, 0, 0 }, { 0x84, 0, 0 }, { 0xd4, 0, 16 }, { 0xd4, 0, 32 }, { 0xdc, 0, 16 }, { 0xdc, 0, 32 },
			{ 0xdc, 0, 64 }, { 0xd7, 0, 16 }, { 0xd7, 0, 32 }, { 0xd7, 0, 64 },
		};
		const uint32_t u = below(g, 10);
		emit(g, unary[u].code, d, 0, 0, unary[u].imm);
		b->max = unary[u].imm == 16 ? 0xffff : unary[u].imm == 32 || unary[u].code == 0x84 ? UINT32_MAX : UINT64_MAX;
		return;
	}
	if (chance(g, 10)) {
		static const uint8_t from[] = { 8, 16, 32 };
		const uint32_t s = pick_num(g), width = from[below(g, wide ? 3 : 2)];
		emit(g, wide ? 0xbf : 0xbc, d, s, (int32_t)width, 0);
		b->max = g->now.r[s].max < UINT64_C(1) << (width - 1) ? g->now.r[s].max : wide ? UINT64_MAX : UINT32_MAX;
		return;
	}
	if (chance(g, 8)) {
		const uint32_t s = pick_num(g), to = pick_free(g, 1u << s);
		const bool whole = chance(g, 70);
		emit(g, whole ? 0xbf : 0xbc, to, s, 0, 0);
		g->now.r[to] = g->now.r[s];
		if (!whole && g->now.r[to].max > UINT32_MAX)
			g->now.r[to].max = UINT32_MAX;
		return;
	}
	if (op == 0x60 || op == 0x70 || op == 0xc0)
		imm = (int32_t)below(g, bits);
	else if ((op == 0x30 || op == 0x90) && (imm == 0 || chance(g, 50)))
		imm = 1 + (int32_t)below(g, 64);
	else if (chance(g, 50))
		imm = (int32_t)below(g, 64);
	emit(g, (uint8_t)(op | (wide ? 7 : 4) | (reg ? 8 : 0)), d, reg ? other : 0, (int32_t)sign, reg ? 0 : imm);
	const uint64_t with = reg ? g->now.r[other].max : wide ? (uint64_t)(int64_t)imm : (uint32_t)imm;
	b->max = sign ? UINT64_MAX : max_after(op, b->max, with, !reg);
	if (!wide && b->max > UINT32_MAX)
		b->max = UINT32_MAX;
	if (chance(g, 40))
		g->prefer = d + 1;
}

static uint8_t comparison(struct gen *g, uint8_t op)
{
	return (uint8_t)(op | (chance(g, 75) ? 5 : 6));
}

/* Where the condition holds the program leaves, or gives the register a value that will do; `also`, when it is another
 * register, is then that value less `far`. */
static void unless_both(struct gen *g, uint8_t code, uint32_t dst, uint32_t src, int32_t imm, int32_t limit, uint32_t also,
			int32_t far)
{
	if (chance(g, 12)) {
		to_exit(g, emit(g, code, dst, src, 0, imm));
		return;
	}
	const int32_t value = (int32_t)below(g, (uint32_t)limit + 1);
	emit(g, code, dst, src, 1, imm);
	emit(g, 0x05, 0, 0, also == dst ? 1 : 2, 0);
	emit(g, 0xb7, dst, 0, 0, value + far);
	if (also != dst)
		emit(g, 0xb7, also, 0, 0, value);
}

static void unless(struct gen *g, uint8_t code, uint32_t dst, uint32_t src, int32_t imm, int32_t limit)
{
	unless_both(g, code, dst, src, imm, limit, dst, 0);
}

static void bound_by_branch(struct gen *g, uint32_t r, int32_t limit)
{
	const uint32_t t = pick_free(g, 1u << r);
	uint32_t skip;
	switch (below(g, 12)) {
	case 0:
		unless(g, 0x25, r, 0, limit, limit);
		break;
	case 1:
		unless(g, 0x35, r, 0, limit + 1, limit);
		break;
	case 2: /* signed, both ends */
		unless(g, 0x65, r, 0, limit, limit);
		if (!careless(g))
			unless(g, 0xc5, r, 0, 0, limit);
		break;
	case 3: /* clamp */
		if (chance(g, 50)) {
			emit_const(g, t, limit);
			skip = emit(g, 0xbd, r, t, 0, 0);
		} else {
			skip = emit(g, 0xb5, r, 0, 0, limit);
		}
		emit(g, 0xb7, r, 0, 0, (int32_t)below(g, (uint32_t)limit + 1));
		land(g, skip);
		break;
	case 4: /* a copy is compared */
		emit_mov(g, t, r);
		unless_both(g, 0x25, t, 0, limit, limit, r, 0);
		g->now.r[t].max = (uint64_t)limit;
		if (chance(g, 40))
			emit_mov(g, r, t);
		break;
	case 5: /* a number in a register */
		emit_const(g, t, limit);
		skip = chance(g, 50);
		unless(g, skip ? 0x2d : 0x7d, r, t, 0, limit);
		if (!skip && !careless(g))
			unless(g, 0xc5, r, 0, 0, limit);
		break;
	case 6: /* 32 bits, and the upper half cleared before or after */
		if (chance(g, 50) && !careless(g))
			emit(g, 0xbc, r, r, 0, 0);
		unless(g, 0x26, r, 0, limit, limit);
		if (!careless(g))
			emit(g, 0xbc, r, r, 0, 0);
		break;
	case 7:
		unless(g, 0x45, r, 0, ~(int32_t)(filled((uint64_t)limit) >> (filled((uint64_t)limit) != (uint64_t)limit)), limit);
		break;
	case 8:
		skip = emit(g, 0xb5, r, 0, 0, limit);
		to_exit(g, emit(g, 0x05, 0, 0, 0, 0));
		land(g, skip);
		break;
	case 10:
	case 11: { /* something at a distance is compared */
		const int32_t far = 1 + (int32_t)below(g, 60);
		emit(g, 0x57, r, 0, 0, 0xffff);
		emit_mov(g, t, r);
		emit(g, 0x07, t, 0, 0, far);
		unless_both(g, 0x25, t, 0, limit + far, limit, r, far);
		g->now.r[t].max = (uint64_t)limit + (uint64_t)far;
		g->prefer = r + 1;
		break;
	}
	case 9: /* equal to one of two */
		skip = emit(g, 0x15, r, 0, 0, (int32_t)below(g, (uint32_t)limit + 1));
		emit(g, 0xb7, r, 0, 0, (int32_t)below(g, (uint32_t)limit + 1));
		land(g, skip);
		break;
	}
}

void bound(struct gen *g, uint32_t r, uint64_t limit)
{
	const uint32_t slip = careless(g) ? 1 + below(g, 8) : 0;
	struct belief *b = &g->now.r[r];
	const uint64_t was = b->max;

	if (limit > 100000)
		limit = 100000;
	b->max = limit;
	if (was <= limit && chance(g, 70)) {
		b->max = was;
		return;
	}
	if (careless(g) && chance(g, 30))
		return; /* forgotten */
	const int32_t to = (int32_t)(limit + slip);
	const uint64_t mask = filled((uint64_t)to) == (uint64_t)to ? (uint64_t)to : filled((uint64_t)to) >> 1;
	switch (below(g, 8)) {
	case 0:
	case 1:
		emit(g, chance(g, 60) ? 0x57 : 0x54, r, 0, 0, (int32_t)mask);
		b->max = mask;
		break;
	case 2:
		emit(g, chance(g, 60) ? 0x97 : 0x94, r, 0, 0, to + 1);
		break;
	case 3: {
		const int32_t k = __builtin_popcountll(mask);
		const bool wide = chance(g, 60);
		if (!k || careless(g)) {
			emit(g, 0x57, r, 0, 0, (int32_t)mask);
		} else if (chance(g, 30)) { /* sign-extended, moved up */
			emit(g, 0x67, r, 0, 0, 64 - k);
			emit(g, 0xc7, r, 0, 0, 64 - k);
			emit(g, 0x07, r, 0, 0, 1 << (k - 1));
		} else {
			emit(g, wide ? 0x77 : 0x74, r, 0, 0, wide ? 64 - k : 32 - k);
		}
		b->max = mask;
		break;
	}
	default:
		bound_by_branch(g, r, to);
		g->now.r[r].max = limit;
		break;
	}
}

static void say_bound(struct gen *g)
{
	static const uint8_t limits[] = { 0, 1, 3, 7, 15, 16, 30, 31, 40, 63, 100, 127, 200, 255 };
	bound(g, pick_num(g), limits[below(g, sizeof(limits))]);
}

/* ---- structure ---- */

void merge(struct gen *g, const struct scope *other)
{
	for (uint32_t i = 0; i < 10 + SLOTS; i++) {
		struct belief *a = i < 10 ? &g->now.r[i] : &g->now.slot[i - 10];
		const struct belief *b = i < 10 ? &other->r[i] : &other->slot[i - 10];
		if (a->kind != b->kind || (a->kind != NUM && (a->off != b->off || a->object != b->object || a->map != b->map)))
			*a = (struct belief){ .kind = NONE };
		else {
			a->max = a->max > b->max ? a->max : b->max;
			a->null |= b->null;
		}
	}
	for (uint32_t i = 0; i < OBJECTS; i++)
		if (g->now.proved[i] > other->proved[i])
			g->now.proved[i] = other->proved[i];
}

static uint32_t condition(struct gen *g)
{
	static const uint8_t ops[] = { 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0xa0, 0xb0, 0xc0, 0xd0 };
	const uint32_t wanted = g->prefer - 1, other = pick(g, NUM);
	const uint32_t r = wanted < 10 && g->now.r[wanted].kind == NUM ? wanted : pick_num(g);
	const uint8_t code = comparison(g, ops[below(g, sizeof(ops))]);
	const uint64_t max = g->now.r[r].max;
	if (other < 10 && other != r && chance(g, 30))
		return emit(g, code | 8, r, other, 0, 0);
	/* Near what is believed to be its bound, one way or the other is often impossible. */
	const int32_t imm = max < INT32_MAX && chance(g, 60) ? (int32_t)((uint32_t)max + below(g, 3) - 1) :
							       (int32_t)pf_rng_edge(g->rng);
	return emit(g, code, r, 0, 0, imm);
}

static void say_if(struct gen *g)
{
	g->depth++;
	const uint32_t jump = condition(g);
	const struct scope before = g->now;
	statements(g, 1 + below(g, 3));
	if (chance(g, 40)) {
		const uint32_t end = emit(g, 0x05, 0, 0, 0, 0);
		const struct scope first = g->now;
		land(g, jump);
		g->now = before;
		statements(g, 1 + below(g, 2));
		land(g, end);
		merge(g, &first);
	} else {
		land(g, jump);
		merge(g, &before);
	}
	g->depth--;
}

/* Two values of one register meet: what holds for the first path need not hold for the second. */
static void say_diamond(struct gen *g)
{
	const uint32_t r = pick_free(g, 0), low = below(g, 32), high = careless(g) ? 200 + below(g, 4000) : below(g, 60);
	emit_const(g, r, (int32_t)(chance(g, 50) ? low : high));
	const uint32_t first = (uint32_t)g->s->insns[g->s->count - 1].imm;
	g->kept_regs |= (uint16_t)(1u << r);
	const uint32_t jump = condition(g);
	g->kept_regs &= (uint16_t)~(1u << r);
	emit_const(g, r, (int32_t)(first == low ? high : low));
	land(g, jump);
	set_num(g, r, careless(g) ? low : low > high ? low : high);
	if (chance(g, 50))
		statements(g, 1);
	if (chance(g, 70) && g->now.r[r].kind == NUM)
		say_variable(g);
}

static void say_loop(struct gen *g)
{
	const uint16_t regs = g->kept_regs, slots = g->kept_slots;
	const uint32_t counter = 7 + below(g, 3), bound_reg = pick(g, NUM);
	if (g->loops >= 2 || regs >> counter & 1 || g->now.r[counter].kind == PKT)
		return;
	g->depth++;
	g->loops++;
	const uint32_t rounds = 4 + below(g, 14);
	emit_const(g, counter, 0);
	for (uint32_t r = 0; r < 6; r++)
		set(g, r, NONE);
	g->now.r[counter].max = rounds;
	for (uint32_t r = 6; r < 10; r++)
		if (g->now.r[r].kind != NONE && !(g->now.r[r].kind == NUM && g->now.r[r].max == UINT64_MAX))
			g->kept_regs |= (uint16_t)(1u << r);
	g->kept_regs |= (uint16_t)(1u << counter);
	for (uint32_t s = 0; s < SLOTS; s++)
		if (g->now.slot[s].kind != NONE)
			g->kept_slots |= (uint16_t)(1u << s);
	const struct scope entry = g->now;
	const uint32_t head = g->s->count;
	statements(g, 1 + below(g, 3));
	emit(g, chance(g, 70) ? 0x07 : 0x04, counter, 0, 0, 1);
	uint32_t back;
	if (bound_reg >= 7 && bound_reg < 10 && bound_reg != counter && entry.r[bound_reg].kind == NUM &&
	    entry.r[bound_reg].max <= 16 && g->now.r[bound_reg].kind == NUM)
		back = emit(g, 0xad, counter, bound_reg, 0, 0);
	else
		back = emit(g, chance(g, 60) ? 0xa5 : chance(g, 50) ? 0x55 : 0xa6, counter, 0, 0, (int32_t)rounds);
	g->s->insns[back].off = (int16_t)((int32_t)head - (int32_t)back - 1);
	g->kept_regs = regs;
	g->kept_slots = slots;
	merge(g, &entry);
	for (uint32_t r = 0; r < 6; r++)
		set(g, r, NONE);
	g->now.r[counter].max = rounds + 1;
	g->depth--;
	g->loops--;
}

void statement(struct gen *g)
{
	static void (*const says[])(struct gen *g) = {
		say_alu, say_alu, say_alu, say_alu, say_bound, say_if, say_if, say_diamond, say_loop, say_access, say_access,
		say_access, say_packet_check, say_variable, say_variable, say_variable, say_spill, say_spill, say_lookup,
		say_lookup, say_helper, say_bytes, say_move, say_call, say_callback, say_tail_call,
	};
	static const uint8_t weights[] = { 10, 10, 8, 8, 6, 8, 3, 9, 7, 12, 12, 8, 10, 14, 14, 10, 8, 6, 10, 6, 5, 5, 3, 4, 3, 1 };
	_Static_assert(sizeof(weights) == sizeof(says) / sizeof(says[0]), "a weight for each");
	uint32_t total = 0, n;

	if (full(g))
		return;
	for (uint32_t i = 0; i < sizeof(weights); i++)
		total += weights[i];
	n = below(g, total);
	for (uint32_t i = 0; i < sizeof(weights); i++) {
		if (n < weights[i]) {
			if (says[i] == say_move && g->loops && !careless(g))
				return;
			if (g->depth > 3 && (says[i] == say_if || says[i] == say_loop || says[i] == say_diamond))
				return;
			says[i](g);
			return;
		}
		n -= weights[i];
	}
}

void statements(struct gen *g, uint32_t n)
{
	while (n-- && !full(g))
		statement(g);
}

/* The end that all exits go to. */
void end_function(struct gen *g, int32_t result)
{
	if (g->exit_count) {
		emit(g, 0x05, 0, 0, 1, 0);
		const uint32_t exit = emit(g, 0xb7, 0, 0, 0, result);
		for (uint32_t i = 0; i < g->exit_count; i++)
			g->s->insns[g->exits[i]].off = (int16_t)(exit - g->exits[i] - 1);
	}
	emit(g, 0x95, 0, 0, 0, 0);
}

void pf_campaign_make(struct pf_sample *s, struct pf_rng *rng)
{
	struct gen g = { .rng = rng, .s = s, .objects = 1 };

	s->count = 0;
	s->mutated = false;
	g.careless = pf_rng_chance(rng, 20) ? 0 : 4 + pf_rng_below(rng, 28);
	set(&g, 1, CTX);
	emit_mov(&g, 6, 1);
	if (chance(&g, 85))
		(void)need_packet(&g);
	statements(&g, 13 + below(&g, 11));
	const uint32_t r = chance(&g, 50) ? pick(&g, NUM) : 16;
	emit(&g, r < 10 ? 0xbf : 0xb7, 0, r < 10 ? r : 0, 0, r < 10 ? 0 : 2);
	end_function(&g, 1);
	make_functions(&g);
	if (g.careless && chance(&g, 12))
		pf_campaign_mutate(s, rng, 1);
}

/* ---- mutation ---- */

static void mutate_one(struct pf_sample *s, struct pf_rng *rng, uint32_t at)
{
	struct pf_insn *i = &s->insns[at];
	const uint32_t class = i->code & 7;
	static const uint8_t sizes[] = { 0x00, 0x08, 0x10, 0x18 };
	static const uint8_t jumps[] = { 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0xa0, 0xb0, 0xc0, 0xd0 };
	static const uint8_t alus[] = { 0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x90, 0xa0, 0xc0 };
	const bool call = i->code == 0x85 || i->code == 0x95 || i->code == 0x05 || i->code == 0x06;

	if (i->code == 0x18 || (at && s->insns[at - 1].code == 0x18))
		return;
	switch (pf_rng_below(rng, 9)) {
	case 0:
		if (!call && !(i->code & 8 && class >= 4) && class != 1 && class != 3)
			i->imm = (int32_t)pf_rng_edge(rng);
		break;
	case 1:
		if (!call && !(i->code & 8 && class >= 4) && class != 1 && class != 3)
			i->imm += (int32_t)pf_rng_below(rng, 5) - 2;
		break;
	case 2:
		if (!call)
			i->dst = (uint8_t)(pf_rng_below(rng, 10) & 15);
		break;
	case 3:
		if (!call && (class == 1 || class == 3 || i->code & 8))
			i->src = (uint8_t)(pf_rng_below(rng, 11) & 15);
		break;
	case 4:
		if (class >= 1 && class <= 3)
			i->off = (int16_t)(i->off + (int)pf_rng_below(rng, 17) - 8);
		break;
	case 5:
		if (class >= 1 && class <= 3 && (i->code & 0xe0) == 0x60)
			i->code = (uint8_t)((i->code & ~0x18) | sizes[pf_rng_below(rng, 4)]);
		else if (!call && (class == 5 || class == 6))
			i->code = (uint8_t)((i->code & 0x0f) | jumps[pf_rng_below(rng, 11)]);
		else if ((class == 4 || class == 7) && (i->code & 0xf0) != 0xd0 && (i->code & 0xf0) != 0x80 && !i->off)
			i->code = (uint8_t)((i->code & 0x0f) | alus[pf_rng_below(rng, 11)]);
		break;
	case 6: /* the other width */
		if (!call && class >= 4 && (i->code & 0xf0) != 0xd0)
			i->code ^= 3;
		break;
	case 7: /* nothing instead */
		*i = (struct pf_insn){ .code = 0x05 };
		break;
	case 8:
		if (!call && (class == 5 || class == 6))
			i->off = (int16_t)(i->off + (int)pf_rng_below(rng, 5) - 2);
		break;
	}
}

void pf_campaign_mutate(struct pf_sample *s, struct pf_rng *rng, uint32_t changes)
{
	while (changes-- && s->count > 1)
		mutate_one(s, rng, pf_rng_below(rng, s->count - 1));
}
