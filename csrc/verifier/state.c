/* state.c - abstract values, and states packed for keeping. */
#include "work.h"

#include <stdlib.h>

#include "precision.h"

void *pf_v_realloc(struct pf_verifier *v, void *old, size_t old_size, size_t size)
{
	if (v->memory - old_size + size > v->memory_limit) {
		v->nomem = true;
		return NULL;
	}
	void *p = realloc(old, size);
	if (!p) {
		v->nomem = true;
		return NULL;
	}
	v->memory = v->memory - old_size + size;
	if (v->memory > v->out->memory_peak)
		v->out->memory_peak = v->memory;
	return p;
}

void pf_v_free(struct pf_verifier *v, void *p, size_t size)
{
	if (p)
		v->memory -= size;
	free(p);
}

void pf_v_set_scalar(struct pf_verifier *v, struct pf_vreg *r, const struct pf_scalar *s)
{
	*r = (struct pf_vreg){ .s = *s, .kind = PF_V_SCALAR, .map = PF_V_NO_MAP, .node = pf_prec_node(v, 0, 0) };
}

void pf_v_set_unknown(struct pf_verifier *v, struct pf_vreg *r)
{
	const struct pf_scalar s = pf_scalar_unknown();
	pf_v_set_scalar(v, r, &s);
}

void pf_v_set_const(struct pf_verifier *v, struct pf_vreg *r, uint64_t value)
{
	const struct pf_scalar s = pf_scalar_const(value);
	pf_v_set_scalar(v, r, &s);
}

void pf_v_set_pointer(struct pf_vreg *r, enum pf_vkind kind)
{
	*r = (struct pf_vreg){ .s = pf_scalar_const(0), .kind = (uint8_t)kind, .map = PF_V_NO_MAP };
}

/* A callback's caller makes the call again after it returned, so all that the call reads stays live. */
static bool waits_again(const struct pf_verifier *v, uint32_t frame)
{
	return v->cur.frames[frame + 1].callback != PF_V_CALL;
}

uint32_t pf_v_live_regs(const struct pf_verifier *v, uint32_t frame, uint32_t at)
{
	if (frame == v->cur.depth)
		return v->at[at].live;
	const uint32_t call = v->cur.frames[frame + 1].call_at;
	if (waits_again(v, frame))
		return v->at[call].live;
	return v->at[call + 1].live & ~0x3fu; /* r0 to r5 are written by the call */
}

uint64_t pf_v_live_slots(const struct pf_verifier *v, uint32_t frame, uint32_t at)
{
	return v->at[frame == v->cur.depth ? at : v->cur.frames[frame + 1].call_at].slots;
}

static bool holds(const struct pf_vslot *slot)
{
	uint64_t bytes;
	memcpy(&bytes, slot->byte, sizeof(bytes));
	return bytes != 0; /* PF_V_MISC is 0 */
}

/* A link id that one scalar alone has links nothing, and would only keep equal states apart. */
static void drop_single_ids(struct pf_vreg **scalars, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		bool shared = false;
		for (uint32_t j = 0; j < count && !shared; j++)
			shared = j != i && scalars[j]->id == scalars[i]->id;
		if (!shared && !scalars[i]->length)
			scalars[i]->id = 0, scalars[i]->off = 0;
	}
}

struct pf_packed *pf_v_pack(struct pf_verifier *v, uint32_t at)
{
	const struct pf_vstate *s = &v->cur;
	uint64_t slots[PF_V_FRAMES];
	uint32_t regs[PF_V_FRAMES];
	size_t size = sizeof(struct pf_packed) + s->ref_count * sizeof(struct pf_vref);
	struct pf_vreg *linked[PF_V_FRAMES * (PF_V_SLOTS + PF_V_REGS)];
	uint32_t links = 0;

