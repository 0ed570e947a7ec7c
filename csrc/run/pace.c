/* pace.c - giving packets when they are due, and waiting for that. */
#include "pace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "../hook/clock.h"
#include "histogram.h"
#include "run.h"

#define BATCH 256u
#define SPIN_ONLY_NS 20000u /* a shorter wait is over before a sleep would be */

struct machine_clock {
	struct pf_pace_clock clock;
	uint64_t lead_ns; /* how much too late sleeps have ended of late: they are ended so much earlier */
};

struct pf_pace {
	struct pf_source source;
	struct pf_source *inner;
	struct machine_clock machine;
	struct pf_pace_clock *clock;
	uint64_t slice_ns;
	struct pf_schedule schedule;
	struct pf_batch *held; /* of the inner source: packets at .. n are still to be given */
	uint64_t *due;         /* of each */
	uint32_t at;
	uint8_t began;
	uint64_t origin;
	struct pf_pace_info info;
	struct pf_histogram late;
};

/* ---- the machine's clock ---- */

static uint64_t machine_now(struct pf_pace_clock *clock)
{
	(void)clock;
	return pf_clock_ns();
}

/* 0: a signal came first. The thread's slack, by which the kernel may put sleeps together, is put back. */
static int sleep_until(uint64_t until)
{
	const struct timespec at = {.tv_sec = (time_t)(until / 1000000000u), .tv_nsec = (long)(until % 1000000000u)};
	int slack = prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0), interrupted;
	if (slack > 1)
		(void)prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
	interrupted = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR;
	if (slack > 1)
		(void)prctl(PR_SET_TIMERSLACK, slack, 0, 0, 0);
	return !interrupted;
}

static void spin_until(uint64_t until)
{
	while (pf_clock_ns() < until) {
#if defined(__x86_64__) || defined(__i386__)
		__builtin_ia32_pause();
#endif
	}
}

static void machine_wait(struct pf_pace_clock *clock, uint64_t until, int exact)
{
	struct machine_clock *m = (struct machine_clock *)clock;
	uint64_t now = pf_clock_ns(), left = until > now ? until - now : 0, target, woken;
	if (!exact) {
		(void)sleep_until(until);
		return;
	}
	if (left > SPIN_ONLY_NS && left > m->lead_ns) {
		target = until - m->lead_ns;
		if (!sleep_until(target))
			return;
		woken = pf_clock_ns();
		m->lead_ns = (7 * m->lead_ns + (woken > target ? woken - target : 0)) / 8;
		if (m->lead_ns > PF_PACE_SPIN_NS)
			m->lead_ns = PF_PACE_SPIN_NS;
	}
	spin_until(until);
}

/* ---- giving ---- */

static enum pf_err read_ahead(struct pf_pace *p, struct pf_diag *diag)
{
	struct pf_batch *held = p->held;
	held->n = p->at = 0;
	enum pf_err err = p->inner->next(p->inner, held, diag);
	if (err) {
		held->n = 0;
		return err;
	}
	for (uint32_t i = 0; i < held->n; i++)
		p->due[i] = pf_schedule_due(&p->schedule, &held->desc[i]);
	return PF_OK;
}

/* The time now, at which the next packet is due; 0 if it is not yet. */
static uint64_t wait_for_next(struct pf_pace *p)
{
	uint64_t now = p->clock->now(p->clock);
	if (!p->began) {
		p->began = 1;
		p->origin = now - p->due[p->at]; /* may wrap, and wraps back */
		p->info.first_ns = now;
	}
	const uint64_t due = p->origin + p->due[p->at];
	if (due <= now)
		return now;
	if (due - now > p->slice_ns) {
		p->clock->wait(p->clock, now + p->slice_ns, 0);
		return 0;
	}
	p->clock->wait(p->clock, due, 1);
	now = p->clock->now(p->clock);
	return due <= now ? now : 0;
}

