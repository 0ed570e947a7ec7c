/* test_trial.c - trials (hook/trial.h, G1-G5): what shadows and canaries count and leave alone, guards, and every way to
 * end. Linked with -Wl,--wrap as test_hook. */
#include "fail_alloc.h"
#include "trial_fixture.h"

#include "packet/flow_hash.h"

/* Reads past the packet where byte 50 is above 250. */
static struct pf_prog *faulty(void)
{
	const struct pf_insn insns[] = {
		LDX_W(2, 1, 0),	      LDX_B(3, 2, 50),	  MOV_IMM(0, 2),
		INSN(0xb5, 3, 0, 1, 250), LDX_B(0, 2, 4000), EXIT(),
	};
	return prog_of(insns, COUNT(insns), NULL, 0, 7);
}

/* Counts to n, then PASS. */
static struct pf_prog *slow(int32_t n)
{
	const struct pf_insn insns[] = {
		MOV_IMM(3, 0), ADD_IMM(3, 1), INSN(0xa5, 3, 0, -2, n), MOV_IMM(0, 2), EXIT(),
	};
	return prog_of(insns, COUNT(insns), NULL, 0, 8);
}

/* Row `age` before the newest; its program is put, so only for those that somebody else holds. */
static struct pf_generation row_of(struct pf_link *link, uint32_t age)
{
	struct pf_generation rows[16];
	const uint32_t n = pf_link_history(link, rows, 16);
	CHECK(age < n);
	for (uint32_t i = 0; i < n; i++)
		if (rows[i].prog)
			pf_prog_put(rows[i].prog);
	return rows[n - 1 - age];
}

/* The usual case: one link, one worker, one batch. */
struct scene {
	struct pf_datapath *dp;
	struct pf_prog *now;
	struct pf_link *link;
	struct pf_worker *worker;
	struct traffic *traffic;
	struct pf_verdict verdicts[PACKETS];
};

static struct scene *scene_of(struct pf_prog *now)
{
	struct scene *s = calloc(1, sizeof(*s));
	CHECK(s);
	s->dp = datapath_of(1);
	s->now = now;
	s->link = attached(s->dp, 0, now, 50, PF_CONTINUE_DEFAULT);
	s->worker = worker_of(s->dp);
	s->traffic = traffic_of();
	return s;
}

static void run(struct scene *s)
{
	fill(s->traffic);
	pf_worker_run(s->worker, s->traffic->batch, s->verdicts, NULL, NULL);
}

static void scene_free(struct scene *s)
{
	CHECK_EQ(pf_datapath_wait(s->dp, info_of(s->dp).token, 0, NULL, NULL), PF_OK);
	CHECK_EQ(info_of(s->dp).worlds_live, 1);
	pf_worker_destroy(s->worker);
	traffic_free(s->traffic);
	pf_link_put(s->link);
	pf_datapath_put(s->dp);
	pf_prog_put(s->now);
	free(s);
}

