/* network.c - a snapshot of a network: copied, sorted, grouped, searched. */
#include "connections.h"
#include "sockets.h"

#include <stdlib.h>
#include <string.h>

#define ADDRESS_BITS(family) ((family) == PF_AF_INET6 ? 128u : 32u)
#define COMPARE(a, b) (((a) > (b)) - ((a) < (b)))

static const struct pf_net_link loopback = { .ifindex = 1, .mtu = 65536, .header_len = 14, .plain = 1 };

const struct pf_net *pf_net_empty(void)
{
	static const struct pf_net empty = {
		.t = { .links = (struct pf_net_link *)&loopback, .link_count = 1, .merged = 1 },
	};
	return &empty;
}

static int by_link(const void *left, const void *right)
{
	const struct pf_net_link *a = left, *b = right;
	return COMPARE(a->ifindex, b->ifindex);
}

static int by_neighbour(const void *left, const void *right)
{
	const struct pf_net_neighbour *a = left, *b = right;
	if (a->ifindex != b->ifindex)
		return COMPARE(a->ifindex, b->ifindex);
	if (a->family != b->family)
		return COMPARE(a->family, b->family);
	return memcmp(&a->address, &b->address, sizeof(a->address));
}

/* Longest prefix first; among routes to one prefix, the order in which Linux tries them. Of merged tables the local one's
 * come first. */
static int by_route(const void *left, const void *right)
{
	const struct pf_net_route *a = left, *b = right;
	if (a->family != b->family)
		return COMPARE(a->family, b->family);
	if (a->table != b->table)
		return COMPARE(a->table, b->table);
	if (a->prefix != b->prefix)
		return COMPARE(b->prefix, a->prefix);
	const int to = memcmp(&a->to, &b->to, sizeof(a->to));
	if (to)
		return to;
	if (a->tos != b->tos)
		return COMPARE(b->tos, a->tos);
	return a->metric != b->metric ? COMPARE(a->metric, b->metric) : COMPARE(a->order, b->order);
}

static int by_rule(const void *left, const void *right)
{
	const struct pf_net_rule *a = left, *b = right;
	return a->priority != b->priority ? COMPARE(a->priority, b->priority) : COMPARE(a->order, b->order);
}

int pf_address_matches(const struct pf_address *a, const struct pf_address *b, uint32_t prefix)
{
	const uint32_t whole = prefix / 8, rest = prefix % 8;
	if (memcmp(a->byte, b->byte, whole))
		return 0;
	return !rest || !((a->byte[whole] ^ b->byte[whole]) >> (8 - rest));
}

const struct pf_net_link *pf_net_link(const struct pf_net *net, uint32_t ifindex)
{
	const struct pf_net_link key = { .ifindex = ifindex };
	return net->t.link_count ? bsearch(&key, net->t.links, net->t.link_count, sizeof(key), by_link) : NULL;
}

const struct pf_net_neighbour *pf_net_neighbour(const struct pf_net *net, uint32_t ifindex, uint8_t family,
						const struct pf_address *address)
{
	const struct pf_net_neighbour key = { .ifindex = ifindex, .family = family, .address = *address };
	const uint32_t count = net->t.neighbour_count;
	return count ? bsearch(&key, net->t.neighbours, count, sizeof(key), by_neighbour) : NULL;
}

/* N3. */
static int sound(const struct pf_net_tables *t)
{
	for (uint32_t i = 0; i < t->route_count; i++) {
		const struct pf_net_route *r = &t->routes[i];
		if ((r->family != PF_AF_INET && r->family != PF_AF_INET6) || r->prefix > ADDRESS_BITS(r->family) ||
		    r->type < PF_ROUTE_UNICAST || r->type > PF_ROUTE_THROW || r->hops > t->hop_count ||
		    r->hop_count > t->hop_count - r->hops)
			return 0;
		struct pf_address masked = { 0 };
		memcpy(masked.byte, r->to.byte, (r->prefix + 7u) / 8);
		if (r->prefix % 8)
			masked.byte[r->prefix / 8] &= (uint8_t)(0xff00u >> r->prefix % 8);
		if (memcmp(&masked, &r->to, sizeof(masked)))
			return 0;
	}
	for (uint32_t i = 0; i < t->rule_count; i++)
		if (t->rules[i].from_prefix > ADDRESS_BITS(t->rules[i].family) ||
		    t->rules[i].to_prefix > ADDRESS_BITS(t->rules[i].family))
			return 0;
	for (uint32_t i = 0; i < t->source_count; i++)
		if (t->sources[i].prefix > ADDRESS_BITS(t->sources[i].family))
			return 0;
	return 1;
}

