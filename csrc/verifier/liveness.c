/* liveness.c - backward dataflow; a forward pass first finds which registers point into the stack, and where. */
#include "liveness.h"

#include "../prog/registers.h"

#define ARGS 0x3eu
#define ALL_SLOTS UINT64_MAX
#define SWEEPS 48 /* a program that needs more (loops nested that deep) gets everything live */

/* Where a register points, as one number: the forward pass's lattice, height 3. */
enum {
	NEVER = 0,              /* not reached yet */
	OTHER = 1,              /* no pointer into this frame */
	MAYBE = 2,              /* perhaps a pointer into this frame */
	FRAME = 0x10000,        /* + distance from r10, within +-4096 */
	NUMBER = 0x20000000,    /* + constant 0..4096 */
	MAP = 0x40000000,       /* + place of the map */
};
#define REACH 4096

struct flow {
	struct pf_verifier *v;
	int32_t (*in)[PF_V_REGS];
	uint8_t *queued;
	uint32_t *queue;
	uint32_t top;
	uint8_t *spills; /* by subprogram: a pointer into the frame may lie in the frame */
};

static bool is_frame(int32_t x) { return x > FRAME / 2 && x < NUMBER; }
static bool points(int32_t x) { return x == MAYBE || is_frame(x); }
static int32_t frame_at(int64_t off) { return off < -REACH || off > REACH ? MAYBE : (int32_t)(FRAME + off); }

static int32_t merge(int32_t a, int32_t b)
{
	if (a == b || b == NEVER)
		return a;
	if (a == NEVER)
		return b;
	return points(a) || points(b) ? MAYBE : OTHER;
}

uint32_t pf_live_defs(const struct pf_verifier *v, uint32_t i)
{
	return pf_prog_writes((enum pf_op)v->at[i].op, v->insns[i]);
}

uint32_t pf_live_uses(const struct pf_verifier *v, uint32_t i)
{
	if (v->at[i].op == PF_OP_CALL_LOCAL)
		return v->at[v->subs[v->at[i].target].start].live & ARGS;
	return pf_prog_reads((enum pf_op)v->at[i].op, v->insns[i]);
}

/* ---- forward: where registers point ---- */

static void reach(struct flow *f, uint32_t to, const int32_t *regs)
{
	bool changed = false;
	for (uint32_t r = 0; r < PF_V_REGS; r++) {
		const int32_t merged = merge(f->in[to][r], regs[r]);
		changed |= merged != f->in[to][r];
		f->in[to][r] = merged;
	}
	if (changed && !f->queued[to]) {
		f->queued[to] = 1;
		f->queue[f->top++] = to;
	}
}

static int32_t alu_result(const struct flow *f, uint32_t i, const int32_t *regs)
{
	const struct pf_insn *insn = &f->v->insns[i];
	const bool wide = (insn->code & 7) == 7, imm = f->v->at[i].form == PF_FORM_ALU_IMM;
	const int32_t dst = regs[insn->dst], src = imm ? OTHER : regs[insn->src];

	if ((insn->code & 0xf0) == 0xb0) { /* move */
		if (imm)
			return insn->imm >= 0 && insn->imm <= REACH ? NUMBER + insn->imm : OTHER;
		return wide && insn->off == 0 ? src : OTHER;
	}
	if (!wide)
		return OTHER;
	if ((insn->code & 0xf0) == 0x00 && imm && is_frame(dst))
		return frame_at((int64_t)(dst - FRAME) + insn->imm);
	return points(dst) || points(src) ? MAYBE : OTHER;
}

static void flow_step(struct flow *f, uint32_t i)
{
	struct pf_verifier *v = f->v;
	const struct pf_vinsn *a = &v->at[i];
	const struct pf_insn *insn = &v->insns[i];
	int32_t regs[PF_V_REGS];

	memcpy(regs, f->in[i], sizeof(regs));
	const bool spills = f->spills[a->subprog];
	if (a->form == PF_FORM_ALU_IMM || a->form == PF_FORM_ALU_REG) {
		regs[insn->dst] = alu_result(f, i, regs);
	} else if (a->form == PF_FORM_LDDW) {
		regs[insn->dst] = a->map != PF_V_NO_MAP && (a->op == PF_OP_LDDW_MAP || a->op == PF_OP_LDDW_MAP_IDX) ?
					  MAP + a->map : OTHER;
	} else if (a->form == PF_FORM_LDX || a->form == PF_FORM_LOAD_ACQ) {
		regs[insn->dst] = spills && points(regs[insn->src]) ? MAYBE : OTHER;
	} else {
		const bool loads = a->form == PF_FORM_ATOMIC && spills && points(regs[insn->dst]);
		for (uint32_t left = pf_live_defs(v, i); left; left &= left - 1)
			regs[__builtin_ctz(left)] = loads ? MAYBE : OTHER;
	}
	if ((a->form == PF_FORM_STX || a->form == PF_FORM_STORE_REL || a->form == PF_FORM_ATOMIC) &&
	    points(f->in[i][insn->src]) && !spills) {
		f->spills[a->subprog] = 1; /* every load so far was judged without: again */
		for (uint32_t k = v->subs[a->subprog].start; k < v->subs[a->subprog].end; k++) {
			if (f->in[k][0] == NEVER || f->queued[k])
				continue;
			f->queued[k] = 1;
			f->queue[f->top++] = k;
		}
	}
	if (a->form == PF_FORM_EXIT)
		return;
	if (a->form >= PF_FORM_JA && a->form <= PF_FORM_JMP_REG)
		reach(f, a->target, regs);
	if (a->form != PF_FORM_JA && a->form != PF_FORM_JA32)
		reach(f, i + (a->form == PF_FORM_LDDW ? 2 : 1), regs);
}