static void test_shadow_compares_and_changes_nothing(void)
{
	struct scene *s = scene_of(dropper(100));
	struct pf_prog *candidate = dropper(130);
	struct pf_trial *trial = trial_of(s->link, candidate, PF_TRIAL_SHADOW, 0, NO_GUARD);
	const struct pf_datapath_info before = info_of(s->dp);
	struct pf_change change = start(trial);
	CHECK_EQ(change.revision, before.revision + 1);
	CHECK_EQ(change.generation, 1); /* a revision only */
	CHECK_EQ(info_of(s->dp).generation, before.generation);
	run(s);
	const struct pf_trial_sums sums = sums_of(trial);
	CHECK_EQ(sums.compared, PACKETS);
	CHECK_EQ(sums.arms[0].packets, PACKETS);
	CHECK_EQ(sums.arms[1].packets, PACKETS);
	CHECK_EQ(sums.arms[0].actions[PF_XDP_DROP], 100);
	CHECK_EQ(sums.arms[1].actions[PF_XDP_DROP], 130);
	CHECK_EQ(sums.arms[0].timed, PACKETS / PF_TRIAL_TIME_EACH);
	CHECK_EQ(sums.pairs[PF_XDP_PASS][PF_XDP_DROP], 30);
	CHECK_EQ(sums.pairs[PF_XDP_DROP][PF_XDP_DROP], 100);
	CHECK_EQ(sums.pairs[PF_XDP_PASS][PF_XDP_PASS], 126);
	CHECK_EQ(sums.differing, 30);
	CHECK_EQ(sums.action_differs, 30);
	CHECK_EQ(sums.bytes_differ, 0);
	CHECK_EQ(s->worker->stats.actions[PF_XDP_DROP], 100);
	CHECK_EQ(s->worker->stats.engine_packets[PF_ENGINE_CHECKED], PACKETS);
	for (uint32_t i = 0; i < PACKETS; i++) {
		CHECK_EQ(s->verdicts[i].arm, 0);
		CHECK_EQ(s->verdicts[i].action, i < 100 ? PF_XDP_DROP : PF_XDP_PASS);
	}
	for (uint32_t i = 0; i < 8; i++) {
		const struct pf_trial_sample *sample = pf_trial_sample(trial, i);
		CHECK(sample);
		CHECK_EQ(sample->packet, 100 + i);
		CHECK_EQ(sample->kept, LEN);
		CHECK_EQ(sample->bytes[50], 100 + i);
		CHECK_EQ(sample->first_difference, UINT32_MAX);
	}
	CHECK(!pf_trial_sample(trial, 8)); /* bounded */
	CHECK_EQ(pf_trial_abandon(trial, PF_CAUSE_ABANDON, NULL, NULL, NULL), PF_OK);
	CHECK_EQ(state_of(trial), PF_TRIAL_ABANDONED);
	CHECK_EQ(generation_of(s->link), 1);
	run(s);
	CHECK_EQ(sums_of(trial).compared, PACKETS); /* no more */
	pf_trial_put(trial);
	scene_free(s);
	CHECK_EQ(pf_ref_count(&candidate->ref), 1); /* freed with everything that held it */
	pf_prog_put(candidate);
}

static void test_shadow_bytes(void)
{
	struct scene *s = scene_of(stamper(0x01010101, 20, 40, PF_XDP_PASS));
	struct pf_prog *candidate = stamper(0x02020202, 20, 40, PF_XDP_TX);
	struct pf_trial *trial = trial_of(s->link, candidate, PF_TRIAL_SHADOW, 0, NO_GUARD);
	start(trial);
	run(s);
	const struct pf_trial_sums sums = sums_of(trial);
	CHECK_EQ(sums.bytes_differ, PACKETS);
	CHECK_EQ(sums.differing, PACKETS);
	CHECK_EQ(sums.pairs[PF_XDP_PASS][PF_XDP_TX], PACKETS);
	for (uint32_t i = 0; i < PACKETS; i++) {
		CHECK_EQ(s->traffic->bytes[i][20], 1); /* the candidate's writes went elsewhere */
		CHECK_EQ(s->traffic->bytes[i][43], 1);
	}
	CHECK_EQ(pf_trial_sample(trial, 0)->first_difference, 20);
	CHECK_EQ(pf_trial_sample(trial, 0)->bytes[20], 0); /* as both got it */
	pf_trial_put(trial); /* the handle goes; it still runs, held by link and world */
	run(s);
	scene_free(s);
	pf_prog_put(candidate);
}

static void test_shadow_sees_what_its_link_saw(void)
{
	struct scene *s = scene_of(stamper(0x05050505, 50, 54, PF_XDP_PASS)); /* first: writes 5 at 50 */
	struct pf_prog *second = dropper(5), *candidate = dropper(6), *third = returning(PF_XDP_TX);
	struct pf_link *link = attached(s->dp, 0, second, 60, PF_CONTINUE_DEFAULT);
	struct pf_link *last = attached(s->dp, 0, third, 70, PF_CONTINUE_DEFAULT);
	struct pf_trial *trial = trial_of(link, candidate, PF_TRIAL_SHADOW, 0, NO_GUARD);
	start(trial);
	run(s);
	const struct pf_trial_sums sums = sums_of(trial);
	CHECK_EQ(sums.pairs[PF_XDP_PASS][PF_XDP_DROP], PACKETS);
	for (uint32_t i = 0; i < PACKETS; i++)
		CHECK_EQ(s->verdicts[i].action, PF_XDP_TX); /* the chain went on after the current program */
	pf_trial_put(trial);
	pf_link_put(link);
	pf_link_put(last);
	scene_free(s);
	pf_prog_put(second);
	pf_prog_put(third);
	pf_prog_put(candidate);
}

