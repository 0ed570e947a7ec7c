/* precision.h - which scalars a proof depends on.
 *
 * A scalar carries a node. A node stands for one abstract value and names the (at most two) values it was computed
 * from; a node without is a constant, a load, or something unknown. When a proof needs a scalar's value (it becomes an
 * offset or a size, or decides a branch), its node is marked, and with it all it was computed from. A saved state's
 * scalar matters for pruning exactly when its node is marked: all others were looked at by no proof on any path from
 * that state, so any other value would have been accepted as well.
 *
 * Terms
 *   released  a state was pruned without regard to this value, which therefore holds on some of the paths only
 *   link   "if `from` is marked, mark `to`": made when a path ended in a state whose own paths have not all ended
 *
 * Invariants
 *   N1 The abstract value of a scalar is a function of the values of its node's predecessors and of nothing else that
 *      a state holds. Refinement by a comparison with another value makes a new node that names both.
 *   N2 Marks are closed: the predecessors of a marked node, and the targets of its links, are marked.
 *   N3 Node 0 is no node: marking it does nothing, it is never marked.
 *   N4 Node numbers depend on the input alone, so that a second pass over the same paths can use the first's marks.
 */
#ifndef PF_VERIFIER_PRECISION_H
#define PF_VERIFIER_PRECISION_H

#include "work.h"

#define PF_V_LINK_HEADS 4096u

uint32_t pf_prec_node(struct pf_verifier *v, uint32_t a, uint32_t b);
void pf_prec_mark(struct pf_verifier *v, uint32_t node);
void pf_prec_link(struct pf_verifier *v, uint32_t from, uint32_t to);
void pf_prec_release(struct pf_verifier *v, uint32_t node);
/* Keeps those marks that say: this value was needed, and neither it nor what it was computed from was released. */
void pf_prec_finish(const struct pf_verifier *v, uint8_t *marks);
static inline bool pf_prec_marked(const struct pf_verifier *v, uint32_t node) { return v->marks[node] & 1; }

#endif
