/* explore.c - worklist, saved states, loops. */
#include "explore.h"

#include <stdlib.h>

#include "branch.h"
#include "facts.h"
#include "lock.h"
#include "precision.h"
#include "prune.h"
#include "refs.h"
#include "step.h"

/* A state is saved when this much has happened since the last one; more within loops, whose states rarely match. These
 * numbers and MISSES were chosen by measurement over the corpus: a state that is missing costs more than comparing one. */
#define SAVE_JUMPS 2
#define SAVE_STEPS 8
#define LOOP_JUMPS 3
#define LOOP_STEPS 12
/* A saved state that misses this much more often than it hits is dropped. */
#define MISSES 16
#define FORCED_MISSES 64
/* States in progress that are looked at, newest first. The current state is compared with the first few of them, and with
 * one at each power of two behind: an endless loop that takes longer to come round runs into the budget instead. */
#define ANCESTORS 64
#define NEAR_ANCESTORS 8
#define CACHE_LINE 64
#define FETCHED_BYTES 256 /* header and first registers, where most states differ */

static bool decide_path(struct pf_verifier *v, uint32_t insn, bool taken)
{
	if (v->decision_count >= v->decision_capacity) {
		const uint32_t old = v->decision_capacity, capacity = old ? old * 2 : 1024;
		struct pf_decision *d = pf_v_realloc(v, v->decisions, old * sizeof(*d), capacity * sizeof(*d));
		if (!d)
			return false;
		v->decisions = d;
		v->decision_capacity = capacity;
		if (!old)
			v->decision_count = 1;
	}
	v->decisions[v->decision_count] = (struct pf_decision){ v->cur.path, insn * 2 + taken };
	v->cur.path = v->decision_count++;
	return true;
}

static enum pf_err push(struct pf_verifier *v, uint32_t at, bool pending)
{
	if (v->work_count == v->work_capacity) {
		const uint32_t old = v->work_capacity, capacity = old ? old * 2 : 64;
		struct pf_packed **work = pf_v_realloc(v, v->work, old * sizeof(*work), capacity * sizeof(*work));
		if (!work)
			return PF_ENOMEM;
		v->work = work;
		v->work_capacity = capacity;
	}
	struct pf_packed *p = pf_v_pack(v, at);
	if (!p)
		return PF_ENOMEM;
	p->pending = pending;
	v->work[v->work_count++] = p;
	if (v->cur.checkpoint)
		v->saved[v->cur.checkpoint].branches++;
	return PF_OK;
}

enum pf_err pf_explore_push(struct pf_verifier *v, uint32_t at)
{
	return push(v, at, false);
}

const struct pf_packed *pf_explore_previous(struct pf_verifier *v, uint32_t at)
{
	for (uint32_t c = v->cur.checkpoint; c; c = v->saved[c].parent)
		if (v->saved[c].state->at == at && v->saved[c].state->depth == v->cur.depth)
			return v->saved[c].state;
	return NULL;
}

static void end_path(struct pf_verifier *v)
{
	for (uint32_t c = v->cur.checkpoint; c && --v->saved[c].branches == 0;)
		c = v->saved[c].parent;
}

/* Takes the next state from the worklist; false: none is left. */
static bool next_path(struct pf_verifier *v)
{
	while (v->work_count) {
		struct pf_packed *p = v->work[--v->work_count];
		const bool pending = p->pending;

		pf_v_unpack(v, p);
		pf_v_free(v, p, p->size);
		if (!pending)
			return true;
		const uint32_t i = v->cur.at;
		if (!decide_path(v, i, true))
			return true; /* v->nomem ends it */
		v->cur.at = v->at[i].target;
		if (pf_branch_refine(v, i, true))
			return true;
		end_path(v);
	}
	return false;
}

/* ---- saved states ---- */

static bool is_final(const struct pf_verifier *v, uint32_t s)
{
	for (uint32_t o = v->saved[s].open; o; o = v->saved[o].open)
		if (v->saved[o].branches)
			return false;
	return true;
}

/* The outermost state in progress that s is open to. */
static uint32_t open_to(const struct pf_verifier *v, uint32_t s)
{
	uint32_t found = 0;
	for (uint32_t o = v->saved[s].open; o; o = v->saved[o].open)
		if (v->saved[o].branches)
			found = o;
	return found;
}

