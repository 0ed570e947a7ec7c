/* reach.h - inside csrc/hook: everything that programs can come to.
 *
 * Invariants: H3 and H5 of internal.h. What a reach points at is kept alive by who holds the programs, and by its references
 * to bindings.
 *
 * Threads: under dp->lock, where a datapath is given; the reach itself is its maker's.
 */
#ifndef PF_HOOK_REACH_H
#define PF_HOOK_REACH_H

#include "internal.h"

/* Program sets and binding snapshots (reach.c). Few enough items, which is the rule, need no allocation. */
#define PF_REACH_FEW 8
struct pf_reach {
	struct pf_pointers {
		const void **items;
		uint32_t *index; /* open addressing: position + 1, 0 empty */
		uint32_t count, capacity, mask;
		const void *few[PF_REACH_FEW];
		uint32_t few_index[PF_REACH_FEW * 2];
	} progs, maps;
	struct pf_binding **bindings; /* of maps.items, one reference each */
	uint8_t *engines;             /* of progs.items: bit per enum pf_engine usable with everything it can tail-call */
	struct pf_binding *few_bindings[PF_REACH_FEW];
	uint8_t few_engines[PF_REACH_FEW];
};

/* Everything reachable from the links' views; subscribes what is not in current. */
enum pf_err pf_reach_collect(struct pf_reach *reach, const struct pf_world_plan *plan, struct pf_diag *diag);
/* The same of a datapath's links or of one program (the other is NULL), subscribing nothing; released without the lock (H5). */
enum pf_err pf_reach_look(struct pf_reach *reach, struct pf_datapath *dp, struct pf_prog *prog, enum pf_engine limit,
			  struct pf_diag *diag);
/* W7 for CPU ids below `cpus`; PF_EINVAL with the first map that is too small. */
enum pf_err pf_reach_has_cpus(const struct pf_reach *reach, uint64_t cpus, struct pf_diag *diag);
/* CPU ids of the workers that are present are below this. */
uint64_t pf_reach_cpus(const struct pf_datapath *dp);
/* Would a world of what is reached now run one of this world's programs in another engine? */
int pf_world_engines_differ(const struct pf_world *world, const struct pf_reach *reach);
/* keep: the bindings' references were handed on and subscriptions stay. */
void pf_reach_release(struct pf_reach *reach, const struct pf_world_plan *plan, int keep);
/* Of a program that is not reached: the checked interpreter. */
enum pf_engine pf_reach_engine(const struct pf_reach *reach, const struct pf_prog *prog);
/* The name (PF_NAME_MAX) of a map that programs can write and runs of both can come to, by tail calls too. */
enum pf_err pf_reach_shared(const struct pf_prog *a, const struct pf_prog *b, char *name, int *found, struct pf_diag *diag);

#endif
