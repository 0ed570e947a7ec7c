/* fib.c - bpf_fib_lookup and bpf_check_mtu over the worker's network; answers and their order as in Linux 6.18 (measured). */
#include "groups.h"
#include "network.h"

#include <string.h>

enum {
	FIB_DIRECT = 1, FIB_OUTPUT = 2, FIB_SKIP_NEIGH = 4, FIB_TBID = 8, FIB_SRC = 16, FIB_MARK = 32,
	FIB_FLAGS = 63
};

/* uapi/linux/bpf.h, BPF_FIB_LKUP_RET_*. */
enum {
	RET_SUCCESS, RET_BLACKHOLE, RET_UNREACHABLE, RET_PROHIBIT, RET_NOT_FWDED, RET_FWD_DISABLED, RET_UNSUPP_LWT,
	RET_NO_NEIGH, RET_FRAG_NEEDED, RET_NO_SRC_ADDR
};

enum { MTU_RET_SUCCESS, MTU_RET_FRAG_NEEDED };

#define EAFNOSUPPORT_ 97
#define TOS_MASK_IPV4 0x1cu /* what routes and rules match, whatever else DSCP has */
#define TOS_MASK_IPV6 0xfcu
#define MTU_MAX_IPV4 0xffffu
#define MTU_MIN_IPV6 1280u
#define MTU_MAX_IPV6 (0xffffu + 40)
#define LOOPBACK 1u

/* struct bpf_fib_lookup; addresses, ports and VLAN fields in network order. */
struct question {
	uint8_t family, protocol;
	uint16_t sport, dport;
	uint16_t length;       /* in: tot_len; out: mtu_result */
	uint32_t ifindex;
	uint32_t tos;          /* in: tos or flowinfo; out: rt_metric */
	struct pf_address from, to;
	uint32_t table;        /* in: tbid; out: h_vlan_proto, h_vlan_TCI */
	uint8_t smac[6], dmac[6]; /* smac, in: mark */
};
_Static_assert(sizeof(struct question) == 64, "struct bpf_fib_lookup");

static const struct pf_net *net_of(const struct pf_exec *x)
{
	return x->net ? x->net : pf_net_empty();
}

/* Multicast, link-local and loopback addresses never leave their link or host. */
static int stays(const struct pf_address *a)
{
	static const struct pf_address loopback = { { [15] = 1 } };
	return a->byte[0] == 0xff || (a->byte[0] == 0xfe && (a->byte[1] & 0xc0) == 0x80) ||
	       !memcmp(a, &loopback, sizeof(loopback));
}

static struct pf_flow flow_of(const struct question *q, uint64_t flags)
{
	struct pf_flow flow = { .family = q->family, .device = q->ifindex, .has_from = 1 };
	const int ipv4 = q->family == PF_AF_INET;
	memcpy(&flow.from, &q->from, ipv4 ? 4 : 16);
	memcpy(&flow.to, &q->to, ipv4 ? 4 : 16);
	flow.ingress = flags & FIB_OUTPUT ? LOOPBACK : q->ifindex;
	flow.egress = flags & FIB_OUTPUT ? q->ifindex : 0;
	uint8_t given[4]; /* tos; or version, traffic class and flow label as in the header */
	memcpy(given, &q->tos, sizeof(given));
	flow.tos = ipv4 ? given[0] & TOS_MASK_IPV4 : (uint8_t)(given[0] << 4 | given[1] >> 4) & TOS_MASK_IPV6;
	if (!ipv4)
		flow.has_from = !(flags & FIB_OUTPUT);
	if ((flags & FIB_MARK) && !(flags & FIB_DIRECT))
		memcpy(&flow.mark, q->smac, sizeof(flow.mark));
	return flow;
}

static uint64_t refusal(const struct pf_net_route *route)
{
	if (!route)
		return RET_NOT_FWDED;
	switch ((enum pf_route_type)route->type) {
	case PF_ROUTE_UNICAST:
		return RET_SUCCESS;
	case PF_ROUTE_BLACKHOLE:
		return RET_BLACKHOLE;
	case PF_ROUTE_UNREACHABLE:
		return RET_UNREACHABLE;
	case PF_ROUTE_PROHIBIT:
		return RET_PROHIBIT;
	case PF_ROUTE_LOCAL:
	case PF_ROUTE_BROADCAST:
	case PF_ROUTE_ANYCAST:
	case PF_ROUTE_MULTICAST:
	case PF_ROUTE_THROW:
		break;
	}
	return RET_NOT_FWDED;
}

/* A route's own MTU counts where it is locked. */
static uint32_t mtu_of(const struct pf_net_route *route, const struct pf_net_link *link)
{
	const uint32_t mtu = route->mtu ? route->mtu : link->mtu;
	if (route->family == PF_AF_INET)
		return mtu < MTU_MAX_IPV4 ? mtu : MTU_MAX_IPV4;
	const uint32_t least = route->mtu || mtu > MTU_MIN_IPV6 ? mtu : MTU_MIN_IPV6;
	return least < MTU_MAX_IPV6 ? least : MTU_MAX_IPV6;
}

