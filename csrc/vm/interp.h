/* interp.h - inside csrc/vm: what the loop, its two builds and the staging share.
 *
 * The loop is loop.h; checked.c and unchecked.c include it with PF_VM_CHECKED 1 and 0, observed.c with 1 and an observer
 * (observe.h). Its handlers stand in ops_*.h by group. A handler's label is op_<NAME> of insn.def; the table of labels is generated from insn.def.
 */
#ifndef PF_VM_INTERP_H
#define PF_VM_INTERP_H

#include "fuse.h"
#include "observe.h"
#include "vm.h"
/* Handlers that no encoding names: what lowering puts in the place of others. */
enum pf_lowered_op {
	PF_LOWERED_FIRST = PF_OPS - 1,
#define PF_CTX_FIELD(name, offset, size, kind, access, types) PF_LOWERED_CTX_##name,
#include "../tables/ctx_field.def"
#undef PF_CTX_FIELD
#define PF_CTX_FIELD(name, offset, size, kind, access, types) PF_LOWERED_CTX_SIGNED_##name,
#include "../tables/ctx_field.def"
#undef PF_CTX_FIELD
	PF_LOWERED_TAIL_CALL,
	PF_LOWERED_TRAP, /* behind the last instruction: no legal program gets there (A2) */
#define PAIR(first, second) PF_LOWERED_##first##__##second,
	PF_FUSED_PAIRS(PAIR, PAIR)
#undef PAIR
	PF_LOWERED_OPS
};

/* Runs from slot pc in frame x->depth until that frame exits. feed not NULL: instead of args and r0, every packet of the
 * feed, each from the program's first slot. x NULL: stores the address of the label table in *r0. */
typedef enum pf_err pf_interp_fn(struct pf_exec *x, const struct pf_code *code, uint32_t pc, const uint64_t args[5],
				 uint64_t *r0, struct pf_vm_feed *feed);
pf_interp_fn pf_interp_checked;
pf_interp_fn pf_interp_unchecked;
pf_interp_fn pf_interp_observed;

/* The 8 bytes of a lowered instruction that follow its handler, for what a call needs. */
static inline void pf_lowered_set_fn(struct pf_lowered *l, pf_helper_fn fn)
{
	__builtin_memcpy(&l->dst, &fn, sizeof(fn));
}

static inline pf_helper_fn pf_lowered_fn(const struct pf_lowered *l)
{
	pf_helper_fn fn;
	__builtin_memcpy(&fn, &l->dst, sizeof(fn));
	return fn;
}
_Static_assert(sizeof(struct pf_lowered) - offsetof(struct pf_lowered, dst) == sizeof(pf_helper_fn), "a pointer fits");

/* Value of a ctx field (ctx_field.def): packet edges are addresses, the rest is what the field says. */
#define PF_CTX_VALUE_PACKET(p, name) ((uint64_t)(uintptr_t)(p)->name)
#define PF_CTX_VALUE_PACKET_END(p, name) ((uint64_t)(uintptr_t)(p)->name)
#define PF_CTX_VALUE_PACKET_META(p, name) ((uint64_t)(uintptr_t)(p)->name)
#define PF_CTX_VALUE_SCALAR(p, name) ((uint64_t)(p)->name)

/* Checked build: a ctx load of 4 bytes at this offset. 0: the running program's type has no field there. With sign
 * extension, which no address has. */
int pf_vm_ctx_load(const struct pf_exec *x, uint64_t offset, uint64_t *value);
int pf_vm_ctx_load_signed(const struct pf_exec *x, uint64_t offset, uint64_t *value);

/* The program that a tail call goes to, and its code for the engine; NULL when it is not made (V4). Counts it. */
const struct pf_code *pf_vm_tail_target(struct pf_exec *x, uint64_t map, uint64_t index, enum pf_engine engine);

/* Starts a run. The one before, if it did not fault, left depth, floor and visiting as they were, and prog too unless
 * it made a tail call. */
static inline void pf_vm_begin_run(struct pf_exec *x)
{
	x->tail_calls = 0;
	x->window_len = 0;
	x->frags_open = 0;
	x->grant_count = 0;
	x->left = (int64_t)x->budget;
}

/* Before the first of several runs of prog, and after a fault. */
static inline void pf_vm_clear(struct pf_exec *x, const struct pf_prog *prog)
{
	x->prog = prog;
	x->depth = 0;
	x->floor = 0;
	x->visiting = NULL;
	x->fault.diag.err = PF_OK;
	if (PF_UNLIKELY(x->observer))
		pf_observe_run(x->observer);
}

/* Starts the feed's next packet. */
static inline void pf_vm_begin_packet(struct pf_exec *x, const struct pf_vm_feed *feed)
{
	const struct pf_desc *d = &feed->desc[feed->done];
	const struct pf_stamp stamp = pf_stamp_of(feed->stamps, feed->first, feed->desc, feed->done);
	pf_exec_begin(x, stamp.index, stamp.time_ns);
	pf_packet_init(&x->packet, d->data, d->caplen, feed->linear_limit);
	x->packet.wire_len = d->wire_len;
	pf_vm_begin_run(x);
}

static inline uint8_t *pf_vm_frame(struct pf_exec *x)
{
	return x->stack + sizeof(x->stack) - x->depth * PF_STACK_FRAME;
}

/* V6. */
static inline void pf_vm_zero_frame(uint8_t *r10, const struct pf_code *code)
{
	if (code->stack_bytes)
		__builtin_memset(r10 - code->stack_bytes, 0, code->stack_bytes);
}

/* Signed division as RFC 9669 section 4.1 defines it; widths apart. */
static inline uint64_t pf_sdiv64(uint64_t a, uint64_t b)
{
	if (b + 1 <= 1) /* 0 and -1: the quotients that C leaves undefined */
		return b ? 0 - a : 0;
	return (uint64_t)((int64_t)a / (int64_t)b);
}

static inline uint64_t pf_smod64(uint64_t a, uint64_t b)
{
	if (b + 1 <= 1)
		return b ? 0 : a;
	return (uint64_t)((int64_t)a % (int64_t)b);
}

static inline uint32_t pf_sdiv32(uint32_t a, uint32_t b)
{
	if (b + 1 <= 1)
		return b ? 0 - a : 0;
	return (uint32_t)((int32_t)a / (int32_t)b);
}

static inline uint32_t pf_smod32(uint32_t a, uint32_t b)
{
	if (b + 1 <= 1)
		return b ? 0 : a;
	return (uint32_t)((int32_t)a % (int32_t)b);
}

#endif