static void flow_run(struct flow *f)
{
	for (uint32_t s = 0; s < f->v->sub_count; s++) {
		int32_t *in = f->in[f->v->subs[s].start];
		for (uint32_t r = 0; r < 10; r++)
			in[r] = OTHER;
		in[10] = FRAME;
		f->queued[f->v->subs[s].start] = 1;
		f->queue[f->top++] = f->v->subs[s].start;
	}
	while (f->top) {
		const uint32_t i = f->queue[--f->top];
		f->queued[i] = 0;
		flow_step(f, i);
	}
}

/* ---- backward ---- */

/* The lowest n slots. */
static uint64_t below(int64_t n) { return n <= 0 ? 0 : n >= 64 ? ALL_SLOTS : (UINT64_C(1) << n) - 1; }

/* Slots that [off, off + size) of a frame touches; whole: only those it covers. Slot i ends 8 * i bytes below r10. */
static uint64_t touched(int64_t off, int64_t size, bool whole)
{
	const int64_t far = -off, near = -(off + size); /* distances of the two ends below r10 */
	if (far <= 0 || size <= 0)
		return 0;
	const int64_t first = near <= 0 ? 0 : whole ? (near + 7) / 8 : near / 8;
	const int64_t last = whole ? far / 8 : (far + 7) / 8; /* one past */
	return below(last) & ~below(first);
}

static uint64_t access(int32_t base, int32_t off, int64_t size, bool whole)
{
	if (is_frame(base))
		return touched((int64_t)(base - FRAME) + off, size, whole);
	return base == MAYBE && !whole ? ALL_SLOTS : 0;
}

static int64_t memory_size(const struct pf_verifier *v, enum pf_helper_arg kind, const int32_t *regs, uint32_t a)
{
	const bool map = regs[1] >= MAP;
	if (kind == PF_ARG_MAP_KEY)
		return map ? v->in->maps[regs[1] - MAP].def.key_size : REACH;
	if (kind == PF_ARG_MAP_VALUE || kind == PF_ARG_MAP_VALUE_OUT)
		return map ? v->in->maps[regs[1] - MAP].def.value_size : REACH;
	if (pf_helper_arg_bytes(kind))
		return pf_helper_arg_bytes(kind);
	const int32_t size = regs[a + 2];
	return size >= NUMBER && size <= NUMBER + REACH ? size - NUMBER : REACH;
}

static void call_slots(const struct pf_verifier *v, uint32_t i, const int32_t *regs, uint64_t *reads, uint64_t *writes)
{
	const struct pf_helper_info *info = pf_helper_info((uint32_t)v->insns[i].imm);

	*writes = 0;
	for (uint32_t a = 0; info && a < 5; a++) {
		const enum pf_helper_arg kind = info->args[a];
		const int32_t base = regs[a + 1];
		switch (kind) {
		case PF_ARG_MAP_KEY:
		case PF_ARG_MAP_VALUE:
		case PF_ARG_MEM_READ:
		case PF_ARG_MEM_READ_OR_NULL:
		case PF_ARG_MEM_UPDATE_OR_NULL:
		case PF_ARG_MEM_UPDATE: /* what it writes it has read */
		case PF_ARG_MEM_UPDATE_4:
		case PF_ARG_MEM_READ_20:
		case PF_ARG_MEM_READ_40:
			*reads |= access(base, 0, memory_size(v, kind, regs, a), false);
			break;
		case PF_ARG_MAP_VALUE_OUT:
			/* A bloom filter reads it, as an unknown map may. */
			if (regs[1] < MAP || v->in->maps[regs[1] - MAP].def.type == PF_MAP_BLOOM_FILTER)
				*reads |= access(base, 0, memory_size(v, kind, regs, a), false);
			else
				*writes |= access(base, 0, memory_size(v, kind, regs, a), true);
			break;
		case PF_ARG_MEM_WRITE:
			if (memory_size(v, kind, regs, a) < REACH)
				*writes |= access(base, 0, memory_size(v, kind, regs, a), true);
			break;
		case PF_ARG_DYNPTR:
			*reads |= access(base, 0, 16, false);
			break;
		case PF_ARG_DYNPTR_NEW_XDP:
		case PF_ARG_DYNPTR_NEW_LOCAL:
		case PF_ARG_DYNPTR_NEW_CLONE:
			*writes |= access(base, 0, 16, true);
			break;
		case PF_ARG_OUT_16:
		case PF_ARG_OUT_32:
		case PF_ARG_OUT_64:
			*writes |= access(base, 0, pf_helper_arg_bytes(kind), true);
			break;
		case PF_ARG_CALLBACK_CTX:
			if (points(base))
				*reads = ALL_SLOTS;
			break;
		case PF_ARG_NONE:
		case PF_ARG_ANYTHING:
		case PF_ARG_CTX:
		case PF_ARG_MAP:
		case PF_ARG_PROG_ARRAY:
		case PF_ARG_PORT_MAP:
		case PF_ARG_SIZE:
		case PF_ARG_SIZE_OR_ZERO:
		case PF_ARG_FUNC:
		case PF_ARG_SPIN_LOCK:
		case PF_ARG_SOCKET:
		case PF_ARG_RECORD:
		case PF_ARG_SLICE_BUFFER: /* the slice is read, where it is */
		case PF_ARG_CONN:
		case PF_ARG_CONN_INIT:
		case PF_ARG_CONST_SIZE:
			break;
		}
	}
}

