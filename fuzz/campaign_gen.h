/* campaign_gen.h - inside the generator: what it believes of the program so far.
 *
 * Terms
 *   kind     what a register holds, as far as the generator knows: its belief, rougher than the verifier's
 *   object   what a packet pointer's variable part is called; `proved` bytes are known behind it
 *   kept     registers and slots that a loop body must leave alone
 *
 * The beliefs steer; nothing depends on their being right. r6 is ctx in the main program.
 */
#ifndef PF_CAMPAIGN_GEN_H
#define PF_CAMPAIGN_GEN_H

#include "campaign.h"

enum kind { NONE, NUM, CTX, PKT, END, META, STK, VAL, MAP, KEY };

struct belief {
	uint8_t kind, map; /* map: place, or 255 for the inner map */
	bool null;
	int32_t off;
	uint32_t object;
	uint64_t max;      /* NUM: not above; PKT, VAL, STK: greatest variable part */
};

#define OBJECTS 64u
#define SLOTS 12u /* of 8 bytes, below r10; buffers for helpers lie below them */
#define BUFFER (-(int)(8 * SLOTS) - 64)

struct scope {
	struct belief r[10], slot[SLOTS];
	uint16_t proved[OBJECTS];
};

struct pending { /* a function to be made */
	uint32_t at;   /* the instruction that names it */
	uint8_t what;  /* FUNC_* */
	uint64_t limit; /* greatest result */
	bool moves, tails;
	struct belief args[5];
};
enum { FUNC_CALL, FUNC_LOOP, FUNC_EACH };

struct gen {
	struct pf_rng *rng;
	struct pf_sample *s;
	struct scope now;
	uint32_t objects, careless; /* percent of decisions that are made without care */
	uint16_t kept_regs, kept_slots;
	uint32_t exits[128], exit_count;
	struct pending pending[8];
	uint32_t pending_count, pending_done;
	uint32_t depth, loops, frame; /* nesting of statements and loops; functions deep */
	uint32_t prefer; /* 1 + the register that the next use of a number should take; 0: any */
};

#define ROOM 48u /* instructions that a statement may need */

static inline bool full(const struct gen *g) { return g->s->count + ROOM * (2 + g->depth) > PF_CAMPAIGN_INSNS; }
static inline uint32_t below(struct gen *g, uint32_t n) { return pf_rng_below(g->rng, n); }
static inline bool chance(struct gen *g, uint32_t percent) { return pf_rng_chance(g->rng, percent); }
static inline bool careless(struct gen *g) { return g->careless && pf_rng_chance(g->rng, g->careless); }

static inline uint32_t emit(struct gen *g, uint8_t code, uint32_t dst, uint32_t src, int32_t off, int32_t imm)
{
	if (g->s->count < PF_CAMPAIGN_INSNS)
		g->s->insns[g->s->count++] = (struct pf_insn){ code, (uint8_t)(dst & 15), (uint8_t)(src & 15), (int16_t)off, imm };
	return g->s->count - 1;
}
static inline void set(struct gen *g, uint32_t r, enum kind kind)
{
	g->now.r[r] = (struct belief){ .kind = (uint8_t)kind };
}
static inline void set_num(struct gen *g, uint32_t r, uint64_t max)
{
	g->now.r[r] = (struct belief){ .kind = NUM, .max = max };
}
static inline void emit_mov(struct gen *g, uint32_t dst, uint32_t src)
{
	emit(g, 0xbf, dst, src, 0, 0);
	g->now.r[dst] = g->now.r[src];
}
static inline void emit_const(struct gen *g, uint32_t dst, int32_t value)
{
	emit(g, chance(g, 80) || value < 0 ? 0xb7 : 0xb4, dst, 0, 0, value);
	set_num(g, dst, (uint64_t)(int64_t)value);
}
static inline void emit_wide(struct gen *g, uint32_t dst, uint32_t src, uint64_t value)
{
	emit(g, 0x18, dst, src, 0, (int32_t)value);
	emit(g, 0, 0, 0, 0, (int32_t)(value >> 32));
}
static inline void land(struct gen *g, uint32_t jump)
{
	g->s->insns[jump].off = (int16_t)(g->s->count - jump - 1);
}
/* The jump at this place goes to the end of the function. */
static inline void to_exit(struct gen *g, uint32_t jump)
{
	if (g->exit_count < 128)
		g->exits[g->exit_count++] = jump;
}

/* campaign_gen.c */
uint32_t pick_free(struct gen *g, uint32_t except); /* a register to overwrite; except: a set */
uint32_t pick(struct gen *g, enum kind kind);       /* 16: none */
uint32_t pick_num(struct gen *g);                   /* makes one if there is none */
void bound(struct gen *g, uint32_t r, uint64_t limit);
void clobbered(struct gen *g);                      /* r0 to r5 after a call */
void statement(struct gen *g);
void statements(struct gen *g, uint32_t n);
void end_function(struct gen *g, int32_t result);
void merge(struct gen *g, const struct scope *other);

/* campaign_mem.c */
void say_access(struct gen *g);
void say_packet_check(struct gen *g);
void say_variable(struct gen *g);
void say_spill(struct gen *g);
uint32_t need_packet(struct gen *g);
void access_at(struct gen *g, uint32_t base, int32_t off, uint32_t room, bool readonly);
uint32_t slot_for(struct gen *g); /* a slot to write; SLOTS: none */

/* campaign_call.c */
void say_lookup(struct gen *g);
void say_helper(struct gen *g);
void say_move(struct gen *g);
void say_bytes(struct gen *g);
void say_call(struct gen *g);
void say_callback(struct gen *g);
void say_tail_call(struct gen *g);
void make_functions(struct gen *g);
void packet_moved(struct gen *g);

#endif
