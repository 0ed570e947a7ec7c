/* swap.c - lanes under load, judging of every packet by its bytes, and the times of updates; see strategy.h. */
#include "strategy_impl.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "../hook/clock.h"

#define SPIN_NS 20000 /* of a writer that awaits a batch, before it naps */
#define NAP_NS 50000
#define PHASE_MAX_NS 1000000
#define BARE UINT32_MAX /* what wiping leaves where the stamp will be */

static uint64_t preemptions(void)
{
	struct rusage usage;
	return getrusage(RUSAGE_THREAD, &usage) ? 0 : (uint64_t)usage.ru_nivcsw;
}

static void wipe(const struct pf_batch *batch)
{
	const uint32_t bare = BARE;
	for (uint32_t i = 0; i < batch->n; i++)
		memcpy(batch->desc[i].data, &bare, sizeof(bare));
}

/* S1, S2. returned: before the batch; started: after it. */
static void judge(struct pf_lane *lane, uint64_t returned, uint64_t started)
{
	const struct pf_batch *batch = lane->batch;
	const uint32_t count = lane->swap->program_count;
	uint32_t first, bare = 0, stale = 0, mixed = 0;
	memcpy(&first, batch->desc[0].data, sizeof(first));
	for (uint32_t i = 0; i < batch->n; i++) {
		uint32_t stamp;
		memcpy(&stamp, batch->desc[i].data, sizeof(stamp));
		mixed |= stamp != first;
		if (stamp == BARE) {
			bare++;
			continue;
		}
		/* The only update from `returned` on that can have left this stamp: is it one that had begun? */
		uint64_t ahead = (stamp + count - returned % count) % count;
		stale += returned + ahead > started;
	}
	lane->seen.packets += batch->n;
	lane->seen.batches++;
	lane->seen.bare += bare;
	lane->seen.mixed += mixed;
	if (started - returned >= count)
		lane->seen.unjudged++;
	else
		lane->seen.stale += stale;
}

/* Several lanes have a processor each, where there are as many. Left to the scheduler two may share one for some ticks while
 * the other idles between two wake-ups of the writer: a lane that waits for its turn within a batch, and no property of a
 * way. Best effort: without it the figures are worse, never wrong. */
static void take_processor(const struct pf_swap *swap, uint32_t number)
{
	cpu_set_t allowed, own;
	if (swap->lane_count < 2 || sched_getaffinity(0, sizeof(allowed), &allowed) ||
	    swap->lane_count > (uint32_t)CPU_COUNT(&allowed))
		return;
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &allowed) || number--)
			continue;
		CPU_ZERO(&own);
		CPU_SET(cpu, &own);
		(void)sched_setaffinity(0, sizeof(own), &own);
		return;
	}
}

static void *lane_main(void *argument)
{
	struct pf_lane *lane = argument;
	struct pf_swap *swap = lane->swap;
	take_processor(swap, (uint32_t)(lane - swap->lanes));
	uint64_t preempted = preemptions(), last = pf_clock_ns();
	while (!atomic_load_explicit(&swap->stop, memory_order_relaxed)) {
		wipe(lane->batch);
		atomic_store_explicit(&lane->begun, lane->seen.batches + 1, memory_order_relaxed);
		uint64_t returned = atomic_load_explicit(&swap->returned, memory_order_acquire);
		swap->strategy->run(swap, lane);
		judge(lane, returned, atomic_load_explicit(&swap->started, memory_order_acquire));
		lane->batch->first += lane->batch->n;
		uint64_t now = pf_clock_ns();
		pf_histogram_add(&lane->gaps, now - last);
		last = now;
	}
	lane->seen.preempted_lanes += preemptions() - preempted;
	return NULL;
}

static enum pf_err nomem(struct pf_diag *diag)
{
	return pf_diag_set(diag, PF_ENOMEM, PF_DIAG_RUN_NOMEM, 0, 0, 0, 0, NULL);
}

