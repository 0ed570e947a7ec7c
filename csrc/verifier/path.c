/* path.c - follows a refused path again, to see where the values in question come from. */
#include "path.h"

#include <stdlib.h>

#include "liveness.h"

#define STEPS (1u << 18) /* longer paths are not followed */

/* Origins of the registers and stack slots of one function activation. */
struct activation {
	uint64_t regs[PF_V_REGS];
	uint64_t slots[PF_V_SLOTS];
	uint32_t back; /* where it returns to */
};

struct walk {
	struct pf_verifier *v;
	struct activation frames[PF_V_FRAMES];
	uint32_t depth, at, steps;
	uint32_t count, next; /* decisions */
	uint32_t *decisions;  /* oldest first */
	uint64_t *origins;    /* of the operands of each */
};

static uint64_t origin_of(uint32_t i) { return UINT64_C(1) << (i % 64); }

/* The slot of an aligned access by r10; UINT32_MAX: another access. */
static uint32_t slot_of(const struct pf_insn *insn, uint32_t base)
{
	return base == 10 && insn->off < 0 && insn->off >= -512 ? (uint32_t)(-(insn->off + 1) / 8) : UINT32_MAX;
}

static void data_step(struct walk *w, const struct pf_insn *insn, enum pf_form form)
{
	struct activation *f = &w->frames[w->depth];
	uint32_t slot;

	switch (form) {
	case PF_FORM_ALU_REG:
		if ((insn->code & 0xf0) == 0xb0)
			f->regs[insn->dst] = f->regs[insn->src];
		else
			f->regs[insn->dst] |= f->regs[insn->src];
		return;
	case PF_FORM_ALU_IMM:
		if ((insn->code & 0xf0) == 0xb0)
			f->regs[insn->dst] = origin_of(w->at);
		return;
	case PF_FORM_LDX:
		slot = slot_of(insn, insn->src);
		f->regs[insn->dst] = slot != UINT32_MAX && f->slots[slot] ? f->slots[slot] : origin_of(w->at);
		return;
	case PF_FORM_STX:
		slot = slot_of(insn, insn->dst);
		if (slot != UINT32_MAX)
			f->slots[slot] = f->regs[insn->src];
		return;
	case PF_FORM_UNARY:
	case PF_FORM_SWAP:
	case PF_FORM_ST:
	case PF_FORM_STORE_REL:
	case PF_FORM_JA:
	case PF_FORM_JA32:
	case PF_FORM_JMP_IMM:
	case PF_FORM_JMP_REG:
	case PF_FORM_EXIT:
	case PF_FORMS:
		return;
	case PF_FORM_LDDW:
	case PF_FORM_LOAD_ACQ:
	case PF_FORM_ATOMIC:
	case PF_FORM_CALL:
	case PF_FORM_CALL_KFUNC:
		break;
	}
	for (uint32_t left = pf_live_defs(w->v, w->at); left; left &= left - 1)
		f->regs[__builtin_ctz(left)] = origin_of(w->at);
}

static bool enter(struct walk *w, uint32_t target, uint32_t back)
{
	if (w->depth + 1 >= PF_V_FRAMES)
		return false;
	struct activation *f = &w->frames[++w->depth];
	memset(f, 0, sizeof(*f));
	memcpy(&f->regs[1], &w->frames[w->depth - 1].regs[1], 5 * sizeof(f->regs[0]));
	f->back = back;
	w->at = target;
	return true;
}

/* Where a call of a helper with a callback goes on: in the callback when the path's next known place is there. */
static uint32_t callback_next(const struct walk *w)
{
	const struct pf_verifier *v = w->v;
	const uint32_t place = w->next < w->count ? w->decisions[w->next] / 2 : v->cur.at;
	const uint32_t sub = v->at[place].subprog;

	return v->subs[sub].is_callback && sub != v->at[w->at].subprog ? sub : UINT32_MAX;
}

