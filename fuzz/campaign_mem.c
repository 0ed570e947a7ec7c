/* campaign_mem.c - inside the generator: packet checks, accesses with fixed and variable offsets, spills. */
#include "campaign_gen.h"

static const uint8_t loads[] = { 0x71, 0x69, 0x61, 0x79, 0x91, 0x89, 0x81 };
static const uint8_t load_sizes[] = { 1, 2, 4, 8, 1, 2, 4 };
static const uint64_t load_max[] = { 0xff, 0xffff, UINT32_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX };

static uint32_t value_size(const struct belief *b)
{
	return b->map == 255 ? pf_pool_inner.value_size : pf_pool_defs[b->map % PF_POOLS].value_size;
}

/* One access within `room` bytes from where the register and off point. */
void access_at(struct gen *g, uint32_t base, int32_t off, uint32_t room, bool readonly)
{
	uint32_t l = below(g, 7);
	const bool atomics = g->now.r[base].kind == VAL || g->now.r[base].kind == STK;
	while (load_sizes[l] > room && l)
		l--;
	const uint32_t size = load_sizes[l];
	if (room < size)
		return;
	uint32_t at = below(g, room - size + 1);
	if (chance(g, 40) || careless(g))
		at = room - size; /* the last place */
	if (careless(g) && chance(g, 30))
		at += 1 + below(g, 8);
	const bool aligned = g->now.r[base].kind == STK || careless(g);
	if (aligned)
		at -= (uint32_t)(off + (int32_t)at) % size;
	off += (int32_t)at;
	if (!readonly && chance(g, 45)) {
		static const uint8_t stores[] = { 0x73, 0x6b, 0x63, 0x7b, 0x73, 0x6b, 0x63 };
		const uint32_t num = pick(g, NUM);
		if (atomics && size >= 4 && off % (int32_t)size == 0 && g->now.r[base].max == 0 && num < 10 && chance(g, 30)) {
			static const int32_t ops[] = { 0x00, 0x01, 0x40, 0x51, 0xa1, 0xe1 };
			const uint32_t op = below(g, 6);
			if ((ops[op] & 1) && (g->kept_regs >> num & 1))
				return;
			emit(g, size == 8 ? 0xdb : 0xc3, base, num, off, ops[op]);
			if (ops[op] & 1)
				g->now.r[num].max = size == 8 ? UINT64_MAX : UINT32_MAX;
		} else if (num < 10 && chance(g, 60)) {
			emit(g, stores[l], base, num, off, 0);
		} else {
			emit(g, stores[l] - 1, base, 0, off, (int32_t)pf_rng_edge(g->rng));
		}
		return;
	}
	const uint32_t r = pick_free(g, 1u << base);
	emit(g, loads[l], r, base, off, 0);
	set_num(g, r, load_max[l]);
}

/* ---- the packet ---- */

/* A packet pointer with the end beside it; loads both when there are none. 16: there is no ctx. */
uint32_t need_packet(struct gen *g)
{
	uint32_t p = pick(g, PKT);
	if (p < 10 && pick(g, END) < 10)
		return p;
	const uint32_t ctx = pick(g, CTX);
	if (ctx > 9)
		return 16;
	if (p > 9) {
		p = pick_free(g, 1u << ctx);
		emit(g, 0x61, p, ctx, 0, 0);
		set(g, p, PKT);
	}
	if (pick(g, END) > 9) {
		const uint32_t e = pick_free(g, 1u << ctx | 1u << p);
		emit(g, 0x61, e, ctx, 4, 0);
		set(g, e, END);
	}
	return p;
}

/* `sum` <= end on the way on; returns how many bytes that proves beside what was added. */
static int32_t compare_with_end(struct gen *g, uint32_t sum, uint32_t end)
{
	uint32_t skip;
	switch (below(g, 7)) {
	case 0:
	case 1:
		to_exit(g, emit(g, 0x2d, sum, end, 0, 0));
		return 0;
	case 2:
		to_exit(g, emit(g, 0xad, end, sum, 0, 0));
		return 0;
	case 3:
		skip = emit(g, 0xbd, sum, end, 0, 0);
		to_exit(g, emit(g, 0x05, 0, 0, 0, 0));
		land(g, skip);
		return 0;
	case 4:
		skip = emit(g, 0x3d, end, sum, 0, 0);
		to_exit(g, emit(g, 0x05, 0, 0, 0, 0));
		land(g, skip);
		return 0;
	case 5:
		to_exit(g, emit(g, 0x3d, sum, end, 0, 0));
		return 1;
	}
	to_exit(g, emit(g, 0xbd, end, sum, 0, 0));
	return 1;
}

