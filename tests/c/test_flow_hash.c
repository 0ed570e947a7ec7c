/* test_flow_hash.c - flow_hash.h S1 and S2 on packets made here, and every truncation of each, in a block of exactly that
 * size, so that a sanitizer sees a read past it. The values themselves are compared with an independent implementation in
 * tests/test_flow_hash.py. */
#include "check.h"

#include "packet/flow_hash.h"

#include <string.h>

#define MAX 256u

struct frame {
	uint8_t bytes[MAX];
	uint32_t len;
	/* Where source and destination lie, for turning the packet around. */
	uint32_t src, dst, address; /* address: its length; 0: no IP */
	uint32_t ports;             /* offset, 0: none */
};

static void put(struct frame *f, const void *bytes, uint32_t n)
{
	memcpy(f->bytes + f->len, bytes, n);
	f->len += n;
}

static void put16(struct frame *f, uint32_t v)
{
	const uint8_t bytes[] = { (uint8_t)(v >> 8), (uint8_t)v };
	put(f, bytes, 2);
}

static struct frame ether(uint32_t tags, uint32_t type)
{
	static const uint8_t macs[] = { 2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1 };
	struct frame f = { .len = 0 };
	put(&f, macs, sizeof(macs));
	for (uint32_t i = 0; i < tags; i++) {
		put16(&f, i + 1 < tags ? 0x88a8 : 0x8100);
		put16(&f, 100 + i);
	}
	put16(&f, type);
	return f;
}

static void ports(struct frame *f, uint32_t src, uint32_t dst)
{
	static const uint8_t rest[16];
	f->ports = f->len;
	put16(f, src);
	put16(f, dst);
	put(f, rest, sizeof(rest));
}

static struct frame ipv4(uint32_t tags, uint8_t protocol, uint32_t fragment, uint32_t options)
{
	struct frame f = ether(tags, 0x0800);
	const uint8_t head[] = { (uint8_t)(0x45 + options), 0, 0, 60, 1, 2, (uint8_t)(fragment >> 8), (uint8_t)fragment,
				 64, protocol, 0, 0, 10, 0, 0, 1, 192, 168, 7, 9 };
	static const uint8_t words[40];
	f.src = f.len + 12;
	f.dst = f.len + 16;
	f.address = 4;
	put(&f, head, sizeof(head));
	put(&f, words, options * 4);
	return f;
}

static struct frame ipv6(uint32_t tags, uint8_t next)
{
	struct frame f = ether(tags, 0x86dd);
	uint8_t head[40] = { 0x60, 0, 0, 0, 0, 40, next, 64 };
	for (uint8_t i = 0; i < 16; i++) {
		head[8 + i] = i;
		head[24 + i] = (uint8_t)(200 - i);
	}
	f.src = f.len + 8;
	f.dst = f.len + 24;
	f.address = 16;
	put(&f, head, sizeof(head));
	return f;
}

/* Hop-by-hop, routing, fragment (offset and flags as given), authentication, destination options, then TCP. */
static struct frame extended(uint32_t fragment)
{
	struct frame f = ipv6(1, 0);
	const uint8_t chain[] = {
		43, 0, 1, 4, 0, 0, 0, 0,
		44, 1, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8,
		51, 0, (uint8_t)(fragment >> 8), (uint8_t)fragment, 0, 0, 0, 7,
		60, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3,
		6, 0, 1, 4, 0, 0, 0, 0,
	};
	put(&f, chain, sizeof(chain));
	ports(&f, 40000, 443);
	return f;
}

static uint64_t hash_of(const struct frame *f, uint32_t len, uint64_t seed)
{
	uint8_t *exact = malloc(len ? len : 1);
	CHECK(exact);
	memcpy(exact, f->bytes, len);
	uint64_t hash = pf_flow_hash(exact, len, seed);
	free(exact);
	return hash;
}

static void swap(uint8_t *a, uint8_t *b, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		uint8_t t = a[i];
		a[i] = b[i];
		b[i] = t;
	}
}

static struct frame turned(const struct frame *f)
{
	struct frame r = *f;
	swap(r.bytes, r.bytes + 6, 6);
	if (f->address)
		swap(r.bytes + f->src, r.bytes + f->dst, f->address);
	if (f->ports)
		swap(r.bytes + f->ports, r.bytes + f->ports + 2, 2);
	return r;
}

static uint32_t all(struct frame *frames)
{
	uint32_t n = 0;
	const uint8_t with_ports[] = { 6, 17, 33, 132, 136 };
	for (uint32_t tags = 0; tags < 3; tags++)
		for (uint32_t i = 0; i < sizeof(with_ports); i++) {
			frames[n] = ipv4(tags, with_ports[i], 0, i);
			ports(&frames[n++], 40000 + i, 53);
		}
	frames[n] = ipv6(2, 17);
	ports(&frames[n++], 53, 5353);
	frames[n++] = extended(0);
	frames[n++] = extended(1);
	frames[n] = ether(1, 0x0806);
	ports(&frames[n], 1, 1);
	frames[n++].ports = 0;
	return n;
}

static void test_both_directions_at_every_length(void)
{
	struct frame frames[32];
	const uint32_t count = all(frames);
	CHECK(count == 19);
	for (uint32_t i = 0; i < count; i++) {
		const struct frame back = turned(&frames[i]);
		for (uint32_t len = 0; len <= frames[i].len; len++) {
			/* Half of a pair of addresses or ports tells nothing of the other direction: only then may the
			 * two differ, and they never are part of the key then. */
			CHECK_EQ(hash_of(&frames[i], len, 5), hash_of(&back, len, 5));
		}
	}
}

