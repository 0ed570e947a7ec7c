/* test_trial_crowd.c - trials (hook/trial.h) begin, trip and end while several workers run: one world a batch, flows on one
 * arm, exact counts after the grace period, nothing left behind. Meant for ThreadSanitizer above all. */
#include "trial_fixture.h"

#include <pthread.h>

/* Workers run while trials begin, trip, are promoted and abandoned, and others ask. */
struct crowd {
	struct pf_datapath *dp;
	_Atomic uint32_t stop;
	_Atomic uint64_t packets;
};

static void *crowd_worker(void *arg)
{
	struct crowd *c = arg;
	struct pf_worker *worker = worker_of(c->dp);
	struct traffic *t = traffic_of();
	struct pf_verdict verdicts[PACKETS];
	while (!atomic_load(&c->stop)) {
		fill(t);
		pf_worker_run(worker, t->batch, verdicts, NULL, NULL);
		for (uint32_t i = 1; i < PACKETS; i++)
			CHECK_EQ(verdicts[i].generation, verdicts[0].generation); /* one world a batch */
		for (uint32_t i = 32; i < PACKETS; i++)
			CHECK_EQ(verdicts[i].arm, verdicts[i % 32].arm);
		atomic_fetch_add(&c->packets, PACKETS);
	}
	CHECK_EQ(worker->stats.packets % PACKETS, 0);
	CHECK_EQ(worker->stats.uncovered, 0);
	pf_worker_destroy(worker);
	traffic_free(t);
	return NULL;
}

static void test_crowd(void)
{
	enum { WORKERS = 2, ROUNDS = 200 };
	struct crowd c = { .dp = datapath_of(1) };
	struct pf_prog *programs[] = { dropper(100), dropper(130) };
	struct pf_link *link = attached(c.dp, 0, programs[0], 50, PF_CONTINUE_DEFAULT);
	pthread_t threads[WORKERS];
	for (uint32_t i = 0; i < WORKERS; i++)
		CHECK(!pthread_create(&threads[i], NULL, crowd_worker, &c));
	struct pf_guard guard = NO_GUARD;
	guard.max_difference = 0;
	guard.min_packets = 1;
	uint32_t tripped = 0, current = 0;
	for (uint32_t round = 0; round < ROUNDS; round++) {
		const enum pf_trial_kind kind = round & 1 ? PF_TRIAL_CANARY : PF_TRIAL_SHADOW;
		struct pf_trial *trial = trial_of(link, programs[!current], kind, 0.3, guard);
		start(trial);
		const uint64_t until = atomic_load(&c.packets) + (round % 3) * 2 * PACKETS;
		while (atomic_load(&c.packets) < until)
			(void)sums_of(trial);
		enum pf_err err = PF_OK;
		if (round % 5 == 0)
			err = pf_trial_promote(trial, NULL, NULL);
		else
			CHECK_EQ(pf_trial_abandon(trial, PF_CAUSE_ABANDON, NULL, NULL, NULL), PF_OK);
		const enum pf_trial_state state = state_of(trial);
		tripped += state == PF_TRIAL_TRIPPED;
		CHECK_EQ(err, round % 5 == 0 && state == PF_TRIAL_TRIPPED ? PF_ESTALE : PF_OK);
		if (state == PF_TRIAL_PROMOTED)
			current = !current;
		CHECK_EQ(pf_datapath_wait(c.dp, info_of(c.dp).token, UINT64_MAX, NULL, NULL), PF_OK);
		const struct pf_trial_sums sums = sums_of(trial); /* exact now (G2) */
		CHECK_EQ(sums.compared, kind == PF_TRIAL_SHADOW ? sums.arms[0].packets : 0);
		CHECK_EQ((sums.arms[0].packets + sums.arms[1].packets) % PACKETS, 0);
		if (kind == PF_TRIAL_SHADOW)
			CHECK_EQ(sums.differing * PACKETS, sums.compared * 30);
		pf_trial_put(trial);
	}
	atomic_store(&c.stop, 1);
	for (uint32_t i = 0; i < WORKERS; i++)
		pthread_join(threads[i], NULL);
	CHECK(tripped > 0);
	CHECK_EQ(pf_datapath_wait(c.dp, info_of(c.dp).token, UINT64_MAX, NULL, NULL), PF_OK);
	CHECK_EQ(info_of(c.dp).worlds_live, 1);
	CHECK_EQ(info_of(c.dp).generation, generation_of(link));
	pf_link_put(link);
	pf_datapath_put(c.dp);
	for (uint32_t i = 0; i < 2; i++) {
		CHECK_EQ(pf_ref_count(&programs[i]->ref), 1);
		pf_prog_put(programs[i]);
	}
}

int main(void)
{
	test_crowd();
	return 0;
}
