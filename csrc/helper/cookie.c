/* cookie.c - TCP SYN cookies as Linux makes them: functions of addresses, ports, sequence number, minute and two keys.
 *
 * A cookie is the sum of a hash of the connection, the sequence number, the minute in the upper 8 bits, and in the lower
 * 24 bits a second hash, with the minute, plus the number of the MSS in a table. Whoever knows the keys finds the minute
 * and the MSS in it again; cookies of this minute and the one before are taken.
 */
#include "groups.h"
#include "sockets.h"

#include <string.h>

#define MINUTE_NS 60000000000u
#define LOW_BITS 24
#define LOW_MASK ((UINT32_C(1) << LOW_BITS) - 1)
#define MINUTES_VALID 2u
#define TCP_HEADER 20u
#define OPTION_END 0
#define OPTION_NOP 1
#define OPTION_MSS 2
#define MSS_DEFAULT_IPV4 536u
#define MSS_DEFAULT_IPV6 1220u /* of the least MTU */
#define MSS_KINDS 4u

static const uint16_t mss_ipv4[MSS_KINDS] = { 536, 1300, 1440, 1460 };
static const uint16_t mss_ipv6[MSS_KINDS] = { 1220, 1420, 1440, 8940 };

static uint64_t rotate(uint64_t v, int by)
{
	return v << by | v >> (64 - by);
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] = rotate(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] = rotate(v[2], 32);
}

static uint64_t little(const uint8_t *bytes, uint32_t size)
{
	uint64_t value = 0;
	for (uint32_t i = 0; i < size; i++)
		value |= (uint64_t)bytes[i] << 8 * i;
	return value;
}

