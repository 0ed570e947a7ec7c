/* loop.h - the interpreter's loop, included by checked.c, unchecked.c and observed.c.
 *
 * The includer defines PF_VM_CHECKED (1 or 0), INTERP (the function's name) and ENGINE, and PF_VM_OBSERVED to be told. Registers live in r[]; pc points
 * at the lowered instruction being executed; code is the running program's. x->depth and x->prog are kept current,
 * since helpers, faults and the other activation of a callback read them.
 */
#include "fuse.h"
#include "interp.h"
#include "memory.h"

#include <string.h>

#define DST r[pc->dst]
#define SRC r[pc->src]
#ifdef PF_VM_OBSERVED
#define GO goto *labels[pf_vm_observed_op(x, code, pc, r)]
#else
#define GO goto *pc->handler
#endif
#define NEXT                                                                                                           \
	do {                                                                                                           \
		pc++;                                                                                                  \
		GO;                                                                                                    \
	} while (0)

#if PF_VM_CHECKED
/* What the fast path of a check compares with; kept in step with x->packet and x->memory, and (stack) with x->depth,
 * x->floor and the running code. limits[n] is the number of places where n bytes fit between start and the end. */
struct windows {
	uint64_t start;
	uint64_t limits[9];
	uint64_t stack, stack_len;
};

static inline void set_window(struct windows *w, uint64_t start, uint64_t len)
{
	w->start = start;
	w->limits[1] = len;
	w->limits[2] = len - 1;
	w->limits[4] = len - 3;
	w->limits[8] = len - 7;
	if (PF_UNLIKELY(len < 7)) {
		w->limits[2] = len >= 2 ? len - 1 : 0;
		w->limits[4] = len >= 4 ? len - 3 : 0;
		w->limits[8] = 0;
	}
}

static inline void set_packet(struct windows *w, const struct pf_exec *x)
{
	if (pf_prog_type_has_packet(x->prog->type))
		set_window(w, (uint64_t)(uintptr_t)x->packet.data_meta,
			   (uint64_t)(x->packet.data_end - x->packet.data_meta));
	else
		set_window(w, (uint64_t)(uintptr_t)x->memory, x->memory_len);
}

#define SET_PACKET() set_packet(&w, x)
#define SET_STACK() (w.stack_len = pf_exec_stack(x, code, &w.stack))
/* The first and the last byte: the stack's window may be shorter than n. */
#define IN_STACK(at, n) ((at)-w.stack < w.stack_len && (at) + ((n)-1) - w.stack < w.stack_len)
#define ALLOWED(at, n, slow) (PF_LIKELY((at)-w.start < w.limits[n]) || IN_STACK(at, n) || slow(x, at, n))
#define READABLE(at, n)                                                                                                \
	do {                                                                                                           \
		if (PF_UNLIKELY(!ALLOWED(at, n, pf_exec_readable))) {                                                  \
			fault_at = (at);                                                                               \
			fault_size = (n);                                                                              \
			goto bad_load;                                                                                 \
		}                                                                                                      \
	} while (0)
#define WRITABLE(at, n)                                                                                                \
	do {                                                                                                           \
		if (PF_UNLIKELY(!ALLOWED(at, n, pf_exec_writable))) {                                                  \
			fault_at = (at);                                                                               \
			fault_size = (n);                                                                              \
			goto bad_store;                                                                                \
		}                                                                                                      \
	} while (0)
#define CTX_LOADED(at, to)                                                                                             \
	(PF_UNLIKELY((at)-w.start >= w.limits[4]) && (at)-ctx < ctx_len && pf_vm_ctx_load(x, (at)-ctx, &(to)))
#define CTX_LOADED_SIGNED(at, to)                                                                                      \
	(PF_UNLIKELY((at)-w.start >= w.limits[4]) && (at)-ctx < ctx_len &&                                             \
	 pf_vm_ctx_load_signed(x, (at)-ctx, &(to)))
#define ALIGNED(at, n)                                                                                                 \
	do {                                                                                                           \
		if (PF_UNLIKELY((at) % (n))) {                                                                         \
			fault_at = (at);                                                                               \
			fault_size = (n);                                                                              \
			goto bad_align;                                                                                \
		}                                                                                                      \
	} while (0)
#define CHARGE(n)                                                                                                      \
	do {                                                                                                           \
		if (PF_UNLIKELY((x->left -= (int64_t)(n) + 1) < 0))                                                    \
			goto exhausted;                                                                                \
	} while (0)
#define LEAVE(at) (x->left -= (at) >= first ? (at)-first + 1 : 1)
#define CHECK_HELPER(number)                                                                                           \
	do {                                                                                                           \
		if (PF_UNLIKELY(pf_helper_check(x, pf_helper_info(number), &r[1], (uint32_t)(pc - code->insns))))      \
			return PF_EFAULT;                                                                              \
	} while (0)
#define AFTER_HELPER()                                                                                                 \
	do {                                                                                                           \
		if (PF_UNLIKELY(x->fault.diag.err)) /* in a callback */                                                \
			return PF_EFAULT;                                                                              \
		if (PF_UNLIKELY(x->left < 0)) /* the helper's own work (check.c) */                                    \
			goto exhausted;                                                                                \
		SET_PACKET();                                                                                          \
	} while (0)
#define HOLDS_NOTHING()                                                                                                \
	do {                                                                                                           \
		if (PF_UNLIKELY(x->lock))                                                                              \
			goto lock_left;                                                                                \
		if (PF_UNLIKELY(x->record_count && !base)) /* a callback's caller may go on with them */               \
			goto record_left;                                                                              \
		if (PF_UNLIKELY(x->conn_count && !base))                                                               \
			goto conn_left;                                                                                \
	} while (0)