static void check_packet(struct gen *g, uint32_t p, uint32_t end)
{
	static const uint8_t lengths[] = { 1, 2, 8, 14, 14, 14, 18, 20, 34, 34, 40, 42, 54, 54, 60 };
	const uint32_t n = lengths[below(g, sizeof(lengths))], object = g->now.r[p].object;
	const uint32_t sum = pick_free(g, 1u << p | 1u << end);
	if (sum == p || sum == end)
		return;
	if (careless(g) && chance(g, 20))
		return;
	emit_mov(g, sum, p);
	emit(g, 0x07, sum, 0, 0, (int32_t)n);
	g->now.r[sum].off += (int32_t)n;
	const int32_t total = g->now.r[sum].off + compare_with_end(g, sum, end) + (careless(g) ? 1 : 0);
	if (total > g->now.proved[object])
		g->now.proved[object] = (uint16_t)total;
	if (chance(g, 30)) { /* the meta data, once in a while */
		const uint32_t ctx = pick(g, CTX);
		if (ctx < 10 && chance(g, 20)) {
			const uint32_t m = pick_free(g, 1u << p | 1u << end | 1u << ctx), d = pick_free(g, 1u << m | 1u << ctx);
			if (m == d || m == ctx || d == ctx)
				return;
			emit(g, 0x61, d, ctx, 0, 0);
			emit(g, 0x61, m, ctx, 8, 0);
			set(g, d, PKT);
			set(g, m, NONE);
			const uint32_t s = pick_free(g, 1u << m | 1u << d);
			emit(g, 0xbf, s, m, 0, 0);
			emit(g, 0x07, s, 0, 0, 4);
			to_exit(g, emit(g, 0x2d, s, d, 0, 0));
			set(g, s, NONE);
			emit(g, 0x61, s, m, careless(g) ? 1 : 0, 0);
			set_num(g, s, UINT32_MAX);
		}
	}
}

void say_packet_check(struct gen *g)
{
	const uint32_t p = need_packet(g);
	const uint32_t end = pick(g, END);
	if (p < 10 && end < 10)
		check_packet(g, p, end);
}

static void access_packet(struct gen *g)
{
	uint32_t p = need_packet(g);
	if (p > 9)
		return;
	const struct belief *b = &g->now.r[p];
	if (b->off < 0 || g->now.proved[b->object] <= b->off) {
		say_packet_check(g);
		p = pick(g, PKT);
		if (p > 9)
			return;
		b = &g->now.r[p];
	}
	if (b->off >= 0 && g->now.proved[b->object] > b->off)
		access_at(g, p, 0, (uint32_t)(g->now.proved[b->object] - b->off), false);
}

static void access_value(struct gen *g)
{
	const uint32_t p = pick(g, VAL);
	if (p > 9 || (g->now.r[p].null && !careless(g)))
		return;
	const struct belief *b = &g->now.r[p];
	const int64_t room = (int64_t)value_size(b) - b->off - (int64_t)b->max;
	if (b->off >= 0 && room > 0)
		access_at(g, p, 0, (uint32_t)room, b->map == PF_POOL_RODATA && !careless(g));
}

static void access_direct(struct gen *g)
{
	static const uint8_t maps[] = { PF_POOL_DIRECT, PF_POOL_DIRECT, PF_POOL_BIG, PF_POOL_RODATA };
	const uint32_t r = pick_free(g, 0), map = maps[below(g, 4)], off = 8 * below(g, 4);
	emit_wide(g, r, 2, (uint64_t)off << 32 | map);
	g->now.r[r] = (struct belief){ .kind = VAL, .map = (uint8_t)map, .off = (int32_t)off };
	access_at(g, r, 0, pf_pool_defs[map].value_size - off, map == PF_POOL_RODATA);
}