/* Grows and shrinks at both ends, and the same again from a copy. */
static void test_shadow_of_moved_packets(void)
{
	const struct pf_insn insns[] = { INSN(0xbf, 6, 1, 0, 0), MOV_IMM(2, -20),  CALL(44),	   MOV_REG(1, 6),
					 MOV_IMM(2, -8),	 CALL(54),	   MOV_REG(1, 6), MOV_IMM(2, 30),
					 CALL(65),		 MOV_IMM(0, 2),	   EXIT() };
	struct scene *s = scene_of(prog_of(insns, COUNT(insns), NULL, 0, 1));
	struct pf_prog *again = prog_of(insns, COUNT(insns), NULL, 0, 2), *candidate = prog_of(insns, COUNT(insns), NULL, 0, 3);
	struct pf_link *link = attached(s->dp, 0, again, 60, 0);
	struct pf_trial *trial = trial_of(link, candidate, PF_TRIAL_SHADOW, 0, NO_GUARD);
	start(trial);
	run(s);
	CHECK_EQ(sums_of(trial).compared, PACKETS);
	CHECK_EQ(sums_of(trial).differing, 0); /* in a frame already, and 20 bytes up */
	pf_trial_put(trial);
	pf_link_put(link);
	scene_free(s);
	pf_prog_put(again);
	pf_prog_put(candidate);
}

/* Writes clock, random number, interface and queue into the packet at 16; then DROP where the random number is odd. */
static struct pf_prog *observer(int32_t id)
{
	const struct pf_insn insns[] = {
		INSN(0xbf, 6, 1, 0, 0), CALL(5), INSN(0xbf, 7, 0, 0, 0), CALL(7), LDX_W(2, 6, 0), STX_W(2, 7, 16),
		STX_W(2, 0, 20), LDX_W(3, 6, 12), STX_W(2, 3, 24), LDX_W(3, 6, 16), STX_W(2, 3, 28),
		INSN(0x57, 0, 0, 0, 1), ADD_IMM(0, 1), EXIT(),
	};
	return prog_of(insns, COUNT(insns), NULL, 0, (uint64_t)id);
}

/* Behind a program that draws a random number, too: a shadow of the same program finds no difference. */
static void test_shadow_stands_where_its_link_stands(void)
{
	struct scene *s = scene_of(observer(1));
	struct pf_prog *again = observer(2), *candidate = observer(3);
	struct pf_link *link = attached(s->dp, 0, again, 60, 0);
	struct pf_worker_options options = { .seed = 5, .ingress_ifindex = 7, .rx_queue_index = 9 };
	pf_worker_destroy(s->worker);
	CHECK_EQ(pf_worker_create(s->dp, 0, &options, &s->worker, NULL), PF_OK);
	struct pf_trial *trial = trial_of(link, candidate, PF_TRIAL_SHADOW, 0, NO_GUARD);
	start(trial);
	run(s);
	const struct pf_trial_sums sums = sums_of(trial);
	CHECK(sums.compared > PACKETS / 4 && sums.compared < PACKETS); /* those that the first one let through */
	CHECK_EQ(sums.differing, 0);
	CHECK(sums.arms[1].actions[PF_XDP_DROP] > 0);
	CHECK_EQ(s->traffic->bytes[PACKETS - 1][24], 7);
	CHECK_EQ(s->traffic->bytes[PACKETS - 1][28], 9);
	pf_trial_put(trial);
	pf_link_put(link);
	scene_free(s);
	pf_prog_put(again);
	pf_prog_put(candidate);
}

/* Each program has a prog array of its own; the candidate's targets are reached in the same world. */
static void test_shadow_makes_tail_calls(void)
{
	struct pf_map *arrays[] = { map_of(PF_MAP_PROG_ARRAY, 2, NULL), map_of(PF_MAP_PROG_ARRAY, 2, NULL) };
	struct pf_prog *target = returning(PF_XDP_TX);
	for (uint32_t i = 0; i < 2; i++)
		CHECK_EQ(bind_at(arrays[i], 0, &target->ref, NULL), PF_OK);
	struct scene *s = scene_of(tail_caller(arrays[0], 0, PF_XDP_DROP));
	struct pf_prog *candidate = tail_caller(arrays[1], 0, PF_XDP_DROP);
	struct pf_trial *trial = trial_of(s->link, candidate, PF_TRIAL_SHADOW, 0, NO_GUARD);
	start(trial);
	run(s);
	CHECK_EQ(sums_of(trial).pairs[PF_XDP_TX][PF_XDP_TX], PACKETS);
	pf_trial_put(trial);
	scene_free(s);
	pf_prog_put(candidate);
	for (uint32_t i = 0; i < 2; i++)
		pf_ref_put(&arrays[i]->ref);
	pf_prog_put(target);
}

