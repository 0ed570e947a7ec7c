/* cfg.c - subprograms, reachable code, and stack depth. */
#include "cfg.h"

#include <stdlib.h>


#define STACK_MAX 512
#define STACK_ALIGN 16 /* Linux with a JIT rounds a frame up to this */
#define TAIL_CALL_STACK 256

enum pf_err pf_cfg_refuse(struct pf_verifier *v, uint32_t insn, enum pf_diag_code code, int64_t found, int64_t expected,
			  const char *name)
{
	return pf_diag_set(&v->out->diag, PF_EINVAL, code, insn, (uint64_t)insn * sizeof(struct pf_insn),
			   (uint64_t)found, (uint64_t)expected, name);
}

uint32_t pf_cfg_sub_at(const struct pf_verifier *v, uint32_t insn)
{
	uint32_t low = 0, high = v->sub_count;
	while (high - low > 1) {
		const uint32_t mid = low + (high - low) / 2;
		if (v->subs[mid].start <= insn)
			low = mid;
		else
			high = mid;
	}
	return low;
}

static uint32_t call_target(const struct pf_verifier *v, uint32_t i)
{
	return (uint32_t)((int64_t)i + 1 + v->insns[i].imm);
}

static bool names_sub(const struct pf_vinsn *a)
{
	return a->op == PF_OP_CALL_LOCAL || a->op == PF_OP_LDDW_FUNC;
}

static uint32_t width(const struct pf_vinsn *a)
{
	return a->form == PF_FORM_LDDW ? 2 : 1;
}

static enum pf_err find_map(struct pf_verifier *v, uint32_t i)
{
	const uint32_t number = (uint32_t)v->insns[i].imm;
	const struct pf_verify_input *in = v->in;

	switch (v->at[i].op) {
	case PF_OP_LDDW_MAP:
	case PF_OP_LDDW_VALUE:
		for (uint32_t m = 0; m < in->map_count && m < PF_V_NO_MAP; m++) {
			if (in->maps[m].number == number) {
				v->at[i].map = (uint16_t)m;
				return PF_OK;
			}
		}
		return pf_cfg_refuse(v, i, PF_DIAG_PROG_MAP_FD, number, 0, NULL);
	case PF_OP_LDDW_MAP_IDX:
	case PF_OP_LDDW_VALUE_IDX:
		if (number >= in->map_count || number >= PF_V_NO_MAP)
			return pf_cfg_refuse(v, i, PF_DIAG_PROG_MAP_FD, number, in->map_count, NULL);
		v->at[i].map = (uint16_t)number;
	}
	return PF_OK;
}

static enum pf_err decode(struct pf_verifier *v, uint8_t *heads)
{
	heads[0] = 1;
	for (uint32_t i = 0; i < v->count; i += width(&v->at[i])) {
		struct pf_vinsn *a = &v->at[i];
		const enum pf_op op = pf_isa_op(v->insns[i]);

		a->op = (uint8_t)op;
		a->form = (uint8_t)pf_isa_info(op)->form;
		a->map = PF_V_NO_MAP;
		enum pf_err err = find_map(v, i);
		if (err)
			return err;
		if (names_sub(a))
			heads[call_target(v, i)] = 1;
	}
	for (uint32_t i = 0; i < v->in->func_count; i++)
		if (v->in->funcs[i].insn < v->count)
			heads[v->in->funcs[i].insn] = 1;
	return PF_OK;
}

static enum pf_err find_subs(struct pf_verifier *v, const uint8_t *heads)
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < v->count; i++)
		count += heads[i];
	v->subs = pf_v_realloc(v, NULL, 0, count * sizeof(*v->subs));
	if (!v->subs)
		return PF_ENOMEM;
	memset(v->subs, 0, count * sizeof(*v->subs));
	v->sub_count = count;
	uint32_t s = 0;
	for (uint32_t i = 0; i < v->count; i++) {
		if (heads[i]) {
			v->subs[s].start = i;
			v->at[i].flags |= PF_V_HEAD;
			s++;
		}
		v->subs[s - 1].end = i + 1;
		v->at[i].subprog = s - 1;
	}
	for (uint32_t i = 0; i < v->in->func_count; i++)
		for (s = 1; s < count; s++)
			if (v->subs[s].start == v->in->funcs[i].insn)
				v->subs[s].global = &v->in->funcs[i];
	for (uint32_t i = 0; i < v->count; i += width(&v->at[i])) {
		if (!names_sub(&v->at[i]))
			continue;
		v->at[i].target = pf_cfg_sub_at(v, call_target(v, i));
		if (v->at[i].op == PF_OP_LDDW_FUNC)
			v->subs[v->at[i].target].is_callback = 1;
	}
	return PF_OK;
}

