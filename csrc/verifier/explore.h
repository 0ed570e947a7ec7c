/* explore.h - the search over all paths.
 *
 * Terms
 *   path        a sequence of states from an entry to an exit, or to a state that a saved one covers
 *   in progress a saved state with paths that have not ended. All of them are ancestors of the current state, since the
 *               worklist is last in, first out
 *   complete    all paths from it have ended
 *   open        complete, but a path from it ended in a loop head that is in progress: what is needed of it is not
 *               all known yet
 *   final       complete and not open
 *
 * Invariants
 *   O1 A path ends only in an exit, in a contradiction, or in a state covered by a saved one: by a final state with its
 *      marks, by an open one (or a callback loop's head in progress) with every scalar counted.
 *   O2 A state equal to one in progress is an endless loop and refused.
 *   O3 At most `budget` instructions are processed.
 *   O4 With the same marks and input the same paths are taken in the same order.
 */
#ifndef PF_VERIFIER_EXPLORE_H
#define PF_VERIFIER_EXPLORE_H

#include "work.h"

enum pf_err pf_explore(struct pf_verifier *v);
/* Frees what an exploration made, marks and nodes aside. */
void pf_explore_reset(struct pf_verifier *v);

#endif
