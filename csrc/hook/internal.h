/* internal.h - what the files of hook/ share: datapath, link, edits of a commit, and building a world.
 *
 * Terms
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
	struct pf_datapath_cpu *present; /* W7 */
	struct pf_link *links; /* attached, by hook, priority, id */
	uint32_t link_count;
	uint32_t hooks;
	uint64_t last_link; /* id */
	enum pf_engine engine;
	uint64_t token;
	_Atomic uint64_t worlds_live;
};

/* A link's rows (K3), a ring. */
struct pf_history {
	uint32_t capacity, count, first; /* first: the oldest */
	struct pf_generation *rows;
};

struct pf_link {
	struct pf_ref ref; /* first (F1) */
	struct pf_datapath *dp; /* its memory (H2) */
	struct pf_link *next;
	uint64_t id; /* 0: never attached */
	uint32_t hook;
	int32_t priority;
	uint32_t continue_on;
	uint64_t generation;
	uint64_t token;       /* of the attach or the detach: its state (pf_link_info) */
	struct pf_prog *prog; /* one reference; NULL: detached, or not yet attached */
	struct pf_trial *trial; /* beside prog, one reference (G1); NULL: none runs */
	struct pf_history history;
	/* H4 */
	const struct pf_edit *staged; /* the edit that staged it last; NULL: not staged */
	struct pf_prog *staged_prog;  /* one reference; NULL: will be detached */
	uint8_t trial_staged;
	struct pf_trial *staged_trial; /* one reference; NULL: will have none */
};

static inline struct pf_prog *pf_link_view(const struct pf_link *link)
{
	return link->staged ? link->staged_prog : link->prog;
}

static inline struct pf_trial *pf_link_view_trial(const struct pf_link *link)
{
	if (!pf_link_view(link))
		return NULL;
	return link->trial_staged ? link->staged_trial : link->trial;
}

static inline uint64_t pf_link_view_generation(const struct pf_link *link)
{
	return link->generation + (link->staged != NULL);
}

/* history.c, all under dp->lock but create and destroy. */
enum pf_err pf_history_create(struct pf_history *history, uint32_t capacity, struct pf_diag *diag);
/* Takes over the row's reference; returns the one of the row that it displaced, or NULL. */
struct pf_prog *pf_history_push(struct pf_history *history, const struct pf_generation *row);
/* The row with this generation and a program; 0: what pf_link_rollback says. NULL: none. */
const struct pf_generation *pf_history_find(const struct pf_link *link, uint64_t generation);
/* The generation that a rollback without a number goes back from. */
uint64_t pf_history_base(const struct pf_link *link);
/* Notes the grace period that ended now; returns its length, 0 when no row has the token. */
uint64_t pf_history_grace(struct pf_history *history, uint64_t token, uint64_t now);
/* Puts what is held; not under dp->lock. */
void pf_history_destroy(struct pf_history *history);

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

/* A complete world, the datapath subscribed to all it reaches; or nothing changed. Under dp->lock. */
enum pf_err pf_world_build(const struct pf_world_plan *plan, struct pf_world **world, struct pf_diag *diag);
/* Puts everything that the world holds. */
void pf_world_destroy(struct pf_world *world);
/* Unsubscribes the datapath from what `from` reaches and `to` (may be NULL: nothing) does not. */
void pf_world_unsubscribe(struct pf_datapath *dp, const struct pf_world *from, const struct pf_world *to);

/* Makes the world visible and retires its predecessor (W3). Fills in revision, token, publish_ns and published_at. */
void pf_datapath_publish(struct pf_datapath *dp, struct pf_world *world, struct pf_change *change);

static inline struct pf_world *pf_datapath_current(struct pf_datapath *dp) /* under dp->lock */
{
	return atomic_load_explicit(&dp->slot, memory_order_relaxed);
}

#endif