static enum pf_err jump(struct pf_verifier *v, uint32_t i, int64_t distance)
{
	const struct pf_vsub *sub = &v->subs[v->at[i].subprog];
	const int64_t target = (int64_t)i + 1 + distance;

	if (target < sub->start || target >= sub->end)
		return pf_cfg_refuse(v, i, PF_DIAG_VER_JUMP_OUT, target, sub->start, NULL);
	v->at[i].target = (uint32_t)target;
	v->at[target].flags |= PF_V_PRUNE;
	return PF_OK;
}

static bool ends(const struct pf_vinsn *a)
{
	return a->form == PF_FORM_EXIT || a->form == PF_FORM_JA || a->form == PF_FORM_JA32;
}

static enum pf_err call_row(struct pf_verifier *v, uint32_t i)
{
	const struct pf_helper_info *info = pf_prog_call_row(v->at[i].op, v->insns[i]);

	if (!info && v->at[i].op == PF_OP_CALL_KFUNC)
		return pf_cfg_refuse(v, i, PF_DIAG_PROG_KFUNC, v->insns[i].imm, 0, NULL);
	if (!info)
		return pf_cfg_refuse(v, i, PF_DIAG_PROG_HELPER_UNKNOWN, v->insns[i].imm, 0, NULL);
	if (!info->supported)
		return pf_cfg_refuse(v, i, PF_DIAG_PROG_HELPER, v->insns[i].imm, 0, info->name);
	for (int a = 0; a < 5; a++)
		if (info->args[a] == PF_ARG_FUNC)
			v->at[i].flags |= PF_V_ITERATES | PF_V_PRUNE | PF_V_FORCE;
	struct pf_vsub *sub = &v->subs[v->at[i].subprog];
	if (info->flags & PF_HELPER_MOVES_PACKET)
		sub->moves_packet = 1;
	if (info->number == PF_HELPER_ID_tail_call)
		sub->tail_call = sub->moves_packet = 1; /* the target may move it */
	return PF_OK;
}

static enum pf_err find_edges(struct pf_verifier *v)
{
	for (uint32_t i = 0; i < v->count; i += width(&v->at[i])) {
		struct pf_vinsn *a = &v->at[i];
		const uint32_t next = i + width(a);
		enum pf_err err = PF_OK;

		if (a->form == PF_FORM_JA)
			err = jump(v, i, v->insns[i].off);
		else if (a->form == PF_FORM_JA32)
			err = jump(v, i, v->insns[i].imm);
		else if (a->form == PF_FORM_JMP_IMM || a->form == PF_FORM_JMP_REG)
			err = jump(v, i, v->insns[i].off);
		else if (pf_prog_calls_row(a->op))
			err = call_row(v, i);
		else if (a->op == PF_OP_LDDW_BTF_ID)
			err = pf_cfg_refuse(v, i, PF_DIAG_PROG_BTF_VAR, v->insns[i].imm, 0, NULL);
		if (err)
			return err;
		if (a->form == PF_FORM_JMP_IMM || a->form == PF_FORM_JMP_REG)
			a->flags |= PF_V_PRUNE;
		if (a->op == PF_OP_CALL_LOCAL && next < v->count)
			v->at[next].flags |= PF_V_PRUNE;
		if ((next == v->count || (v->at[next].flags & PF_V_HEAD)) && !ends(a))
			return pf_cfg_refuse(v, i, PF_DIAG_VER_FALL_OFF, i, 0, NULL);
	}
	return PF_OK;
}

/* Everything the program's entry leads to, through calls and callbacks; global functions are entries of their own. */
static enum pf_err check_reach(struct pf_verifier *v)
{
	uint32_t top = 0;
	uint32_t *stack = pf_v_realloc(v, NULL, 0, ((size_t)v->count * 2 + 1) * sizeof(*stack));
	uint8_t *seen = pf_v_realloc(v, NULL, 0, v->count);
	enum pf_err err = PF_OK;

	if (!stack || !seen) {
		err = PF_ENOMEM;
		goto out;
	}
	memset(seen, 0, v->count);
	for (uint32_t s = 0; s < v->sub_count; s++) {
		if (s && !v->subs[s].global)
			continue;
		stack[top++] = v->subs[s].start;
		while (top) {
			const uint32_t i = stack[--top];
			const struct pf_vinsn *a = &v->at[i];
			if (seen[i])
				continue;
			seen[i] = 1;
			if (names_sub(a) && !seen[v->subs[a->target].start])
				stack[top++] = v->subs[a->target].start;
			if ((a->form >= PF_FORM_JA && a->form <= PF_FORM_JMP_REG) && !seen[a->target])
				stack[top++] = a->target;
			if (!ends(a) && !seen[i + width(a)])
				stack[top++] = i + width(a);
		}
	}
	for (uint32_t i = 0; i < v->count && !err; i += width(&v->at[i]))
		if (!seen[i])
			err = pf_cfg_refuse(v, i, PF_DIAG_VER_UNREACHABLE, i, 0, NULL);
out:
	pf_v_free(v, stack, ((size_t)v->count * 2 + 1) * sizeof(*stack));
	pf_v_free(v, seen, v->count);
	return err;
}

