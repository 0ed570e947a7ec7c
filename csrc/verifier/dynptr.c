/* dynptr.c - dynptrs and slices. */
#include "dynptr.h"

#include "branch.h"
#include "precision.h"
#include "step.h"

#define BYTES 16

static int64_t offset_of(const struct pf_vreg *r)
{
	return (int64_t)r->off + (int64_t)r->s.t.value;
}

/* The lower slot; a dynptr's pointer is checked. */
static uint32_t slot_of(const struct pf_vreg *r)
{
	return (uint32_t)(-offset_of(r) / 8) - 1;
}

static uint16_t place_of(uint32_t frame, uint32_t lower)
{
	return (uint16_t)(frame * PF_V_SLOTS + lower);
}

static bool is_dynptr(const struct pf_vslot *slot)
{
	return slot->byte[0] == PF_V_DYNPTR_BYTE;
}

static const struct pf_vslot *lower_slot(const struct pf_verifier *v, const struct pf_vreg *r)
{
	const struct pf_vframe *frame = &v->cur.frames[r->frame];
	const uint32_t i = slot_of(r);
	return i < frame->slots && is_dynptr(&frame->stack[i]) && !frame->stack[i].reg.off ? &frame->stack[i] : NULL;
}

/* ---- check ---- */

static enum pf_err check_place(struct pf_verifier *v, const struct pf_helper_info *info, uint32_t a)
{
	const struct pf_vreg *r = pf_v_reg(v, a + 1);

	if (r->kind != PF_V_STACK || !pf_scalar_is_const(&r->s) || offset_of(r) & 7)
		return pf_call_refuse_arg(v, info, a, "the address of a struct bpf_dynptr on the stack");
	return PF_OK;
}

static enum pf_err check_old(struct pf_verifier *v, const struct pf_helper_info *info, uint32_t a)
{
	const enum pf_err err = check_place(v, info, a);
	const struct pf_vreg *r = pf_v_reg(v, a + 1);

	if (err)
		return err;
	if (offset_of(r) > -BYTES || offset_of(r) < -(int64_t)PF_V_SLOTS * 8 || !lower_slot(v, r))
		return pf_call_refuse_arg(v, info, a, "a dynptr that a call made here");
	return PF_OK;
}

static enum pf_err check_new(struct pf_verifier *v, const struct pf_helper_info *info, uint32_t a)
{
	enum pf_err err = check_place(v, info, a);

	for (int32_t half = 0; half < BYTES && !err; half += 8) {
		const struct pf_access access = { .regno = a + 1, .off = half, .size = 8, .write = true };
		err = pf_check_access(v, pf_v_reg(v, a + 1), &access);
	}
	return err;
}

static enum pf_err check_buffer(struct pf_verifier *v, const struct pf_helper_info *info, uint32_t a, uint32_t size)
{
	const struct pf_vreg *r = pf_v_reg(v, a + 1);
	struct pf_access access = { .regno = a + 1, .size = size };

	if (pf_v_is_null(r)) {
		pf_prec_mark(v, r->node);
		return PF_OK;
	}
	if (r->null || (r->kind == PF_V_MEM && r->acquired) ||
	    (r->kind != PF_V_STACK && !pf_v_is_packet(r) && r->kind != PF_V_VALUE && r->kind != PF_V_MEM))
		return pf_call_refuse_arg(v, info, a, r->null ? "a pointer that was checked against NULL" :
								"NULL, or a pointer to stack, packet or map value");
	enum pf_err err = pf_check_region(v, r, &access);
	access.write = true;
	return err ? err : pf_check_region(v, r, &access);
}

enum pf_err pf_dynptr_check_arg(struct pf_verifier *v, const struct pf_helper_info *info, uint32_t a, uint32_t size)
{
	switch (info->args[a]) {
	case PF_ARG_DYNPTR:
		return check_old(v, info, a);
	case PF_ARG_SLICE_BUFFER:
		return check_buffer(v, info, a, size);
	}
	return check_new(v, info, a);
}

enum pf_err pf_dynptr_check_access(struct pf_verifier *v, const struct pf_vreg *r, const struct pf_access *a)
{
	const struct pf_vframe *frame = &v->cur.frames[r->frame];
	const int64_t low = (int64_t)r->off + a->off + r->s.smin, high = (int64_t)r->off + a->off + r->s.smax + a->size;

	for (uint32_t i = 0; i < frame->slots; i++) {
		const int64_t start = -8 * ((int64_t)i + 1);
		if (is_dynptr(&frame->stack[i]) && start < high && start + 8 > low)
			return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_DYNPTR_BYTES, start, 0, NULL);
	}
	return PF_OK;
}

/* ---- transfer ---- */

static void invalidate(struct pf_verifier *v, struct pf_vreg *r, void *user)
{
	const uint16_t *place = user;
	if (r->kind == PF_V_MEM && r->map == *place && !r->slice)
		pf_v_set_unknown(v, r);
}