/* redirect(ifindex) where byte 50 is below `limit`; REDIRECT in any case. */
static struct pf_prog *redirector(int32_t ifindex, int32_t limit, int32_t action)
{
	const struct pf_insn insns[] = {
		LDX_W(2, 1, 0), LDX_B(3, 2, 50), INSN(0x35, 3, 0, 3, limit), MOV_IMM(1, ifindex), MOV_IMM(2, 0), CALL(23),
		MOV_IMM(0, action), EXIT(),
	};
	return prog_of(insns, COUNT(insns), NULL, 0, (uint64_t)ifindex);
}

static void test_redirections(void)
{
	struct pf_prog *same = redirector(3, 128, PF_XDP_REDIRECT), *other = redirector(4, 100, PF_XDP_REDIRECT);
	struct pf_prog *candidates[] = { same, other };
	for (uint32_t i = 0; i < 2; i++) {
		struct scene *s = scene_of(redirector(3, 128, PF_XDP_REDIRECT));
		struct pf_trial *trial = trial_of(s->link, candidates[i], PF_TRIAL_SHADOW, 0, NO_GUARD);
		start(trial);
		run(s);
		CHECK_EQ(sums_of(trial).redirect_differs, i ? 128 : 0);
		CHECK_EQ(sums_of(trial).differing, i ? 128 : 0);
		CHECK_EQ(sums_of(trial).action_differs, 0);
		pf_trial_put(trial);
		scene_free(s);
	}
	/* A redirection of a program that did not decide is none. */
	struct scene *s = scene_of(redirector(3, 256, PF_XDP_PASS));
	struct pf_prog *last = returning(PF_XDP_REDIRECT);
	struct pf_link *link = attached(s->dp, 0, last, 60, 0);
	struct pf_trial *trial = trial_of(link, other, PF_TRIAL_SHADOW, 0, NO_GUARD);
	start(trial);
	run(s);
	CHECK_EQ(s->worker->exec->redirect, PF_REDIRECT_NONE);
	CHECK_EQ(sums_of(trial).redirect_differs, 100);
	pf_trial_put(trial);
	pf_link_put(link);
	scene_free(s);
	pf_prog_put(last);
	pf_prog_put(same);
	pf_prog_put(other);
}

static void test_shadow_refuses_a_shared_map(void)
{
	struct pf_map *map = map_of(PF_MAP_ARRAY, 4, NULL);
	const struct pf_insn insns[] = { LD_MAP(2, 7), MOV_IMM(0, 2), EXIT() };
	const struct pf_prog_map maps[] = { { 7, map } };
	struct scene *s = scene_of(prog_of(insns, COUNT(insns), maps, 1, 1));
	struct pf_prog *candidate = prog_of(insns, COUNT(insns), maps, 1, 2);
	struct pf_trial *trial = trial_of(s->link, candidate, PF_TRIAL_SHADOW, 0, NO_GUARD);
	struct pf_trial *canary = trial_of(s->link, candidate, PF_TRIAL_CANARY, 0.5, NO_GUARD);
	const uint64_t revision = info_of(s->dp).revision;
	struct pf_diag diag;
	CHECK_EQ(pf_trial_start(trial, NULL, NULL, &diag), PF_EINVAL);
	CHECK_EQ(diag.code, PF_DIAG_HOOK_TRIAL_SHARED);
	CHECK_EQ(info_of(s->dp).revision, revision);
	CHECK_EQ(state_of(trial), PF_TRIAL_IDLE);
	start(canary); /* whose effects are meant */
	pf_trial_put(trial);
	pf_trial_put(canary);
	scene_free(s);
	pf_prog_put(candidate);
	pf_ref_put(&map->ref);
}