/* A subprogram moves the packet if anything it calls does; tail-called programs may, too. */
static void spread_moves(struct pf_verifier *v)
{
	for (bool changed = true; changed;) {
		changed = false;
		for (uint32_t i = 0; i < v->count; i += width(&v->at[i])) {
			struct pf_vsub *sub = &v->subs[v->at[i].subprog];
			if (!names_sub(&v->at[i]) || sub->moves_packet || !v->subs[v->at[i].target].moves_packet)
				continue;
			sub->moves_packet = 1;
			changed = true;
		}
	}
}

enum pf_err pf_cfg_build(struct pf_verifier *v)
{
	uint8_t *heads = pf_v_realloc(v, NULL, 0, v->count);

	if (!heads)
		return PF_ENOMEM;
	memset(heads, 0, v->count);
	enum pf_err err = decode(v, heads);
	if (!err)
		err = find_subs(v, heads);
	pf_v_free(v, heads, v->count);
	if (!err)
		err = find_edges(v);
	if (!err)
		err = check_reach(v);
	if (!err)
		spread_moves(v);
	return err;
}

static uint32_t rounded(const struct pf_vsub *sub)
{
	return (sub->depth + STACK_ALIGN - 1) / STACK_ALIGN * STACK_ALIGN;
}

/* Walks every chain of calls, at most 8 frames deep, with the position in each. A program with a wide call graph has
 * many chains: `known` keeps what a subprogram needs below itself, so that each is walked once. */
struct below {
	uint32_t stack; /* bytes, its own included */
	uint32_t frames;
	uint32_t tail;  /* 0: no tail call in it or below; else 1 + most bytes of its frames above such a call */
	uint8_t state;  /* 0 unknown, 1 being walked, 2 known */
};

static enum pf_err measure(struct pf_verifier *v, struct below *all, uint32_t s, uint32_t depth)
{
	const struct pf_vsub *sub = &v->subs[s];
	struct below *b = &all[s];
	uint32_t deepest = 0, frames = 0, tail = sub->tail_call ? 1 : 0;

	if (b->state == 2)
		return PF_OK;
	if (b->state == 1 || depth >= 64)
		return pf_cfg_refuse(v, sub->start, PF_DIAG_VER_FRAMES, PF_V_FRAMES + 1, PF_V_FRAMES, NULL);
	b->state = 1;
	for (uint32_t i = sub->start; i < sub->end; i += width(&v->at[i])) {
		if (!names_sub(&v->at[i]))
			continue;
		const uint32_t t = v->at[i].target;
		enum pf_err err = measure(v, all, t, depth + 1);
		if (err)
			return err;
		if (all[t].stack > deepest)
			deepest = all[t].stack;
		if (all[t].frames > frames)
			frames = all[t].frames;
		if (all[t].tail && all[t].tail + rounded(sub) > tail)
			tail = all[t].tail + rounded(sub);
	}
	b->stack = rounded(sub) + deepest;
	b->frames = frames + 1;
	b->tail = tail;
	b->state = 2;
	if (b->frames > PF_V_FRAMES)
		return pf_cfg_refuse(v, sub->start, PF_DIAG_VER_FRAMES, b->frames, PF_V_FRAMES, NULL);
	if (b->stack > STACK_MAX)
		return pf_cfg_refuse(v, sub->start, PF_DIAG_VER_STACK_DEPTH, b->stack, STACK_MAX, NULL);
	if (b->tail > TAIL_CALL_STACK)
		return pf_cfg_refuse(v, sub->start, PF_DIAG_VER_TAIL_STACK, b->tail - 1, TAIL_CALL_STACK, NULL);
	return PF_OK;
}

enum pf_err pf_cfg_depths(struct pf_verifier *v)
{
	struct below *all = pf_v_realloc(v, NULL, 0, v->sub_count * sizeof(*all));
	enum pf_err err = PF_OK;

	if (!all)
		return PF_ENOMEM;
	memset(all, 0, v->sub_count * sizeof(*all));
	for (uint32_t s = 0; s < v->sub_count && !err; s++)
		if (s == 0 || v->subs[s].global)
			err = measure(v, all, s, 0);
	if (!err)
		v->out->stack_depth = all[0].stack;
	pf_v_free(v, all, v->sub_count * sizeof(*all));
	return err;
}