	for (uint32_t f = 0; f <= s->depth; f++) {
		const struct pf_vframe *frame = &s->frames[f];
		const uint32_t live = pf_v_live_regs(v, f, at);
		const uint64_t live_slots = pf_v_live_slots(v, f, at);

		regs[f] = 0;
		for (uint32_t r = 0; r < 10; r++)
			if ((live >> r & 1) && frame->regs[r].kind != PF_V_NONE)
				regs[f] |= 1u << r;
		slots[f] = 0;
		for (uint32_t i = 0; i < frame->slots; i++)
			/* The end of a dynptr ends its slices, read again or not. */
			if ((live_slots >> i & 1) ? holds(&frame->stack[i]) : frame->stack[i].byte[0] == PF_V_DYNPTR_BYTE)
				slots[f] |= UINT64_C(1) << i;
		size += sizeof(struct pf_packed_frame) +
			(unsigned)__builtin_popcount(regs[f]) * sizeof(struct pf_vreg) +
			(unsigned)__builtin_popcountll(slots[f]) * sizeof(struct pf_packed_slot);
	}
	struct pf_packed *p = pf_v_realloc(v, NULL, 0, size);
	if (!p)
		return NULL;
	p->at = at;
	p->depth = s->depth;
	p->checkpoint = s->checkpoint;
	p->path = s->path;
	p->lock = s->lock;
	p->ref_count = s->ref_count;
	p->size = (uint32_t)size;
	p->pending = 0;
	uint8_t *to = p->data + s->ref_count * sizeof(struct pf_vref);
	memcpy(p->data, s->refs, s->ref_count * sizeof(struct pf_vref));
	for (uint32_t f = 0; f <= s->depth; f++) {
		const struct pf_vframe *frame = &s->frames[f];
		*(struct pf_packed_frame *)(void *)to = (struct pf_packed_frame){
			.call_at = frame->call_at, .subprog = frame->subprog, .rounds = frame->rounds,
			.callback = frame->callback, .slots = (uint8_t)__builtin_popcountll(slots[f]),
			.regs = (uint16_t)regs[f], .buffers = frame->buffers };
		to += sizeof(struct pf_packed_frame);
		for (uint32_t left = regs[f]; left; left &= left - 1) {
			struct pf_vreg *r = (struct pf_vreg *)(void *)to;
			*r = frame->regs[__builtin_ctz(left)];
			if (r->kind == PF_V_SCALAR && r->id)
				linked[links++] = r;
			to += sizeof(*r);
		}
		for (uint64_t left = slots[f]; left; left &= left - 1) {
			struct pf_packed_slot *slot = (struct pf_packed_slot *)(void *)to;
			const uint32_t i = (uint32_t)__builtin_ctzll(left);
			slot->index = i;
			slot->zero = 0;
			memcpy(slot->byte, frame->stack[i].byte, sizeof(slot->byte));
			slot->reg = frame->stack[i].reg;
			if (slot->byte[0] != PF_V_SPILL && slot->byte[0] != PF_V_DYNPTR_BYTE)
				slot->reg.kind = PF_V_NONE;
			else if (slot->reg.kind == PF_V_SCALAR && slot->reg.id)
				linked[links++] = &slot->reg;
			to += sizeof(*slot);
		}
	}
	drop_single_ids(linked, links);
	return p;
}

void pf_v_unpack(struct pf_verifier *v, const struct pf_packed *p)
{
	struct pf_vstate *s = &v->cur;
	const uint8_t *from = pf_v_packed_frames(p);

	s->at = p->at;
	s->depth = p->depth;
	s->checkpoint = p->checkpoint;
	s->path = p->path;
	s->lock = p->lock;
	s->ref_count = p->ref_count;
	memcpy(s->refs, p->data, p->ref_count * sizeof(struct pf_vref));
	for (uint32_t f = 0; f <= p->depth; f++) {
		struct pf_vframe *frame = &s->frames[f];
		const struct pf_packed_frame *head = (const void *)from;
		from += sizeof(*head);
		frame->call_at = head->call_at;
		frame->subprog = head->subprog;
		frame->rounds = head->rounds;
		frame->callback = head->callback;
		frame->buffers = head->buffers;
		for (uint32_t r = 0; r < 10; r++) {
			frame->regs[r].kind = PF_V_NONE;
			if (!(head->regs >> r & 1))
				continue;
			memcpy(&frame->regs[r], from, sizeof(struct pf_vreg));
			from += sizeof(struct pf_vreg);
		}
		pf_v_set_pointer(&frame->regs[10], PF_V_STACK);
		frame->regs[10].frame = (uint8_t)f;
		uint32_t next = 0;
		for (uint32_t i = 0; i < head->slots; i++) {
			const struct pf_packed_slot *slot = (const void *)from;
			from += sizeof(*slot);
			while (next < slot->index)
				memset(frame->stack[next++].byte, PF_V_MISC, 8);
			frame->stack[next].reg = slot->reg;
			memcpy(frame->stack[next++].byte, slot->byte, 8);
		}
		frame->slots = next;
	}
}
