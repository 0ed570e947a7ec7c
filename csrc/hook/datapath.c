/* datapath.c - the slot: publishing, retiring, hearing of binding changes, and a datapath's beginning and end. */
#include "clock.h"
#include "reach.h"
#include "trial_edit.h"

#include <stdlib.h>
#include <string.h>

static void world_free(struct pf_rcu_head *head)
{
	struct pf_world *world = (struct pf_world *)head;
	atomic_fetch_sub_explicit(&world->dp->worlds_live, 1, memory_order_relaxed);
	pf_world_destroy(world);
}

void pf_datapath_publish(struct pf_datapath *dp, struct pf_world *world, struct pf_change *change)
{
	world->rcu.free = world_free;
	atomic_fetch_add_explicit(&dp->worlds_live, 1, memory_order_relaxed);
	uint64_t start = pf_clock_ns();
	struct pf_world *old = atomic_exchange_explicit(&dp->slot, world, PF_RCU_SC(memory_order_release));
	uint64_t token = pf_rcu_advance(&dp->rcu);
	change->publish_ns = pf_clock_ns() - start;
	change->published_at = start;
	change->revision = world->revision;
	change->token = token;
	dp->token = token;
	dp->hooks = world->hooks;
	if (old) {
		pf_world_unsubscribe(dp, old, world);
		pf_rcu_retire(&dp->rcu, &old->rcu, token);
	}
	pf_rcu_reclaim(&dp->rcu);
}

/* A world with today's links: more hooks, another engine limit, or changed bindings. Under dp->lock. */
static enum pf_err republish(struct pf_datapath *dp, uint32_t hooks, enum pf_engine limit, struct pf_diag *diag)
{
	const struct pf_world *current = pf_datapath_current(dp);
	struct pf_world_plan plan = {
		.dp = dp,
		.current = current,
		.hooks = hooks,
		.limit = limit,
		.generation = current ? current->generation : 0,
	};
	struct pf_world *world;
	enum pf_err err = pf_world_build(&plan, &world, diag);
	if (err)
		return err;
	struct pf_change unused;
	pf_datapath_publish(dp, world, &unused);
	return PF_OK;
}

/* W6. The subscriber's lock keeps the datapath from being torn down meanwhile. */
static enum pf_err binding_changed(void *target, struct pf_diag *diag)
{
	struct pf_datapath *dp = target;
	pthread_mutex_lock(&dp->lock);
	enum pf_err err = republish(dp, dp->hooks, dp->engine, diag);
	pthread_mutex_unlock(&dp->lock);
	return err;
}

static void subscriber_destroy(struct pf_ref *ref)
{
	struct pf_subscriber *subscriber = (struct pf_subscriber *)ref;
	pthread_mutex_destroy(&subscriber->lock);
	free(subscriber);
}

static struct pf_subscriber *subscriber_create(struct pf_datapath *dp)
{
	struct pf_subscriber *subscriber = calloc(1, sizeof(*subscriber));
	if (!subscriber)
		return NULL;
	pf_ref_init(&subscriber->ref, subscriber_destroy);
	pthread_mutex_init(&subscriber->lock, NULL);
	subscriber->target = dp;
	subscriber->changed = binding_changed;
	return subscriber;
}

/* The memory's last reference: torn down, and no link is left. */
static void datapath_destroy(struct pf_ref *ref)
{
	struct pf_datapath *dp = (struct pf_datapath *)ref;
	pf_rcu_destroy(&dp->rcu);
	pthread_mutex_destroy(&dp->lock);
	free(dp);
}

/* The life's last reference (H2). Detached links may still be asked things, and waited for: both locks stay. */
static void tear_down(struct pf_datapath *dp)
{
	pthread_mutex_lock(&dp->subscriber->lock);
	dp->subscriber->target = NULL;
	pthread_mutex_unlock(&dp->subscriber->lock);

	pthread_mutex_lock(&dp->lock);
	struct pf_link *links = dp->links;
	dp->links = NULL;
	dp->link_count = 0;
	struct pf_world *world = atomic_exchange_explicit(&dp->slot, NULL, PF_RCU_SC(memory_order_release));
	if (world) {
		pf_world_unsubscribe(dp, world, NULL);
		pf_rcu_retire(&dp->rcu, &world->rcu, pf_rcu_advance(&dp->rcu));
	}
	for (struct pf_link *link = links; link; link = link->next) {
		link->staged_prog = link->prog; /* put below, outside the lock (H5) */
		link->prog = NULL;
		link->staged_trial = link->trial;
		link->trial = NULL;
		if (link->staged_trial)
			pf_trial_lose(link->staged_trial);
		link->generation++;
	}
	pthread_mutex_unlock(&dp->lock);

	while (links) {
		struct pf_link *link = links;
		links = link->next;
		link->next = NULL;
		pf_prog_put(link->staged_prog);
		link->staged_prog = NULL;
		pf_trial_unstage(link);
		pf_link_put(link);
	}
	(void)PF_BUG_ON(pf_rcu_reclaim(&dp->rcu) != 0); /* a worker is still registered and online */
	pf_ref_put(&dp->subscriber->ref);
	dp->subscriber = NULL;
}