static void test_canary_keeps_flows_together(void)
{
	struct scene *s = scene_of(dropper(100));
	struct pf_prog *candidate = returning(PF_XDP_TX);
	struct pf_trial *trial = trial_of(s->link, candidate, PF_TRIAL_CANARY, 0.5, NO_GUARD);
	const struct pf_change change = start(trial);
	CHECK_EQ(change.generation, 2);
	CHECK_EQ(row_of(s->link, 0).cause, PF_CAUSE_CANARY);
	CHECK(row_of(s->link, 0).prog == s->now);
	run(s);
	uint32_t arms[32], candidates = 0;
	memset(arms, 9, sizeof(arms));
	for (uint32_t i = 0; i < PACKETS; i++) {
		const struct pf_verdict *v = &s->verdicts[i];
		if (i < 32)
			arms[i] = v->arm;
		CHECK_EQ(v->arm, arms[i % 32]); /* i % 32 is the flow, i & 1 its direction */
		CHECK_EQ(v->action, v->arm ? PF_XDP_TX : i < 100 ? PF_XDP_DROP : PF_XDP_PASS);
		CHECK_EQ(v->generation, 2);
		CHECK(strcmp(v->program, "p") == 0);
		candidates += v->arm;
	}
	/* Both directions: turned around, every packet stays on its arm. */
	for (uint32_t i = 0; i < 32; i++) {
		uint8_t *p = s->traffic->bytes[i], t[4];
		memcpy(t, p + 26, 4);
		memcpy(p + 26, p + 30, 4);
		memcpy(p + 30, t, 4);
		memcpy(t, p + 34, 2);
		memcpy(p + 34, p + 36, 2);
		memcpy(p + 36, t, 2);
	}
	s->traffic->batch->n = 32;
	pf_worker_run(s->worker, s->traffic->batch, s->verdicts, NULL, NULL);
	for (uint32_t i = 0; i < 32; i++)
		CHECK_EQ(s->verdicts[i].arm, arms[i]);
	CHECK(candidates > 0 && candidates < PACKETS);
	const struct pf_trial_sums sums = sums_of(trial);
	CHECK_EQ(sums.arms[0].packets + sums.arms[1].packets, PACKETS + 32);
	CHECK_EQ(sums.arms[1].actions[PF_XDP_TX], sums.arms[1].packets);
	CHECK_EQ(sums.compared, 0);
	pf_trial_put(trial);
	scene_free(s);
	pf_prog_put(candidate);
}

static void test_canary_ends_of_the_range(void)
{
	for (int all = 0; all < 2; all++) {
		struct scene *s = scene_of(returning(PF_XDP_DROP));
		struct pf_prog *candidate = returning(PF_XDP_TX);
		struct pf_trial *trial = trial_of(s->link, candidate, PF_TRIAL_CANARY, all, NO_GUARD);
		start(trial);
		run(s);
		CHECK_EQ(s->worker->stats.actions[PF_XDP_TX], all ? PACKETS : 0);
		pf_trial_put(trial);
		scene_free(s);
		pf_prog_put(candidate);
	}
}

static void test_one_trial_and_no_update_beside_it(void)
{
	struct scene *s = scene_of(dropper(1));
	struct pf_prog *old = s->now, *now = dropper(2), *candidate = dropper(3);
	CHECK_EQ(pf_link_update(s->link, now, NULL, NULL, NULL), PF_OK);
	struct pf_trial *trial = trial_of(s->link, candidate, PF_TRIAL_CANARY, 0.5, NO_GUARD);
	struct pf_trial *other = trial_of(s->link, candidate, PF_TRIAL_SHADOW, 0, NO_GUARD);
	struct pf_expect stale = { .program = old };
	CHECK_EQ(pf_trial_start(trial, &stale, NULL, NULL), PF_EPERM);
	start(trial);
	const uint64_t revision = info_of(s->dp).revision;
	struct pf_diag diag;
	CHECK_EQ(pf_link_update(s->link, candidate, NULL, NULL, &diag), PF_EBUSY);
	CHECK_EQ(diag.code, PF_DIAG_HOOK_TRIAL);
	CHECK_EQ(pf_link_rollback(s->link, 0, NULL, NULL, NULL), PF_EBUSY);
	CHECK_EQ(pf_link_can_update(s->link, candidate, NULL, NULL), PF_EBUSY);
	CHECK_EQ(pf_trial_start(other, NULL, NULL, NULL), PF_EBUSY);
	CHECK_EQ(pf_trial_start(trial, NULL, NULL, NULL), PF_EBUSY);
	CHECK_EQ(pf_link_update(s->link, candidate, &stale, NULL, NULL), PF_EPERM); /* comes first */
	CHECK_EQ(info_of(s->dp).revision, revision);
	/* Abandoned: the generation goes on, the program stays, and a rollback goes past the canary's rows. */
	CHECK_EQ(pf_trial_abandon(trial, PF_CAUSE_ABANDON, "enough", NULL, NULL), PF_OK);
	CHECK_EQ(generation_of(s->link), 4);
	CHECK_EQ(row_of(s->link, 0).cause, PF_CAUSE_ABANDON);
	CHECK(strcmp(row_of(s->link, 0).detail, "enough") == 0);
	CHECK_EQ(pf_trial_abandon(trial, PF_CAUSE_ABANDON, NULL, NULL, NULL), PF_OK); /* again: nothing */
	CHECK_EQ(pf_trial_promote(trial, NULL, &diag), PF_ESTALE);
	CHECK_EQ(generation_of(s->link), 4);
	CHECK_EQ(pf_trial_start(trial, NULL, NULL, &diag), PF_EBUSY); /* begins once */
	CHECK_EQ(diag.code, PF_DIAG_HOOK_TRIAL_AGAIN);
	CHECK_EQ(pf_link_rollback(s->link, 0, NULL, NULL, NULL), PF_OK);
	CHECK(row_of(s->link, 0).prog == old);
	pf_trial_put(trial);
	pf_trial_put(other);
	scene_free(s);
	pf_prog_put(now);
	pf_prog_put(candidate);
}

