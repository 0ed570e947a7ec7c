/* campaign_call.c - inside the generator: helpers, functions, callbacks, tail calls. */
#include "campaign_gen.h"

void clobbered(struct gen *g)
{
	for (uint32_t r = 0; r < 6; r++)
		set(g, r, NONE);
}

static bool low_kept(const struct gen *g)
{
	return g->kept_regs & 0x3f;
}

/* Saves a ctx in a low register; without one nothing that takes ctx can be called later. */
static void call(struct gen *g, uint32_t helper)
{
	emit(g, 0x85, 0, 0, 0, (int32_t)helper);
	clobbered(g);
}

static void forget(struct belief *b)
{
	if (b->kind == PKT || b->kind == END || b->kind == META)
		b->kind = NONE;
}

void packet_moved(struct gen *g)
{
	if (careless(g))
		return; /* the old pointers stay in use */
	for (uint32_t r = 0; r < 10; r++)
		forget(&g->now.r[r]);
	for (uint32_t s = 0; s < SLOTS; s++)
		forget(&g->now.slot[s]);
	memset(g->now.proved, 0, sizeof(g->now.proved));
}

/* ---- maps ---- */

static void put_key(struct gen *g, int32_t off, uint32_t size)
{
	const uint32_t n = pick(g, NUM);
	if (size == 8)
		emit(g, 0x7a, 10, 0, off, (int32_t)below(g, 3));
	if (n < 10 && chance(g, 20)) {
		emit(g, 0x63, 10, n, off, 0);
		return;
	}
	emit(g, 0x62, 10, 0, off, size == 8 && chance(g, 50) ? (int32_t)(8 * below(g, 3)) : (int32_t)below(g, 5));
}

static void stack_pointer(struct gen *g, uint32_t r, int32_t off)
{
	emit(g, 0xbf, r, 10, 0, 0);
	emit(g, 0x07, r, 0, 0, off);
	g->now.r[r] = (struct belief){ .kind = STK, .off = off };
}

/* The result in r0 is checked in one of the ways, and kept or not. */
static void check_null(struct gen *g, enum kind kind, uint32_t map)
{
	g->now.r[0] = (struct belief){ .kind = (uint8_t)kind, .map = (uint8_t)map, .null = true };
	const uint32_t copy = chance(g, 50) ? 7 + below(g, 3) : chance(g, 50) ? 1 + below(g, 5) : 0;
	const bool may_copy = copy && !(g->kept_regs >> copy & 1) && (copy < 6 || g->now.r[copy].kind != PKT || chance(g, 30));
	const uint32_t s = chance(g, 15) ? slot_for(g) : SLOTS;
	if (s < SLOTS) {
		emit(g, 0x7b, 10, 0, -(int)(8 * (s + 1)), 0);
		g->now.slot[s] = g->now.r[0];
	}
	if (may_copy)
		emit_mov(g, copy, 0);
	if (careless(g) && chance(g, 50)) {
		if (chance(g, 50))
			g->now.r[0].null = g->now.r[may_copy ? copy : 0].null = false;
		return;
	}
	const uint32_t which = may_copy && chance(g, 50) ? copy : 0;
	uint32_t skip;
	switch (below(g, 4)) {
	case 0:
	case 1:
		to_exit(g, emit(g, 0x15, which, 0, 0, 0));
		break;
	case 2:
		skip = emit(g, 0x55, which, 0, 0, 0);
		to_exit(g, emit(g, 0x05, 0, 0, 0, 0));
		land(g, skip);
		break;
	case 3: { /* only a block of its own uses it */
		const struct scope before = g->now;
		skip = emit(g, 0x15, which, 0, 0, 0);
		g->now.r[0].null = g->now.r[which].null = false;
		g->depth++;
		statements(g, 1 + below(g, 3));
		g->depth--;
		land(g, skip);
		merge(g, &before);
		for (uint32_t r = 0; r < 10; r++)
			if (g->now.r[r].kind == kind && g->now.r[r].null && !careless(g))
				set(g, r, NONE);
		return;
	}
	}
	g->now.r[0].null = false;
	if (may_copy)
		g->now.r[copy].null = false;
	if (s < SLOTS)
		g->now.slot[s].null = false;
}