static const struct pf_net_neighbour *neighbour_of(const struct pf_net *net, const struct pf_net_link *link,
						   const struct question *q)
{
	struct pf_address to = { 0 };
	if (q->family == PF_AF_INET6)
		to = q->to;
	else if (!link->plain)
		memcpy(&to, &q->to, 4);
	return pf_net_neighbour(net, link->ifindex, q->family, &to);
}

static uint64_t fill_in(const struct pf_net *net, struct question *q, const struct pf_path *path,
			const struct pf_flow *flow, uint64_t flags)
{
	const struct pf_net_link *link = pf_net_link(net, path->hop->ifindex);
	if (!link)
		return RET_NOT_FWDED;
	const uint32_t mtu = mtu_of(path->route, link);
	const uint32_t size = q->family == PF_AF_INET ? 4 : 16;
	if (q->length > mtu) {
		q->length = (uint16_t)mtu;
		return RET_FRAG_NEEDED;
	}
	if (path->hop->encap)
		return RET_UNSUPP_LWT;
	if (path->hop->family && q->family == PF_AF_INET6)
		q->to = path->hop->gateway;
	q->tos = path->route->metric;
	q->ifindex = link->ifindex;
	if (flags & FIB_SRC) {
		struct pf_address source;
		if (!pf_route_source(net, path, &flow->to, &source))
			return RET_NO_SRC_ADDR;
		memcpy(&q->from, &source, size);
	}
	if (path->hop->family == PF_AF_INET6) {
		q->family = PF_AF_INET6;
		q->to = path->hop->gateway;
	} else if (path->hop->family) {
		memcpy(&q->to, &path->hop->gateway, 4);
	}
	if (!(flags & FIB_SKIP_NEIGH)) {
		const struct pf_net_neighbour *neighbour = neighbour_of(net, link, q);
		if (!neighbour)
			return RET_NO_NEIGH;
		memcpy(q->dmac, neighbour->mac, sizeof(q->dmac));
		memcpy(q->smac, link->mac, sizeof(q->smac));
	}
	q->table = 0;
	q->length = (uint16_t)mtu;
	return RET_SUCCESS;
}

static uint64_t look_up(const struct pf_net *net, struct question *q, uint64_t flags)
{
	const struct pf_flow flow = flow_of(q, flags);
	const int ipv4 = q->family == PF_AF_INET;
	if (!ipv4 && (stays(&q->to) || stays(&q->from)))
		return RET_NOT_FWDED;
	const struct pf_net_link *link = pf_net_link(net, q->ifindex);
	if (!link)
		return (uint64_t)-PF_ENODEV;
	if (!(ipv4 ? link->forward4 : link->forward6))
		return RET_FWD_DISABLED;
	struct pf_path path;
	if (flags & FIB_DIRECT) {
		const uint32_t table = flags & FIB_TBID ? q->table : PF_TABLE_MAIN;
		if (flags & FIB_TBID)
			q->table = 0;
		path = pf_route_lookup_table(net, &flow, table);
	} else {
		path = pf_route_lookup(net, &flow);
	}
	const uint64_t refused = refusal(path.route);
	return refused ? refused : fill_in(net, q, &path, &flow, flags);
}

PF_HELPER_FN(fib_lookup)
{
	PF_UNUSED(r1, r5);
	struct question q;
	const uint64_t flags = (uint32_t)r4;
	if ((int32_t)r3 < (int32_t)sizeof(q) || flags & ~(uint64_t)FIB_FLAGS)
		return (uint64_t)-PF_EINVAL;
	memcpy(&q, pf_helper_mem(r2), sizeof(q));
	if (q.family != PF_AF_INET && q.family != PF_AF_INET6)
		return (uint64_t)-EAFNOSUPPORT_;
	const uint64_t result = look_up(net_of(x), &q, flags);
	memcpy((void *)(uintptr_t)r2, &q, sizeof(q));
	return result;
}

/* 32-bit sums that wrap, compared as signed: a negative difference never needs fragments. */
PF_HELPER_FN(check_mtu)
{
	PF_UNUSED(r1);
	uint32_t length;
	memcpy(&length, pf_helper_mem(r3), sizeof(length));
	if (r5)
		return (uint64_t)-PF_EINVAL;
	const struct pf_net_link *link = pf_net_link(net_of(x), (uint32_t)r2 ? (uint32_t)r2 : x->packet.ingress_ifindex);
	if (!link)
		return (uint64_t)-PF_ENODEV;
	uint32_t size = (uint32_t)(x->packet.data_end - x->packet.data);
	if (length)
		size = length + link->header_len;
	size += (uint32_t)r4;
	memcpy((void *)(uintptr_t)r3, &link->mtu, sizeof(link->mtu));
	return (int32_t)size > (int32_t)(link->mtu + link->header_len) ? MTU_RET_FRAG_NEEDED : MTU_RET_SUCCESS;
}