static void note_given(struct pf_pace *p, uint64_t now)
{
	const struct pf_desc *desc = &p->held->desc[p->at];
	p->info.packets++;
	p->info.last_bits = pf_schedule_bits(desc);
	p->info.bits += p->info.last_bits;
	p->info.due_ns = p->due[p->at];
	p->info.last_ns = now;
	pf_histogram_add(&p->late, now - (p->origin + p->due[p->at]));
}

static void give_due(struct pf_pace *p, struct pf_batch *batch, uint64_t now)
{
	const uint64_t late = now - (p->origin + p->due[p->at]);
	uint64_t moved = 0;
	if (late > PF_PACE_LAG_NS) { /* P2 */
		p->info.stalls++;
		p->info.stalled_ns += late;
		moved = late;
	}
	while (p->at < p->held->n && batch->n < batch->capacity && p->origin + p->due[p->at] + moved <= now) {
		note_given(p, now);
		batch->desc[batch->n++] = p->held->desc[p->at++];
	}
	p->origin += moved;
	batch->ingress_ifindex = p->held->ingress_ifindex;
}

static enum pf_err pace_next(struct pf_source *source, struct pf_batch *batch, struct pf_diag *diag)
{
	struct pf_pace *p = (struct pf_pace *)source;
	batch->n = 0;
	if (!p->inner)
		return PF_OK;
	if (p->at == p->held->n) {
		enum pf_err err = read_ahead(p, diag);
		if (err || !p->held->n)
			return err;
	}
	const uint64_t now = wait_for_next(p);
	if (!now)
		return PF_EINTR; /* P3 */
	give_due(p, batch, now);
	return PF_OK;
}

static const struct pf_iface *pace_iface(const struct pf_source *source, uint32_t index)
{
	const struct pf_pace *p = (const struct pf_pace *)source;
	return p->inner ? p->inner->iface(p->inner, index) : NULL;
}

/* ---- beginning and end ---- */

enum pf_err pf_pace_create(const struct pf_pace_options *options, struct pf_pace **out, struct pf_diag *diag)
{
	const uint32_t batch = options->batch ? options->batch : BATCH;
	struct pf_pace *p = calloc(1, sizeof(*p));
	*out = NULL;
	if (!p)
		return pf_diag_set(diag, PF_ENOMEM, PF_DIAG_RUN_NOMEM, 0, 0, 0, 0, NULL);
	p->held = pf_batch_create(batch);
	p->due = calloc(batch, sizeof(*p->due));
	if (!p->held || !p->due) {
		pf_pace_destroy(p);
		return pf_diag_set(diag, PF_ENOMEM, PF_DIAG_RUN_NOMEM, 0, 0, 0, 0, NULL);
	}
	p->source.next = pace_next;
	p->source.iface = pace_iface;
	p->machine.clock.now = machine_now;
	p->machine.clock.wait = machine_wait;
	p->clock = options->clock ? options->clock : &p->machine.clock;
	p->slice_ns = options->slice_ns ? options->slice_ns : PF_PACE_SLICE_NS;
	pf_schedule_init(&p->schedule, &options->schedule);
	*out = p;
	return PF_OK;
}

void pf_pace_destroy(struct pf_pace *p)
{
	if (!p)
		return;
	pf_batch_destroy(p->held);
	free(p->due);
	free(p);
}

void pf_pace_attach(struct pf_pace *p, struct pf_source *inner)
{
	p->inner = inner;
	p->held->n = p->at = 0;
}

void pf_pace_pass(struct pf_pace *p) { pf_schedule_pass(&p->schedule); }

void pf_pace_info(const struct pf_pace *p, struct pf_pace_info *info)
{
	*info = p->info;
	info->late_median_ns = pf_histogram_quantile(&p->late, 50, 100);
	info->late_p99_ns = pf_histogram_quantile(&p->late, 99, 100);
	info->late_max_ns = p->late.max;
	info->shortened = p->schedule.shortened;
	info->stepped_back = p->schedule.stepped_back;
}