void say_lookup(struct gen *g)
{
	static const uint8_t maps[] = { PF_POOL_ARRAY, PF_POOL_ARRAY, PF_POOL_HASH, PF_POOL_HASH, PF_POOL_WIDE_HASH,
					PF_POOL_PERCPU_ARRAY, PF_POOL_PERCPU_HASH, PF_POOL_LRU, PF_POOL_LPM, PF_POOL_BIG,
					PF_POOL_OUTER, PF_POOL_DEVMAP };
	const uint32_t map = maps[below(g, sizeof(maps))];
	if (low_kept(g) || g->now.r[6].kind == NONE)
		return;
	put_key(g, BUFFER, pf_pool_defs[map].key_size);
	stack_pointer(g, 2, BUFFER);
	emit_wide(g, 1, 1, map);
	if (map == PF_POOL_PERCPU_ARRAY && chance(g, 40)) {
		emit_const(g, 3, (int32_t)below(g, 3));
		call(g, PF_HELPER_ID_map_lookup_percpu_elem);
	} else {
		call(g, PF_HELPER_ID_map_lookup_elem);
	}
	if (map == PF_POOL_DEVMAP) {
		emit(g, 0xb7, 0, 0, 0, 0);
		set_num(g, 0, 0);
		return;
	}
	if (map != PF_POOL_OUTER) {
		check_null(g, VAL, map);
		return;
	}
	to_exit(g, emit(g, 0x15, 0, 0, 0, 0));
	emit(g, 0x62, 10, 0, BUFFER, (int32_t)below(g, 3));
	stack_pointer(g, 2, BUFFER);
	emit(g, 0xbf, 1, 0, 0, 0);
	call(g, PF_HELPER_ID_map_lookup_elem);
	check_null(g, VAL, 255);
}

static void put_value(struct gen *g, uint32_t size)
{
	const uint32_t value = pick(g, VAL);
	if (value < 10 && !g->now.r[value].null && value > 4 && g->now.r[value].map != 255 &&
	    pf_pool_defs[g->now.r[value].map].value_size >= size && g->now.r[value].off == 0 && g->now.r[value].max == 0 &&
	    chance(g, 60)) {
		emit_mov(g, 3, value);
		return;
	}
	stack_pointer(g, 3, -512 + (careless(g) ? 512 - (int)(size & ~7u) + 8 : 0));
}

static void update(struct gen *g)
{
	static const uint8_t maps[] = { PF_POOL_ARRAY, PF_POOL_HASH, PF_POOL_WIDE_HASH, PF_POOL_LRU, PF_POOL_PERCPU_HASH,
					PF_POOL_DIRECT };
	const uint32_t map = maps[below(g, sizeof(maps))];
	put_key(g, BUFFER, pf_pool_defs[map].key_size);
	put_value(g, pf_pool_defs[map].value_size);
	stack_pointer(g, 2, BUFFER);
	emit_wide(g, 1, 1, map);
	emit_const(g, 4, (int32_t)below(g, 3));
	call(g, PF_HELPER_ID_map_update_elem);
	set_num(g, 0, UINT64_MAX);
}

