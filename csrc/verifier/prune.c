/* prune.c - comparison of a saved state with the current one. */
#include "prune.h"

#include "plant.h"
#include "precision.h"

#define MAX_PAIRS (sizeof(((struct pf_verifier *)0)->pairs) / sizeof(((struct pf_verifier *)0)->pairs[0]))

/* Identities are names: old's are mapped one to one to the current ones. */
static bool same_id(struct pf_verifier *v, uint32_t old, uint32_t now)
{
	if (!old)
		return true;
	if (!now)
		return false;
	for (uint32_t i = 0; i < v->pair_count; i++) {
		if (v->pairs[i].old == old)
			return v->pairs[i].now == now;
		if (v->pairs[i].now == now)
			return false;
	}
	if (v->pair_count == MAX_PAIRS)
		return false;
	v->pairs[v->pair_count].old = old;
	v->pairs[v->pair_count++].now = now;
	return true;
}

static bool scalar_covers(struct pf_verifier *v, const struct pf_vreg *old, const struct pf_vreg *now, enum pf_cover cover)
{
	if (now->kind != PF_V_SCALAR)
		return false;
	if (cover == PF_COVER_PRECISE && PF_PLANTED(41, true, !pf_prec_marked(v, old->node)))
		return true;
	if (cover == PF_COVER_SAME) {
		if (!pf_scalar_equal(&old->s, &now->s))
			return false;
	} else if (!pf_scalar_subset(&now->s, &old->s)) {
		return false;
	}
	if (old->length && (!now->length || old->off != now->off))
		return false;
	return !old->id || (old->off == now->off && same_id(v, old->id, now->id));
}

/* A proved range that no access rested on need not be there. */
static bool range_covers(struct pf_verifier *v, const struct pf_vreg *old, const struct pf_vreg *now, enum pf_cover cover)
{
	if (cover == PF_COVER_SAME)
		return old->range == now->range;
	return PF_PLANTED(42, 0, old->range) <= now->range || (cover == PF_COVER_PRECISE && old->node && !pf_prec_marked(v, old->node));
}

static bool reg_covers(struct pf_verifier *v, const struct pf_vreg *old, const struct pf_vreg *now, enum pf_cover cover)
{
	if (old->kind == PF_V_SCALAR)
		return scalar_covers(v, old, now, cover);
	if (old->kind != now->kind || old->off != now->off || old->null != now->null || old->map != now->map ||
	    old->inner != now->inner || old->read_only != now->read_only || old->slice != now->slice || old->acquired != now->acquired || old->size != now->size || old->frame != now->frame)
		return false;
	if (old->edge != now->edge || !range_covers(v, old, now, cover))
		return false;
	if (cover == PF_COVER_SAME ? !pf_scalar_equal(&old->s, &now->s) : !pf_scalar_subset(&now->s, &old->s))
		return false;
	if (!old->id != !now->id)
		return false;
	return same_id(v, old->id, now->id);
}

static uint32_t spilled(const uint8_t *byte)
{
	uint32_t n = 0;
	while (n < 8 && byte[n] == PF_V_SPILL)
		n++;
	return n;
}

/* Current bytes [from, to) hold zero, whatever they are called; what that rests on is left in *node. */
static bool zero_bytes(const struct pf_vslot *now, uint32_t from, uint32_t to, uint32_t *node)
{
	for (uint32_t b = from; b < to; b++) {
		if (now->byte[b] == PF_V_ZERO)
			continue;
		if (now->byte[b] != PF_V_SPILL || !pf_v_is_null(&now->reg))
			return false;
		*node = now->reg.node;
	}
	return true;
}

static bool slot_covers(struct pf_verifier *v, const struct pf_packed_slot *old, const struct pf_vslot *now,
			enum pf_cover cover)
{
	const uint32_t n = spilled(old->byte), m = now ? spilled(now->byte) : 0;
	uint32_t node = 0;

	if (old->byte[0] == PF_V_DYNPTR_BYTE)
		return now && now->byte[0] == PF_V_DYNPTR_BYTE && reg_covers(v, &old->reg, &now->reg, cover);

	for (uint32_t b = n; b < 8; b++)
		if (old->byte[b] == PF_V_ZERO && (!now || !zero_bytes(now, b, b + 1, &node)))
			return false;
	if (n && m == n) {
		if (PF_PLANTED(50, false, true) && !reg_covers(v, &old->reg, &now->reg, cover))
			return false;
	} else if (n) {
		if (old->reg.kind != PF_V_SCALAR || (m && pf_v_is_pointer(&now->reg)))
			return false;
		const bool free = cover == PF_COVER_PRECISE && !pf_prec_marked(v, old->reg.node);
		const struct pf_scalar any = n == 8 ? pf_scalar_unknown() : pf_scalar_loaded(n, false);
		const bool zero = now && pf_v_is_null(&old->reg) && zero_bytes(now, 0, n, &node);
		if (!free && !zero && (old->reg.id || !pf_scalar_subset(&any, &old->reg.s)))
			return false;
	}
	if (node)
		pf_prec_mark(v, node); /* before the verdict is known: costs precision at worst */
	return true;
}