uint64_t pf_siphash(const uint8_t key[16], const void *data, uint32_t size)
{
	const uint64_t k0 = little(key, 8), k1 = little(key + 8, 8);
	uint64_t v[4] = { k0 ^ 0x736f6d6570736575u, k1 ^ 0x646f72616e646f6du, k0 ^ 0x6c7967656e657261u,
			  k1 ^ 0x7465646279746573u };
	const uint8_t *at = data;
	for (uint32_t left = size;; left -= 8, at += 8) {
		const uint64_t word = left < 8 ? little(at, left) | (uint64_t)size << 56 : little(at, 8);
		v[3] ^= word;
		sip_round(v);
		sip_round(v);
		v[0] ^= word;
		if (left < 8)
			break;
	}
	v[2] ^= 0xff;
	for (int i = 0; i < 4; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* What of a segment goes into the hash: both addresses, and the ports as they stand. */
struct connection {
	const uint8_t (*keys)[16];
	const uint8_t *addresses; /* source, destination */
	const uint8_t *ports;
	const uint16_t *mss;
	uint32_t address_size, minute;
};

static uint32_t hash(const struct connection *c, uint32_t minute, int key)
{
	uint8_t bytes[40];
	const uint32_t size = c->address_size;
	uint8_t *at = bytes + 2 * size;
	memcpy(bytes, c->addresses, 2 * size);
	if (size == 4) { /* one 32-bit number of the two ports, source in the upper half */
		memcpy(at, c->ports + 2, 2);
		memcpy(at + 2, c->ports, 2);
		memcpy(at + 4, &minute, 4);
	} else {
		memcpy(at, &minute, 4);
		memcpy(at + 4, c->ports, 4);
	}
	return (uint32_t)pf_siphash(c->keys[key], bytes, 2 * size + 8);
}

static uint32_t big32(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static struct connection connect_of(const struct pf_exec *x, int ipv6, uint64_t ip, uint64_t tcp)
{
	const struct pf_net *net = x->net ? x->net : pf_net_empty();
	const uint8_t *header = pf_helper_mem(ip);
	return (struct connection){
		.keys = (const uint8_t(*)[16])net->t.cookie_keys[ipv6 ? 2 : 0],
		.addresses = header + (ipv6 ? 8 : 12),
		.ports = pf_helper_mem(tcp),
		.mss = ipv6 ? mss_ipv6 : mss_ipv4,
		.address_size = ipv6 ? 16 : 4,
		.minute = (uint32_t)(x->time_ns / MINUTE_NS),
	};
}

/* The last MSS option before the end or a malformed option; 0: none. */
static uint32_t offered_mss(const uint8_t *tcp, uint32_t size)
{
	uint32_t mss = 0;
	for (uint32_t at = TCP_HEADER; at < size && tcp[at] != OPTION_END;) {
		if (tcp[at] == OPTION_NOP) {
			at++;
			continue;
		}
		if (size - at < 2 || tcp[at + 1] < 2 || tcp[at + 1] > size - at)
			break;
		const uint32_t value = tcp[at] == OPTION_MSS && tcp[at + 1] == 4 ? (uint32_t)tcp[at + 2] << 8 | tcp[at + 3]
										   : 0;
		mss = value ? value : mss;
		at += tcp[at + 1];
	}
	return mss;
}

/* Cookie, and above it the MSS that it stands for. */
static uint64_t make(const struct connection *c, uint64_t tcp, uint32_t size, uint32_t mss_default)
{
	const uint8_t *header = pf_helper_mem(tcp);
	if (size < TCP_HEADER || size != (uint32_t)(header[12] >> 4) * 4)
		return (uint64_t)-PF_EINVAL;
	const uint32_t offered = offered_mss(header, size), wanted = offered ? offered : mss_default;
	uint32_t kind = MSS_KINDS - 1;
	while (kind && wanted < c->mss[kind])
		kind--;
	const uint32_t cookie = hash(c, 0, 0) + big32(header + 4) + (c->minute << LOW_BITS) +
				((hash(c, c->minute, 1) + kind) & LOW_MASK);
	return cookie | (uint64_t)c->mss[kind] << 32;
}

static uint64_t check(const struct connection *c, uint64_t tcp)
{
	const uint8_t *header = pf_helper_mem(tcp);
	const uint32_t rest = big32(header + 8) - 1 - hash(c, 0, 0) - (big32(header + 4) - 1);
	const uint32_t age = (c->minute - (rest >> LOW_BITS)) & (UINT32_MAX >> LOW_BITS);
	if (age >= MINUTES_VALID)
		return (uint64_t)-PF_EACCES;
	const uint32_t kind = (rest - hash(c, c->minute - age, 1)) & LOW_MASK;
	return kind < MSS_KINDS ? 0 : (uint64_t)-PF_EACCES;
}

uint64_t pf_cookie_make(const struct pf_exec *x, int ipv6, uint64_t ip, uint64_t tcp, uint32_t size)
{
	const struct connection c = connect_of(x, ipv6, ip, tcp);
	return make(&c, tcp, size, ipv6 ? MSS_DEFAULT_IPV6 : MSS_DEFAULT_IPV4);
}

uint64_t pf_cookie_check(const struct pf_exec *x, int ipv6, uint64_t ip, uint64_t tcp)
{
	const struct connection c = connect_of(x, ipv6, ip, tcp);
	return check(&c, tcp);
}

PF_HELPER_FN(tcp_raw_gen_syncookie_ipv4)
{
	PF_UNUSED(r4, r5);
	return pf_cookie_make(x, 0, r1, r2, (uint32_t)r3);
}

PF_HELPER_FN(tcp_raw_gen_syncookie_ipv6)
{
	PF_UNUSED(r4, r5);
	return pf_cookie_make(x, 1, r1, r2, (uint32_t)r3);
}

PF_HELPER_FN(tcp_raw_check_syncookie_ipv4)
{
	PF_UNUSED(r3, r4, r5);
	return pf_cookie_check(x, 0, r1, r2);
}

PF_HELPER_FN(tcp_raw_check_syncookie_ipv6)
{
	PF_UNUSED(r3, r4, r5);
	return pf_cookie_check(x, 1, r1, r2);
}