void say_helper(struct gen *g)
{
	static const uint8_t plain[] = { PF_HELPER_ID_ktime_get_ns, PF_HELPER_ID_get_prandom_u32, PF_HELPER_ID_get_prandom_u32,
					 PF_HELPER_ID_get_smp_processor_id, PF_HELPER_ID_jiffies64 };
	if (low_kept(g))
		return;
	switch (below(g, 8)) {
	case 0:
	case 1:
		update(g);
		return;
	case 2: {
		const uint32_t map = chance(g, 50) ? PF_POOL_WIDE_HASH : PF_POOL_ARRAY;
		put_key(g, BUFFER, 8);
		stack_pointer(g, 2, BUFFER);
		emit_wide(g, 1, 1, map);
		call(g, PF_HELPER_ID_map_delete_elem);
		set_num(g, 0, UINT64_MAX);
		return;
	}
	case 3: {
		const uint32_t n = pick(g, NUM);
		if (n < 10 && chance(g, 50))
			emit_mov(g, 2, n);
		else
			emit_const(g, 2, (int32_t)below(g, 3));
		emit_wide(g, 1, 1, PF_POOL_DEVMAP);
		emit_const(g, 3, (int32_t)below(g, 4));
		call(g, PF_HELPER_ID_redirect_map);
		set_num(g, 0, UINT64_MAX);
		return;
	}
	case 4:
		if (chance(g, 20)) { /* for programs with a GPL-compatible license; what the text says is nobody's business */
			emit(g, 0x7a, 10, 0, BUFFER, (int32_t)pf_rng_edge(g->rng));
			stack_pointer(g, 1, BUFFER);
			emit_const(g, 2, (int32_t)(1 + below(g, 8) + (careless(g) ? 600 : 0)));
			call(g, PF_HELPER_ID_trace_printk);
		} else {
			emit_const(g, 1, (int32_t)below(g, 8));
			emit_const(g, 2, 0);
			call(g, PF_HELPER_ID_redirect);
		}
		set_num(g, 0, UINT64_MAX);
		return;
	}
	const uint32_t helper = plain[below(g, sizeof(plain))];
	call(g, helper);
	set_num(g, 0, helper == PF_HELPER_ID_get_smp_processor_id ? PF_CAMPAIGN_CPUS - 1 : UINT64_MAX);
	if (chance(g, 40)) {
		const uint32_t to = 7 + below(g, 3);
		if (!(g->kept_regs >> to & 1) && g->now.r[to].kind == NONE)
			emit_mov(g, to, 0);
	}
}

/* ---- the packet by helpers ---- */

void say_move(struct gen *g)
{
	static const uint8_t helpers[] = { PF_HELPER_ID_xdp_adjust_head, PF_HELPER_ID_xdp_adjust_tail,
					   PF_HELPER_ID_xdp_adjust_meta };
	static const int8_t by[] = { -20, -8, -4, 4, 8, 14, 20, 34, -64 };
	const uint32_t ctx = pick(g, CTX), n = pick(g, NUM);
	if (ctx > 9 || low_kept(g))
		return;
	if (n < 10 && n != 1 && chance(g, 20))
		emit_mov(g, 2, n);
	else
		emit_const(g, 2, by[below(g, sizeof(by))]);
	if (ctx != 2)
		emit_mov(g, 1, ctx);
	call(g, helpers[below(g, 3)]);
	set_num(g, 0, UINT64_MAX);
	packet_moved(g);
	if (chance(g, 50))
		to_exit(g, emit(g, 0x55, 0, 0, 0, 0));
	if (chance(g, 70))
		(void)need_packet(g);
}

/* r3 memory of at most `most` bytes, r4 the size. */
static void sized(struct gen *g, uint32_t memory, uint32_t size, uint32_t most, bool zero)
{
	const uint32_t n = pick(g, NUM);
	if (n < 10 && n != memory && chance(g, 50)) {
		if (n != size)
			emit_mov(g, size, n);
		bound(g, size, most);
		if (!zero && !careless(g))
			to_exit(g, emit(g, 0x15, size, 0, 0, 0));
		return;
	}
	emit_const(g, size, (int32_t)(1 + below(g, most) + (careless(g) ? most : 0)));
}

static void checksum(struct gen *g)
{
	const uint32_t size = 4 * (1 + below(g, 8));
	uint32_t p = pick(g, PKT);
	if (p < 10 && g->now.r[p].off >= 0 && g->now.proved[g->now.r[p].object] >= g->now.r[p].off + (int)size)
		emit_mov(g, 1, p);
	else
		stack_pointer(g, 1, BUFFER);
	emit_const(g, 2, (int32_t)(size + (careless(g) ? 60 : 0)));
	if (chance(g, 50)) {
		emit_const(g, 3, 0);
		emit_const(g, 4, 0);
	} else {
		stack_pointer(g, 3, BUFFER);
		sized(g, 3, 4, 64, true);
	}
	emit_const(g, 5, 0);
	call(g, PF_HELPER_ID_csum_diff);
	set_num(g, 0, UINT64_MAX);
}