enum pf_err pf_datapath_create(struct pf_datapath **out, struct pf_diag *diag)
{
	struct pf_datapath *dp = aligned_alloc(PF_CACHE_LINE, sizeof(*dp));
	if (!dp)
		return pf_hook_nomem(diag);
	memset(dp, 0, sizeof(*dp));
	pf_ref_init(&dp->ref, datapath_destroy);
	atomic_init(&dp->users, 1);
	atomic_init(&dp->slot, NULL);
	pf_rcu_init(&dp->rcu);
	pthread_mutex_init(&dp->lock, NULL);
	dp->engine = (enum pf_engine)(PF_ENGINES - 1);
	dp->subscriber = subscriber_create(dp);
	enum pf_err err = dp->subscriber ? republish(dp, 0, dp->engine, diag)
					 : pf_hook_nomem(diag);
	if (err) {
		if (dp->subscriber)
			pf_ref_put(&dp->subscriber->ref);
		pf_ref_put(&dp->ref);
		return err;
	}
	*out = dp;
	return PF_OK;
}

void pf_datapath_get(struct pf_datapath *dp)
{
	atomic_fetch_add_explicit(&dp->users, 1, memory_order_relaxed);
}

void pf_datapath_put(struct pf_datapath *dp)
{
	if (atomic_fetch_sub_explicit(&dp->users, 1, memory_order_acq_rel) != 1)
		return;
	tear_down(dp);
	pf_ref_put(&dp->ref);
}

enum pf_err pf_datapath_add_hook(struct pf_datapath *dp, uint32_t *hook, struct pf_diag *diag)
{
	pthread_mutex_lock(&dp->lock);
	uint32_t number = dp->hooks;
	enum pf_err err = republish(dp, number + 1, dp->engine, diag);
	pthread_mutex_unlock(&dp->lock);
	if (!err)
		*hook = number;
	return err;
}

enum pf_err pf_datapath_set_engine(struct pf_datapath *dp, enum pf_engine engine, struct pf_diag *diag)
{
	pthread_mutex_lock(&dp->lock);
	enum pf_err err = engine == dp->engine ? PF_OK : republish(dp, dp->hooks, engine, diag);
	if (!err)
		dp->engine = engine;
	pthread_mutex_unlock(&dp->lock);
	return err;
}

enum pf_err pf_datapath_refresh(struct pf_datapath *dp, int *published, struct pf_diag *diag)
{
	struct pf_reach reach = { 0 };
	pthread_mutex_lock(&dp->lock);
	enum pf_err err = pf_reach_look(&reach, dp, NULL, dp->engine, diag);
	*published = !err && pf_world_engines_differ(pf_datapath_current(dp), &reach);
	if (*published)
		err = republish(dp, dp->hooks, dp->engine, diag);
	pthread_mutex_unlock(&dp->lock);
	pf_reach_release(&reach, NULL, 0);
	return err;
}

enum pf_err pf_datapath_enter(struct pf_datapath *dp, struct pf_datapath_cpu *cpu, struct pf_diag *diag)
{
	struct pf_reach reach = { 0 };
	pthread_mutex_lock(&dp->lock);
	enum pf_err err = pf_reach_look(&reach, dp, NULL, PF_ENGINE_CHECKED, diag);
	if (!err)
		err = pf_reach_has_cpus(&reach, (uint64_t)cpu->id + 1, diag);
	if (!err) {
		cpu->next = dp->present;
		dp->present = cpu;
	}
	pthread_mutex_unlock(&dp->lock);
	pf_reach_release(&reach, NULL, 0);
	return err;
}

void pf_datapath_leave(struct pf_datapath *dp, struct pf_datapath_cpu *cpu)
{
	pthread_mutex_lock(&dp->lock);
	struct pf_datapath_cpu **at = &dp->present;
	while (*at && *at != cpu)
		at = &(*at)->next;
	if (*at)
		*at = cpu->next;
	pthread_mutex_unlock(&dp->lock);
}

enum pf_err pf_datapath_admits(struct pf_datapath *dp, struct pf_prog *prog, struct pf_diag *diag)
{
	struct pf_reach reach = { 0 };
	pthread_mutex_lock(&dp->lock);
	enum pf_err err = pf_reach_look(&reach, NULL, prog, PF_ENGINE_CHECKED, diag);
	if (!err)
		err = pf_reach_has_cpus(&reach, pf_reach_cpus(dp), diag);
	pthread_mutex_unlock(&dp->lock);
	pf_reach_release(&reach, NULL, 0);
	return err;
}

struct pf_rcu *pf_datapath_rcu(struct pf_datapath *dp)
{
	return &dp->rcu;
}

const struct pf_world *pf_datapath_world(const struct pf_datapath *dp)
{
	return atomic_load_explicit(&dp->slot, PF_RCU_SC(memory_order_acquire)); /* pairs with the exchange in publish */
}

void pf_datapath_info(struct pf_datapath *dp, struct pf_datapath_info *info)
{
	pthread_mutex_lock(&dp->lock);
	const struct pf_world *world = pf_datapath_current(dp);
	*info = (struct pf_datapath_info){
		.revision = world->revision,
		.generation = world->generation,
		.worlds_live = atomic_load_explicit(&dp->worlds_live, memory_order_relaxed),
		.token = dp->token,
		.hooks = dp->hooks,
		.links = dp->link_count,
	};
	pthread_mutex_unlock(&dp->lock);
}

enum pf_err pf_datapath_wait(struct pf_datapath *dp, uint64_t token, uint64_t timeout_ns,
			     const struct pf_rcu_worker *self, struct pf_diag *diag)
{
	enum pf_err err = pf_rcu_wait(&dp->rcu, token, timeout_ns, self, diag);
	if (err)
		return err;
	uint64_t now = pf_clock_ns();
	pthread_mutex_lock(&dp->lock);
	for (struct pf_link *link = dp->links; link; link = link->next)
		(void)pf_history_grace(&link->history, token, now);
	pf_rcu_reclaim(&dp->rcu);
	pthread_mutex_unlock(&dp->lock);
	return PF_OK;
}