/* The current path ended in a state that rests on `head`: so do all states of the path behind it. Saved states are
 * numbered in the order they were made, so that the smaller of two ancestors is the outer one. */
static void set_open(struct pf_verifier *v, uint32_t head)
{
	for (uint32_t c = v->cur.checkpoint; c && c > head; c = v->saved[c].parent)
		if (!v->saved[c].open || v->saved[c].open > head)
			v->saved[c].open = head;
}

static void drop(struct pf_verifier *v, uint32_t s)
{
	pf_v_free(v, v->saved[s].state, v->saved[s].state->size);
	v->saved[s].state = NULL;
	v->saved_live--;
}

static enum pf_err save(struct pf_verifier *v, uint32_t i)
{
	if (v->saved_count >= v->saved_capacity) {
		const uint32_t old = v->saved_capacity, capacity = old ? old * 2 : 256;
		struct pf_saved *saved = pf_v_realloc(v, v->saved, old * sizeof(*saved), capacity * sizeof(*saved));
		if (!saved)
			return PF_ENOMEM;
		v->saved = saved;
		v->saved_capacity = capacity;
		if (!old)
			v->saved_count = 1;
	}
	struct pf_packed *p = pf_v_pack(v, i);
	if (!p)
		return PF_ENOMEM;
	const uint32_t s = v->saved_count++;
	v->saved[s] = (struct pf_saved){ .state = p, .parent = v->cur.checkpoint, .next = v->at[i].states, .branches = 1 };
	v->at[i].states = s;
	v->cur.checkpoint = s;
	v->cur.jumps = v->cur.steps = 0;
	v->out->states_total++;
	if (++v->saved_live > v->out->states_peak)
		v->out->states_peak = v->saved_live;
	return PF_OK;
}

enum visit { VISIT_GO_ON, VISIT_COVERED, VISIT_REFUSED };

static enum visit compare_in_progress(struct pf_verifier *v, uint32_t i, uint32_t s, uint32_t ancestors)
{
	const struct pf_packed *old = v->saved[s].state;

	if (v->at[i].flags & PF_V_ITERATES) {
		if (!pf_prune_covers(v, old, PF_COVER_WITHIN))
			return VISIT_GO_ON;
		pf_prune_inherit(v, old);
		set_open(v, s);
		return VISIT_COVERED;
	}
	if (ancestors >= NEAR_ANCESTORS && (ancestors & (ancestors - 1)))
		return VISIT_GO_ON;
	if (!pf_prune_covers(v, old, PF_COVER_SAME))
		return VISIT_GO_ON;
	pf_v_help(v, "make every round change something that decides when the loop ends: a counter with a constant bound");
	(void)pf_v_refuse(v, PF_EINVAL, PF_DIAG_VER_LOOP, i, 0, NULL);
	return VISIT_REFUSED;
}

static enum visit compare_complete(struct pf_verifier *v, uint32_t s)
{
	const struct pf_packed *old = v->saved[s].state;
	const bool final = is_final(v, s);

	if (!pf_prune_covers(v, old, final ? PF_COVER_PRECISE : PF_COVER_WITHIN))
		return VISIT_GO_ON;
	v->saved[s].hits++;
	pf_prune_inherit(v, old);
	if (!final)
		set_open(v, open_to(v, s));
	return VISIT_COVERED;
}

/* A new state is due after a few jumps and instructions; in a loop (a state here is in progress) after more of them. */
static bool is_due(const struct pf_verifier *v, bool loop)
{
	return loop ? v->cur.jumps >= LOOP_JUMPS || v->cur.steps >= LOOP_STEPS :
		      v->cur.jumps >= SAVE_JUMPS && v->cur.steps >= SAVE_STEPS;
}

/* Long lists are cold: the next state is under way while this one is compared. */
static void fetch_next(const struct pf_verifier *v, uint32_t s)
{
	const uint32_t next = v->saved[s].next;

	for (uint32_t line = 0; next && line < FETCHED_BYTES; line += CACHE_LINE)
		__builtin_prefetch((const uint8_t *)v->saved[next].state + line);
}

static enum visit visit(struct pf_verifier *v, uint32_t i)
{
	const bool forced = v->at[i].flags & PF_V_FORCE;
	const uint32_t patience = forced ? FORCED_MISSES : MISSES;
	bool due = forced || is_due(v, false);
	uint32_t ancestors = 0;

