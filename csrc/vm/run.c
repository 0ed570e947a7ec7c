/* run.c - entering the loop, or compiled code: whole programs, callbacks, tail calls. */
#include "interp.h"

#include "../map/ring.h"
#include "../map/spin.h"

static pf_interp_fn *loop_of(const struct pf_exec *x, enum pf_engine engine)
{
	if (engine != PF_ENGINE_CHECKED)
		return pf_interp_unchecked;
	return x->observer ? pf_interp_observed : pf_interp_checked;
}

/* A callback, one frame further down; registers and position of the caller live in its own activation. */
static enum pf_err call_subprogram(struct pf_exec *x, enum pf_engine engine, uint32_t pc, const uint64_t args[5],
				   uint64_t *r0)
{
	const struct pf_prog *prog = x->prog;
	const struct pf_code *code = atomic_load_explicit(&prog->code[engine], memory_order_acquire);
	const uint32_t floor = x->floor;
	if (x->depth - floor + 1 >= PF_STACK_FRAMES)
		return x->checked ? pf_exec_fault(x, PF_DIAG_VM_DEPTH, pc, 0, PF_STACK_FRAMES, NULL) : PF_EFAULT;
	x->depth++;
	enum pf_err err = loop_of(x, engine)(x, code, pc, args, r0, NULL);
	if (x->checked && !err && x->left < 0)
		err = pf_exec_fault(x, PF_DIAG_VM_BUDGET, pc, x->budget, 0, NULL);
	x->depth--;
	if (x->prog != prog)
		x->window_len = 0; /* it may show a map of the other program */
	x->prog = prog; /* a tail call may have changed both */
	x->floor = floor;
	return err;
}

static enum pf_err call_checked(struct pf_exec *x, uint32_t pc, const uint64_t args[5], uint64_t *r0)
{
	return call_subprogram(x, PF_ENGINE_CHECKED, pc, args, r0);
}

static enum pf_err call_unchecked(struct pf_exec *x, uint32_t pc, const uint64_t args[5], uint64_t *r0)
{
	return call_subprogram(x, PF_ENGINE_INTERP, pc, args, r0);
}

/* Compiled code keeps its frames on the machine's stack. How deep calls nest, the verifier has bounded. */
static enum pf_err call_native(struct pf_exec *x, uint32_t pc, const uint64_t args[5], uint64_t *r0)
{
	const struct pf_prog *prog = x->prog;
	const struct pf_code *code = atomic_load_explicit(&prog->code[PF_ENGINE_JIT], memory_order_acquire);
	*r0 = code->native.call(x, pc, args[0], args[1], args[2], args[3], args[4]);
	x->prog = prog;
	return PF_OK;
}

const struct pf_code *pf_vm_tail_target(struct pf_exec *x, uint64_t map, uint64_t index, enum pf_engine engine)
{
	const uint32_t key = (uint32_t)index;
	const struct pf_map *array = (const struct pf_map *)(uintptr_t)map;
	const struct pf_binding *binding = x->bindings ? pf_bindings_of(x->bindings, array) : NULL;
	if (!binding || x->tail_calls >= PF_TAIL_CALLS)
		return NULL;
	const struct pf_prog *target = (const struct pf_prog *)pf_binding_find(binding, &key);
	if (!target || target->type != x->prog->type)
		return NULL;
	const struct pf_code *code = atomic_load_explicit(&target->code[engine], memory_order_acquire);
	if (!code)
		return NULL;
	x->tail_calls++;
	x->prog = target;
	return code;
}

/* After a run, which may have faulted: what it still holds is given back (exec.h, E9 to E11). */
static void end_run(struct pf_exec *x)
{
	if (PF_UNLIKELY(x->lock))
		pf_spin_release(x->lock);
	x->lock = NULL;
	while (PF_UNLIKELY(x->record_count))
		(void)pf_ring_commit(x->records[--x->record_count].data, 1);
	if (PF_UNLIKELY(x->conn_count))
		pf_exec_drop_conns(x);
}

static pf_interp_fn *choose(struct pf_exec *x, enum pf_engine engine)
{
	x->checked = engine == PF_ENGINE_CHECKED;
	x->call = x->checked ? call_checked : call_unchecked;
	return loop_of(x, engine);
}

/* The frames of compiled code are below this function's caller's. */
#define BEGIN_NATIVE(x)                                                                                                \
	do {                                                                                                           \
		(x)->checked = 0;                                                                                      \
		(x)->call = call_native;                                                                               \
		(x)->native_stack = (uint64_t)(uintptr_t)__builtin_frame_address(0);                                   \
	} while (0)

enum pf_err pf_vm_run(struct pf_exec *x, const struct pf_prog *prog, enum pf_engine engine, uint64_t r1, uint64_t r2,
		      uint64_t *r0)
{
	const struct pf_code *code = atomic_load_explicit(&prog->code[engine], memory_order_acquire);
	const uint64_t args[5] = { r1, r2, 0, 0, 0 };
	if (PF_BUG_ON(!code)) {
		*r0 = 0;
		return PF_OK;
	}
	pf_vm_clear(x, prog);
	pf_vm_begin_run(x);
	if (engine == PF_ENGINE_JIT) {
		BEGIN_NATIVE(x);
		*r0 = code->native.run(x, r1, r2);
		x->native_stack = 0;
		return PF_OK;
	}
	const enum pf_err err = choose(x, engine)(x, code, 0, args, r0, NULL);
	end_run(x);
	x->executed = x->budget - (uint64_t)x->left;
	return err;
}

enum pf_err pf_vm_run_packets(struct pf_exec *x, const struct pf_prog *prog, enum pf_engine engine,
			      struct pf_vm_feed *feed)
{
	const struct pf_code *code = atomic_load_explicit(&prog->code[engine], memory_order_acquire);
	uint64_t r0;
	if (PF_BUG_ON(!code || !pf_prog_type_has_packet(prog->type))) {
		while (feed->done < feed->n)
			pf_vm_count(feed, PF_XDP_ABORTED);
	}
	if (feed->done == feed->n)
		return PF_OK;
	pf_vm_clear(x, prog);
	if (engine == PF_ENGINE_JIT) {
		pf_vm_begin_run(x);
		BEGIN_NATIVE(x);
		code->native.packets(x, feed);
		x->native_stack = 0;
		return PF_OK;
	}
	const enum pf_err err = choose(x, engine)(x, code, 0, NULL, &r0, feed);
	end_run(x);
	return err;
}

enum pf_err pf_vm_execute(struct pf_exec *x, const struct pf_prog *prog, enum pf_engine engine, uint8_t *memory,
			  uint64_t len, uint64_t *r0)
{
	x->memory = memory;
	x->memory_len = len;
	return pf_vm_run(x, prog, engine, (uint64_t)(uintptr_t)memory, len, r0);
}