static void test_promote(void)
{
	for (unsigned kind = 0; kind < 2; kind++) {
		struct scene *s = scene_of(returning(PF_XDP_DROP));
		struct pf_prog *candidate = returning(PF_XDP_TX);
		struct pf_trial *trial = trial_of(s->link, candidate, (enum pf_trial_kind)kind, 0.5, NO_GUARD);
		start(trial);
		struct pf_change change;
		CHECK_EQ(pf_trial_promote(trial, &change, NULL), PF_OK);
		CHECK(change.old == s->now);
		pf_prog_put(change.old);
		CHECK_EQ(state_of(trial), PF_TRIAL_PROMOTED);
		CHECK_EQ(change.generation, generation_of(s->link));
		CHECK_EQ(row_of(s->link, 0).cause, PF_CAUSE_PROMOTE);
		CHECK(row_of(s->link, 0).prog == candidate);
		run(s);
		CHECK_EQ(s->worker->stats.actions[PF_XDP_TX], PACKETS);
		CHECK_EQ(s->verdicts[0].arm, 0);
		CHECK_EQ(pf_trial_promote(trial, NULL, NULL), PF_OK); /* again: nothing */
		CHECK_EQ(pf_link_rollback(s->link, 0, NULL, NULL, NULL), PF_OK);
		CHECK(row_of(s->link, 0).prog == s->now);
		pf_trial_put(trial);
		scene_free(s);
		pf_prog_put(candidate);
	}
}

static void test_detach_and_the_end_of_the_datapath(void)
{
	struct pf_prog *candidate = returning(PF_XDP_TX);
	struct scene *s = scene_of(returning(PF_XDP_DROP));
	struct pf_trial *trial = trial_of(s->link, candidate, PF_TRIAL_CANARY, 0.5, NO_GUARD);
	start(trial);
	CHECK_EQ(pf_link_detach(s->link, NULL, NULL), PF_OK);
	CHECK_EQ(state_of(trial), PF_TRIAL_DETACHED);
	CHECK_EQ(pf_trial_promote(trial, NULL, NULL), PF_ESTALE);
	struct pf_trial *late = trial_of(s->link, candidate, PF_TRIAL_CANARY, 0.5, NO_GUARD);
	CHECK_EQ(pf_trial_start(late, NULL, NULL, NULL), PF_ENOLINK);
	run(s);
	CHECK_EQ(s->worker->stats.uncovered, PACKETS);
	pf_trial_put(late);
	pf_trial_put(trial);
	scene_free(s);

	s = scene_of(returning(PF_XDP_DROP));
	trial = trial_of(s->link, candidate, PF_TRIAL_SHADOW, 0, NO_GUARD);
	start(trial);
	scene_free(s);
	CHECK_EQ(state_of(trial), PF_TRIAL_DETACHED); /* outlives link and datapath */
	pf_trial_put(trial);
	CHECK_EQ(pf_ref_count(&candidate->ref), 1);
	pf_prog_put(candidate);
}

