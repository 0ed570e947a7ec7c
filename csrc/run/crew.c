/* crew.c - the workers' threads: each takes its share of every block, as batches, and sleeps where there is nothing. */
#include "pipeline_impl.h"

#include "../hook/clock.h"

#include <signal.h>
#include <string.h>

static uint64_t processor_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* The worker's text goes where the driver may take it. */
static void hand_over_trace(struct pf_lane *lane)
{
	struct pf_trace *from = lane->worker->exec->trace, *to = lane->spool;
	if (PF_LIKELY(!from || !to || !(from->used || from->lost)))
		return;
	pthread_mutex_lock(&lane->pipeline->lock);
	to->lost += from->lost;
	if (from->used <= sizeof(to->text) - to->used) {
		memcpy(to->text + to->used, from->text, from->used);
		to->used += from->used;
	} else {
		for (uint32_t i = 0; i < from->used; i++)
			to->lost += !from->text[i];
	}
	pthread_mutex_unlock(&lane->pipeline->lock);
	from->used = 0;
	from->lost = 0;
}

/* Q5. Offline, as the crew always waits. */
static void wait_for_copies(struct pf_lane *lane, uint64_t number)
{
	struct pf_pipeline *p = lane->pipeline;
	if (PF_LIKELY(atomic_load_explicit(&p->copied, memory_order_relaxed) <= PF_PIPELINE_COPIES))
		return;
	pthread_mutex_lock(&p->lock);
	for (;;) {
		atomic_store(&p->sleeping, 1);
		if (atomic_load(&p->copied) <= PF_PIPELINE_COPIES || atomic_load(&p->emitted) == number ||
		    atomic_load(&p->stop))
			break;
		pthread_cond_signal(&p->room);
		pthread_cond_wait(&p->work, &p->lock);
	}
	pthread_mutex_unlock(&p->lock);
}

static void run_batch(struct pf_lane *lane, struct pf_block *block, struct pf_batch *batch, uint64_t number)
{
	wait_for_copies(lane, number);
	batch->capacity = batch->n;
	batch->ingress_ifindex = block->ingress_ifindex;
	pf_worker_run(lane->worker, batch, NULL, block->source, block->told ? &lane->sink : NULL);
	hand_over_trace(lane);
}

/* The only worker: the block's own descriptors, which have index and time by their position. */
static void run_whole(struct pf_lane *lane, struct pf_block *block, uint64_t number)
{
	const uint32_t most = lane->pipeline->batch;
	for (uint32_t at = 0; at < block->n; at += most) {
		struct pf_batch batch = {
			.desc = block->desc + at,
			.n = block->n - at < most ? block->n - at : most,
			.first = block->first + at,
		};
		run_batch(lane, block, &batch, number);
	}
}

static void run_share(struct pf_lane *lane, struct pf_block *block, uint64_t number)
{
	const uint32_t most = lane->pipeline->batch;
	const uint8_t mine = (uint8_t)lane->number;
	struct pf_batch batch = { .desc = lane->desc, .stamps = lane->stamps, .first = block->first };
	for (uint32_t i = 0; i < block->n; i++) {
		if (block->owners[i] != mine)
			continue;
		__builtin_prefetch(block->desc[i].data);
		lane->desc[batch.n] = block->desc[i];
		lane->stamps[batch.n] = (struct pf_stamp){ .index = block->first + i, .time_ns = block->times[i] };
		lane->places[batch.n] = i;
		if (++batch.n == most) {
			run_batch(lane, block, &batch, number);
			batch.n = 0;
		}
	}
	if (batch.n)
		run_batch(lane, block, &batch, number);
}

