/* network.h - the network around the program: what bpf_fib_lookup, bpf_check_mtu, the SYN cookie and socket helpers ask.
 *
 * Terms
 *   link      a network device, by ifindex
 *   hop       where a route leads: a link, and a gateway or none
 *   rule      which table is asked, in order of priority; without rules Linux's own: local, main, default
 *   merged    IPv4 without rules of the user's: tables local and main are one, as in Linux (measured: a lookup in one finds
 *             the other's routes)
 *   empty     what a new network namespace is: the loopback alone, nothing forwarded
 *
 * Invariants
 *   N1 A snapshot never changes; whoever runs packets holds a reference, so the packet path takes none and locks nothing.
 *   N2 Links, neighbours and routes are sorted; a lookup takes a binary search for each prefix length that a table has.
 *   N3 Every hops .. hops + count of a route is inside the snapshot's hops; addresses of routes have no bit set beyond
 *      their prefix.
 *   N4 IPv4 addresses stand in the first 4 bytes, the rest is zero. Addresses are in network order, all else in the host's.
 *   N5 The connection table is the one thing that changes; it has a lock of its own.
 * Threads: pf_net_create and the reference by any thread; lookups by any number of threads.
 */
#ifndef PF_NETWORK_H
#define PF_NETWORK_H

#include "../rcu/ref.h"
#include "../tables/tables.h"

#define PF_AF_INET 2u
#define PF_AF_INET6 10u
#define PF_TABLE_DEFAULT 253u
#define PF_TABLE_MAIN 254u
#define PF_TABLE_LOCAL 255u

struct pf_address {
	uint8_t byte[16];
};

struct pf_net_link {
	uint32_t ifindex, mtu;
	uint16_t header_len;       /* of its link layer: 14 for Ethernet */
	uint8_t mac[6];
	uint8_t forward4, forward6;
	uint8_t plain;             /* loopback or point to point: one IPv4 neighbour for all */
};

struct pf_net_hop {
	struct pf_address gateway;
	uint32_t ifindex, weight;
	uint8_t family;            /* of the gateway; 0: none */
	uint8_t dead, encap;
};

/* uapi/linux/rtnetlink.h, RTN_*. */
enum pf_route_type {
	PF_ROUTE_UNICAST = 1, PF_ROUTE_LOCAL, PF_ROUTE_BROADCAST, PF_ROUTE_ANYCAST, PF_ROUTE_MULTICAST,
	PF_ROUTE_BLACKHOLE, PF_ROUTE_UNREACHABLE, PF_ROUTE_PROHIBIT, PF_ROUTE_THROW
};

struct pf_net_route {
	struct pf_address to, source;
	uint32_t table, metric, mtu; /* mtu: locked; 0: the link's */
	uint32_t hops, hop_count;
	uint32_t order;            /* among equals: the first given wins */
	uint8_t family, prefix, type, tos, scope, has_source, preference;
};

/* Routes of one table that have one prefix length. */
struct pf_net_group {
	uint32_t table, first, count;
	uint8_t family, prefix;
};

struct pf_net_neighbour {
	struct pf_address address;
	uint32_t ifindex;
	uint8_t family, mac[6];
};

/* An address of a link: for BPF_FIB_LOOKUP_SRC. */
struct pf_net_source {
	struct pf_address address;
	uint32_t ifindex;
	uint8_t family, prefix, scope, deprecated;
};

struct pf_net_rule {
	struct pf_address from, to;
	uint32_t priority, order, table, mark, mask, iif, oif;
	uint8_t family, from_prefix, to_prefix, tos, invert;
	uint8_t action;            /* enum pf_route_type: UNICAST asks the table; the others end the lookup */
};

struct pf_net_socket; /* sockets.h */
struct pf_connections; /* connections.h */
struct pf_conn_row;

struct pf_net_tables {
	struct pf_net_link *links;
	struct pf_net_hop *hops;
	struct pf_net_route *routes;
	struct pf_net_neighbour *neighbours;
	struct pf_net_source *sources;
	struct pf_net_rule *rules;
	struct pf_net_socket *sockets;
	struct pf_conn_row *conns; /* what the connection table begins with; the snapshot keeps none here */
	uint32_t link_count, hop_count, route_count, neighbour_count, source_count, rule_count, socket_count;
	uint32_t conn_count, conn_max; /* conn_max 0: no connection table */
	uint8_t merged;            /* IPv4: the rules are Linux's own */
	uint8_t cookie_keys[4][16]; /* IPv4: two keys; IPv6: two keys */
};

struct pf_net {
	struct pf_ref ref;
	struct pf_net_tables t;
	struct pf_net_group *groups;
	uint32_t group_count;
	struct pf_connections *connections; /* what programs change (N5); NULL: none */
};

/* Takes copies. PF_EINVAL: tables that break N3 (a bug, or hostile); PF_EEXIST: two connections have one key. */
PF_API enum pf_err pf_net_create(const struct pf_net_tables *tables, struct pf_net **net);
const struct pf_net *pf_net_empty(void);
const struct pf_net_link *pf_net_link(const struct pf_net *net, uint32_t ifindex);
const struct pf_net_neighbour *pf_net_neighbour(const struct pf_net *net, uint32_t ifindex, uint8_t family,
						const struct pf_address *address);

/* Do the first `prefix` bits agree? */
int pf_address_matches(const struct pf_address *a, const struct pf_address *b, uint32_t prefix);

/* What a lookup asks with. ingress: of the packet, or the loopback for packets of the system's own. */
struct pf_flow {
	struct pf_address from, to;
	uint32_t ingress, egress, device, mark; /* egress: 0 any; device: which link IPv6 prefers among equals */
	uint8_t family, tos, has_from;
};

struct pf_path {
	const struct pf_net_route *route; /* NULL: none */
	const struct pf_net_hop *hop;     /* of a route of type UNICAST */
};

/* The route by the rules, or in one table; several hops: one by a hash of the addresses. */
struct pf_path pf_route_lookup(const struct pf_net *net, const struct pf_flow *flow);
struct pf_path pf_route_lookup_table(const struct pf_net *net, const struct pf_flow *flow, uint32_t table);
/* The address that the system would send with on this path; 0: there is none. */
int pf_route_source(const struct pf_net *net, const struct pf_path *path, const struct pf_address *to,
		    struct pf_address *source);

/* SipHash-2-4 (Aumasson and Bernstein, 2012). */
PF_API uint64_t pf_siphash(const uint8_t key[16], const void *data, uint32_t size);

#endif
