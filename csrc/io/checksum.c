/* checksum.c - what a device would have done: the transport checksum of a packet whose sender left it open (RFC 1071;
 * pseudo headers of RFC 9293 section 3.1, RFC 768, RFC 8200 section 8.1). */
#include "block.h"

#include <string.h>

#define TCP 6u
#define UDP 17u

struct segment {
	uint8_t *data;
	uint32_t len;
	uint64_t pseudo; /* sum of the pseudo header */
	uint32_t protocol;
};

static uint32_t load16(const uint8_t *p) { return (uint32_t)p[0] << 8 | p[1]; }

static uint64_t sum(const uint8_t *p, uint32_t len)
{
	uint64_t total = 0;

	for (; len > 1; p += 2, len -= 2)
		total += load16(p);
	return len ? total + ((uint32_t)*p << 8) : total;
}

static int ipv4(uint8_t *ip, uint32_t len, struct segment *s)
{
	uint32_t header, total;

	if (len < 20)
		return 0;
	header = (ip[0] & 15u) * 4;
	total = load16(ip + 2);
	if (header < 20 || total < header || total > len || load16(ip + 6) & 0x3fff)
		return 0;
	s->data = ip + header;
	s->len = total - header;
	s->protocol = ip[9];
	s->pseudo = sum(ip + 12, 8) + s->protocol + s->len;
	return 1;
}

static int ipv6(uint8_t *ip, uint32_t len, struct segment *s)
{
	if (len < 40 || load16(ip + 4) > len - 40)
		return 0;
	s->data = ip + 40;
	s->len = load16(ip + 4);
	s->protocol = ip[6];
	s->pseudo = sum(ip + 8, 32) + s->protocol + s->len;
	return 1;
}

static int find_segment(uint8_t *data, uint32_t len, struct segment *s)
{
	uint32_t at = 12, type;

	if (len < 14)
		return 0;
	type = load16(data + at);
	for (unsigned tags = 0; (type == 0x8100 || type == 0x88a8) && tags < 2; tags++) {
		at += 4;
		if (len < at + 2)
			return 0;
		type = load16(data + at);
	}
	at += 2;
	if (type == 0x0800)
		return ipv4(data + at, len - at, s);
	return type == 0x86dd && ipv6(data + at, len - at, s);
}

int pf_checksum_complete(uint8_t *data, uint32_t len)
{
	struct segment s;
	uint32_t field;
	uint64_t total;

	if (!find_segment(data, len, &s) || (s.protocol != TCP && s.protocol != UDP))
		return 0;
	field = s.protocol == TCP ? 16 : 6;
	if (s.len < field + 2)
		return 0;
	s.data[field] = s.data[field + 1] = 0;
	total = s.pseudo + sum(s.data, s.len);
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	total = ~total & 0xffff;
	if (!total && s.protocol == UDP)
		total = 0xffff; /* 0 says that there is none */
	s.data[field] = (uint8_t)(total >> 8);
	s.data[field + 1] = (uint8_t)total;
	return 1;
}
