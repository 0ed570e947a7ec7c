/* test_trial_shared.c - a shadow that could write what its link's program reads is refused (hook/trial.h), however both come
 * to the map. */
#include "trial_fixture.h"

/* Adds one to the only element of the array. */
static struct pf_prog *counter(struct pf_map *array)
{
	const struct pf_insn insns[] = {
		ST_W(10, -4, 0), LD_MAP(1, 7), MOV_REG(2, 10), ADD_IMM(2, -4), CALL(1),
		INSN(0x15, 0, 0, 3, 0), LDX_W(1, 0, 0), ADD_IMM(1, 1), STX_W(0, 1, 0), MOV_IMM(0, 2), EXIT(),
	};
	const struct pf_prog_map maps[] = { { 7, array } };
	return prog_of(insns, COUNT(insns), maps, 1, 1);
}

/* Each with a prog array of its own, and the same target in both: its map would count every packet twice. */
static void test_shadow_refuses_what_tail_calls_share(void)
{
	struct pf_map *arrays[] = { map_of(PF_MAP_PROG_ARRAY, 2, NULL), map_of(PF_MAP_PROG_ARRAY, 2, NULL) };
	struct pf_map *counts[] = { map_of(PF_MAP_ARRAY, 1, NULL), map_of(PF_MAP_ARRAY, 1, NULL) };
	struct pf_prog *targets[] = { counter(counts[0]), counter(counts[1]) };
	CHECK_EQ(bind_at(arrays[0], 0, &targets[0]->ref, NULL), PF_OK);
	CHECK_EQ(bind_at(arrays[1], 0, &targets[0]->ref, NULL), PF_OK);
	struct pf_prog *now = tail_caller(arrays[0], 0, PF_XDP_DROP);
	struct pf_prog *candidate = tail_caller(arrays[1], 0, PF_XDP_DROP);
	struct pf_datapath *dp = datapath_of(1);
	struct pf_link *link = attached(dp, 0, now, 50, PF_CONTINUE_DEFAULT);
	struct pf_trial *trial = trial_of(link, candidate, PF_TRIAL_SHADOW, 0, NO_GUARD);
	struct pf_diag diag;
	CHECK_EQ(pf_trial_start(trial, NULL, NULL, &diag), PF_EINVAL);
	CHECK_EQ(diag.code, PF_DIAG_HOOK_TRIAL_SHARED);
	CHECK_EQ(state_of(trial), PF_TRIAL_IDLE);
	CHECK_EQ(bind_at(arrays[1], 0, &targets[1]->ref, NULL), PF_OK);
	start(trial);
	struct pf_worker *worker = worker_of(dp);
	struct traffic *traffic = traffic_of();
	pf_worker_run(worker, traffic->batch, NULL, NULL, NULL);
	pf_worker_destroy(worker);
	traffic_free(traffic);
	for (uint32_t i = 0, key = 0, value = 0; i < 2; i++) {
		CHECK_EQ(pf_map_user_lookup(counts[i], &key, &value, 0), PF_OK);
		CHECK_EQ(value, PACKETS);
	}
	pf_trial_put(trial);
	pf_link_put(link);
	pf_datapath_put(dp);
	pf_prog_put(now);
	pf_prog_put(candidate);
	for (uint32_t i = 0; i < 2; i++) {
		pf_prog_put(targets[i]);
		pf_ref_put(&arrays[i]->ref);
		pf_ref_put(&counts[i]->ref);
	}
}

/* The same inner map in outer maps of their own. */
static void test_shadow_refuses_shared_inner_maps(void)
{
	const struct pf_map_def inner = { .type = PF_MAP_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1 };
	struct pf_map *outer[] = { map_of(PF_MAP_ARRAY_OF_MAPS, 2, &inner), map_of(PF_MAP_ARRAY_OF_MAPS, 2, &inner) };
	struct pf_map *shared = map_of(PF_MAP_ARRAY, 1, NULL);
	const struct pf_insn insns[] = { LD_MAP(2, 7), MOV_IMM(0, 2), EXIT() };
	const struct pf_prog_map maps[][1] = { { { 7, outer[0] } }, { { 7, outer[1] } } };
	struct pf_prog *now = prog_of(insns, COUNT(insns), maps[0], 1, 1);
	struct pf_prog *candidate = prog_of(insns, COUNT(insns), maps[1], 1, 2);
	struct pf_datapath *dp = datapath_of(1);
	struct pf_link *link = attached(dp, 0, now, 50, PF_CONTINUE_DEFAULT);
	struct pf_trial *trial = trial_of(link, candidate, PF_TRIAL_SHADOW, 0, NO_GUARD);
	struct pf_diag diag;
	for (uint32_t i = 0; i < 2; i++)
		CHECK_EQ(bind_at(outer[i], i, &shared->ref, NULL), PF_OK);
	CHECK_EQ(pf_trial_start(trial, NULL, NULL, &diag), PF_EINVAL);
	CHECK_EQ(diag.code, PF_DIAG_HOOK_TRIAL_SHARED);
	CHECK_EQ(bind_at(outer[1], 1, NULL, NULL), PF_OK);
	start(trial);
	pf_trial_put(trial);
	pf_link_put(link);
	pf_datapath_put(dp);
	pf_prog_put(now);
	pf_prog_put(candidate);
	pf_ref_put(&shared->ref);
	for (uint32_t i = 0; i < 2; i++)
		pf_ref_put(&outer[i]->ref);
}

int main(void)
{
	test_shadow_refuses_what_tail_calls_share();
	test_shadow_refuses_shared_inner_maps();
	return 0;
}