static enum pf_err prepare_lane(struct pf_swap *swap, struct pf_lane *lane, uint32_t batch, struct pf_diag *diag)
{
	const struct pf_worker_options options = { .name = "lane" };
	lane->swap = swap;
	lane->batch = pf_batch_create(batch);
	lane->bytes = calloc(batch, swap->packet_len);
	if (!lane->batch || !lane->bytes)
		return nomem(diag);
	for (uint32_t i = 0; i < batch; i++) {
		struct pf_desc *desc = &lane->batch->desc[i];
		desc->data = lane->bytes + (size_t)i * swap->packet_len;
		desc->caplen = desc->wire_len = swap->packet_len;
	}
	lane->batch->n = batch;
	return pf_worker_create(swap->dp, swap->hook, &options, &lane->worker, diag);
}

/* What lanes run under a lock: a world outside the slot, of one program in the form that the hook's would have. */
static enum pf_err prepare_place(struct pf_swap *swap, struct pf_diag *diag)
{
	struct pf_place *place = &swap->place;
	struct pf_chain *chains = calloc((size_t)swap->hook + 1, sizeof(*chains));
	if (!chains)
		return nomem(diag);
	place->entry = (struct pf_chain_entry){
		.prog = swap->programs[0],
		.engine = swap->programs[0]->verified ? PF_ENGINE_INTERP : PF_ENGINE_CHECKED,
		.generation = 1,
	};
	chains[swap->hook] = (struct pf_chain){ .count = 1, .entries = &place->entry };
	place->world = (struct pf_world){ .dp = swap->dp, .revision = 1, .generation = 1, .hooks = swap->hook + 1,
					  .chains = chains };
	return PF_OK;
}

static void prepare_locks(struct pf_swap *swap)
{
	pthread_rwlockattr_t attr;
	pthread_mutex_init(&swap->mutex, NULL);
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&swap->rwlock, &attr);
	pthread_rwlockattr_destroy(&attr);
}

enum pf_err pf_swap_create(const struct pf_swap_config *config, struct pf_swap **out, struct pf_diag *diag)
{
	if (config->program_count < 2 || !config->lanes || !config->batch || config->packet_len < sizeof(uint32_t))
		return pf_diag_set(diag, PF_EINVAL, PF_DIAG_RUN_SWAP, 0, 0, config->program_count, 2, NULL);
	struct pf_swap *swap = aligned_alloc(PF_CACHE_LINE, sizeof(*swap));
	if (!swap)
		return nomem(diag);
	memset(swap, 0, sizeof(*swap));
	prepare_locks(swap);
	swap->strategy = pf_strategy_of(config->way);
	swap->packet_len = config->packet_len;
	swap->dp = config->dp;
	pf_datapath_get(swap->dp);
	swap->hook = config->hook;
	swap->link = config->link;
	swap->programs = calloc(config->program_count, sizeof(struct pf_prog *));
	swap->lanes = aligned_alloc(PF_CACHE_LINE, config->lanes * sizeof(*swap->lanes));
	if (swap->lanes)
		memset(swap->lanes, 0, config->lanes * sizeof(*swap->lanes));
	enum pf_err err = swap->programs && swap->lanes ? PF_OK : nomem(diag);
	for (; !err && swap->program_count < config->program_count; swap->program_count++) {
		swap->programs[swap->program_count] = config->programs[swap->program_count];
		pf_prog_get(config->programs[swap->program_count]);
	}
	if (!err)
		err = prepare_place(swap, diag);
	for (; !err && swap->lane_count < config->lanes; swap->lane_count++)
		err = prepare_lane(swap, &swap->lanes[swap->lane_count], config->batch, diag);
	if (err)
		pf_swap_destroy(swap);
	else
		*out = swap;
	return err;
}