void say_bytes(struct gen *g)
{
	const uint32_t ctx = pick(g, CTX);
	if (ctx > 9 || low_kept(g))
		return;
	if (chance(g, 25)) {
		checksum(g);
		return;
	}
	if (ctx < 6) /* bring it out of the way */
		return;
	const bool store = chance(g, 40), keep_slots = g->kept_slots != 0;
	const int32_t off = chance(g, 20) && !keep_slots ? -(int)(8 * (1 + below(g, SLOTS))) : BUFFER;
	const uint32_t most = off == BUFFER ? 64 : (uint32_t)-off;
	stack_pointer(g, 3, off);
	sized(g, 3, 4, most, false);
	emit_const(g, 2, (int32_t)below(g, 40));
	emit_mov(g, 1, ctx);
	if (off != BUFFER && !store && !careless(g))
		for (uint32_t s = 0; s < SLOTS; s++)
			g->now.slot[s].kind = NONE;
	call(g, store ? PF_HELPER_ID_xdp_store_bytes : PF_HELPER_ID_xdp_load_bytes);
	set_num(g, 0, UINT64_MAX);
	if (!store && chance(g, 60)) {
		const uint32_t r = 1 + below(g, 5);
		emit(g, 0x79, r, 10, BUFFER, 0);
		set_num(g, r, UINT64_MAX);
	}
}

/* ---- functions ---- */

void say_call(struct gen *g)
{
	if (g->pending_count >= 8 || low_kept(g) || g->frame > 2)
		return;
	struct pending *f = &g->pending[g->pending_count++];
	*f = (struct pending){ .what = FUNC_CALL, .limit = chance(g, 50) ? 15 + 48 * below(g, 2) : UINT64_MAX };
	const uint32_t count = 1 + below(g, 4);
	struct belief args[5] = { { 0 } };
	for (uint32_t a = 0; a < count; a++) {
		static const uint8_t kinds[] = { CTX, NUM, PKT, VAL, NUM, END };
		const uint32_t r = pick(g, a == 0 && chance(g, 40) ? CTX : kinds[below(g, 6)]);
		if (r > 5 && r < 10) {
			emit_mov(g, a + 1, r);
		} else if (chance(g, 40)) {
			stack_pointer(g, a + 1, BUFFER + 8 * (int)below(g, 8));
		} else {
			emit_const(g, a + 1, (int32_t)pf_rng_edge(g->rng));
		}
		args[a] = g->now.r[a + 1];
	}
	memcpy(f->args, args, sizeof(args));
	bool ctx = false;
	for (uint32_t a = 0; a < count; a++)
		ctx |= args[a].kind == CTX;
	f->moves = ctx && !g->loops && chance(g, 25);
	f->tails = ctx && !g->loops && chance(g, 30);
	f->at = emit(g, 0x85, 0, 1, 0, 0);
	clobbered(g);
	set_num(g, 0, careless(g) && f->tails ? 15 : f->tails ? UINT64_MAX : f->limit);
	if (f->moves || f->tails) {
		packet_moved(g);
		say_access(g);
	}
}

void say_callback(struct gen *g)
{
	static const uint8_t maps[] = { PF_POOL_ARRAY, PF_POOL_HASH, PF_POOL_PERCPU_ARRAY, PF_POOL_WIDE_HASH };
	const bool each = chance(g, 40), own = chance(g, 75);
	if (g->pending_count >= 8 || low_kept(g) || g->frame > 1 || g->loops > 1)
		return;
	struct pending *f = &g->pending[g->pending_count++];
	const uint32_t map = maps[below(g, 4)];
	*f = (struct pending){ .what = each ? FUNC_EACH : FUNC_LOOP, .limit = 1 };
	f->args[0].map = (uint8_t)map;
	/* A counter and an index that the callback may change. */
	if (own) {
		emit(g, 0x7a, 10, 0, BUFFER, (int32_t)below(g, 16));
		emit(g, 0x7a, 10, 0, BUFFER + 8, (int32_t)below(g, 16));
	}
	f->at = g->s->count + (each ? 2 : 0);
	if (each) {
		emit_wide(g, 1, 1, map);
		emit_wide(g, 2, 4, 0);
	} else {
		f->at = 0;
		const uint32_t n = pick(g, NUM);
		if (n < 10 && chance(g, 30)) {
			if (n != 1)
				emit_mov(g, 1, n);
			bound(g, 1, 8);
		} else {
			emit_const(g, 1, (int32_t)below(g, 6));
		}
		f->at = g->s->count;
		emit_wide(g, 2, 4, 0);
	}
	if (own)
		stack_pointer(g, 3, BUFFER);
	else
		emit_const(g, 3, 0);
	f->args[1].kind = own ? STK : NUM;
	emit_const(g, 4, 0);
	call(g, each ? PF_HELPER_ID_for_each_map_elem : PF_HELPER_ID_loop);
	set_num(g, 0, UINT64_MAX);
	if (own && chance(g, 60)) {
		emit(g, 0x79, 1, 10, BUFFER + 8 * (int)below(g, 2), 0);
		set_num(g, 1, careless(g) ? 15 : UINT64_MAX);
		say_variable(g);
	}
}