/* In one transaction: begun and ended, begun and detached; each leaves nothing behind. */
static void test_in_transactions(void)
{
	struct scene *s = scene_of(returning(PF_XDP_DROP));
	struct pf_prog *candidate = returning(PF_XDP_TX);
	struct pf_trial *trial = trial_of(s->link, candidate, PF_TRIAL_CANARY, 0.5, NO_GUARD);
	struct pf_edit both[] = {
		{ .kind = PF_EDIT_TRIAL, .link = s->link, .trial = trial, .cause = PF_CAUSE_CANARY },
		{ .kind = PF_EDIT_PROMOTE, .link = s->link, .trial = trial, .cause = PF_CAUSE_PROMOTE },
	};
	struct pf_diag diag;
	/* Promoted, then an update that fails: all is as it was, and the trial can still begin. */
	struct pf_expect stale = { .generation = 77 };
	struct pf_edit refused[] = { both[0], both[1],
				     { .kind = PF_EDIT_UPDATE, .link = s->link, .prog = candidate, .expect = &stale } };
	CHECK_EQ(pf_datapath_commit(s->dp, refused, 3, &diag), PF_ESTALE);
	CHECK_EQ(state_of(trial), PF_TRIAL_IDLE);
	CHECK_EQ(generation_of(s->link), 1);
	/* A trial that one commit ends does not begin again in it (G5), and then can in another. */
	struct pf_edit again[] = {
		both[0], { .kind = PF_EDIT_ABANDON, .link = s->link, .trial = trial, .cause = PF_CAUSE_ABANDON }, both[0]
	};
	CHECK_EQ(pf_datapath_commit(s->dp, again, 3, &diag), PF_EBUSY);
	CHECK_EQ(diag.code, PF_DIAG_HOOK_TRIAL_AGAIN);
	CHECK_EQ(state_of(trial), PF_TRIAL_IDLE);
	CHECK_EQ(generation_of(s->link), 1);
	CHECK_EQ(pf_datapath_commit(s->dp, both, 2, &diag), PF_OK);
	CHECK_EQ(state_of(trial), PF_TRIAL_PROMOTED);
	CHECK_EQ(generation_of(s->link), 2);
	run(s);
	CHECK_EQ(s->worker->stats.actions[PF_XDP_TX], PACKETS);
	pf_trial_put(trial);
	trial = trial_of(s->link, s->now, PF_TRIAL_CANARY, 0.5, NO_GUARD);
	struct pf_edit gone[] = {
		{ .kind = PF_EDIT_TRIAL, .link = s->link, .trial = trial, .cause = PF_CAUSE_CANARY },
		{ .kind = PF_EDIT_DETACH, .link = s->link },
	};
	CHECK_EQ(pf_datapath_commit(s->dp, gone, 2, &diag), PF_OK);
	CHECK_EQ(state_of(trial), PF_TRIAL_DETACHED);
	pf_trial_put(trial);
	scene_free(s);
	CHECK_EQ(pf_ref_count(&candidate->ref), 1);
	pf_prog_put(candidate);
}

/* Runs batches until the guard trips; returns the text. */
static void trips(struct pf_prog *now, struct pf_prog *candidate, enum pf_trial_kind kind, struct pf_guard guard,
		  const char *word, uint32_t batches)
{
	struct scene *s = scene_of(now);
	struct pf_trial *trial = trial_of(s->link, candidate, kind, 0.5, guard);
	start(trial);
	const uint64_t generation = generation_of(s->link);
	char why[PF_DETAIL_MAX];
	for (uint32_t i = 0; i < batches; i++) {
		CHECK_EQ(state_of(trial), PF_TRIAL_RUNNING);
		run(s);
	}
	CHECK_EQ(pf_trial_state(trial, why), PF_TRIAL_TRIPPED);
	CHECK(strstr(why, word));
	CHECK_EQ(generation_of(s->link), generation + 1);
	const struct pf_generation row = row_of(s->link, 0);
	CHECK_EQ(row.cause, PF_CAUSE_GUARD);
	CHECK(strcmp(row.detail, why) == 0);
	CHECK(row.prog == now);
	const uint64_t packets = sums_of(trial).arms[1].packets;
	run(s);
	CHECK_EQ(sums_of(trial).arms[1].packets, packets); /* from the next batch on */
	pf_trial_put(trial);
	scene_free(s);
	CHECK_EQ(pf_ref_count(&candidate->ref), 1);
	pf_prog_put(candidate);
}