	for (uint32_t *link = &v->at[i].states; *link && ancestors < ANCESTORS;) {
		const uint32_t s = *link;
		const bool in_progress = v->saved[s].branches != 0;

		fetch_next(v, s);
		const enum visit found = in_progress ? compare_in_progress(v, i, s, ancestors) : compare_complete(v, s);
		if (found != VISIT_GO_ON)
			return found;
		ancestors += in_progress;
		if (in_progress && !forced)
			due = due && is_due(v, true);
		/* Only a state that would get company has missed: else a few rounds of a loop would drop the ones that the
		 * rounds of other paths need. */
		if (due)
			v->saved[s].misses++;
		if (v->saved[s].misses > v->saved[s].hits * patience + patience && !in_progress) {
			*link = v->saved[s].next;
			drop(v, s);
			continue;
		}
		link = &v->saved[s].next;
	}
	return due && save(v, i) ? VISIT_REFUSED : VISIT_GO_ON;
}

/* ---- one instruction ---- */

static enum pf_err jump(struct pf_verifier *v, uint32_t i, bool *ended)
{
	enum pf_err err = pf_check_insn(v, i);

	if (err)
		return err;
	v->cur.jumps++;
	int way = pf_branch_decide(v, i);
	if (way < 0) {
		err = push(v, i, true);
		if (err)
			return err;
		way = 0;
		if (!pf_branch_refine(v, i, false)) {
			*ended = true;
			return PF_OK;
		}
	}
	if (!decide_path(v, i, way))
		return PF_ENOMEM;
	v->cur.at = way ? v->at[i].target : i + 1;
	return PF_OK;
}

static enum pf_err leave(struct pf_verifier *v, bool *ended)
{
	if (v->cur.depth)
		return pf_call_return(v);
	const struct pf_vsub *sub = &v->subs[v->cur.frames[0].subprog];
	enum pf_err err = pf_check_read(v, 1);
	if (!err)
		err = pf_lock_check_free(v, PF_DIAG_VER_LOCK_LEFT, "the program ends");
	if (!err)
		err = pf_refs_check_none(v, "the program ends");
	if (!err && sub->global && pf_v_reg(v, 0)->kind != PF_V_SCALAR)
		err = pf_v_refuse(v, PF_EINVAL, PF_DIAG_VER_RETURN_POINTER, 0, 0, pf_v_kind_text(pf_v_reg(v, 0)));
	*ended = true;
	return err;
}

static enum pf_err step(struct pf_verifier *v, uint32_t i, bool *ended)
{
	const struct pf_vinsn *a = &v->at[i];
	enum pf_err err;

	switch ((enum pf_form)a->form) {
	case PF_FORM_JA:
	case PF_FORM_JA32:
		v->cur.jumps++;
		v->cur.at = a->target;
		return PF_OK;
	case PF_FORM_JMP_IMM:
	case PF_FORM_JMP_REG:
		return jump(v, i, ended);
	case PF_FORM_CALL:
	case PF_FORM_CALL_KFUNC:
		v->cur.jumps++;
		return a->op == PF_OP_CALL_LOCAL ? pf_call_local(v, i) : pf_call_helper(v, i);
	case PF_FORM_EXIT:
		return leave(v, ended);
	case PF_FORM_ALU_IMM:
	case PF_FORM_ALU_REG:
	case PF_FORM_UNARY:
	case PF_FORM_SWAP:
	case PF_FORM_LDDW:
	case PF_FORM_LDX:
	case PF_FORM_ST:
	case PF_FORM_STX:
	case PF_FORM_ATOMIC:
	case PF_FORM_LOAD_ACQ:
	case PF_FORM_STORE_REL:
	case PF_FORMS:
		break;
	}
	err = pf_check_insn(v, i);
	if (err)
		return err;
	pf_transfer_insn(v, i);
	v->cur.at = i + (a->form == PF_FORM_LDDW ? 2 : 1);
	return PF_OK;
}

static enum pf_err explore_from_here(struct pf_verifier *v)
{
	const uint32_t budget = v->in->budget ? v->in->budget : PF_VERIFY_BUDGET;