static int64_t access_size(uint8_t code)
{
	static const uint8_t sizes[4] = { 4, 2, 1, 8 };
	return sizes[code >> 3 & 3];
}

static void slots_of(const struct pf_verifier *v, uint32_t i, const int32_t *regs, uint64_t *reads, uint64_t *writes)
{
	const struct pf_vinsn *a = &v->at[i];
	const struct pf_insn *insn = &v->insns[i];

	*reads = *writes = 0;
	if (a->form == PF_FORM_LDX || a->form == PF_FORM_LOAD_ACQ) {
		*reads = access(regs[insn->src], insn->off, access_size(insn->code), false);
	} else if (a->form == PF_FORM_ST || a->form == PF_FORM_STX || a->form == PF_FORM_STORE_REL) {
		*writes = access(regs[insn->dst], insn->off, access_size(insn->code), true);
	} else if (a->form == PF_FORM_ATOMIC) {
		*reads = access(regs[insn->dst], insn->off, access_size(insn->code), false);
	} else if (pf_prog_calls_row(a->op)) {
		call_slots(v, i, regs, reads, writes);
	} else if (a->op == PF_OP_CALL_LOCAL) {
		for (uint32_t left = pf_live_uses(v, i); left; left &= left - 1)
			if (points(regs[__builtin_ctz(left)]))
				*reads = ALL_SLOTS;
	}
}

static bool sweep(struct pf_verifier *v, const struct flow *f)
{
	bool changed = false;
	for (uint32_t i = v->count; i-- > 0;) {
		struct pf_vinsn *a = &v->at[i];
		uint32_t live = 0;
		uint64_t slots = 0, reads, writes;

		if (f->in[i][10] == NEVER)
			continue; /* second half of a 64-bit load */
		if (a->form >= PF_FORM_JA && a->form <= PF_FORM_JMP_REG) {
			live |= v->at[a->target].live;
			slots |= v->at[a->target].slots;
		}
		if (a->form != PF_FORM_EXIT && a->form != PF_FORM_JA && a->form != PF_FORM_JA32) {
			const uint32_t next = i + (a->form == PF_FORM_LDDW ? 2 : 1);
			live |= v->at[next].live;
			slots |= v->at[next].slots;
		}
		slots_of(v, i, f->in[i], &reads, &writes);
		live = (live & ~pf_live_defs(v, i)) | pf_live_uses(v, i);
		slots = (slots & ~writes) | reads;
		changed |= live != a->live || slots != a->slots;
		a->live = (uint16_t)live;
		a->slots = slots;
	}
	return changed;
}

enum pf_err pf_live_compute(struct pf_verifier *v)
{
	const size_t n = v->count;
	struct flow f = { .v = v };

	f.in = pf_v_realloc(v, NULL, 0, n * sizeof(*f.in));
	f.queued = pf_v_realloc(v, NULL, 0, n);
	f.queue = pf_v_realloc(v, NULL, 0, n * sizeof(*f.queue));
	f.spills = pf_v_realloc(v, NULL, 0, v->sub_count);
	if (!v->nomem) {
		memset(f.in, 0, n * sizeof(*f.in));
		memset(f.queued, 0, n);
		memset(f.spills, 0, v->sub_count);
		flow_run(&f);
		int sweeps = 0;
		while (sweeps < SWEEPS && sweep(v, &f))
			sweeps++;
		for (uint32_t i = 0; sweeps == SWEEPS && i < v->count; i++) {
			v->at[i].live = (1u << PF_V_REGS) - 1;
			v->at[i].slots = ALL_SLOTS;
		}
	}
	pf_v_free(v, f.in, n * sizeof(*f.in));
	pf_v_free(v, f.queued, n);
	pf_v_free(v, f.queue, n * sizeof(*f.queue));
	pf_v_free(v, f.spills, v->sub_count);
	return v->nomem ? PF_ENOMEM : PF_OK;
}
