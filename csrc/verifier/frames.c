/* frames.c - what goes from one function of the program to another: local calls, returns, tail calls. */
#include "branch.h"
#include "dynptr.h"
#include "lock.h"
#include "plant.h"
#include "precision.h"
#include "prune.h"
#include "step.h"

#define CALLER_SAVED 6

static void forget_packet(struct pf_verifier *v, struct pf_vreg *r, void *user)
{
	const uint32_t *call = user;
	const bool in_packet = r->kind == PF_V_MEM && r->inner; /* a slice */

	if (pf_prog_type_has_packet(v->in->type) && PF_PLANTED(23, false, true) && (pf_v_is_packet(r) || r->kind == PF_V_END || in_packet)) {
		pf_v_set_unknown(v, r);
		r->size = *call + 1;
	}
}

void pf_call_forget_packet(struct pf_verifier *v, uint32_t call)
{
	pf_v_each_reg(v, forget_packet, &call);
}

void pf_call_clobber(struct pf_verifier *v)
{
	for (uint32_t r = 0; r < CALLER_SAVED; r++)
		pf_v_reg(v, r)->kind = PF_V_NONE;
}

struct pf_vframe *pf_call_enter(struct pf_verifier *v, uint32_t i, uint32_t sub, enum pf_vcallback how)
{
	struct pf_vframe *frame = &v->cur.frames[++v->cur.depth];

	frame->call_at = i;
	frame->subprog = sub;
	frame->rounds = 0;
	frame->callback = (uint8_t)how;
	frame->slots = 0;
	frame->buffers = 0;
	for (uint32_t r = 0; r < 10; r++)
		frame->regs[r].kind = PF_V_NONE;
	pf_v_set_pointer(&frame->regs[10], PF_V_STACK);
	frame->regs[10].frame = (uint8_t)v->cur.depth;
	return frame;
}

static void leave(struct pf_verifier *v)
{
	pf_dynptr_leave(v, v->cur.depth);
	v->cur.depth--;
}

/* A subprogram that made a tail call does not go on: its caller does, with whatever the target returned, and with a
 * packet that the target may have moved. Behind the call itself the call failed, and nothing has happened. */
enum pf_err pf_call_return_from_tail(struct pf_verifier *v)
{
	const uint32_t call = v->cur.at - 1;
	enum pf_err err = pf_explore_push(v, v->cur.at);

	v->cur.at = pf_v_frame(v)->call_at + 1;
	leave(v);
	if (PF_PLANTED(24, false, true))
		pf_call_forget_packet(v, call);
	pf_v_set_unknown(v, pf_v_reg(v, 0));
	return err;
}

static enum pf_err check_global_arg(struct pf_verifier *v, const struct pf_verify_arg *arg, uint32_t regno)
{
	const struct pf_vreg *r = pf_v_reg(v, regno);
	const struct pf_access access = { .regno = regno, .size = arg->size };
	enum pf_err err = pf_check_read(v, 1u << regno);

	if (err)
		return err;
	switch (arg->kind) {
	case PF_VERIFY_ARG_SCALAR:
		return r->kind == PF_V_SCALAR ? PF_OK : pf_v_refuse(v, PF_EINVAL, PF_DIAG_VER_GLOBAL_ARG, regno, 0, "a number");
	case PF_VERIFY_ARG_CTX:
		if (r->kind == PF_V_CTX && !r->off && pf_scalar_is_const(&r->s) && !r->s.t.value)
			return PF_OK;
		return pf_v_refuse(v, PF_EINVAL, PF_DIAG_VER_GLOBAL_ARG, regno, 0, "the ctx");
	case PF_VERIFY_ARG_MEM:
		if (pf_v_is_null(r) && !arg->nonnull) {
			pf_prec_mark(v, r->node);
			return PF_OK;
		}
		if (!pf_v_is_pointer(r) || (r->null && arg->nonnull))
			return pf_v_refuse(v, PF_EINVAL, PF_DIAG_VER_GLOBAL_ARG, regno, 0, "a pointer to memory");
		err = pf_check_region(v, r, &access);
		if (!err) {
			struct pf_access write = access;
			write.write = true;
			err = pf_check_region(v, r, &write);
			if (!err && (r->kind == PF_V_STACK || r->kind == PF_V_MEM))
				pf_transfer_store(v, r, &write, NULL);
		}
		if (err)
			pf_v_help(v, "argument %u of this global function points to %u bytes that it may read and write: pass a pointer "
				  "to as many", regno, arg->size);
		return err;
	}
	return PF_OK;
}

