/* guard.c - adding up a trial's counters, and judging them. */
#include "trial.h"

#include <stdio.h>
#include <string.h>

static uint64_t load(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed); /* G2 */
}

/* Lowest duration of a step: 0 1 2 3, then four steps an octave. */
static double step_start(uint32_t step)
{
	return step < 4 ? step : (double)((uint64_t)(4 + step % 4) << (step / 4 - 1));
}

/* The duration in the middle of all, in a straight line through its step. */
static double median(const uint64_t *times, uint64_t count)
{
	double rank = (double)count / 2, before = 0;
	for (uint32_t step = 0; step < PF_TRIAL_TIMES; step++) {
		const double in = (double)times[step];
		if (in > 0 && before + in >= rank) {
			const double low = step_start(step), high = step_start(step + 1);
			return low + (high - low) * (rank - before) / in;
		}
		before += in;
	}
	return 0;
}

static void sum_arm(const struct pf_trial *trial, uint32_t rows, uint32_t number, struct pf_trial_arm_sums *sums)
{
	uint64_t times[PF_TRIAL_TIMES] = { 0 }, timed = 0;
	for (uint32_t r = 0; r < rows; r++) {
		const struct pf_trial_arm *arm = &trial->rows[r].arms[number];
		sums->packets += load(&arm->packets);
		sums->faults += load(&arm->faults);
		for (uint32_t a = 0; a < PF_ACTIONS; a++)
			sums->actions[a] += load(&arm->actions[a]);
		for (uint32_t t = 0; t < PF_TRIAL_TIMES && load(&arm->timed); t++)
			times[t] += atomic_load_explicit(&arm->times[t], memory_order_relaxed);
	}
	for (uint32_t t = 0; t < PF_TRIAL_TIMES; t++)
		timed += times[t];
	sums->timed = timed;
	sums->median_ns = timed ? median(times, timed) : 0;
}

void pf_trial_sum(struct pf_trial *trial, struct pf_trial_sums *sums)
{
	const uint32_t rows = atomic_load_explicit(&trial->rows_used, memory_order_acquire);
	memset(sums, 0, sizeof(*sums));
	for (uint32_t arm = 0; arm < PF_ARMS; arm++)
		sum_arm(trial, rows, arm, &sums->arms[arm]);
	for (uint32_t r = 0; r < rows; r++) {
		const struct pf_trial_row *row = &trial->rows[r];
		sums->compared += load(&row->compared);
		sums->differing += load(&row->differing);
		sums->action_differs += load(&row->action_differs);
		sums->redirect_differs += load(&row->redirect_differs);
		sums->bytes_differ += load(&row->bytes_differ);
		sums->missed += load(&row->missed);
		for (uint32_t a = 0; a < PF_ACTIONS; a++)
			for (uint32_t b = 0; b < PF_ACTIONS; b++)
				sums->pairs[a][b] += load(&row->pairs[a][b]);
	}
}

const struct pf_trial_sample *pf_trial_sample(struct pf_trial *trial, uint32_t n)
{
	if (n >= trial->sample_room || !atomic_load_explicit(&trial->samples[n].ready, memory_order_acquire))
		return NULL;
	return &trial->samples[n];
}

static double drop_rate(const struct pf_trial_arm_sums *arm)
{
	return (double)(arm->actions[PF_XDP_DROP] + arm->actions[PF_XDP_ABORTED]) / (double)arm->packets;
}

static int differs_too_much(const struct pf_trial *trial, const struct pf_trial_sums *sums, char *why)
{
	const double limit = trial->guard.max_difference;
	if (limit < 0 || trial->kind != PF_TRIAL_SHADOW || !sums->compared)
		return 0;
	const double rate = (double)sums->differing / (double)sums->compared;
	if (!(rate > limit))
		return 0;
	snprintf(why, PF_DETAIL_MAX, "difference rate %.4g above %.4g in %llu packets", rate, limit,
		 (unsigned long long)sums->compared);
	return 1;
}

static int drops_too_differently(const struct pf_trial *trial, const struct pf_trial_sums *sums, char *why)
{
	const double limit = trial->guard.max_drop_change;
	if (limit < 0)
		return 0;
	const double now = drop_rate(&sums->arms[0]), then = drop_rate(&sums->arms[1]);
	const double change = then > now ? then - now : now - then;
	if (!(change > limit))
		return 0;
	snprintf(why, PF_DETAIL_MAX, "drop rate %.4g against %.4g in %llu packets, more than %.4g apart", then, now,
		 (unsigned long long)sums->arms[1].packets, limit);
	return 1;
}

static int too_slow(const struct pf_trial *trial, const struct pf_trial_sums *sums, char *why)
{
	const double limit = trial->guard.max_ns_ratio;
	if (limit < 0 || sums->arms[0].timed < PF_TRIAL_TIMED_MIN || sums->arms[1].timed < PF_TRIAL_TIMED_MIN)
		return 0;
	/* A program of no measurable duration counts as 1 ns: the clock's own unit. */
	const double base = sums->arms[0].median_ns > 1 ? sums->arms[0].median_ns : 1;
	if (!(sums->arms[1].median_ns > limit * base))
		return 0;
	snprintf(why, PF_DETAIL_MAX, "%.0f ns a packet against %.0f, more than %.4g times, in %llu packets",
		 sums->arms[1].median_ns, sums->arms[0].median_ns, limit, (unsigned long long)sums->arms[1].packets);
	return 1;
}

int pf_trial_exceeded(struct pf_trial *trial, char *why)
{
	const struct pf_guard *guard = &trial->guard;
	struct pf_trial_sums sums;
	if (!trial->guarded)
		return 0;
	pf_trial_sum(trial, &sums);
	const uint64_t faults = sums.arms[1].faults;
	if (faults > guard->max_faults) {
		snprintf(why, PF_DETAIL_MAX, "%llu faults, more than %llu, in %llu packets", (unsigned long long)faults,
			 (unsigned long long)guard->max_faults, (unsigned long long)sums.arms[1].packets);
		return 1;
	}
	for (uint32_t arm = 0; arm < PF_ARMS; arm++)
		if (!sums.arms[arm].packets || sums.arms[arm].packets < guard->min_packets)
			return 0;
	return differs_too_much(trial, &sums, why) || drops_too_differently(trial, &sums, why) ||
	       too_slow(trial, &sums, why);
}