void pf_swap_destroy(struct pf_swap *swap)
{
	if (!swap)
		return;
	pf_swap_stop(swap);
	for (uint32_t i = 0; i < swap->lane_count; i++) {
		pf_worker_destroy(swap->lanes[i].worker);
		pf_batch_destroy(swap->lanes[i].batch);
		free(swap->lanes[i].bytes);
	}
	if (swap->own_link)
		pf_link_put(swap->link);
	for (uint32_t i = 0; i < swap->program_count; i++)
		pf_prog_put(swap->programs[i]);
	pthread_mutex_destroy(&swap->mutex);
	pthread_rwlock_destroy(&swap->rwlock);
	free(swap->place.world.chains);
	free(swap->programs);
	free(swap->lanes);
	pf_datapath_put(swap->dp);
	free(swap);
}

enum pf_err pf_swap_start(struct pf_swap *swap, struct pf_diag *diag)
{
	pf_swap_stop(swap);
	atomic_store_explicit(&swap->stop, 0, memory_order_relaxed);
	swap->start_ns = pf_clock_ns();
	swap->random = swap->start_ns | 1;
	while (swap->lanes_started < swap->lane_count) {
		struct pf_lane *lane = &swap->lanes[swap->lanes_started];
		if (pthread_create(&lane->thread, NULL, lane_main, lane)) {
			pf_swap_stop(swap);
			return nomem(diag);
		}
		swap->lanes_started++;
	}
	return PF_OK;
}

void pf_swap_stop(struct pf_swap *swap)
{
	atomic_store_explicit(&swap->stop, 1, memory_order_relaxed);
	while (swap->lanes_started)
		pthread_join(swap->lanes[--swap->lanes_started].thread, NULL);
}

uint32_t pf_swap_begin(struct pf_swap *swap)
{
	uint64_t number = atomic_load_explicit(&swap->started, memory_order_relaxed) + 1;
	atomic_store_explicit(&swap->started, number, memory_order_release);
	return (uint32_t)(number % swap->program_count);
}

void pf_swap_returned(struct pf_swap *swap)
{
	uint64_t number = atomic_load_explicit(&swap->started, memory_order_relaxed);
	swap->updates++;
	atomic_store_explicit(&swap->returned, number, memory_order_release);
}

enum pf_err pf_swap_update(struct pf_swap *swap, struct pf_swap_times *times, struct pf_diag *diag)
{
	struct pf_prog *prog = swap->programs[pf_swap_begin(swap)];
	*times = (struct pf_swap_times){ 0 };
	uint64_t start = pf_clock_ns();
	enum pf_err err = swap->strategy->update(swap, prog, times, diag);
	times->total_ns = pf_clock_ns() - start;
	if (!err)
		pf_swap_returned(swap);
	return err;
}

static void sleep_until(uint64_t when)
{
	struct timespec ts = { .tv_sec = (time_t)(when / 1000000000u), .tv_nsec = (long)(when % 1000000000u) };
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}

/* Until the lane has begun a batch since the writer looked last; a lane that is not running may want this processor. */
static void await_batch(struct pf_lane *lane)
{
	uint64_t now = pf_clock_ns(), spin_end = now + SPIN_NS;
	while (atomic_load_explicit(&lane->begun, memory_order_relaxed) == lane->met) {
		if (now >= spin_end)
			sleep_until(now + NAP_NS);
		now = pf_clock_ns();
	}
}

/* S4: every lane begins a batch from now on, and then up to a batch's length passes. */
static void meet(struct pf_swap *swap)
{
	uint64_t batches = 1;
	for (uint32_t i = 0; i < swap->lane_count; i++)
		batches += swap->lanes[i].met = atomic_load_explicit(&swap->lanes[i].begun, memory_order_relaxed);
	for (uint32_t i = 0; i < swap->lane_count; i++)
		await_batch(&swap->lanes[i]);
	swap->random ^= swap->random << 13;
	swap->random ^= swap->random >> 7;
	swap->random ^= swap->random << 17;
	uint64_t now = pf_clock_ns(), mean = (now - swap->start_ns) * swap->lane_count / batches;
	for (uint64_t end = now + swap->random % (mean < PHASE_MAX_NS ? mean + 1 : PHASE_MAX_NS); now < end;)
		now = pf_clock_ns();
}

