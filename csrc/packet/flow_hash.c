/* flow_hash.c - finding the endpoints of a packet, ordering them, hashing them. */
#include "flow_hash.h"

#include <string.h>

enum ethertype { ETHER_IPV4 = 0x0800, ETHER_IPV6 = 0x86dd, ETHER_VLAN = 0x8100, ETHER_QINQ = 0x88a8, ETHER_OLD = 0x9100 };

enum protocol {
	HOP_BY_HOP = 0,
	ICMP = 1,
	TCP = 6,
	UDP = 17,
	DCCP = 33,
	ROUTING = 43,
	FRAGMENT = 44,
	AUTHENTICATION = 51,
	ICMPV6 = 58,
	DESTINATION = 60,
	SCTP = 132,
	MOBILITY = 135,
	UDPLITE = 136,
};

#define MACS 12u

/* One side of a connection, in the order in which it is compared: address, then port, as they are on the wire. */
struct endpoint {
	uint8_t bytes[18];
};

struct flow {
	struct endpoint a, b;
	uint32_t kind; /* Ethernet type << 8 | protocol */
};

/* What is left of the packet. */
struct view {
	const uint8_t *at;
	uint32_t left;
};

static uint32_t be16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

static void skip(struct view *v, uint32_t n)
{
	v->at += n;
	v->left -= n;
}

static void set_ports(struct flow *f, const uint8_t *a, const uint8_t *b)
{
	memcpy(f->a.bytes + 16, a, 2);
	memcpy(f->b.bytes + 16, b, 2);
}

static void transport(struct flow *f, struct view v, uint8_t protocol)
{
	switch (protocol) {
	case TCP:
	case UDP:
	case DCCP:
	case SCTP:
	case UDPLITE:
		if (v.left >= 4)
			set_ports(f, v.at, v.at + 2);
		return;
	case ICMP:
		if (v.left >= 6 && (v.at[0] == 8 || v.at[0] == 0))
			set_ports(f, v.at + 4, v.at + 4);
		return;
	case ICMPV6:
		if (v.left >= 6 && (v.at[0] == 128 || v.at[0] == 129))
			set_ports(f, v.at + 4, v.at + 4);
		return;
	}
}

static int ipv4(struct flow *f, struct view v)
{
	if (v.left < 20 || v.at[0] >> 4 != 4 || (v.at[0] & 15) < 5)
		return 0;
	const uint32_t header = (v.at[0] & 15u) * 4;
	const uint8_t protocol = v.at[9];
	memcpy(f->a.bytes, v.at + 12, 4);
	memcpy(f->b.bytes, v.at + 16, 4);
	f->kind = ETHER_IPV4 << 8 | protocol;
	const int fragment = (be16(v.at + 6) & 0x3fff) != 0; /* more to come, or an offset */
	if (!fragment && v.left >= header) {
		skip(&v, header);
		transport(f, v, protocol);
	}
	return 1;
}

/* Bytes that an extension header takes; 0: it is none, or not all there. */
static uint32_t extension_size(uint8_t next, const struct view *v)
{
	uint32_t size = 0;
	switch (next) {
	case HOP_BY_HOP:
	case ROUTING:
	case DESTINATION:
	case MOBILITY:
		size = v->left >= 2 ? (v->at[1] + 1u) * 8 : 0;
		break;
	case AUTHENTICATION:
		size = v->left >= 2 ? (v->at[1] + 2u) * 4 : 0;
		break;
	case FRAGMENT:
		size = 8;
		break;
	}
	return size <= v->left ? size : 0;
}

static int ipv6(struct flow *f, struct view v)
{
	if (v.left < 40 || v.at[0] >> 4 != 6)
		return 0;
	uint8_t next = v.at[6];
	int fragment = 0;
	memcpy(f->a.bytes, v.at + 8, 16);
	memcpy(f->b.bytes, v.at + 24, 16);
	skip(&v, 40);
	for (uint32_t n = 0; n < PF_FLOW_EXTENSIONS && !fragment; n++) {
		const uint32_t size = extension_size(next, &v);
		if (!size)
			break;
		fragment = next == FRAGMENT && (be16(v.at + 2) & 0xfff9) != 0;
		next = v.at[0];
		skip(&v, size);
	}
	f->kind = ETHER_IPV6 << 8 | next;
	if (!fragment)
		transport(f, v, next);
	return 1;
}