void pf_dynptr_end(struct pf_verifier *v, uint32_t frame, uint32_t i)
{
	struct pf_vslot *stack = v->cur.frames[frame].stack;

	if (!is_dynptr(&stack[i]))
		return;
	const uint32_t lower = stack[i].reg.off ? i + 1 : i;
	uint16_t place = place_of(frame, lower);
	memset(stack[lower].byte, PF_V_MISC, 8);
	memset(stack[lower - 1].byte, PF_V_MISC, 8);
	pf_v_each_reg(v, invalidate, &place);
}

static void make(struct pf_verifier *v, const struct pf_vreg *r, enum pf_vdynptr type)
{
	const struct pf_access access = { .size = BYTES, .write = true };
	struct pf_vslot *stack = v->cur.frames[r->frame].stack;
	const uint32_t lower = slot_of(r);

	for (int32_t half = 0; half < BYTES; half += 8) {
		const struct pf_access part = { .off = half, .size = access.size / 2, .write = true };
		pf_transfer_store(v, r, &part, NULL);
	}
	for (uint32_t upper = 0; upper < 2; upper++) {
		struct pf_vslot *slot = &stack[lower - upper];
		memset(slot->byte, PF_V_DYNPTR_BYTE, 8);
		pf_v_set_pointer(&slot->reg, PF_V_DYNPTR);
		slot->reg.map = (uint16_t)type;
		slot->reg.off = (int32_t)upper;
	}
}

/* The slots that the bytes may be in, and nothing is known of them now. */
static void became_buffer(struct pf_verifier *v, const struct pf_vreg *r, uint32_t size)
{
	const struct pf_access access = { .size = size, .write = true };
	const int64_t low = r->off + r->s.smin, high = r->off + r->s.smax + size;

	if (r->kind != PF_V_STACK || !size)
		return;
	pf_transfer_store(v, r, &access, NULL);
	for (uint32_t i = 0; i < PF_V_SLOTS; i++) {
		const int64_t start = -8 * ((int64_t)i + 1);
		if (start < high && start + 8 > low)
			v->cur.frames[r->frame].buffers |= UINT64_C(1) << i;
	}
}

void pf_dynptr_transfer_call(struct pf_verifier *v, const struct pf_helper_info *info, uint32_t size)
{
	for (uint32_t a = 0; a < 5; a++) {
		const struct pf_vreg *r = pf_v_reg(v, a + 1);
		if (info->args[a] == PF_ARG_DYNPTR_NEW_XDP)
			make(v, r, PF_V_DYNPTR_XDP);
		else if (info->args[a] == PF_ARG_DYNPTR_NEW_LOCAL)
			make(v, r, PF_V_DYNPTR_LOCAL);
		else if (info->args[a] == PF_ARG_DYNPTR_NEW_CLONE) /* of argument 1 */
			make(v, r, (enum pf_vdynptr)lower_slot(v, pf_v_reg(v, 1))->reg.map);
		else if (info->args[a] == PF_ARG_SLICE_BUFFER)
			became_buffer(v, r, size);
	}
}

void pf_dynptr_slice(struct pf_verifier *v, const struct pf_vreg args[5], uint32_t size, uint32_t function, struct pf_vreg *to)
{
	const struct pf_vreg *of = &args[0], *buffer = &args[2];
	const struct pf_vslot *slot = lower_slot(v, of);

	pf_v_set_pointer(to, PF_V_MEM);
	to->size = size;
	to->null = 1;
	to->id = pf_v_new_id(v);
	to->read_only = function == PF_HELPER_ID_dynptr_slice;
	to->slice = function != PF_HELPER_ID_dynptr_data;
	to->map = place_of(of->frame, slot_of(of));
	if (to->slice && (buffer->kind == PF_V_STACK || buffer->kind == PF_V_MEM))
		to->frame = buffer->kind == PF_V_STACK ? buffer->frame + 1 : buffer->frame; /* a slice as buffer: what it may be */
	to->inner = to->slice && slot && slot->reg.map == PF_V_DYNPTR_XDP;
}

void pf_dynptr_written(struct pf_verifier *v)
{
	for (uint32_t f = 0; f <= v->cur.depth; f++) {
		struct pf_vframe *frame = &v->cur.frames[f];
		for (uint64_t left = frame->buffers; left; left &= left - 1) {
			const uint32_t i = (uint32_t)__builtin_ctzll(left);
			if (i >= frame->slots)
				continue;
			pf_dynptr_end(v, f, i);
			memset(frame->stack[i].byte, PF_V_MISC, 8);
		}
	}
}

static void orphan(struct pf_verifier *v, struct pf_vreg *r, void *user)
{
	const uint32_t *frame = user;
	if (r->kind == PF_V_MEM && r->frame == *frame + 1)
		pf_v_set_unknown(v, r);
	else if (r->kind == PF_V_MEM && r->map != PF_V_NO_MAP && r->map / PF_V_SLOTS == *frame)
		r->map = PF_V_NO_MAP;
}

void pf_dynptr_leave(struct pf_verifier *v, uint32_t frame)
{
	pf_v_each_reg(v, orphan, &frame);
}
