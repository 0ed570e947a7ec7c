/* precision.c - provenance nodes and their marks. */
#include "precision.h"

#include "plant.h"

#define MARKED 1
#define LINKED 2
#define RELEASED 4

static bool grow(struct pf_verifier *v)
{
	const uint32_t old = v->node_capacity;
	const uint32_t capacity = old ? old * 2 : 4096;
	struct pf_vnode *nodes = pf_v_realloc(v, v->nodes, old * sizeof(*nodes), capacity * sizeof(*nodes));
	if (!nodes)
		return false;
	v->nodes = nodes;
	uint8_t *marks = pf_v_realloc(v, v->marks, old, capacity);
	if (!marks)
		return false;
	memset(marks + old, 0, capacity - old);
	v->marks = marks;
	if (old == 0) {
		nodes[0] = (struct pf_vnode){ 0, 0 };
		v->node_count = 1;
	}
	v->node_capacity = capacity;
	return true;
}

uint32_t pf_prec_node(struct pf_verifier *v, uint32_t a, uint32_t b)
{
	if (v->node_count >= v->node_capacity && !grow(v))
		return 0; /* v->nomem ends the exploration before anything is pruned */
	v->nodes[v->node_count] = (struct pf_vnode){ a, b };
	return v->node_count++;
}

static void push(struct pf_verifier *v, uint32_t *top, uint32_t node)
{
	if (!node || (v->marks[node] & MARKED))
		return;
	if (*top == v->mark_capacity) {
		const uint32_t old = v->mark_capacity, capacity = old ? old * 2 : 1024;
		uint32_t *stack = pf_v_realloc(v, v->mark_stack, old * sizeof(*stack), capacity * sizeof(*stack));
		if (!stack)
			return;
		v->mark_stack = stack;
		v->mark_capacity = capacity;
	}
	v->marks[node] |= MARKED;
	v->mark_stack[(*top)++] = node;
}

void pf_prec_mark(struct pf_verifier *v, uint32_t node)
{
	uint32_t top = 0;
	push(v, &top, node);
	while (top) {
		const uint32_t n = v->mark_stack[--top];
		push(v, &top, v->nodes[n].a);
		push(v, &top, PF_PLANTED(45, 0, v->nodes[n].b));
		if (!(v->marks[n] & LINKED))
			continue;
		for (uint32_t i = v->link_heads[n % PF_V_LINK_HEADS]; i; i = v->links[i].next)
			if (v->links[i].from == n)
				push(v, &top, v->links[i].to);
	}
}

void pf_prec_link(struct pf_verifier *v, uint32_t from, uint32_t to)
{
	if (!from || !to || from == to)
		return;
	if (v->marks[from] & MARKED) {
		pf_prec_mark(v, to);
		return;
	}
	if (!v->link_heads) {
		v->link_heads = pf_v_realloc(v, NULL, 0, PF_V_LINK_HEADS * sizeof(*v->link_heads));
		if (!v->link_heads)
			return;
		memset(v->link_heads, 0, PF_V_LINK_HEADS * sizeof(*v->link_heads));
		v->link_count = 1;
	}
	if (v->link_count >= v->link_capacity) {
		const uint32_t old = v->link_capacity, capacity = old ? old * 2 : 256;
		struct pf_vlink *links = pf_v_realloc(v, v->links, old * sizeof(*links), capacity * sizeof(*links));
		if (!links)
			return;
		v->links = links;
		v->link_capacity = capacity;
	}
	uint32_t *head = &v->link_heads[from % PF_V_LINK_HEADS];
	v->links[v->link_count] = (struct pf_vlink){ from, to, *head };
	*head = v->link_count++;
	v->marks[from] |= LINKED;
}

void pf_prec_release(struct pf_verifier *v, uint32_t node)
{
	v->marks[node] |= RELEASED;
}

void pf_prec_finish(const struct pf_verifier *v, uint8_t *marks)
{
	for (uint32_t n = 1; n < v->node_count; n++) {
		/* predecessors have smaller numbers; a mark may have come after the release */
		const uint8_t from = (marks[v->nodes[n].a] | marks[v->nodes[n].b] | marks[n]) & RELEASED;
		marks[n] = from ? RELEASED : marks[n] & MARKED;
	}
}