static void access_stack(struct gen *g)
{
	const uint32_t s = slot_for(g);
	const uint32_t p = pick(g, STK);
	if (p < 10 && chance(g, 40) && g->now.r[p].max == 0 && g->now.r[p].off < 0) {
		access_at(g, p, 0, (uint32_t)-g->now.r[p].off < 8 ? (uint32_t)-g->now.r[p].off : 8, false);
		return;
	}
	if (s == SLOTS)
		return;
	g->now.slot[s].kind = NONE;
	const uint32_t r = pick_free(g, 0);
	const uint32_t l = below(g, 4);
	emit(g, (uint8_t)(loads[l] + 1), 10, 0, -(int)(8 * (s + 1)), (int32_t)pf_rng_edge(g->rng));
	emit(g, loads[below(g, l + 1)], r, 10, -(int)(8 * (s + 1)), 0);
	set_num(g, r, UINT64_MAX);
}

void say_access(struct gen *g)
{
	switch (below(g, 8)) {
	case 0:
	case 1:
	case 2:
		access_packet(g);
		break;
	case 3:
	case 4:
	case 5:
		access_value(g);
		break;
	case 6:
		access_direct(g);
		break;
	case 7:
		access_stack(g);
		break;
	}
}

/* ---- variable offsets ---- */

static uint32_t usable_num(struct gen *g, uint32_t except)
{
	const uint32_t wanted = g->prefer - 1;
	g->prefer = 0;
	if (wanted < 10 && g->now.r[wanted].kind == NUM && !((except | g->kept_regs) >> wanted & 1))
		return wanted;
	for (uint32_t tries = 0; tries < 4; tries++) {
		const uint32_t n = pick_num(g);
		if (!(except >> n & 1))
			return n;
	}
	return 16;
}

/* to = base + n, in one of the ways; both must be there. */
static void add_offset(struct gen *g, uint32_t to, uint32_t base, uint32_t n)
{
	const uint32_t scale = chance(g, 20) && g->now.r[n].max < 64 && !(g->kept_regs >> n & 1) ? 1 + below(g, 2) : 0;
	if (scale) {
		emit(g, 0x67, n, 0, 0, (int32_t)scale);
		g->now.r[n].max <<= scale;
	}
	if (chance(g, 70)) {
		emit(g, 0xbf, to, base, 0, 0);
		emit(g, 0x0f, to, n, 0, 0);
	} else {
		emit(g, 0xbf, to, n, 0, 0);
		emit(g, 0x0f, to, base, 0, 0);
	}
	g->now.r[to] = g->now.r[base];
	g->now.r[to].max += g->now.r[n].max;
	if (chance(g, 8)) { /* less a little, or a little less than that */
		emit(g, 0x17, to, 0, 0, 1);
		g->now.r[to].off -= 1;
		if (chance(g, 50)) {
			emit(g, 0x07, to, 0, 0, 1);
			g->now.r[to].off += 1;
		}
	}
}

static void variable_packet(struct gen *g)
{
	const uint32_t p = need_packet(g);
	if (p > 9)
		return;
	const uint32_t n = usable_num(g, 1u << p);
	if (n > 9 || g->now.r[p].kind != PKT)
		return;
	static const uint16_t limits[] = { 3, 15, 31, 60, 63, 255, 1000 };
	bound(g, n, limits[below(g, 7)]);
	const uint32_t to = pick_free(g, 1u << p | 1u << n);
	if (to == p || to == n || g->now.r[p].kind != PKT || g->now.r[n].kind != NUM || g->objects + 1 >= OBJECTS)
		return;
	add_offset(g, to, p, n);
	g->now.r[to].object = g->objects++;
	g->now.proved[g->now.r[to].object] = 0;
	const uint32_t end = pick(g, END);
	if (end > 9)
		return;
	check_packet(g, to, end);
	const int32_t room = g->now.proved[g->now.r[to].object] - g->now.r[to].off;
	if (g->now.r[to].kind == PKT && room > 0 && g->now.r[to].off >= 0)
		access_at(g, to, 0, (uint32_t)room, false);
}