static void ethernet(struct flow *f, struct view v)
{
	if (v.left < 14)
		return;
	const uint8_t *macs = v.at;
	skip(&v, MACS);
	uint32_t type = be16(v.at);
	for (uint32_t n = 0; n < PF_FLOW_TAGS && v.left >= 6; n++) {
		if (type != ETHER_VLAN && type != ETHER_QINQ && type != ETHER_OLD)
			break;
		skip(&v, 4);
		type = be16(v.at);
	}
	skip(&v, 2);
	if ((type == ETHER_IPV4 && ipv4(f, v)) || (type == ETHER_IPV6 && ipv6(f, v)))
		return;
	memcpy(f->a.bytes, macs + 6, 6);
	memcpy(f->b.bytes, macs, 6);
	f->kind = type << 8;
}

static uint64_t word(const uint8_t *p, uint32_t n)
{
	uint64_t w = 0;
	for (uint32_t i = 0; i < n; i++)
		w = w << 8 | p[i];
	return w;
}

static uint64_t absorb(uint64_t hash, const struct endpoint *e)
{
	hash = pf_flow_mix(hash ^ word(e->bytes, 8));
	hash = pf_flow_mix(hash ^ word(e->bytes + 8, 8));
	return pf_flow_mix(hash ^ word(e->bytes + 16, 2));
}

uint64_t pf_flow_hash(const uint8_t *data, uint32_t caplen, uint64_t seed)
{
	struct flow f = { .kind = 0 };
	ethernet(&f, (struct view){ data, caplen });
	const int ordered = memcmp(&f.a, &f.b, sizeof(f.a)) <= 0;
	uint64_t hash = pf_flow_mix(seed + f.kind * UINT64_C(0x9e3779b97f4a7c15) + 1);
	hash = absorb(hash, ordered ? &f.a : &f.b);
	return absorb(hash, ordered ? &f.b : &f.a);
}

/* One end of a connection; the two are added, so that their order does not matter. */
static inline uint64_t end(uint64_t low, uint64_t high, uint16_t port)
{
	const uint64_t x = (low + 1) * UINT64_C(0x9e3779b97f4a7c15) + high * UINT64_C(0xc2b2ae3d27d4eb4f) +
			   port * UINT64_C(0x165667b19e3779f9);
	return x ^ x >> 29;
}

static inline uint8_t choose(uint64_t ends, uint32_t kind, uint32_t workers)
{
	const uint64_t x = (ends + kind) * UINT64_C(0x94d049bb133111eb);
	return (uint8_t)(((x ^ x >> 31) & UINT32_MAX) * workers >> 32);
}

static uint64_t end_of(const struct endpoint *e)
{
	uint64_t low, high;
	uint16_t port;
	memcpy(&low, e->bytes, 8);
	memcpy(&high, e->bytes + 8, 8);
	memcpy(&port, e->bytes + 16, 2);
	return end(low, high, port);
}

static __attribute__((noinline)) uint8_t owner_of_any(const uint8_t *data, uint32_t caplen, uint32_t workers)
{
	struct flow f = { .kind = 0 };
	ethernet(&f, (struct view){ data, caplen });
	return choose(end_of(&f.a) + end_of(&f.b), f.kind, workers);
}

uint8_t pf_flow_owner(const uint8_t *data, uint32_t caplen, uint32_t workers)
{
	/* Whole packets of TCP and UDP over IPv4 without tags, which most are; the rest the long way, to the same result. */
	if (PF_UNLIKELY(caplen < 38 || data[12] != ETHER_IPV4 >> 8 || data[13] || data[14] >> 4 != 4))
		return owner_of_any(data, caplen, workers);
	const uint32_t header = (data[14] & 15u) * 4;
	const uint8_t protocol = data[23];
	if (PF_UNLIKELY(header < 20 || caplen < 18 + header || (protocol != TCP && protocol != UDP) || data[20] & 0x3f ||
			data[21]))
		return owner_of_any(data, caplen, workers);
	uint32_t source, target;
	uint16_t ports[2];
	memcpy(&source, data + 26, 4);
	memcpy(&target, data + 30, 4);
	memcpy(ports, data + 14 + header, 4);
	return choose(end(source, 0, ports[0]) + end(target, 0, ports[1]), ETHER_IPV4 << 8 | protocol, workers);
}