/* A sorted copy; unsorted without `compare`. An empty table is NULL. Returns 0 where there is no memory. */
static int copy(void *to, const void *from, uint32_t count, size_t size, int (*compare)(const void *, const void *))
{
	void *rows = NULL;
	if (count) {
		rows = malloc(count * size);
		if (!rows)
			return 0;
		memcpy(rows, from, count * size);
		if (compare)
			qsort(rows, count, size, compare);
	}
	memcpy(to, &rows, sizeof(rows));
	return 1;
}

static void merge(struct pf_net *net)
{
	/* Local routes first: `order` decides only between routes that are equal otherwise, and Linux puts an entry of the
	 * local table before all of main to the same prefix. */
	for (uint32_t i = 0; i < net->t.route_count; i++) {
		struct pf_net_route *r = &net->t.routes[i];
		if (r->family == PF_AF_INET && r->table == PF_TABLE_LOCAL) {
			r->table = PF_TABLE_MAIN;
			r->tos = 0xff; /* route.c: matches every packet */
		}
	}
	if (net->t.route_count)
		qsort(net->t.routes, net->t.route_count, sizeof(*net->t.routes), by_route);
}

static int group(struct pf_net *net)
{
	const struct pf_net_route *r = net->t.routes;
	uint32_t groups = 0;
	for (int pass = 0; pass < 2; pass++) {
		groups = 0;
		for (uint32_t i = 0; i < net->t.route_count; i++) {
			const int same = i && r[i].family == r[i - 1].family && r[i].table == r[i - 1].table &&
					 r[i].prefix == r[i - 1].prefix;
			groups += !same;
			if (!pass)
				continue;
			struct pf_net_group *g = &net->groups[groups - 1];
			if (!same)
				*g = (struct pf_net_group){ .table = r[i].table, .first = i, .family = r[i].family,
							    .prefix = r[i].prefix };
			g->count++;
		}
		if (!pass && groups && !(net->groups = malloc(groups * sizeof(*net->groups))))
			return 0;
	}
	net->group_count = groups;
	return 1;
}

static void destroy(struct pf_ref *ref)
{
	struct pf_net *net = (struct pf_net *)ref;
	free(net->t.links);
	free(net->t.hops);
	free(net->t.routes);
	free(net->t.neighbours);
	free(net->t.sources);
	free(net->t.rules);
	free(net->t.sockets);
	free(net->groups);
	pf_connections_destroy(net->connections);
	free(net);
}

enum pf_err pf_net_create(const struct pf_net_tables *from, struct pf_net **out)
{
	*out = NULL;
	if (!sound(from))
		return PF_EINVAL;
	struct pf_net *net = calloc(1, sizeof(*net));
	if (!net)
		return PF_ENOMEM;
	pf_ref_init(&net->ref, destroy);
	struct pf_net_tables *t = &net->t;
	memcpy(t->cookie_keys, from->cookie_keys, sizeof(t->cookie_keys));
	t->merged = from->merged;
	t->link_count = from->link_count;
	t->hop_count = from->hop_count;
	t->route_count = from->route_count;
	t->neighbour_count = from->neighbour_count;
	t->source_count = from->source_count;
	t->rule_count = from->rule_count;
	t->socket_count = from->socket_count;
	int done = copy(&t->links, from->links, t->link_count, sizeof(*t->links), by_link) &&
		   copy(&t->hops, from->hops, t->hop_count, sizeof(*t->hops), NULL) &&
		   copy(&t->routes, from->routes, t->route_count, sizeof(*t->routes), by_route) &&
		   copy(&t->neighbours, from->neighbours, t->neighbour_count, sizeof(*t->neighbours), by_neighbour) &&
		   copy(&t->sources, from->sources, t->source_count, sizeof(*t->sources), NULL) &&
		   copy(&t->rules, from->rules, t->rule_count, sizeof(*t->rules), by_rule) &&
		   copy(&t->sockets, from->sockets, t->socket_count, sizeof(*t->sockets), NULL);
	if (done && t->merged)
		merge(net);
	done = done && group(net);
	enum pf_err err = done ? PF_OK : PF_ENOMEM;
	if (!err && from->conn_max)
		err = pf_connections_create(from->conns, from->conn_count, from->conn_max, &net->connections);
	if (err)
		pf_ref_put(&net->ref);
	else
		*out = net;
	return err;
}
