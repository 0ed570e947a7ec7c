/* hook.h - datapaths, hooks: the slot, the world it points at, and how one world replaces another.
 *
 * Terms (design sections 1, 4, 5)
 *   slot        the datapath's atomic pointer to the current world
 *   world       immutable: for each hook its chain of programs, and every binding those programs can reach
 *   chain       programs by priority (lower first; then by link id), each with the actions on which the chain goes on
 *   link        the owner of one place in a chain (link.h)
 *   generation  counts user-visible changes (of a link; of the datapath); revision counts worlds
 *
 * Invariants
 *   W1 A worker loads the slot once per batch, online (I1), and runs every packet of the batch in that world.
 *   W2 A world holds references to its chain programs and bindings, and they to maps and programs: whatever a worker
 *      can reach from a world lives as long as the world. Nothing reachable from a published world changes, but map
 *      contents and code entries (P1).
 *   W3 All changes are made under dp->lock: build the new world completely (the only place that can fail), exchange the
 *      slot, advance the token, retire the old world with it. Nothing is allocated after the exchange begins.
 *   W4 Revisions of published worlds increase by one; a failed change publishes nothing and changes no link.
 *   W5 A detached link stays detached.
 *   W6 A change of a binding (binding.h) publishes a new world of every datapath that reaches it; generations stay. So
 *      do they where code of a program becomes better code of the same program (pf_datapath_refresh).
 *   W7 Every per-CPU map that a program of a world can come to, by tail calls and through maps of maps too, has a value
 *      for the CPU id of every worker that is present. The verifier takes it for granted: a lookup with a constant key
 *      in a per-CPU array cannot fail. So a world that breaks it is not built, and no worker enters under one that would.
 *
 * Threads: any, except where a worker is named; no function may be called by an online worker. Waiting is apart from
 * publishing: take the token, drop no lock, wait with pf_datapath_wait.
 */
#ifndef PF_HOOK_H
#define PF_HOOK_H

#include "trial.h"

#define PF_CONTINUE_DEFAULT (1u << PF_XDP_PASS)

struct pf_chain_entry {
	struct pf_prog *prog;
	enum pf_engine engine;  /* the best form that it and every program it can tail-call have */
	uint32_t continue_on;   /* bit per enum pf_action */
	uint64_t link_id;
	uint64_t generation;    /* of the link */
	struct pf_trial *trial; /* NULL: none runs */
	enum pf_engine candidate_engine; /* of the trial's program, as engine */
};

struct pf_chain {
	uint32_t count;
	uint8_t watched;   /* an entry has a trial */
	uint8_t redirects; /* a program that can run in this world names redirect targets */
	struct pf_chain_entry *entries;
};

/* The best form that a program of a port map's entry and what it can tail-call have. */
struct pf_world_engine {
	const struct pf_prog *prog;
	enum pf_engine engine;
};

struct pf_world {
	struct pf_rcu_head rcu;  /* first */
	struct pf_datapath *dp;  /* who published it: counts live worlds */
	uint64_t revision;
	uint64_t generation; /* of the datapath */
	uint32_t hooks;
	struct pf_chain *chains;
	struct pf_bindings bindings;
	uint32_t engine_count;
	struct pf_world_engine *engines; /* of programs in port maps */
};

PF_API enum pf_err pf_datapath_create(struct pf_datapath **dp, struct pf_diag *diag);
PF_API void pf_datapath_get(struct pf_datapath *dp);
/* The last reference: no worker may be registered any more; links become detached, everything retired is freed. */
PF_API void pf_datapath_put(struct pf_datapath *dp);

/* Adds a hook; publishes (a revision: no link changed). */
PF_API enum pf_err pf_datapath_add_hook(struct pf_datapath *dp, uint32_t *hook, struct pf_diag *diag);

/* Highest engine that worlds may choose; publishes when it changes. */
PF_API enum pf_err pf_datapath_set_engine(struct pf_datapath *dp, enum pf_engine engine, struct pf_diag *diag);

/* After programs got better code (P1): publishes a world that runs it, with the same generation (W6); *published: 0 where
 * nothing changes, as when a program that it can tail-call has no such code yet. On an error *published means nothing. */
PF_API enum pf_err pf_datapath_refresh(struct pf_datapath *dp, int *published, struct pf_diag *diag);

/* The programs of a datapath's links and of their trials, or one program (the other argument is NULL), and all that they
 * can tail-call now, of a family its members; one reference each, in memory that the caller frees. */
PF_API enum pf_err pf_hook_programs(struct pf_datapath *dp, struct pf_prog *prog, struct pf_prog ***progs, uint32_t *count,
				    struct pf_diag *diag);

/* A worker that is present (W7), in memory of its own. PF_EINVAL: a map has no value for its id. */
struct pf_datapath_cpu {
	uint32_t id;
	struct pf_datapath_cpu *next;
};
enum pf_err pf_datapath_enter(struct pf_datapath *dp, struct pf_datapath_cpu *cpu, struct pf_diag *diag);
void pf_datapath_leave(struct pf_datapath *dp, struct pf_datapath_cpu *cpu);
/* Would a program that is not there yet keep W7? PF_EINVAL: not. */
PF_API enum pf_err pf_datapath_admits(struct pf_datapath *dp, struct pf_prog *prog, struct pf_diag *diag);

PF_API struct pf_rcu *pf_datapath_rcu(struct pf_datapath *dp);

/* Worker side, online only. */
const struct pf_world *pf_datapath_world(const struct pf_datapath *dp);

struct pf_datapath_info {
	uint64_t revision, generation;
	uint64_t worlds_live; /* published and not yet freed */
	uint64_t token;       /* of the last publication: pf_datapath_wait for it after a binding changed (W6) */
	uint32_t hooks, links; /* links: attached */
};
PF_API void pf_datapath_info(struct pf_datapath *dp, struct pf_datapath_info *info);

/* Waits until no worker runs a world older than the change (pf_rcu_wait), notes the grace time in the history of the
 * attached links that changed with it, then frees what can be freed. */
PF_API enum pf_err pf_datapath_wait(struct pf_datapath *dp, uint64_t token, uint64_t timeout_ns,
				    const struct pf_rcu_worker *self, struct pf_diag *diag);

#endif
