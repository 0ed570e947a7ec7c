/* work.h - the verifier's own working set: saved states, what exploration knows of the program, and its memory.
 *
 * Terms
 *   saved    a state kept at a prune point, to compare later states with (prune.h)
 *   decision one way taken at a conditional jump; decisions form a tree, a path is a walk to its root
 *
 * Invariants
 *   W1 A packed state holds the live registers and slots that say something, and nothing else (liveness.h, L2).
 *   W2 Memory is taken through pf_v_realloc alone; at the limit v->nomem is set, and the exploration ends before anything
 *      is concluded.
 */
#ifndef PF_VERIFIER_WORK_H
#define PF_VERIFIER_WORK_H

#include "state.h"

struct pf_saved {
	struct pf_packed *state; /* NULL: freed */
	uint32_t parent;
	uint32_t next;      /* at the same instruction */
	uint32_t branches;  /* paths from here that have not ended; 0: complete */
	uint32_t open;      /* 0, or the outermost unfinished loop head that a path from here ended in */
	uint32_t hits, misses;
};

struct pf_decision {
	uint32_t previous;
	uint32_t step; /* insn * 2 + taken */
};

enum pf_vflag {
	PF_V_PRUNE = 1,   /* states are compared here */
	PF_V_HEAD = 2,    /* start of a subprogram */
	PF_V_ITERATES = 4, /* calls a helper that calls back */
	PF_V_FORCE = 8,   /* a state is always saved here */
};

/* Per instruction slot. */
struct pf_vinsn {
	uint8_t op;      /* enum pf_op */
	uint8_t form;    /* enum pf_form */
	uint8_t flags;   /* set of enum pf_vflag */
	uint8_t type;    /* 0, or 1 + enum pf_verify_insn: seen */
	uint8_t socket;  /* with type: 0, or which kind of socket it reads (Linux rewrites these loads as well) */
	uint16_t live;   /* registers read before written from here on */
	uint16_t map;    /* ld_imm64: place in input->maps */
	uint32_t target; /* jumps: instruction; local calls and callbacks: subprogram */
	uint32_t subprog;
	uint32_t states; /* list of saved states */
	uint64_t slots;  /* live stack slots of the running frame */
};

struct pf_vsub {
	uint32_t start, end; /* instructions [start, end) */
	uint32_t depth;      /* bytes of stack below r10 */
	const struct pf_verify_func *global; /* NULL: verified at every call */
	uint8_t tail_call;
	uint8_t moves_packet; /* it, or what it calls */
	uint8_t is_callback;
};

struct pf_vnode {
	uint32_t a, b;
};

struct pf_vlink {
	uint32_t from, to, next;
};

struct pf_verifier {
	const struct pf_verify_input *in;
	struct pf_verify_result *out;
	const struct pf_insn *insns;
	uint32_t count;
	struct pf_vinsn *at;
	struct pf_vsub *subs;
	uint32_t sub_count;
	struct pf_vstate cur;
	uint32_t ids; /* last id given */
	/* provenance (precision.h) */
	struct pf_vnode *nodes;
	uint8_t *marks;
	const uint8_t *final_marks; /* second pass */
	uint32_t node_count, node_capacity;
	uint32_t *mark_stack;
	uint32_t mark_capacity;
	struct pf_vlink *links;
	uint32_t link_count, link_capacity;
	uint32_t *link_heads; /* PF_V_LINK_HEADS lists by node */
	/* exploration */
	struct pf_packed **work;
	uint32_t work_count, work_capacity;
	struct pf_saved *saved; /* 0 is the root */
	uint32_t saved_count, saved_capacity, saved_live;
	struct pf_decision *decisions;
	uint32_t decision_count, decision_capacity;
	uint32_t processed;
	size_t memory, memory_limit;
	struct pf_fact *facts; /* second pass */
	bool nomem;
	/* scratch of state comparison */
	struct {
		uint32_t old, now;
	} pairs[128];
	uint32_t pair_count;
};

static inline struct pf_vframe *pf_v_frame(struct pf_verifier *v) { return &v->cur.frames[v->cur.depth]; }
static inline struct pf_vreg *pf_v_reg(struct pf_verifier *v, uint32_t r) { return &pf_v_frame(v)->regs[r]; }
static inline bool pf_v_is_packet(const struct pf_vreg *r) { return r->kind == PF_V_PACKET || r->kind == PF_V_META; }
static inline bool pf_v_is_socket(const struct pf_vreg *r)
{
	return r->kind == PF_V_SOCK || r->kind == PF_V_SOCK_COMMON;
}
static inline bool pf_v_is_conn(const struct pf_vreg *r) { return r->kind == PF_V_CONN || r->kind == PF_V_CONN_INIT; }
static inline bool pf_v_is_pointer(const struct pf_vreg *r) { return r->kind > PF_V_SCALAR; }
static inline const struct pf_map_def *pf_v_map(const struct pf_verifier *v, const struct pf_vreg *r)
{
	return r->inner ? &v->in->maps[r->map].inner : &v->in->maps[r->map].def;
}
static inline bool pf_v_is_null(const struct pf_vreg *r)
{
	return r->kind == PF_V_SCALAR && pf_scalar_is_const(&r->s) && r->s.t.value == 0;
}

/* memory (state.c): counted against the limit; NULL and v->nomem at the limit. old_size is what old has. */
void *pf_v_realloc(struct pf_verifier *v, void *old, size_t old_size, size_t size);
void pf_v_free(struct pf_verifier *v, void *p, size_t size);

static inline const uint8_t *pf_v_packed_frames(const struct pf_packed *p)
{
	return p->data + p->ref_count * sizeof(struct pf_vref);
}

/* values (state.c) */
void pf_v_set_scalar(struct pf_verifier *v, struct pf_vreg *r, const struct pf_scalar *s);
void pf_v_set_unknown(struct pf_verifier *v, struct pf_vreg *r);
void pf_v_set_const(struct pf_verifier *v, struct pf_vreg *r, uint64_t value);
void pf_v_set_pointer(struct pf_vreg *r, enum pf_vkind kind);
static inline uint32_t pf_v_new_id(struct pf_verifier *v) { return ++v->ids; }

/* packing (state.c) */
struct pf_packed *pf_v_pack(struct pf_verifier *v, uint32_t at);
void pf_v_unpack(struct pf_verifier *v, const struct pf_packed *p);
/* Registers and slots live at `at` in the running frame, and in a frame that waits in a call. */
uint32_t pf_v_live_regs(const struct pf_verifier *v, uint32_t frame, uint32_t at);
uint64_t pf_v_live_slots(const struct pf_verifier *v, uint32_t frame, uint32_t at);

/* Refuses at the current instruction: fills in the diagnostic, its path and registers; returns err. */
enum pf_err pf_v_refuse(struct pf_verifier *v, enum pf_err err, enum pf_diag_code code, int64_t found, int64_t expected,
			const char *name);
void pf_v_help(struct pf_verifier *v, const char *format, ...) __attribute__((format(printf, 2, 3)));
void pf_v_show_register(struct pf_verifier *v, uint32_t number, const struct pf_vreg *r);
/* "r3", or "scalar", "packet pointer"... */
const char *pf_v_callee(const struct pf_verifier *v, uint32_t call); /* name of what a call instruction calls, for messages */
const char *pf_v_kind_text(const struct pf_vreg *r);
void pf_v_log(struct pf_verifier *v, uint32_t i);
size_t pf_v_reg_text(const struct pf_verifier *v, const struct pf_vreg *r, char *out, size_t size);

#endif