void say_tail_call(struct gen *g)
{
	const uint32_t n = pick(g, NUM), ctx = pick(g, CTX);
	if (low_kept(g) || ctx > 9 || g->loops || (n > 9 && ctx == 3))
		return;
	if (n < 10 && n != ctx && chance(g, 50))
		emit_mov(g, 3, n);
	else if (ctx != 3)
		emit_const(g, 3, (int32_t)below(g, 5));
	else
		return;
	emit_mov(g, 1, ctx == 3 ? 6 : ctx);
	emit_wide(g, 2, 1, PF_POOL_PROGS);
	call(g, PF_HELPER_ID_tail_call);
	packet_moved(g);
}

static void callback_args(struct gen *g, const struct pending *f)
{
	const uint32_t ctx = f->what == FUNC_EACH ? 4 : 2;
	if (f->what == FUNC_EACH) {
		set(g, 1, MAP);
		g->now.r[2] = (struct belief){ .kind = KEY, .map = f->args[0].map };
		g->now.r[3] = (struct belief){ .kind = VAL, .map = f->args[0].map };
	} else {
		set_num(g, 1, UINT64_MAX);
	}
	if (f->args[1].kind != STK) {
		set_num(g, ctx, 0);
		return;
	}
	/* The caller's two slots: one goes up, one is what index and careless arithmetic make it. */
	const uint32_t r = 5;
	emit(g, 0x79, r, ctx, 0, 0);
	emit(g, 0x07, r, 0, 0, (int32_t)below(g, 3));
	if (chance(g, 60))
		emit(g, 0x57, r, 0, 0, 15);
	emit(g, 0x7b, ctx, r, chance(g, 50) ? 0 : 8, 0);
	set_num(g, r, UINT64_MAX);
	g->now.r[ctx] = (struct belief){ .kind = STK, .off = -16 };
}

static void make_function(struct gen *g, const struct pending *f)
{
	struct pf_sample *s = g->s;
	struct pf_insn *from = &s->insns[f->at];
	from->imm = (int32_t)(s->count - f->at - 1);
	memset(&g->now, 0, sizeof(g->now));
	g->kept_regs = g->kept_slots = 0;
	g->exit_count = g->loops = g->depth = 0;
	g->frame++;
	if (f->what == FUNC_CALL)
		memcpy(&g->now.r[1], f->args, sizeof(f->args));
	else
		callback_args(g, f);
	for (uint32_t a = 1; a < 6; a++) {
		struct belief *b = &g->now.r[a];
		if (b->kind == PKT)
			b->object = 0; /* what the caller proved of it is not known here */
		if (b->kind == STK)
			b->max = 0;
		if (b->kind == CTX && a != 6 && chance(g, 90))
			emit_mov(g, 6, a);
	}
	const uint32_t before = g->careless;
	statements(g, 1 + below(g, 4));
	if (f->moves)
		say_move(g);
	if (f->tails)
		say_tail_call(g);
	g->careless = before;
	const uint32_t r = pick(g, NUM);
	if (r < 10 && chance(g, 70))
		emit_mov(g, 0, r);
	else
		emit_const(g, 0, f->what == FUNC_CALL ? (int32_t)below(g, 64) : (int32_t)below(g, 2));
	if (f->limit != UINT64_MAX && !careless(g)) {
		emit(g, 0x57, 0, 0, 0, (int32_t)f->limit);
	}
	end_function(g, (int32_t)below(g, 2));
}

/* Functions may name more; what finds no room any more is named in vain, and the program refused. */
void make_functions(struct gen *g)
{
	const uint32_t frame = g->frame;
	while (g->pending_done < g->pending_count) {
		const struct pending f = g->pending[g->pending_done++];
		make_function(g, &f);
		g->frame = frame + (g->pending_done > 3);
	}
}
