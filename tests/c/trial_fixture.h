/* trial_fixture.h - traffic of known flows, and trials, for the tests of hook/trial.h. */
#ifndef TRIAL_FIXTURE_H
#define TRIAL_FIXTURE_H

#include "hook_fixture.h"

#include "run/run.h"

#include <string.h>

#define LEN 64u
#define PACKETS 256u

static const struct pf_guard NO_GUARD = { -1, -1, -1, UINT64_MAX, 0 };

/* Packet i: UDP, of flow i % 32, odd packets in the other direction; byte 50 is i. */
struct traffic {
	uint8_t bytes[PACKETS][LEN];
	struct pf_batch *batch;
};

static inline void fill(struct traffic *t)
{
	static const uint8_t head[] = { 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 50, 0, 0, 0, 0, 64, 17 };
	t->batch->n = PACKETS;
	for (uint32_t i = 0; i < PACKETS; i++) {
		uint8_t *p = t->bytes[i];
		const uint8_t a[] = { 10, 0, 0, (uint8_t)(i % 32) }, b[] = { 10, 0, 1, 1 };
		const uint8_t ports[] = { 0x80, (uint8_t)(i % 32), 0, 53 };
		memset(p, 0, LEN);
		memcpy(p, head, sizeof(head));
		memcpy(p + 26, i & 1 ? b : a, 4);
		memcpy(p + 30, i & 1 ? a : b, 4);
		memcpy(p + 34, ports + (i & 1 ? 2 : 0), 2);
		memcpy(p + 36, ports + (i & 1 ? 0 : 2), 2);
		p[50] = (uint8_t)i;
		t->batch->desc[i] = (struct pf_desc){ .data = p, .caplen = LEN, .wire_len = LEN, .ts_ns = i };
	}
}

static inline struct traffic *traffic_of(void)
{
	struct traffic *t = calloc(1, sizeof(*t));
	CHECK(t);
	t->batch = pf_batch_create(PACKETS);
	CHECK(t->batch);
	fill(t);
	return t;
}

static inline void traffic_free(struct traffic *t)
{
	pf_batch_destroy(t->batch);
	free(t);
}

static inline struct pf_worker *worker_of(struct pf_datapath *dp)
{
	struct pf_worker_options options = { .seed = 1 };
	struct pf_worker *worker = NULL;
	CHECK_EQ(pf_worker_create(dp, 0, &options, &worker, NULL), PF_OK);
	return worker;
}

/* PASS, but DROP when byte 50 is below `limit`. */
static inline struct pf_prog *dropper(int32_t limit)
{
	const struct pf_insn insns[] = {
		LDX_W(2, 1, 0), LDX_B(3, 2, 50), MOV_IMM(0, 2), INSN(0x35, 3, 0, 1, limit), MOV_IMM(0, 1), EXIT(),
	};
	return prog_of(insns, COUNT(insns), NULL, 0, (uint64_t)limit);
}

static inline struct pf_trial *trial_of(struct pf_link *link, struct pf_prog *prog, enum pf_trial_kind kind, double fraction,
				 struct pf_guard guard)
{
	struct pf_trial_options options = { .kind = kind,
					    .samples = 8,
					    .threshold = (uint64_t)(fraction * 4294967296.0),
					    .seed = 11,
					    .guard = guard };
	struct pf_trial *trial = NULL;
	CHECK_EQ(pf_trial_create(link, prog, &options, &trial, NULL), PF_OK);
	return trial;
}

static inline struct pf_trial_sums sums_of(struct pf_trial *trial)
{
	struct pf_trial_sums sums;
	pf_trial_sum(trial, &sums);
	return sums;
}

static inline enum pf_trial_state state_of(struct pf_trial *trial)
{
	char why[PF_DETAIL_MAX];
	return pf_trial_state(trial, why);
}

static inline struct pf_change start(struct pf_trial *trial)
{
	struct pf_change change = { 0 };
	CHECK_EQ(pf_trial_start(trial, NULL, &change, NULL), PF_OK);
	if (change.old)
		pf_prog_put(change.old);
	change.old = NULL;
	CHECK_EQ(state_of(trial), PF_TRIAL_RUNNING);
	return change;
}

static inline uint64_t generation_of(struct pf_link *link)
{
	struct pf_link_info info;
	pf_link_info(link, &info);
	if (info.prog)
		pf_prog_put(info.prog);
	return info.generation;
}

#endif