/* One instruction; false: the path cannot be followed. */
static bool step(struct walk *w)
{
	const struct pf_verifier *v = w->v;
	const struct pf_vinsn *a = &v->at[w->at];
	const struct pf_insn *insn = &v->insns[w->at];

	if (a->form == PF_FORM_JMP_IMM || a->form == PF_FORM_JMP_REG) {
		if (w->next == w->count || w->decisions[w->next] / 2 != w->at)
			return false;
		const struct activation *f = &w->frames[w->depth];
		w->origins[w->next] = f->regs[insn->dst] | (a->form == PF_FORM_JMP_REG ? f->regs[insn->src] : 0);
		w->at = w->decisions[w->next++] & 1 ? a->target : w->at + 1;
		return true;
	}
	if (a->form == PF_FORM_JA || a->form == PF_FORM_JA32) {
		w->at = a->target;
		return true;
	}
	if (a->form == PF_FORM_EXIT) {
		if (!w->depth)
			return false;
		const struct activation *f = &w->frames[w->depth--];
		w->frames[w->depth].regs[0] = f->regs[0];
		w->at = f->back;
		return true;
	}
	if (a->op == PF_OP_CALL_LOCAL && !v->subs[a->target].global)
		return enter(w, v->subs[a->target].start, w->at + 1);
	if (a->flags & PF_V_ITERATES) {
		const uint32_t sub = callback_next(w);
		if (sub != UINT32_MAX)
			return enter(w, v->subs[sub].start, w->at);
	}
	data_step(w, insn, a->form);
	w->at += a->form == PF_FORM_LDDW ? 2 : 1;
	return true;
}

/* Origins of the registers in question; 0: nothing is known, every branch matters. */
static uint64_t follow(struct walk *w, uint32_t regs)
{
	const struct pf_verifier *v = w->v;
	uint64_t wanted = 0;

	w->at = v->subs[v->cur.frames[0].subprog].start;
	for (uint32_t r = 1; r < 6; r++)
		w->frames[0].regs[r] = origin_of(r); /* arguments */
	while (w->at != v->cur.at || w->next != w->count || w->depth != v->cur.depth)
		if (w->steps++ == STEPS || !step(w))
			return 0;
	for (uint32_t left = regs; left; left &= left - 1)
		wanted |= w->frames[w->depth].regs[__builtin_ctz(left)];
	return wanted;
}

/* The last branches that matter, the rounds of a loop counted once. */
static void choose(struct pf_verifier *v, const struct walk *w, uint64_t wanted)
{
	struct pf_verify_result *out = v->out;
	uint32_t n = 0;

	for (uint32_t d = w->count; d-- > 0;) {
		const struct pf_verify_step step = { w->decisions[d] / 2, w->decisions[d] & 1 };
		bool known = wanted && !(w->origins[d] & wanted);
		for (uint32_t k = 0; k < n && !known; k++)
			known = out->path[k].insn == step.insn && out->path[k].taken == step.taken;
		if (known)
			continue;
		if (n == PF_VERIFY_PATH) {
			out->path_dropped++;
			continue;
		}
		out->path[n++] = step;
	}
	out->path_count = n;
	for (uint32_t k = 0; k < n / 2; k++) {
		const struct pf_verify_step step = out->path[k];
		out->path[k] = out->path[n - 1 - k];
		out->path[n - 1 - k] = step;
	}
}

void pf_path_set(struct pf_verifier *v, uint32_t regs)
{
	struct walk *w = calloc(1, sizeof(*w));

	v->out->path_count = v->out->path_dropped = 0;
	if (!w)
		return;
	w->v = v;
	for (uint32_t d = v->cur.path; d; d = v->decisions[d].previous)
		w->count++;
	w->decisions = calloc((size_t)w->count + 1, sizeof(*w->decisions));
	w->origins = calloc((size_t)w->count + 1, sizeof(*w->origins));
	if (w->decisions && w->origins) {
		uint32_t place = w->count;
		for (uint32_t d = v->cur.path; d; d = v->decisions[d].previous)
			w->decisions[--place] = v->decisions[d].step;
		choose(v, w, regs ? follow(w, regs) : 0);
	}
	free(w->decisions);
	free(w->origins);
	free(w);
}