static bool lock_covers(struct pf_verifier *v, const struct pf_vlock *old, const struct pf_vlock *now)
{
	if (!old->held || !now->held)
		return old->held == now->held;
	return old->map == now->map && old->inner == now->inner && !old->id == !now->id && same_id(v, old->id, now->id);
}

/* What is held here must be held there: each path from old released it, and nothing else. */
static bool refs_cover(struct pf_verifier *v, const struct pf_packed *old)
{
	const struct pf_vref *refs = (const void *)old->data;

	if (old->ref_count != v->cur.ref_count)
		return false;
	for (uint32_t i = 0; i < old->ref_count; i++)
		if (!same_id(v, refs[i].id, v->cur.refs[i].id))
			return false;
	return true;
}

bool pf_prune_covers(struct pf_verifier *v, const struct pf_packed *old, enum pf_cover cover)
{
	const uint8_t *from = pf_v_packed_frames(old);

	v->pair_count = 0;
	if (old->depth != v->cur.depth || !lock_covers(v, &old->lock, &v->cur.lock) || !refs_cover(v, old))
		return false;
	for (uint32_t f = 0; f <= old->depth; f++) {
		const struct pf_vframe *now = &v->cur.frames[f];
		const struct pf_packed_frame *head = (const void *)from;
		from += sizeof(*head);
		if (head->call_at != now->call_at || head->subprog != now->subprog || head->callback != now->callback ||
		    (cover == PF_COVER_SAME ? head->rounds != now->rounds : head->rounds > now->rounds))
			return false;
		if (now->buffers & ~head->buffers)
			return false;
		for (uint32_t left = head->regs; left; left &= left - 1) {
			const struct pf_vreg *r = (const void *)from;
			from += sizeof(*r);
			if (!reg_covers(v, r, &now->regs[__builtin_ctz(left)], cover))
				return false;
		}
		for (uint32_t i = 0; i < head->slots; i++) {
			const struct pf_packed_slot *slot = (const void *)from;
			from += sizeof(*slot);
			if (!slot_covers(v, slot, slot->index < now->slots ? &now->stack[slot->index] : NULL, cover))
				return false;
		}
	}
	return true;
}

/* What carries a node in old (scalars, and pointers with a proved range), with the register or spilled register in its
 * place in the current state; NULL when that is of another kind. */
static void each_node(struct pf_verifier *v, const struct pf_packed *old,
		      void (*visit)(struct pf_verifier *v, const struct pf_vreg *old, struct pf_vreg *now))
{
	const uint8_t *from = pf_v_packed_frames(old);

	for (uint32_t f = 0; f <= old->depth; f++) {
		struct pf_vframe *now = &v->cur.frames[f];
		const struct pf_packed_frame *head = (const void *)from;
		from += sizeof(*head);
		for (uint32_t left = head->regs; left; left &= left - 1) {
			const struct pf_vreg *r = (const void *)from;
			from += sizeof(*r);
			struct pf_vreg *other = &now->regs[__builtin_ctz(left)];
			visit(v, r, r->kind == other->kind ? other : NULL);
		}
		for (uint32_t i = 0; i < head->slots; i++) {
			const struct pf_packed_slot *slot = (const void *)from;
			from += sizeof(*slot);
			if (slot->byte[0] != PF_V_SPILL)
				continue;
			struct pf_vslot *other = slot->index < now->slots ? &now->stack[slot->index] : NULL;
			const bool same = other && spilled(other->byte) == spilled(slot->byte) && other->reg.kind == slot->reg.kind;
			visit(v, &slot->reg, same ? &other->reg : NULL);
		}
	}
}

/* The path goes on from old with a value that old does not have: what old says of it downstream is no fact. Whether the
 * node is marked does not matter: it may have been marked since the comparison, by a link made a moment ago. */
static bool released(const struct pf_vreg *old, const struct pf_vreg *now)
{
	if (!old->node)
		return false;
	if (!now)
		return true;
	return old->kind == PF_V_SCALAR ? !pf_scalar_subset(&now->s, &old->s) : old->range > now->range;
}

static void inherit(struct pf_verifier *v, const struct pf_vreg *old, struct pf_vreg *now)
{
	if (old->kind != PF_V_SCALAR && !pf_v_is_packet(old))
		return;
	if (released(old, now))
		pf_prec_release(v, old->node);
	if (now)
		pf_prec_link(v, old->node, now->node);
}

void pf_prune_inherit(struct pf_verifier *v, const struct pf_packed *old)
{
	each_node(v, old, inherit);
}

static void widen(struct pf_verifier *v, const struct pf_vreg *old, struct pf_vreg *now)
{
	if (!now || old->kind != PF_V_SCALAR || now->length || pf_prec_marked(v, old->node) ||
	    pf_prec_marked(v, now->node) || pf_scalar_equal(&old->s, &now->s))
		return;
	pf_v_set_unknown(v, now);
}

void pf_prune_widen(struct pf_verifier *v, const struct pf_packed *old)
{
	each_node(v, old, widen);
}