static void test_guards(void)
{
	struct pf_guard guard = NO_GUARD;
	guard.min_packets = 2 * PACKETS;
	guard.max_difference = 29.0 / PACKETS;
	trips(dropper(100), dropper(130), PF_TRIAL_SHADOW, guard, "difference rate", 2);
	guard = NO_GUARD;
	guard.min_packets = PACKETS / 4;
	guard.max_drop_change = 0.1;
	trips(dropper(100), dropper(130), PF_TRIAL_SHADOW, guard, "drop rate", 1);
	trips(returning(PF_XDP_PASS), returning(PF_XDP_DROP), PF_TRIAL_CANARY, guard, "drop rate", 1);
	trips(returning(PF_XDP_DROP), returning(PF_XDP_PASS), PF_TRIAL_SHADOW, guard, "drop rate 0 against 1", 1);
	guard = NO_GUARD;
	guard.max_faults = 9; /* five in a batch */
	trips(returning(PF_XDP_PASS), faulty(), PF_TRIAL_SHADOW, guard, "faults", 2);
	guard = NO_GUARD;
	guard.max_ns_ratio = 2;
	trips(returning(PF_XDP_PASS), slow(2000), PF_TRIAL_SHADOW, guard, "ns a packet", 4); /* 4 timed in a batch */
}

static void test_guards_hold_still_within_limits(void)
{
	struct scene *s = scene_of(dropper(100));
	struct pf_prog *candidate = dropper(130);
	struct pf_guard guard = { .max_difference = 30.0 / PACKETS,
				  .max_drop_change = 0.2,
				  .max_ns_ratio = 1e6,
				  .max_faults = 0,
				  .min_packets = 1 };
	struct pf_trial *trial = trial_of(s->link, candidate, PF_TRIAL_SHADOW, 0, guard);
	start(trial);
	for (uint32_t i = 0; i < 20; i++)
		run(s); /* exactly at the limit of differences */
	CHECK_EQ(state_of(trial), PF_TRIAL_RUNNING);
	pf_trial_put(trial);
	scene_free(s);
	pf_prog_put(candidate);
}

/* Every allocation of a start, a trip and an end fails once: all stays as it was, and the guard tries again. */
static void test_no_memory(void)
{
	struct scene *s = scene_of(dropper(100));
	struct pf_prog *candidate = dropper(130);
	struct pf_guard guard = NO_GUARD;
	guard.max_difference = 0;
	guard.min_packets = 2 * PACKETS;
	struct pf_trial *trial = trial_of(s->link, candidate, PF_TRIAL_SHADOW, 0, guard);
	long n = 0;
	for (enum pf_err err = PF_ENOMEM; err; n++) {
		const uint64_t revision = info_of(s->dp).revision;
		fail_after = n;
		err = pf_trial_start(trial, NULL, NULL, NULL);
		fail_after = -1;
		CHECK(!err || err == PF_ENOMEM);
		CHECK_EQ(state_of(trial), err ? PF_TRIAL_IDLE : PF_TRIAL_RUNNING);
		CHECK_EQ(info_of(s->dp).revision, revision + !err);
	}
	CHECK(n > 1);
	fail_after = 0;
	run(s); /* no second exec: nothing is compared, the current program is not troubled */
	fail_after = -1;
	CHECK(sums_of(trial).missed >= 1);
	CHECK_EQ(s->worker->stats.packets, PACKETS);
	CHECK_EQ(s->worker->stats.actions[PF_XDP_DROP], 100);
	run(s);
	CHECK_EQ(state_of(trial), PF_TRIAL_RUNNING); /* by one packet */
	for (n = 0; state_of(trial) == PF_TRIAL_RUNNING; n++) {
		CHECK(n < 20);
		fail_after = n;
		run(s);
		fail_after = -1;
	}
	CHECK(n > 1); /* the first trips could not publish */
	CHECK_EQ(state_of(trial), PF_TRIAL_TRIPPED);
	pf_trial_put(trial);
	scene_free(s);
	pf_prog_put(candidate);
}

int main(void)
{
	test_shadow_compares_and_changes_nothing();
	test_shadow_bytes();
	test_shadow_sees_what_its_link_saw();
	test_shadow_of_moved_packets();
	test_shadow_stands_where_its_link_stands();
	test_shadow_makes_tail_calls();
	test_redirections();
	test_shadow_refuses_a_shared_map();
	test_canary_keeps_flows_together();
	test_canary_ends_of_the_range();
	test_one_trial_and_no_update_beside_it();
	test_promote();
	test_detach_and_the_end_of_the_datapath();
	test_in_transactions();
	test_guards();
	test_guards_hold_still_within_limits();
	test_no_memory();
	return 0;
}
