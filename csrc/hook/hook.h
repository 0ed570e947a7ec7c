/* hook.h - datapaths, hooks, links: the slot, the world it points at, and how one world replaces another.
 *
 * Terms (design sections 1, 4, 5)
 *   slot        the datapath's atomic pointer to the current world
 *   world       immutable: for each hook its chain of programs, and every binding those programs can reach
 *   chain       programs by priority (lower first; then by link id), each with the actions on which the chain goes on
 *   link        the owner of one place in a chain
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
 *   W6 A change of a binding (binding.h) publishes a new world of every datapath that reaches it; generations stay.
 *
 * Threads: any, except where a worker is named; no function may be called by an online worker. Waiting is apart from
 * publishing: take the token, drop no lock, wait with pf_datapath_wait.
 */
#ifndef PF_HOOK_H
#define PF_HOOK_H

#include "../prog/prog.h"
#include "../rcu/rcu.h"

#define PF_CONTINUE_DEFAULT (1u << PF_XDP_PASS)

struct pf_chain_entry {
	struct pf_prog *prog;
	enum pf_engine engine;  /* the best form that it and every program it can tail-call have */
	uint32_t continue_on;   /* bit per enum pf_action */
	uint64_t link_id;
	uint64_t generation;    /* of the link */
};

struct pf_chain {
	uint32_t count;
	struct pf_chain_entry *entries;
};

struct pf_datapath;

struct pf_world {
	struct pf_rcu_head rcu;  /* first */
	struct pf_datapath *dp;  /* who published it: counts live worlds */
	uint64_t revision;
	uint64_t generation; /* of the datapath */
	uint32_t hooks;
	struct pf_chain *chains;
	struct pf_bindings bindings;
};

struct pf_link; /* counted: pf_ref first; may outlive the datapath, then it is detached */

PF_API enum pf_err pf_datapath_create(struct pf_datapath **dp, struct pf_diag *diag);
PF_API void pf_datapath_get(struct pf_datapath *dp);
/* The last reference: no worker may be registered any more; links become detached, everything retired is freed. */
PF_API void pf_datapath_put(struct pf_datapath *dp);

/* Adds a hook; publishes (a revision: no link changed). */
PF_API enum pf_err pf_datapath_add_hook(struct pf_datapath *dp, uint32_t *hook, struct pf_diag *diag);

/* Highest engine that worlds may choose; publishes when it changes. */
PF_API enum pf_err pf_datapath_set_engine(struct pf_datapath *dp, enum pf_engine engine, struct pf_diag *diag);

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

/* What a change did. old is the program before (a reference for the caller; NULL when there was none). */
struct pf_change {
	uint64_t generation; /* of the link */
	uint64_t revision;
	uint64_t token;      /* of the grace period; 0: nothing was published */
	uint64_t publish_ns; /* exchange and advance */
	struct pf_prog *old;
};

PF_API enum pf_err pf_link_attach(struct pf_datapath *dp, uint32_t hook, struct pf_prog *prog, int32_t priority,
				  uint32_t continue_on, struct pf_link **link, struct pf_change *change,
				  struct pf_diag *diag);

struct pf_expect {
	const struct pf_prog *program; /* NULL: any */
	uint64_t generation;           /* 0: any; generations start at 1 */
};

/* In order: PF_ENOLINK (detached), PF_EPERM (program is not the current one), PF_ESTALE (generation), PF_EINVAL (type),
 * success without publishing when prog is current, publish. */
PF_API enum pf_err pf_link_update(struct pf_link *link, struct pf_prog *prog, const struct pf_expect *expect,
				  struct pf_change *change, struct pf_diag *diag);
/* Idempotent: token 0 when it was detached before. */
PF_API enum pf_err pf_link_detach(struct pf_link *link, struct pf_change *change, struct pf_diag *diag);
PF_API void pf_link_put(struct pf_link *link); /* dropping the handle does not detach */

struct pf_link_info {
	uint64_t id;
	uint64_t generation;
	uint32_t hook;
	int32_t priority;
	uint32_t continue_on;
	uint8_t detached;
	struct pf_prog *prog; /* a reference for the caller; NULL when detached */
};
PF_API void pf_link_info(struct pf_link *link, struct pf_link_info *info);

/* Waits until no worker runs a world older than the change (pf_rcu_wait), then frees what can be freed. */
PF_API enum pf_err pf_datapath_wait(struct pf_datapath *dp, uint64_t token, uint64_t timeout_ns,
				    const struct pf_rcu_worker *self, struct pf_diag *diag);

#endif
