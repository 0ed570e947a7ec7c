/* internal.h - what the files of hook/ share: datapath, link, edits of a commit, and building a world.
 *
 * Terms
 *   edit     one change of one link; a commit is a list of edits that become visible together, or not at all
 *   view     what a link will be when the running commit succeeds; what it is when none runs
 *   reach    everything the chains of a world can come to: programs, and binding maps with their snapshots
 *
 * Invariants
 *   H1 dp->lock protects every field of a datapath and of its links, but slot (atomic) and users (atomic).
 *   H2 An attached link is owned by its datapath (one reference) besides its handles; every link holds the datapath's
 *      memory, never its life: users counts handles and workers, and with the last one the datapath is torn down and
 *      its links are detached. So there is no cycle of references.
 *   H3 The datapath is subscribed to exactly the binding maps in its current world's table. A map that becomes reachable
 *      is subscribed before its binding is read: a change that came too early to be heard is in the snapshot.
 *   H4 Outside a commit no link is staged.
 *   H5 Lock order: subscriber->lock, dp->lock, box->lock (B4) and rcu->lock. No reference whose end could take one of the
 *      first two is dropped under dp->lock.
 */
#ifndef PF_HOOK_INTERNAL_H
#define PF_HOOK_INTERNAL_H

#include "hook.h"

struct pf_datapath {
	struct pf_ref ref; /* first (F1): of the memory, H2 */
	_Atomic uint64_t users;
	_Alignas(PF_CACHE_LINE) struct pf_world *_Atomic slot;
	struct pf_rcu rcu;
	pthread_mutex_t lock;
	struct pf_subscriber *subscriber;
	struct pf_link *links; /* attached, by hook, priority, id */
	uint32_t link_count;
	uint32_t hooks;
	uint64_t last_link; /* id */
	enum pf_engine engine;
	uint64_t token;
	_Atomic uint64_t worlds_live;
};

struct pf_link {
	struct pf_ref ref; /* first (F1) */
	struct pf_datapath *dp; /* its memory (H2) */
	struct pf_link *next;
	uint64_t id;
	uint32_t hook;
	int32_t priority;
	uint32_t continue_on;
	uint64_t generation;
	struct pf_prog *prog; /* one reference; NULL: detached, or not yet attached */
	uint8_t staged;       /* H4 */
	struct pf_prog *staged_prog; /* one reference; NULL: will be detached */
};

static inline struct pf_prog *pf_link_view(const struct pf_link *link)
{
	return link->staged ? link->staged_prog : link->prog;
}

static inline uint64_t pf_link_view_generation(const struct pf_link *link)
{
	return link->generation + link->staged;
}

enum pf_edit_kind { PF_EDIT_ATTACH, PF_EDIT_UPDATE, PF_EDIT_DETACH };

struct pf_edit {
	enum pf_edit_kind kind;
	struct pf_link *link;
	struct pf_prog *prog;           /* ATTACH, UPDATE */
	const struct pf_expect *expect; /* UPDATE; may be NULL */
	struct pf_change *change;       /* may be NULL */
	/* The commit's own. */
	struct pf_prog *old; /* one reference */
	uint8_t idle;        /* nothing to publish for this one */
};

static inline enum pf_err pf_hook_nomem(struct pf_diag *diag)
{
	return pf_diag_set(diag, PF_ENOMEM, PF_DIAG_HOOK_NOMEM, 0, 0, 0, 0, NULL);
}

/* What a world is built from, besides the links' views. */
struct pf_world_plan {
	struct pf_datapath *dp;
	const struct pf_world *current; /* NULL: the first */
	uint32_t hooks;
	enum pf_engine limit;
	uint64_t generation;
};

/* A complete world that nobody else knows, with the datapath subscribed to all it reaches; or an error and nothing
 * changed. Under dp->lock. */
enum pf_err pf_world_build(const struct pf_world_plan *plan, struct pf_world **world, struct pf_diag *diag);
/* Puts everything that the world holds. */
void pf_world_destroy(struct pf_world *world);
/* Unsubscribes the datapath from what `from` reaches and `to` (may be NULL: nothing) does not. */
void pf_world_unsubscribe(struct pf_datapath *dp, const struct pf_world *from, const struct pf_world *to);

/* Makes the world visible and retires its predecessor (W3). Returns the token; *ns: exchange and advance. */
uint64_t pf_datapath_publish(struct pf_datapath *dp, struct pf_world *world, uint64_t *ns);

static inline struct pf_world *pf_datapath_current(struct pf_datapath *dp) /* under dp->lock */
{
	return atomic_load_explicit(&dp->slot, memory_order_relaxed);
}

/* All edits at one exchange, or none. Rules are checked edit by edit, each against the view its predecessors leave. */
enum pf_err pf_datapath_commit(struct pf_datapath *dp, struct pf_edit *edits, uint32_t count, struct pf_diag *diag);

/* Program sets and binding snapshots (reach.c). */
struct pf_reach {
	struct pf_pointers {
		const void **items;
		uint32_t *index; /* open addressing: position + 1, 0 empty */
		uint32_t count, capacity, mask;
	} progs, maps;
	struct pf_binding **bindings; /* of maps.items, one reference each */
	uint8_t *engines;             /* of progs.items: bit per enum pf_engine usable with everything it can tail-call */
};

/* Everything reachable from the links' views; subscribes what is not in current. */
enum pf_err pf_reach_collect(struct pf_reach *reach, const struct pf_world_plan *plan, struct pf_diag *diag);
/* keep: the bindings' references were handed on and subscriptions stay. */
void pf_reach_release(struct pf_reach *reach, const struct pf_world_plan *plan, int keep);
enum pf_engine pf_reach_engine(const struct pf_reach *reach, const struct pf_prog *prog);

#endif
