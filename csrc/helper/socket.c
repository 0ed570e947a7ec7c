/* socket.c - lookups of sockets in the user's table, as Linux 6.18 does them, and what a listening one says of SYN cookies. */
#include "groups.h"
#include "sockets.h"

#include <string.h>

#define TUPLE_IPV4 12u /* struct bpf_sock_tuple: addresses, then ports, source first */
#define TUPLE_IPV6 36u
#define PROTO_TCP 6u
#define PROTO_UDP 17u
#define TCP_TIME_WAIT 6u
#define TCP_LISTEN 10u
#define TCP_HEADER 20u
#define IPV4_HEADER 20u
#define IPV6_HEADER 40u
#define FLAG_FIN 1u
#define FLAG_SYN 2u
#define FLAG_RST 4u
#define FLAG_ACK 16u

const struct pf_net_socket *pf_net_socket(const struct pf_net *net, uint64_t address)
{
	const uint64_t size = sizeof(struct pf_net_socket);
	if (!net || !net->t.socket_count)
		return NULL;
	const uint64_t offset = address - (uint64_t)(uintptr_t)net->t.sockets;
	if (offset >= net->t.socket_count * size || offset % size >= sizeof(struct pf_sock))
		return NULL;
	return &net->t.sockets[offset / size];
}

/* What a lookup asks for: the packet's source is the socket's remote end. */
struct question {
	const uint8_t *from, *to;       /* addresses */
	const uint8_t *from_port, *to_port;
	uint32_t size, family, protocol, ifindex;
	int32_t netns;
};

static int is_zero(const uint8_t *bytes, uint32_t size)
{
	for (uint32_t i = 0; i < size; i++)
		if (bytes[i])
			return 0;
	return 1;
}

/* 0: not at all; else Linux's preference: connected, bound to an address, bound to the device, of the packet's family. */
static uint32_t score(const struct pf_net_socket *s, const struct question *q)
{
	const struct pf_sock *k = &s->image;
	const int same = k->family == q->family;
	const uint8_t *local = q->family == PF_AF_INET ? k->src_ip4 : k->src_ip6;
	const uint8_t *remote = q->family == PF_AF_INET ? k->dst_ip4 : k->dst_ip6;
	const uint32_t port = (uint32_t)q->to_port[0] << 8 | q->to_port[1];
	const int connected = !is_zero(k->dst_port, 2);

	if (s->netns != q->netns || k->protocol != q->protocol || k->src_port != port ||
	    (k->bound_dev_if && k->bound_dev_if != q->ifindex))
		return 0;
	/* An IPv6 socket takes IPv4 packets, unless it is for IPv6 only, while it is bound to no address. */
	if (!same && (q->family != PF_AF_INET || s->only6 || connected || !is_zero(k->src_ip6, 16)))
		return 0;
	const int bound = same && !is_zero(local, q->size);
	if (bound && memcmp(local, q->to, q->size))
		return 0;
	if (connected && (memcmp(remote, q->from, q->size) || memcmp(k->dst_port, q->from_port, 2)))
		return 0;
	if (!connected && q->protocol == PROTO_TCP && k->state != TCP_LISTEN)
		return 0;
	return 1 + 8u * (uint32_t)connected + 4u * (uint32_t)bound + 2u * (k->bound_dev_if != 0) + (uint32_t)same;
}

static const struct pf_net_socket *find(const struct pf_net *net, const struct question *q)
{
	const struct pf_net_socket *best = NULL;
	uint32_t most = 0;
	for (uint32_t i = 0; i < net->t.socket_count; i++) {
		const uint32_t found = score(&net->t.sockets[i], q);
		if (found > most) {
			most = found;
			best = &net->t.sockets[i];
		}
	}
	return best;
}

static const struct pf_net_socket *lookup(const struct pf_exec *x, uint32_t protocol, uint64_t tuple, uint64_t len,
					  uint64_t netns, uint64_t flags)
{
	const uint8_t *t = pf_helper_mem(tuple);
	const uint32_t size = (uint32_t)len == TUPLE_IPV4 ? 4 : 16;
	if (!x->net || ((uint32_t)len != TUPLE_IPV4 && (uint32_t)len != TUPLE_IPV6) || flags)
		return NULL;
	const int32_t id = (int32_t)(uint32_t)netns;
	if (id >= 0 && netns > INT32_MAX)
		return NULL;
	const struct question q = { .from = t, .to = t + size, .from_port = t + 2 * size, .to_port = t + 2 * size + 2,
				    .size = size, .family = size == 4 ? PF_AF_INET : PF_AF_INET6, .protocol = protocol,
				    .ifindex = x->packet.ingress_ifindex, .netns = id < 0 ? -1 : id };
	return find(x->net, &q);
}