/* The block after those that are done; 0: the end. */
static int next_block(struct pf_lane *lane, uint64_t done)
{
	struct pf_pipeline *p = lane->pipeline;
	if (atomic_load_explicit(&p->filled, memory_order_acquire) == done) {
		pthread_mutex_lock(&p->lock);
		for (;;) {
			atomic_store(&p->sleeping, 1); /* before the look: pf_crew_wake looks the other way round */
			if (atomic_load(&p->filled) != done || atomic_load(&p->stop))
				break;
			pthread_cond_wait(&p->work, &p->lock);
		}
		pthread_mutex_unlock(&p->lock);
	}
	return atomic_load_explicit(&p->filled, memory_order_acquire) != done;
}

static void *lane_main(void *arg)
{
	struct pf_lane *lane = arg;
	struct pf_pipeline *p = lane->pipeline;
	for (uint64_t done = 0; next_block(lane, done);) {
		struct pf_block *block = &p->blocks[done % p->block_count];
		const uint64_t start = processor_ns();
		lane->block = block;
		(p->count == 1 ? run_whole : run_share)(lane, block, done);
		block->shares[lane->number].took_ns = processor_ns() - start;
		atomic_store(&lane->done, ++done);
		const uint64_t target = atomic_load(&p->target);
		if (target && done >= target) {
			pthread_mutex_lock(&p->lock); /* the driver looks and goes to sleep in one */
			pthread_mutex_unlock(&p->lock);
			pthread_cond_signal(&p->room);
		}
	}
	return NULL;
}

uint64_t pf_crew_done(const struct pf_pipeline *p)
{
	uint64_t least = UINT64_MAX;
	for (uint32_t k = 0; k < p->count; k++) {
		const uint64_t done = atomic_load_explicit(&p->lanes[k].done, memory_order_acquire);
		least = done < least ? done : least;
	}
	return least;
}

void pf_crew_wake(struct pf_pipeline *p)
{
	if (!atomic_load(&p->sleeping))
		return;
	/* Once for each sleep: until who was woken runs, many blocks may be filled. Not under the lock, for which it would wait. */
	pthread_mutex_lock(&p->lock);
	atomic_store(&p->sleeping, 0);
	pthread_mutex_unlock(&p->lock);
	pthread_cond_broadcast(&p->work);
}

static int worth_waking(const struct pf_pipeline *p, uint64_t target)
{
	const uint64_t done = pf_crew_done(p);
	return done >= target ||
	       (atomic_load(&p->copied) > PF_PIPELINE_COPIES && done > atomic_load(&p->emitted));
}

void pf_crew_wait(struct pf_pipeline *p, uint64_t target, uint64_t deadline_ns)
{
	const struct timespec until = { .tv_sec = (time_t)(deadline_ns / 1000000000u),
					.tv_nsec = (long)(deadline_ns % 1000000000u) };
	pthread_mutex_lock(&p->lock);
	atomic_store(&p->target, target); /* before the look: a lane stores `done` before it looks here */
	while (!worth_waking(p, target)) {
		if (deadline_ns == UINT64_MAX)
			pthread_cond_wait(&p->room, &p->lock);
		else if (pthread_cond_timedwait(&p->room, &p->lock, &until))
			break;
	}
	atomic_store(&p->target, 0);
	pthread_mutex_unlock(&p->lock);
}

/* Signals are for the threads that know what to do with them: a driver's read(2) must end early. */
enum pf_err pf_crew_start(struct pf_pipeline *p, struct pf_diag *diag)
{
	sigset_t all, before;
	int failed = 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (p->started < p->count && !failed) {
		struct pf_lane *lane = &p->lanes[p->started];
		failed = pthread_create(&lane->thread, NULL, lane_main, lane);
		p->started += !failed;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (failed)
		return pf_diag_set(diag, PF_EAGAIN, PF_DIAG_RUN_THREAD, 0, 0, p->started, p->count, pf_err_text(PF_EAGAIN));
	return PF_OK;
}

void pf_crew_stop(struct pf_pipeline *p)
{
	pthread_mutex_lock(&p->lock);
	atomic_store(&p->stop, 1);
	pthread_cond_broadcast(&p->work);
	pthread_mutex_unlock(&p->lock);
	while (p->started)
		pthread_join(p->lanes[--p->started].thread, NULL);
}