static enum pf_err call_global(struct pf_verifier *v, uint32_t i, const struct pf_vsub *sub)
{
	enum pf_err err = pf_lock_check_free(v, PF_DIAG_VER_LOCK_CALL, "a global function");

	for (uint32_t a = 0; a < sub->global->args && !err; a++)
		err = check_global_arg(v, &sub->global->arg[a], a + 1);
	if (err)
		return err;
	if (sub->moves_packet)
		pf_call_forget_packet(v, i);
	pf_call_clobber(v);
	pf_v_set_unknown(v, pf_v_reg(v, 0));
	v->cur.at = i + 1;
	return PF_OK;
}

enum pf_err pf_call_local(struct pf_verifier *v, uint32_t i)
{
	const uint32_t target = v->at[i].target;
	struct pf_vframe *caller = pf_v_frame(v);

	if (v->subs[target].global)
		return call_global(v, i, &v->subs[target]);
	if (v->cur.depth + 1 >= PF_V_FRAMES)
		return pf_v_refuse(v, PF_E2BIG, PF_DIAG_VER_FRAMES, PF_V_FRAMES + 1, PF_V_FRAMES, NULL);
	struct pf_vframe *frame = pf_call_enter(v, i, target, PF_V_CALL);
	for (uint32_t r = 1; r < CALLER_SAVED; r++)
		frame->regs[r] = caller->regs[r];
	for (uint32_t r = 0; r < CALLER_SAVED; r++)
		caller->regs[r].kind = PF_V_NONE;
	v->cur.at = v->subs[target].start;
	return PF_OK;
}

/* bpf_loop and bpf_for_each_map_elem: the callback says 0 (go on) or 1 (stop). */
static enum pf_err return_callback(struct pf_verifier *v, const struct pf_vreg *r0)
{
	if (r0->kind == PF_V_NONE)
		return pf_check_read(v, 1);
	if (r0->kind != PF_V_SCALAR || r0->s.umax > 1) {
		pf_v_help(v, "return 0 (go on) or 1 (stop) from the callback");
		return pf_v_refuse(v, PF_EINVAL, PF_DIAG_VER_CALLBACK_RETURN, (int64_t)r0->s.umax, 1, NULL);
	}
	enum pf_err err = pf_lock_check_free(v, PF_DIAG_VER_LOCK_LEFT, "the callback returns");
	if (err)
		return err;
	pf_prec_mark(v, r0->node);
	const uint32_t at = pf_v_frame(v)->call_at;
	leave(v);
	pf_v_frame(v)->rounds++;
	v->cur.at = at;
	const struct pf_packed *previous = pf_explore_previous(v, at);
	if (previous)
		pf_prune_widen(v, previous);
	return PF_OK;
}

enum pf_err pf_call_return(struct pf_verifier *v)
{
	const struct pf_vframe *frame = pf_v_frame(v);
	const struct pf_vreg *r0 = &frame->regs[0];

	if (frame->callback != PF_V_CALL)
		return return_callback(v, r0);
	if (r0->kind == PF_V_STACK)
		return pf_v_refuse(v, PF_EINVAL, PF_DIAG_VER_RETURN_STACK, 0, 0, NULL);
	v->cur.at = frame->call_at + 1;
	leave(v);
	pf_call_clobber(v);
	*pf_v_reg(v, 0) = *r0;
	return PF_OK;
}
