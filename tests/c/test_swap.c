/* test_swap.c - the ways of replacing: histogram against exact values, every way under load, errors without leaks. */
#include "hook_fixture.h"

#include <string.h>

#include "run/strategy.h"

#define PROGRAMS 64

static struct pf_prog *programs[PROGRAMS];

static void make_programs(void)
{
	for (int32_t i = 0; i < PROGRAMS; i++) {
		programs[i] = stamper(i, 0, 8, PF_XDP_PASS);
		CHECK_EQ(pf_vm_stage(programs[i], PF_ENGINE_CHECKED, NULL, NULL), PF_OK);
	}
}

static void put_programs(void)
{
	for (int32_t i = 0; i < PROGRAMS; i++)
		pf_prog_put(programs[i]);
}

static struct pf_swap_config config_of(struct pf_datapath *dp, struct pf_link *link)
{
	return (struct pf_swap_config){
		.way = PF_SWAP_PUBLISH,
		.dp = dp,
		.link = link,
		.programs = programs,
		.program_count = PROGRAMS,
		.lanes = 2,
		.batch = 32,
		.packet_len = 60,
	};
}

static struct pf_datapath *hooked(struct pf_link **link)
{
	struct pf_datapath *dp;
	uint32_t hook;
	CHECK_EQ(pf_datapath_create(&dp, NULL), PF_OK);
	CHECK_EQ(pf_datapath_add_hook(dp, &hook, NULL), PF_OK);
	CHECK_EQ(pf_link_attach(dp, hook, programs[0], 50, PF_CONTINUE_DEFAULT, link, NULL, NULL), PF_OK);
	return dp;
}

static void test_histogram_edges(void)
{
	static struct pf_histogram h;
	for (unsigned bit = 0; bit < 64; bit++)
		for (int64_t near = -2; near <= 2; near++) {
			uint64_t value = (UINT64_C(1) << bit) + (uint64_t)near;
			uint32_t index = pf_histogram_index(value);
			CHECK(index < PF_HISTOGRAM_BUCKETS);
			CHECK(pf_histogram_edge(index) >= value);
			CHECK(index == 0 || pf_histogram_edge(index - 1) < value);
			CHECK(pf_histogram_edge(index) - value <= value / PF_HISTOGRAM_SUB);
		}
	CHECK_EQ(pf_histogram_quantile(&h, 1, 2), 0);
	for (uint64_t i = 1; i <= 1000; i++)
		pf_histogram_add(&h, i);
	CHECK(pf_histogram_quantile(&h, 50, 100) >= 500 && pf_histogram_quantile(&h, 50, 100) <= 508);
	CHECK_EQ(pf_histogram_quantile(&h, 1, 1), 1000);
	static struct pf_histogram twice;
	pf_histogram_merge(&twice, &h);
	pf_histogram_merge(&twice, &h);
	CHECK_EQ(twice.count, 2000);
	CHECK_EQ(pf_histogram_quantile(&twice, 50, 100), pf_histogram_quantile(&h, 50, 100));
}

static void test_way(enum pf_swap_way way)
{
	struct pf_link *link;
	struct pf_datapath *dp = hooked(&link);
	struct pf_swap_config config = config_of(dp, link);
	struct pf_swap *swap;
	config.way = way;
	CHECK_EQ(pf_swap_create(&config, &swap, NULL), PF_OK);
	CHECK_EQ(pf_swap_start(swap, NULL), PF_OK);
	CHECK_EQ(pf_swap_drive(swap, 100000000, 0, NULL), PF_OK);
	pf_swap_stop(swap);
	struct pf_swap_totals totals;
	struct pf_histogram *updates = calloc(1, sizeof(*updates)), *gaps = calloc(1, sizeof(*gaps));
	CHECK(updates && gaps);
	pf_swap_totals(swap, &totals);
	pf_swap_histogram(swap, PF_SWAP_UPDATES, updates);
	pf_swap_histogram(swap, PF_SWAP_GAPS, gaps);
	CHECK(totals.updates > 0);
	CHECK_EQ(updates->count, totals.updates);
	CHECK_EQ(gaps->count, totals.batches);
	CHECK_EQ(totals.packets, totals.batches * 32);
	CHECK_EQ(totals.mixed + totals.stale + totals.unjudged, 0);
	CHECK(way == PF_SWAP_DETACH_ATTACH || totals.bare == 0);
	struct pf_swap_cost cost;
	pf_swap_cost(swap, 10, &cost);
	CHECK(cost.slot_ns > 0 && cost.plain_ns > 0);
	free(updates);
	free(gaps);
	pf_swap_destroy(swap);
	pf_link_put(link);
	pf_datapath_put(dp);
}

static void test_refusals(void)
{
	struct pf_link *link;
	struct pf_datapath *dp = hooked(&link);
	struct pf_swap_config config = config_of(dp, link);
	struct pf_swap *swap = NULL;
	struct pf_diag diag;
	config.program_count = 1;
	CHECK_EQ(pf_swap_create(&config, &swap, &diag), PF_EINVAL);
	config.program_count = PROGRAMS;
	config.packet_len = 3;
	CHECK_EQ(pf_swap_create(&config, &swap, &diag), PF_EINVAL);
	config.packet_len = 60;
	config.lanes = PF_RCU_WORKERS + 1;
	CHECK_EQ(pf_swap_create(&config, &swap, &diag), PF_EBUSY);
	config.lanes = 1;
	config.hook = 9;
	CHECK_EQ(pf_swap_create(&config, &swap, &diag), PF_EINVAL);
	CHECK(!swap);
	pf_link_put(link);
	pf_datapath_put(dp);
}

int main(void)
{
	make_programs();
	test_histogram_edges();
	for (unsigned way = 0; way < PF_SWAP_WAYS; way++)
		test_way((enum pf_swap_way)way);
	test_refusals();
	put_programs();
	return 0;
}
