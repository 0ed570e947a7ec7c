/* test_network.c - network.h: lookups against a walk over all routes, N3 refused, SipHash over blocks of exactly the size
 * that is read. What the answers mean is compared with Linux in tests/test_network_kernel.py. */
#include "check.h"

#include "helper/network.h"

#include <string.h>

#define ROUTES 400u
#define LOOKUPS 20000u

static uint32_t next(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*seed >> 33);
}

static void mask(struct pf_address *a, uint32_t prefix)
{
	for (uint32_t bit = prefix; bit < 128; bit++)
		a->byte[bit / 8] &= (uint8_t)~(0x80u >> bit % 8);
}

/* Few bits vary, so that prefixes nest and addresses meet. */
static struct pf_address address(uint64_t *seed, uint8_t family)
{
	struct pf_address a = { 0 };
	const uint32_t size = family == PF_AF_INET ? 4 : 16;
	for (uint32_t i = 0; i < size; i++)
		a.byte[i] = (uint8_t)(next(seed) % 3 ? 0 : next(seed) & 0xc1);
	return a;
}

static const struct pf_net_route *walk(const struct pf_net_route *routes, const struct pf_flow *flow, uint32_t table)
{
	const struct pf_net_route *best = NULL;
	for (uint32_t i = 0; i < ROUTES; i++) {
		const struct pf_net_route *r = &routes[i];
		if (r->family != flow->family || r->table != table || !pf_address_matches(&r->to, &flow->to, r->prefix))
			continue;
		if (!best || r->prefix > best->prefix || (r->prefix == best->prefix && r->metric < best->metric))
			best = r;
	}
	return best;
}

static void test_longest_prefix(uint8_t family)
{
	uint64_t seed = family;
	struct pf_net_route *routes = calloc(ROUTES, sizeof(*routes));
	struct pf_net_hop hop = { .ifindex = 2, .weight = 1 };
	struct pf_net_link link = { .ifindex = 2, .mtu = 1500 };
	struct pf_net *net;
	CHECK(routes != NULL);
	for (uint32_t i = 0; i < ROUTES; i++) {
		routes[i] = (struct pf_net_route){ .to = address(&seed, family), .table = 254 + next(&seed) % 2, .metric = i,
						   .hop_count = 1, .order = i, .family = family, .type = PF_ROUTE_UNICAST };
		routes[i].prefix = (uint8_t)(next(&seed) % (family == PF_AF_INET ? 33 : 129));
		mask(&routes[i].to, routes[i].prefix);
	}
	const struct pf_net_tables tables = { .links = &link, .hops = &hop, .routes = routes, .link_count = 1, .hop_count = 1,
					      .route_count = ROUTES };
	CHECK_EQ(pf_net_create(&tables, &net), PF_OK);
	uint32_t found = 0;
	for (uint32_t i = 0; i < LOOKUPS; i++) {
		const struct pf_flow flow = { .to = address(&seed, family), .family = family };
		const uint32_t table = 254 + i % 2;
		const struct pf_net_route *want = walk(routes, &flow, table);
		const struct pf_path got = pf_route_lookup_table(net, &flow, table);
		CHECK((want != NULL) == (got.route != NULL));
		if (!want)
			continue;
		found++;
		CHECK_EQ(got.route->order, want->order);
		CHECK_EQ(got.hop->ifindex, 2);
	}
	CHECK(found > LOOKUPS / 20);
	CHECK(pf_net_link(net, 2) != NULL && pf_net_link(net, 1) == NULL);
	pf_ref_put(&net->ref);
	free(routes);
}

static void test_tables_that_do_not_fit_are_refused(void)
{
	struct pf_net_hop hop = { .ifindex = 2, .weight = 1 };
	const struct pf_net_route good = { .hop_count = 1, .family = PF_AF_INET, .prefix = 8, .to = { { 10 } },
					   .type = PF_ROUTE_UNICAST };
	struct pf_net_route bad[7];
	for (uint32_t i = 0; i < 7; i++)
		bad[i] = good;
	bad[1].hop_count = 2;
	bad[2].hops = 2;
	bad[3].prefix = 33;
	bad[4].to.byte[1] = 1;
	bad[5].type = 0;
	bad[6].family = 7;
	for (uint32_t i = 0; i < 7; i++) {
		const struct pf_net_tables tables = { .hops = &hop, .routes = &bad[i], .hop_count = 1, .route_count = 1 };
		struct pf_net *net;
		CHECK_EQ(pf_net_create(&tables, &net), i ? PF_EINVAL : PF_OK);
		CHECK((net == NULL) == (i > 0));
		if (net)
			pf_ref_put(&net->ref);
	}
}

static void test_the_empty_network(void)
{
	const struct pf_flow flow = { .family = PF_AF_INET, .to = { { 10 } } };
	CHECK_EQ(pf_net_link(pf_net_empty(), 1)->mtu, 65536);
	CHECK(pf_route_lookup(pf_net_empty(), &flow).route == NULL);
	CHECK(pf_net_neighbour(pf_net_empty(), 1, PF_AF_INET, &flow.to) == NULL);
}

static void test_siphash_reads_what_it_is_given(void)
{
	uint8_t key[16];
	for (uint32_t i = 0; i < 16; i++)
		key[i] = (uint8_t)i;
	for (uint32_t size = 0; size < 64; size++) {
		uint8_t *data = malloc(size ? size : 1);
		CHECK(data != NULL);
		for (uint32_t i = 0; i < size; i++)
			data[i] = (uint8_t)i;
		const uint64_t hash = pf_siphash(key, data, size);
		free(data);
		if (size == 15) /* the example of the paper's appendix A */
			CHECK_EQ(hash, 0xa129ca6149be45e5u);
	}
}

int main(void)
{
	test_longest_prefix(PF_AF_INET);
	test_longest_prefix(PF_AF_INET6);
	test_tables_that_do_not_fit_are_refused();
	test_the_empty_network();
	test_siphash_reads_what_it_is_given();
	return 0;
}