static void test_what_counts(void)
{
	struct frame f = ipv4(0, 6, 0, 0), g = f;
	ports(&f, 1000, 80);
	ports(&g, 1001, 80);
	CHECK(hash_of(&f, f.len, 0) != hash_of(&g, g.len, 0));
	CHECK(hash_of(&f, f.len, 0) != hash_of(&f, f.len, 1)); /* the seed */
	g = ipv4(2, 6, 0, 5);
	ports(&g, 1000, 80);
	CHECK_EQ(hash_of(&f, f.len, 0), hash_of(&g, g.len, 0)); /* neither tags nor options */
	g.bytes[g.src]++;
	CHECK(hash_of(&f, f.len, 0) != hash_of(&g, g.len, 0));
	/* Not the same as the two endpoints with their ports exchanged between them. */
	g = ipv4(0, 6, 0, 0);
	ports(&g, 80, 1000);
	CHECK(hash_of(&f, f.len, 0) != hash_of(&g, g.len, 0));
}

static void test_fragments_go_by_addresses(void)
{
	struct frame first = ipv4(0, 17, 0x2000, 0), later = ipv4(0, 17, 0x00b9, 0), whole = ipv4(0, 17, 0x4000, 0);
	ports(&first, 1, 2);
	ports(&later, 0xdead, 0xbeef);
	ports(&whole, 1, 2);
	CHECK_EQ(hash_of(&first, first.len, 0), hash_of(&later, later.len, 0));
	CHECK(hash_of(&first, first.len, 0) != hash_of(&whole, whole.len, 0)); /* don't-fragment is no fragment */
	struct frame one = extended(1), other = extended(0x0148), atomic = extended(0), plain = ipv6(0, 6);
	ports(&plain, 40000, 443);
	/* Behind an offset there is no header that can be trusted: both stop at the fragment header. */
	CHECK_EQ(hash_of(&one, one.len, 0), hash_of(&other, other.len, 0));
	CHECK_EQ(hash_of(&atomic, atomic.len, 0), hash_of(&plain, plain.len, 0));
}

static void test_echo_pairs(void)
{
	struct frame request = ipv4(0, 1, 0, 0), reply;
	const uint8_t echo[] = { 8, 0, 1, 2, 0x12, 0x34, 0, 1 };
	put(&request, echo, sizeof(echo));
	reply = turned(&request);
	reply.bytes[request.len - 8] = 0;
	CHECK_EQ(hash_of(&request, request.len, 0), hash_of(&reply, reply.len, 0));
	reply.bytes[request.len - 3]++; /* another identifier */
	CHECK(hash_of(&request, request.len, 0) != hash_of(&reply, reply.len, 0));
}

/* Of 64 K flows, each of 16 shares of the range gets its 4 K within 5 standard deviations. */
static void test_spread(void)
{
	uint32_t shares[16] = { 0 };
	struct frame f = ipv4(0, 6, 0, 0);
	ports(&f, 0, 80);
	for (uint32_t port = 0; port < 65536; port++) {
		f.bytes[f.ports] = (uint8_t)(port >> 8);
		f.bytes[f.ports + 1] = (uint8_t)port;
		shares[pf_flow_hash(f.bytes, f.len, 3) >> 60]++;
	}
	for (uint32_t i = 0; i < 16; i++)
		CHECK(shares[i] > 4096 - 310 && shares[i] < 4096 + 310);
}

/* S3: turned around, tagged, with options: one owner; and owners are spread. */
static void test_owners(void)
{
	static const uint8_t protocols[] = { 6, 17, 132, 47 };
	uint32_t owned[8] = { 0 };
	for (uint32_t i = 0; i < 4000; i++) {
		const uint8_t protocol = protocols[i % 4];
		struct frame plain = ipv4(0, protocol, 0, 0), other = ipv4(i % 3, protocol, 0, i % 5);
		ports(&plain, 1000 + i, 53);
		ports(&other, 1000 + i, 53);
		plain.bytes[plain.src + 3] = other.bytes[other.src + 3] = (uint8_t)(i * 7);
		const uint8_t owner = pf_flow_owner(plain.bytes, plain.len, 8);
		CHECK(owner < 8);
		CHECK_EQ(pf_flow_owner(other.bytes, other.len, 8), owner);
		const struct frame back = turned(&other);
		CHECK_EQ(pf_flow_owner(back.bytes, back.len, 8), owner);
		CHECK_EQ(pf_flow_owner(plain.bytes, plain.len, 1), 0);
		owned[owner]++;
	}
	for (uint32_t k = 0; k < 8; k++)
		CHECK(owned[k] > 250 && owned[k] < 1000);
	for (uint32_t len = 0; len < 60; len++) { /* cut anywhere, in a block of that size */
		struct frame f = ipv4(0, 6, 0, 5);
		uint8_t *exact = malloc(len + 1);
		ports(&f, 1, 2);
		memcpy(exact + 1, f.bytes, len);
		CHECK(pf_flow_owner(exact + 1, len, 255) < 255);
		free(exact);
	}
}

int main(void)
{
	test_owners();
	test_both_directions_at_every_length();
	test_what_counts();
	test_fragments_go_by_addresses();
	test_echo_pairs();
	test_spread();
	return 0;
}