enum pf_err pf_swap_drive(struct pf_swap *swap, uint64_t duration_ns, uint64_t pace_ns, struct pf_diag *diag)
{
	const uint64_t preempted = preemptions();
	uint64_t now = pf_clock_ns(), end = now + duration_ns;
	enum pf_err err = PF_OK;
	while (!err && now < end) {
		struct pf_swap_times times;
		meet(swap);
		uint64_t next = now + pace_ns;
		err = pf_swap_update(swap, &times, diag);
		if (err)
			break;
		pf_histogram_add(&swap->times[PF_SWAP_PUBLISHES], times.publish_ns);
		pf_histogram_add(&swap->times[PF_SWAP_WAITS], times.wait_ns);
		pf_histogram_add(&swap->times[PF_SWAP_UPDATES], times.total_ns);
		pf_histogram_add(&swap->times[PF_SWAP_BARES], times.bare_ns);
		now = pf_clock_ns();
		if (now < next) {
			sleep_until(next);
			now = pf_clock_ns();
		}
	}
	swap->preempted += preemptions() - preempted;
	return err;
}

void pf_swap_totals(const struct pf_swap *swap, struct pf_swap_totals *totals)
{
	*totals = (struct pf_swap_totals){ .updates = swap->updates, .preempted_writer = swap->preempted };
	for (uint32_t i = 0; i < swap->lane_count; i++) {
		const struct pf_lane *lane = &swap->lanes[i];
		totals->packets += lane->seen.packets;
		totals->batches += lane->seen.batches;
		totals->bare += lane->seen.bare;
		totals->mixed += lane->seen.mixed;
		totals->stale += lane->seen.stale;
		totals->unjudged += lane->seen.unjudged;
		totals->preempted_lanes += lane->seen.preempted_lanes;
		totals->dropped += lane->worker->stats.actions[PF_XDP_DROP];
	}
}

void pf_swap_histogram(const struct pf_swap *swap, enum pf_swap_series series, struct pf_histogram *out)
{
	if (series < PF_SWAP_GAPS) {
		*out = swap->times[series];
		return;
	}
	memset(out, 0, sizeof(*out));
	for (uint32_t i = 0; i < swap->lane_count; i++)
		pf_histogram_merge(out, &swap->lanes[i].gaps);
}

static uint64_t time_slot(struct pf_lane *lane, uint32_t batches)
{
	uint64_t start = pf_clock_ns();
	for (uint32_t i = 0; i < batches; i++)
		pf_worker_run(lane->worker, lane->batch, NULL, NULL, NULL);
	return pf_clock_ns() - start;
}

static uint64_t time_plain(struct pf_lane *lane, const struct pf_world *world, uint32_t batches)
{
	uint64_t start = pf_clock_ns();
	for (uint32_t i = 0; i < batches; i++)
		pf_worker_run_kept(lane->worker, world, lane->batch);
	return pf_clock_ns() - start;
}

void pf_swap_cost(struct pf_swap *swap, uint32_t batches, struct pf_swap_cost *cost)
{
	struct pf_lane *lane = &swap->lanes[0];
	const struct pf_world *world = pf_datapath_world(swap->dp);
	/* There and back, so that a clock that rises or falls meanwhile favours neither. */
	cost->slot_ns = time_slot(lane, batches / 2);
	cost->plain_ns = time_plain(lane, world, batches - batches / 2);
	cost->plain_ns += time_plain(lane, world, batches / 2);
	cost->slot_ns += time_slot(lane, batches - batches / 2);
}