	do {
		for (bool ended = false; !ended;) {
			const uint32_t i = v->cur.at;
			enum pf_err err;

			if (v->nomem)
				return pf_v_refuse(v, PF_ENOMEM, PF_DIAG_VER_MEMORY, (int64_t)v->memory_limit, 0, NULL);
			if (++v->processed > budget)
				return pf_v_refuse(v, PF_E2BIG, PF_DIAG_VER_BUDGET, budget, 0, NULL);
			v->cur.steps++;
			if (v->facts)
				pf_facts_record(v, i);
			if (v->at[i].flags & PF_V_PRUNE) {
				const enum visit found = visit(v, i);
				if (found == VISIT_REFUSED)
					return v->out->diag.err ? v->out->diag.err :
						pf_v_refuse(v, PF_ENOMEM, PF_DIAG_VER_MEMORY, (int64_t)v->memory_limit, 0, NULL);
				if (found == VISIT_COVERED)
					break;
			}
			if (v->in->log && !v->facts)
				pf_v_log(v, i);
			err = step(v, i, &ended);
			if (err)
				return v->out->diag.err ? err :
					pf_v_refuse(v, PF_ENOMEM, PF_DIAG_VER_MEMORY, (int64_t)v->memory_limit, 0, NULL);
		}
		end_path(v);
	} while (next_path(v));
	return v->nomem ? pf_v_refuse(v, PF_ENOMEM, PF_DIAG_VER_MEMORY, (int64_t)v->memory_limit, 0, NULL) : PF_OK;
}

/* ---- entries ---- */

static void enter_memory(struct pf_verifier *v, struct pf_vframe *frame)
{
	const uint64_t low = v->in->memory_min, high = v->in->memory_max;
	const struct pf_scalar length = pf_scalar_range(low, high ? high : UINT64_MAX);

	pf_v_set_pointer(&frame->regs[1], PF_V_PACKET);
	frame->regs[1].range = (uint16_t)(low < PF_V_PACKET_MAX ? low : PF_V_PACKET_MAX);
	pf_v_set_scalar(v, &frame->regs[2], &length);
	frame->regs[2].length = 1;
	frame->regs[2].id = pf_v_new_id(v);
}

static void enter_global(struct pf_verifier *v, struct pf_vframe *frame, const struct pf_verify_func *func)
{
	for (uint32_t a = 0; a < func->args; a++) {
		struct pf_vreg *r = &frame->regs[a + 1];
		switch (func->arg[a].kind) {
		case PF_VERIFY_ARG_SCALAR:
			pf_v_set_unknown(v, r);
			break;
		case PF_VERIFY_ARG_CTX:
			pf_v_set_pointer(r, PF_V_CTX);
			break;
		case PF_VERIFY_ARG_MEM:
			pf_v_set_pointer(r, PF_V_MEM);
			r->size = func->arg[a].size;
			r->null = !func->arg[a].nonnull;
			r->id = r->null ? pf_v_new_id(v) : 0;
			break;
		}
	}
}

static void enter(struct pf_verifier *v, uint32_t sub)
{
	struct pf_vframe *frame = &v->cur.frames[0];

	v->cur.depth = 0;
	v->cur.at = v->subs[sub].start;
	v->cur.checkpoint = v->cur.path = v->cur.jumps = v->cur.steps = 0;
	v->cur.lock = (struct pf_vlock){ .held = 0 };
	v->cur.ref_count = 0;
	memset(frame, 0, sizeof(*frame));
	frame->subprog = sub;
	pf_v_set_pointer(&frame->regs[10], PF_V_STACK);
	if (v->subs[sub].global)
		enter_global(v, frame, v->subs[sub].global);
	else if (v->in->type == PF_PROG_MEMORY)
		enter_memory(v, frame);
	else
		pf_v_set_pointer(&frame->regs[1], PF_V_CTX);
}

enum pf_err pf_explore(struct pf_verifier *v)
{
	enum pf_err err = PF_OK;

	for (uint32_t s = 0; s < v->sub_count && !err; s++) {
		if (s && !v->subs[s].global)
			continue;
		enter(v, s);
		err = explore_from_here(v);
	}
	return err;
}

void pf_explore_reset(struct pf_verifier *v)
{
	while (v->work_count) {
		struct pf_packed *p = v->work[--v->work_count];
		pf_v_free(v, p, p->size);
	}
	for (uint32_t s = 1; s < v->saved_count; s++)
		if (v->saved[s].state)
			drop(v, s);
	v->saved_count = v->saved_capacity ? 1 : 0;
	v->decision_count = v->decision_capacity ? 1 : 0;
	for (uint32_t i = 0; v->at && i < v->count; i++)
		v->at[i].states = 0;
	v->processed = 0;
	v->ids = 0;
}
