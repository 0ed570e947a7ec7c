/* strategy.c - the ways, each as it would be done well; see strategy.h. */
#include "strategy_impl.h"

#include "../hook/clock.h"

/* Ours. Nothing but the public interface of hook.h. */

static void run_slot(struct pf_swap *swap, struct pf_lane *lane)
{
	(void)swap;
	pf_worker_run(lane->worker, lane->batch, NULL, NULL, NULL);
}

static enum pf_err wait_for(struct pf_swap *swap, uint64_t token, struct pf_swap_times *times, struct pf_diag *diag)
{
	uint64_t start = pf_clock_ns();
	enum pf_err err = pf_datapath_wait(swap->dp, token, UINT64_MAX, NULL, diag);
	times->wait_ns += pf_clock_ns() - start;
	return err;
}

static enum pf_err update_publish(struct pf_swap *swap, struct pf_prog *prog, struct pf_swap_times *times,
				  struct pf_diag *diag)
{
	struct pf_change change;
	enum pf_err err = pf_link_update(swap->link, prog, NULL, &change, diag);
	if (err)
		return err;
	times->publish_ns = change.publish_ns;
	pf_prog_put(change.old);
	return wait_for(swap, change.token, times, diag);
}

/* Under a lock: the place from which lanes run is overwritten while none of them runs. */

static void run_mutex(struct pf_swap *swap, struct pf_lane *lane)
{
	pthread_mutex_lock(&swap->mutex);
	pf_worker_run_kept(lane->worker, &swap->place.world, lane->batch);
	pthread_mutex_unlock(&swap->mutex);
}

static void run_rwlock(struct pf_swap *swap, struct pf_lane *lane)
{
	pthread_rwlock_rdlock(&swap->rwlock);
	pf_worker_run_kept(lane->worker, &swap->place.world, lane->batch);
	pthread_rwlock_unlock(&swap->rwlock);
}

static void overwrite(struct pf_swap *swap, struct pf_prog *prog)
{
	swap->place.entry.prog = prog; /* the list of programs keeps it alive */
	swap->place.entry.generation++;
	swap->place.world.revision++;
}

static enum pf_err update_mutex(struct pf_swap *swap, struct pf_prog *prog, struct pf_swap_times *times,
				struct pf_diag *diag)
{
	(void)diag;
	uint64_t start = pf_clock_ns();
	pthread_mutex_lock(&swap->mutex);
	overwrite(swap, prog);
	pthread_mutex_unlock(&swap->mutex);
	times->publish_ns = pf_clock_ns() - start;
	return PF_OK;
}

static enum pf_err update_rwlock(struct pf_swap *swap, struct pf_prog *prog, struct pf_swap_times *times,
				 struct pf_diag *diag)
{
	(void)diag;
	uint64_t start = pf_clock_ns();
	pthread_rwlock_wrlock(&swap->rwlock);
	overwrite(swap, prog);
	pthread_rwlock_unlock(&swap->rwlock);
	times->publish_ns = pf_clock_ns() - start;
	return PF_OK;
}

/* User-space coordination: out with the old one, wait until nobody runs it, in with the new one. */

static enum pf_err update_detach_attach(struct pf_swap *swap, struct pf_prog *prog, struct pf_swap_times *times,
					struct pf_diag *diag)
{
	struct pf_change change;
	struct pf_link_info info;
	pf_link_info(swap->link, &info);
	if (info.prog)
		pf_prog_put(info.prog);
	uint64_t start = pf_clock_ns();
	enum pf_err err = pf_link_detach(swap->link, &change, diag);
	if (err)
		return err;
	times->publish_ns = change.publish_ns;
	if (change.old)
		pf_prog_put(change.old);
	err = wait_for(swap, change.token, times, diag);
	if (err)
		return err;
	struct pf_link *link;
	err = pf_link_attach(swap->dp, swap->hook, prog, info.priority, info.continue_on, &link, &change, diag);
	if (err)
		return err;
	times->publish_ns += change.publish_ns;
	times->bare_ns = pf_clock_ns() - start;
	if (swap->own_link)
		pf_link_put(swap->link);
	swap->link = link;
	swap->own_link = 1;
	return wait_for(swap, change.token, times, diag);
}

static const struct pf_strategy strategies[] = {
	[PF_SWAP_PUBLISH] = { run_slot, update_publish },
	[PF_SWAP_MUTEX] = { run_mutex, update_mutex },
	[PF_SWAP_RWLOCK] = { run_rwlock, update_rwlock },
	[PF_SWAP_DETACH_ATTACH] = { run_slot, update_detach_attach },
};
_Static_assert(sizeof(strategies) / sizeof(strategies[0]) == PF_SWAP_WAYS, "a row for every way");

const struct pf_strategy *pf_strategy_of(enum pf_swap_way way)
{
	return &strategies[way];
}