static uint64_t answer(const struct pf_net_socket *s)
{
	return s ? (uint64_t)(uintptr_t)&s->image : 0;
}

/* Only full sockets: a connection in TIME_WAIT has none. */
static uint64_t answer_full(const struct pf_net_socket *s)
{
	return s && s->image.state != TCP_TIME_WAIT ? answer(s) : 0;
}

PF_HELPER_FN(sk_lookup_tcp)
{
	PF_UNUSED(r1);
	return answer_full(lookup(x, PROTO_TCP, r2, r3, r4, r5));
}

PF_HELPER_FN(sk_lookup_udp)
{
	PF_UNUSED(r1);
	return answer(lookup(x, PROTO_UDP, r2, r3, r4, r5));
}

PF_HELPER_FN(skc_lookup_tcp)
{
	PF_UNUSED(r1);
	return answer(lookup(x, PROTO_TCP, r2, r3, r4, r5));
}

PF_HELPER_FN(sk_release)
{
	(void)x;
	PF_UNUSED(r1, r2, r3, r4, r5);
	return 0;
}

static int listens(const struct pf_net_socket *s)
{
	return s && s->image.protocol == PROTO_TCP && s->image.state == TCP_LISTEN;
}

/* 4 or 6 where the socket takes packets with such a header; else a negative errno. */
static int64_t version(const struct pf_net_socket *s, uint64_t ip, uint32_t size)
{
	if (size < IPV4_HEADER)
		return -PF_EINVAL;
	const uint32_t found = *(const uint8_t *)pf_helper_mem(ip) >> 4;
	if (found == 4)
		return s->image.family == PF_AF_INET6 && s->only6 ? -PF_EINVAL : 4;
	if (found == 6)
		return size < IPV6_HEADER || s->image.family != PF_AF_INET6 ? -PF_EINVAL : 6;
	return -PF_EPROTONOSUPPORT;
}

PF_HELPER_FN(tcp_check_syncookie)
{
	const struct pf_net_socket *s = pf_net_socket(x->net, r1);
	if ((uint32_t)r5 < TCP_HEADER || !listens(s))
		return (uint64_t)-PF_EINVAL;
	const uint8_t flags = ((const uint8_t *)pf_helper_mem(r4))[13];
	if ((flags & (FLAG_ACK | FLAG_RST | FLAG_SYN)) != FLAG_ACK)
		return (uint64_t)-PF_ENOENT;
	if ((uint32_t)r3 < IPV4_HEADER)
		return (uint64_t)-PF_EINVAL;
	if (!s->cookies)
		return (uint64_t)-PF_ENOENT;
	const int64_t ip = version(s, r2, (uint32_t)r3);
	if (ip < 0)
		return (uint64_t)ip;
	return pf_cookie_check(x, ip == 6, r2, r4) ? (uint64_t)-PF_ENOENT : 0;
}

PF_HELPER_FN(tcp_gen_syncookie)
{
	const struct pf_net_socket *s = pf_net_socket(x->net, r1);
	const uint8_t *tcp = pf_helper_mem(r4);
	if ((uint32_t)r5 < TCP_HEADER || (uint32_t)r5 != (uint32_t)(tcp[12] >> 4) * 4 || !listens(s))
		return (uint64_t)-PF_EINVAL;
	if ((tcp[13] & (FLAG_SYN | FLAG_ACK | FLAG_FIN | FLAG_RST)) != FLAG_SYN)
		return (uint64_t)-PF_EINVAL;
	const int64_t ip = version(s, r2, (uint32_t)r3);
	if (ip < 0)
		return (uint64_t)ip;
	return s->cookies ? pf_cookie_make(x, ip == 6, r2, r4, (uint32_t)r5) : (uint64_t)-PF_ENOENT;
}