static void variable_value(struct gen *g)
{
	uint32_t p = pick(g, VAL);
	if (p > 9 || g->now.r[p].null || chance(g, 25)) {
		static const uint8_t maps[] = { PF_POOL_DIRECT, PF_POOL_BIG, PF_POOL_RODATA };
		const uint32_t map = maps[below(g, 3)];
		p = pick_free(g, 0);
		emit_wide(g, p, 2, map);
		g->now.r[p] = (struct belief){ .kind = VAL, .map = (uint8_t)map };
	}
	const uint32_t n = usable_num(g, 1u << p);
	const int64_t room = (int64_t)value_size(&g->now.r[p]) - g->now.r[p].off - (int64_t)g->now.r[p].max;
	if (n > 9 || room < 9 || g->now.r[p].kind != VAL)
		return;
	/* What is allowed is mostly used up to the last byte. */
	bound(g, n, chance(g, 50) ? (uint64_t)room - 8 : below(g, (uint32_t)room - 7));
	const uint32_t to = pick_free(g, 1u << p | 1u << n);
	if (to == p || to == n || g->now.r[p].kind != VAL || g->now.r[n].kind != NUM)
		return;
	add_offset(g, to, p, n);
	const int64_t left = (int64_t)value_size(&g->now.r[to]) - g->now.r[to].off - (int64_t)g->now.r[to].max;
	if (left > 0 && g->now.r[to].off >= 0)
		access_at(g, to, 0, (uint32_t)left, g->now.r[to].map == PF_POOL_RODATA);
}

/* Among what is spilled: a number there may be another afterwards. */
static void variable_spilled(struct gen *g)
{
	const uint32_t n = usable_num(g, 0), s = 4 + below(g, 6);
	const int32_t at = -(int)(8 * (s + 1)), value = (int32_t)below(g, 64);
	if (n > 9 || g->kept_slots || g->kept_regs >> n & 1)
		return;
	emit(g, 0x57, n, 0, 0, 0x18);
	g->now.r[n].max = 24;
	const uint32_t to = pick_free(g, 1u << n), r = pick_free(g, 1u << n | 1u << to);
	if (to == n || r == to)
		return;
	emit_const(g, r, value);
	emit(g, 0x7b, 10, r, at, 0);
	emit(g, 0xbf, to, 10, 0, 0);
	emit(g, 0x0f, to, n, 0, 0);
	emit(g, 0x7a, to, 0, at - 8 * (int)below(g, 4), (int32_t)below(g, 4096));
	set(g, to, NONE);
	emit(g, 0x79, r, 10, at, 0);
	set_num(g, r, g->careless ? (uint64_t)value : UINT64_MAX);
	for (uint32_t i = 0; i < SLOTS; i++)
		g->now.slot[i].kind = NONE;
	g->prefer = r + 1;
	say_variable(g);
}

static void variable_stack(struct gen *g)
{
	if (chance(g, 40)) {
		variable_spilled(g);
		return;
	}
	const uint32_t n = usable_num(g, 0);
	const int32_t low = -(int)(8 * SLOTS) - 32;
	if (n > 9)
		return;
	bound(g, n, 31);
	if (g->now.r[n].kind != NUM || g->kept_regs >> n & 1)
		return;
	const uint32_t size = g->now.r[n].max < 32 ? 8 : 1;
	emit(g, 0x57, n, 0, 0, careless(g) ? 0x1c : 0x18);
	const uint32_t to = pick_free(g, 1u << n);
	if (to == n)
		return;
	g->now.r[n].max = 24;
	emit(g, 0xbf, to, 10, 0, 0);
	if (chance(g, 50)) {
		emit(g, 0x07, to, 0, 0, low);
		emit(g, 0x0f, to, n, 0, 0);
	} else {
		emit(g, 0x0f, to, n, 0, 0);
		emit(g, 0x07, to, 0, 0, low);
	}
	set(g, to, NONE);
	/* Sometimes among the spilled. */
	const int32_t up = chance(g, 30) ? 8 * (int)below(g, 11) : 0;
	if (up && !careless(g))
		for (uint32_t s = 0; s < SLOTS; s++) {
			if (g->kept_slots >> s & 1)
				return;
			g->now.slot[s].kind = NONE;
		}
	if (chance(g, 50))
		emit(g, size == 8 ? 0x7a : 0x72, to, 0, up, (int32_t)below(g, 100));
	const uint32_t r = pick_free(g, 1u << to);
	emit(g, size == 8 ? 0x79 : 0x71, r, to, careless(g) ? 9 : up, 0);
	set_num(g, r, size == 8 ? UINT64_MAX : 255);
}

