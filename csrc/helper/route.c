/* route.c - which route, which hop, which source address: as Linux 6.18 chooses (compared in tests/test_network_kernel.py). */
#include "network.h"

#include <string.h>

#define ANY_TOS 0xffu      /* a route of the local table, merged into main */
#define HASH_BITS 31
#define SCOPE_LINK 253u

static const struct pf_net_hop *hop_of(const struct pf_net *net, const struct pf_net_route *r, uint32_t i)
{
	return &net->t.hops[r->hops + i];
}

/* First route of the group to the flow's destination; the group's end where there is none. */
static uint32_t first_match(const struct pf_net *net, const struct pf_net_group *g, const struct pf_address *to)
{
	struct pf_address key = { 0 };
	uint32_t low = g->first, high = g->first + g->count;
	memcpy(key.byte, to->byte, (g->prefix + 7u) / 8);
	if (g->prefix % 8)
		key.byte[g->prefix / 8] &= (uint8_t)(0xff00u >> g->prefix % 8);
	while (low < high) {
		const uint32_t middle = low + (high - low) / 2;
		if (memcmp(&net->t.routes[middle].to, &key, sizeof(key)) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	const uint32_t end = g->first + g->count;
	return low < end && !memcmp(&net->t.routes[low].to, &key, sizeof(key)) ? low : end;
}

/* Types that have no hop: the route itself is the answer. */
static int ends(uint8_t type)
{
	return type == PF_ROUTE_BLACKHOLE || type == PF_ROUTE_UNREACHABLE || type == PF_ROUTE_PROHIBIT ||
	       type == PF_ROUTE_THROW;
}

static struct pf_path try_ipv4(const struct pf_net *net, const struct pf_flow *flow, uint32_t at, uint32_t end)
{
	const struct pf_net_route *first = &net->t.routes[at];
	for (; at < end && !memcmp(&net->t.routes[at].to, &first->to, sizeof(first->to)); at++) {
		const struct pf_net_route *r = &net->t.routes[at];
		if (r->tos && r->tos != ANY_TOS && r->tos != flow->tos)
			continue;
		if (ends(r->type))
			return (struct pf_path){ r, NULL };
		for (uint32_t i = 0; i < r->hop_count; i++) {
			const struct pf_net_hop *hop = hop_of(net, r, i);
			if (!hop->dead && (!flow->egress || flow->egress == hop->ifindex))
				return (struct pf_path){ r, hop };
		}
	}
	return (struct pf_path){ NULL, NULL };
}

/* Of the lowest metric that has a live hop: router preference first, then the flow's own device. */
static struct pf_path try_ipv6(const struct pf_net *net, const struct pf_flow *flow, uint32_t at, uint32_t end)
{
	const struct pf_net_route *first = &net->t.routes[at];
	struct pf_path best = { NULL, NULL };
	int score = -1;
	for (; at < end && !memcmp(&net->t.routes[at].to, &first->to, sizeof(first->to)); at++) {
		const struct pf_net_route *r = &net->t.routes[at];
		if (best.route && r->metric != best.route->metric)
			break;
		for (uint32_t i = 0; i < r->hop_count; i++) {
			const struct pf_net_hop *hop = hop_of(net, r, i);
			const int own = r->preference * 2 + (!flow->device || flow->device == hop->ifindex);
			if (hop->dead || own <= score)
				continue;
			score = own;
			best = (struct pf_path){ r, hop };
		}
		if (!r->hop_count && ends(r->type) && score < r->preference * 2) {
			score = r->preference * 2;
			best = (struct pf_path){ r, NULL };
		}
	}
	return best;
}

static struct pf_path in_table(const struct pf_net *net, const struct pf_flow *flow, uint32_t table)
{
	const int ipv4 = flow->family == PF_AF_INET;
	if (ipv4 && net->t.merged && table == PF_TABLE_LOCAL)
		table = PF_TABLE_MAIN;
	for (uint32_t i = 0; i < net->group_count; i++) {
		const struct pf_net_group *g = &net->groups[i];
		if (g->family != flow->family || g->table != table)
			continue;
		const uint32_t end = g->first + g->count, at = first_match(net, g, &flow->to);
		if (at == end)
			continue;
		const struct pf_path path = ipv4 ? try_ipv4(net, flow, at, end) : try_ipv6(net, flow, at, end);
		if (path.route)
			return path;
	}
	return (struct pf_path){ NULL, NULL };
}

/* One of several hops by their weights. Linux's choice depends on a secret of its own; this one on the addresses alone. */
static struct pf_path select_hop(const struct pf_net *net, const struct pf_flow *flow, struct pf_path path)
{
	static const uint8_t key[16] = { 0 };
	if (!path.hop || path.route->hop_count < 2 || flow->egress)
		return path;
	uint8_t addresses[2 * sizeof(flow->from)];
	memcpy(addresses, &flow->from, sizeof(flow->from));
	memcpy(addresses + sizeof(flow->from), &flow->to, sizeof(flow->to));
	uint64_t total = 0, upto = 0;
	for (uint32_t i = 0; i < path.route->hop_count; i++)
		if (!hop_of(net, path.route, i)->dead)
			total += hop_of(net, path.route, i)->weight;
	const uint64_t hash = pf_siphash(key, addresses, sizeof(addresses)) >> (64 - HASH_BITS);
	for (uint32_t i = 0; i < path.route->hop_count; i++) {
		const struct pf_net_hop *hop = hop_of(net, path.route, i);
		upto += hop->dead ? 0 : hop->weight;
		if (!hop->dead && hash * total < upto << HASH_BITS)
			return (struct pf_path){ path.route, hop };
	}
	return path;
}

struct pf_path pf_route_lookup_table(const struct pf_net *net, const struct pf_flow *flow, uint32_t table)
{
	return select_hop(net, flow, in_table(net, flow, table));
}

static int rule_fits(const struct pf_net_rule *r, const struct pf_flow *flow)
{
	/* Linux's IPv6 rules about sources are for packets, not for what the system itself sends. */
	const int from = !r->from_prefix ||
			 (flow->has_from && pf_address_matches(&r->from, &flow->from, r->from_prefix));
	const int fits = from && pf_address_matches(&r->to, &flow->to, r->to_prefix) &&
			 !((flow->mark ^ r->mark) & r->mask) && (!r->tos || r->tos == flow->tos) &&
			 (!r->iif || r->iif == flow->ingress) && (!r->oif || r->oif == flow->egress);
	return fits != r->invert;
}

struct pf_path pf_route_lookup(const struct pf_net *net, const struct pf_flow *flow)
{
	static const struct pf_net_route refused[] = {
		{ .type = PF_ROUTE_BLACKHOLE }, { .type = PF_ROUTE_PROHIBIT },
	};
	static const uint32_t own[] = { PF_TABLE_LOCAL, PF_TABLE_MAIN, PF_TABLE_DEFAULT };
	struct pf_path path = { NULL, NULL };
	int rules = 0;
	for (uint32_t i = 0; i < net->t.rule_count; i++) {
		const struct pf_net_rule *r = &net->t.rules[i];
		rules |= r->family == flow->family;
		if (r->family != flow->family || !rule_fits(r, flow))
			continue;
		if (r->action == PF_ROUTE_UNICAST)
			path = in_table(net, flow, r->table);
		else if (flow->family == PF_AF_INET && r->action != PF_ROUTE_UNREACHABLE)
			return (struct pf_path){ &refused[r->action == PF_ROUTE_PROHIBIT], NULL };
		else
			return (struct pf_path){ NULL, NULL };
		if (path.route && (flow->family == PF_AF_INET6 || path.route->type != PF_ROUTE_THROW))
			return select_hop(net, flow, path);
	}
	for (uint32_t i = 0; i < 3 && !rules; i++) {
		path = in_table(net, flow, own[i]);
		if (path.route && (flow->family == PF_AF_INET6 || path.route->type != PF_ROUTE_THROW))
			return select_hop(net, flow, path);
	}
	return (struct pf_path){ NULL, NULL };
}

/* ---- source addresses ---- */

/* The link's first address whose subnet has the gateway, else its first, else any other link's. */
static int source_ipv4(const struct pf_net *net, const struct pf_path *path, struct pf_address *source)
{
	const struct pf_net_source *found = NULL;
	int best = 0;
	for (uint32_t i = 0; i < net->t.source_count; i++) {
		const struct pf_net_source *s = &net->t.sources[i];
		const int own = s->ifindex == path->hop->ifindex;
		if (s->family != PF_AF_INET || (own ? s->scope > path->route->scope : s->scope == SCOPE_LINK) ||
		    (!own && s->scope > path->route->scope))
			continue;
		const int near = path->hop->family == PF_AF_INET &&
				 pf_address_matches(&s->address, &path->hop->gateway, s->prefix);
		const int score = own ? 2 + near : 1;
		if (score > best) {
			best = score;
			found = s;
		}
	}
	memset(source, 0, sizeof(*source));
	if (found)
		*source = found->address;
	return 1;
}

static uint32_t common_bits(const struct pf_address *a, const struct pf_address *b)
{
	uint32_t n = 0;
	while (n < 128 && !((a->byte[n / 8] ^ b->byte[n / 8]) & (0x80u >> n % 8)))
		n++;
	return n;
}

/* RFC 6724 section 5, rules 1, 2, 3, 5 and 8, for a destination of global scope. */
static int source_ipv6(const struct pf_net *net, const struct pf_path *path, const struct pf_address *to,
		       struct pf_address *source)
{
	const struct pf_net_source *found = NULL;
	uint32_t best = 0;
	for (uint32_t i = 0; i < net->t.source_count; i++) {
		const struct pf_net_source *s = &net->t.sources[i];
		if (s->family != PF_AF_INET6)
			continue;
		const uint32_t common = common_bits(&s->address, to);
		const uint32_t score = 1u + (common == 128 ? 1u << 12 : 0) + (s->scope < SCOPE_LINK ? 1u << 11 : 0) +
				       (s->deprecated ? 0 : 1u << 10) +
				       (s->ifindex == path->hop->ifindex ? 1u << 9 : 0) +
				       (common < s->prefix ? common : s->prefix);
		if (score > best) {
			best = score;
			found = s;
		}
	}
	if (found)
		*source = found->address;
	return found != NULL;
}

int pf_route_source(const struct pf_net *net, const struct pf_path *path, const struct pf_address *to,
		    struct pf_address *source)
{
	if (path->route->has_source) {
		*source = path->route->source;
		return 1;
	}
	return path->route->family == PF_AF_INET ? source_ipv4(net, path, source) : source_ipv6(net, path, to, source);
}