#define NEW_PROGRAM()                                                                                                  \
	do {                                                                                                           \
		first = 0;                                                                                             \
		x->window_len = 0;                                                                                     \
		SET_STACK();                                                                                           \
	} while (0)
#else
#define SET_PACKET() ((void)0)
#define SET_STACK() ((void)0)
#define READABLE(at, n) ((void)0)
#define WRITABLE(at, n) ((void)0)
#define CTX_LOADED(at, to) 0
#define CTX_LOADED_SIGNED(at, to) 0
#define ALIGNED(at, n) ((void)0)
#define CHARGE(n) ((void)0)
#define LEAVE(at) ((void)0)
#define CHECK_HELPER(number) ((void)0)
#define AFTER_HELPER() ((void)0)
#define HOLDS_NOTHING() ((void)0)
#define NEW_PROGRAM() ((void)0)
#endif

#define TAKE(distance)                                                                                                 \
	do {                                                                                                           \
		const int64_t by = (distance);                                                                         \
		if (PF_VM_CHECKED && by < 0)                                                                           \
			CHARGE(-by);                                                                                   \
		pc += by + 1;                                                                                          \
		GO;                                                                                                    \
	} while (0)

enum pf_err INTERP(struct pf_exec *x, const struct pf_code *code, uint32_t entry, const uint64_t args[5], uint64_t *r0,
		   struct pf_vm_feed *feed)
{
	static const void *const labels[] = {
#define PF_INSN(name, opcode, selector, value, form, text, group) &&op_##name,
#include "../tables/insn.def"
#undef PF_INSN
#define PF_CTX_FIELD(name, offset, size, kind, access, types) &&op_CTX_##name,
#include "../tables/ctx_field.def"
#undef PF_CTX_FIELD
#define PF_CTX_FIELD(name, offset, size, kind, access, types) &&op_CTX_SIGNED_##name,
#include "../tables/ctx_field.def"
#undef PF_CTX_FIELD
		&&op_TAIL_CALL,
		&&op_TRAP,
#define PAIR(first, second) &&op_##first##__##second,
		PF_FUSED_PAIRS(PAIR, PAIR)
#undef PAIR
	};
	_Static_assert(sizeof(labels) / sizeof(labels[0]) == PF_LOWERED_OPS, "one label for each handler");
	if (PF_UNLIKELY(!x)) {
		*r0 = (uint64_t)(uintptr_t)labels;
		return PF_OK;
	}
	const uint32_t base = x->depth;
	const struct pf_prog *const fed = x->prog;
	const struct pf_code *const fed_code = code;
	const struct pf_lowered *pc = code->insns + entry;
	uint64_t r[11] = { 0 };
	r[10] = (uint64_t)(uintptr_t)pf_vm_frame(x);
#if PF_VM_CHECKED
	const uint64_t ctx = (uint64_t)(uintptr_t)&x->packet;
	const uint64_t ctx_len = pf_prog_type_has_packet(x->prog->type) ? sizeof(x->packet) : 0;
	int64_t first = entry;
	uint64_t fault_at = 0;
	uint32_t fault_size = 0;
	struct windows w;
	SET_STACK();
#endif
	if (feed) {
		x->tail_calls = 0;
		goto next_packet;
	}
	/* One by one: a vector load of what the caller has just stored in pieces would wait for the stores. */
	for (int i = 0; i < 5; i++)
		r[1 + i] = ((const volatile uint64_t *)args)[i];
	SET_PACKET();
	pf_vm_zero_frame((uint8_t *)(uintptr_t)r[10], code);
	GO;

next_packet:
	if (PF_UNLIKELY(x->tail_calls)) {
		x->prog = fed;
		code = fed_code;
		NEW_PROGRAM();
	}
	/* r10 and x->depth are again what they were when the program began. */
	pf_vm_begin_packet(x, feed);
	memset(r, 0, 10 * sizeof(r[0]));
	r[1] = (uint64_t)(uintptr_t)&x->packet;
	SET_PACKET();
	pc = code->insns;
	pf_vm_zero_frame((uint8_t *)(uintptr_t)r[10], code);
	GO;

#include "ops_alu.h"
#include "ops_jump.h"
#include "ops_mem.h"
#include "ops_call.h"
#include "ops_fused.h"

too_deep:
#if PF_VM_CHECKED
	return pf_exec_fault(x, PF_DIAG_VM_DEPTH, (uint32_t)(pc - code->insns), 0, PF_STACK_FRAMES, NULL);
exhausted:
	return pf_exec_fault(x, PF_DIAG_VM_BUDGET, (uint32_t)(pc - code->insns), x->budget, 0, NULL);
lock_left:
	return pf_exec_fault(x, PF_DIAG_VM_LOCK_LEFT, (uint32_t)(pc - code->insns), 0, 0, NULL);
conn_left:
	return pf_exec_fault(x, PF_DIAG_VM_CONN_LEFT, (uint32_t)(pc - code->insns), x->conn_count, 0, NULL);
record_left:
	return pf_exec_fault(x, PF_DIAG_VM_RECORD_LEFT, (uint32_t)(pc - code->insns), x->record_count, 0, NULL);
bad_load:
	return pf_exec_fault_access(x, PF_DIAG_VM_LOAD, (uint32_t)(pc - code->insns), fault_at, fault_size);
bad_store:
	return pf_exec_fault_access(x, PF_DIAG_VM_STORE, (uint32_t)(pc - code->insns), fault_at, fault_size);
bad_align:
	return pf_exec_fault_access(x, PF_DIAG_VM_ALIGN, (uint32_t)(pc - code->insns), fault_at, fault_size);
#endif
trap:
	/* Fail closed: XDP_ABORTED. */
	*r0 = 0;
	return PF_BUG_ON(1) ? PF_EFAULT : PF_OK;
}