void say_variable(struct gen *g)
{
	switch (below(g, 7)) {
	case 0:
	case 1:
		variable_packet(g);
		break;
	case 6:
		variable_stack(g);
		break;
	default:
		variable_value(g);
		break;
	}
}

/* ---- spills ---- */

uint32_t slot_for(struct gen *g)
{
	for (uint32_t tries = 0; tries < 8; tries++) {
		const uint32_t s = below(g, SLOTS);
		if (!(g->kept_slots >> s & 1) && (g->now.slot[s].kind == NONE || tries > 5))
			return s;
	}
	return SLOTS;
}

static void fill(struct gen *g, uint32_t s)
{
	const uint32_t r = pick_free(g, 0);
	const int32_t off = -(int)(8 * (s + 1));
	if (g->now.slot[s].kind == NUM && chance(g, 25)) {
		static const uint8_t narrow[] = { 0x61, 0x69, 0x71 };
		const uint32_t l = below(g, 3);
		const uint64_t top = l == 0 ? UINT32_MAX : l == 1 ? 0xffff : 0xff;
		emit(g, narrow[l], r, 10, off + (careless(g) ? 4 : 0), 0);
		set_num(g, r, g->now.slot[s].max < top ? g->now.slot[s].max : top);
		g->prefer = r + 1;
		return;
	}
	emit(g, 0x79, r, 10, off, 0);
	g->now.r[r] = g->now.slot[s];
}

/* A spilled register is overwritten in part, from its first byte on or in its middle, and filled as a whole. */
static void overwrite(struct gen *g)
{
	static const uint8_t stores[] = { 0x72, 0x6a, 0x62 };
	const uint32_t r = below(g, 10), s = slot_for(g), size = below(g, 3), num = pick(g, NUM);
	const int32_t off = -(int)(8 * (s + 1)), imm = (int32_t)below(g, 64);
	if (s == SLOTS || g->now.r[r].kind == NONE)
		return;
	emit(g, 0x7b, 10, r, off, 0);
	if (num < 10 && chance(g, 30))
		emit(g, stores[size] + 1, 10, num, off, 0);
	else
		emit(g, stores[size], 10, 0, off + (chance(g, 25) ? 4 : 0), imm);
	const uint32_t to = pick_free(g, 0);
	emit(g, chance(g, 70) ? 0x79 : 0x61, to, 10, off, 0);
	set_num(g, to, g->careless && chance(g, 60) ? (uint64_t)imm : UINT64_MAX);
	g->now.slot[s].kind = NONE;
	g->prefer = to + 1;
	say_variable(g);
}

void say_spill(struct gen *g)
{
	if (chance(g, 12)) {
		overwrite(g);
		return;
	}
	const uint32_t start = below(g, SLOTS);
	for (uint32_t i = 0; i < SLOTS; i++) {
		const uint32_t s = (start + i) % SLOTS;
		if (g->now.slot[s].kind == NONE || chance(g, 40))
			continue;
		if (careless(g) && chance(g, 40) && !(g->kept_slots >> s & 1)) /* a byte of it is overwritten */
			emit(g, 0x72, 10, 0, -(int)(8 * (s + 1)) + (int)below(g, 8), (int32_t)below(g, 256));
		fill(g, s);
		return;
	}
	const uint32_t r = below(g, 10), s = slot_for(g);
	if (s == SLOTS || g->now.r[r].kind == NONE)
		return;
	if (g->now.r[r].kind == NUM && chance(g, 20)) {
		emit(g, 0x63, 10, r, -(int)(8 * (s + 1)), 0);
		g->now.slot[s] = (struct belief){ .kind = NONE };
		const uint32_t to = pick_free(g, 1u << r);
		emit(g, 0x61, to, 10, -(int)(8 * (s + 1)), 0);
		set_num(g, to, g->now.r[r].max < UINT32_MAX ? g->now.r[r].max : UINT32_MAX);
		g->prefer = to + 1;
		return;
	}
	emit(g, 0x7b, 10, r, -(int)(8 * (s + 1)), 0);
	g->now.slot[s] = g->now.r[r];
	if (g->now.r[r].kind == NUM && !(g->kept_regs >> r & 1) && chance(g, 50)) { /* what is learned of one holds for both */
		bound(g, r, 63);
		if (chance(g, 50))
			g->now.slot[s].max = careless(g) ? 63 : g->now.slot[s].max;
	}
}
