/* tiers_packets.c - packets that reach a program's branches: headers as real traffic has them, the program's own numbers at
 * the places where it looks, and changed copies of packets that reached something new. */
#include "tiers.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void learn(struct pf_tier_source *s, uint64_t value)
{
	for (uint32_t i = 0; i < s->count; i++)
		if (s->constants[i] == value)
			return;
	if (s->count < COUNT(s->constants))
		s->constants[s->count++] = value;
}

static void learn_place(struct pf_tier_source *s, int32_t off)
{
	if (off < 0 || off > 1500)
		return;
	for (uint32_t i = 0; i < s->offsets; i++)
		if (s->offset[i] == off)
			return;
	if (s->offsets < COUNT(s->offset))
		s->offset[s->offsets++] = (uint16_t)off;
}

void pf_tier_source_init(struct pf_tier_source *s, const struct pf_insn *insns, uint32_t count, uint64_t seed)
{
	s->rng = (struct pf_rng){ seed };
	s->count = s->offsets = s->kept = s->next = 0;
	for (uint32_t i = 0; i < count; i++) {
		const struct pf_insn *insn = &insns[i];
		const uint32_t class = insn->code & 7;
		if (insn->code == 0x18) {
			if (!insn->src)
				learn(s, (uint32_t)insn->imm | (uint64_t)(uint32_t)insns[i + 1].imm << 32);
			i++;
		} else if (class == 1) {
			learn_place(s, insn->off);
		} else if (class >= 4 && !(insn->code & 8) && insn->code != 0x85 && insn->code != 0x95) {
			learn(s, (uint64_t)(int64_t)insn->imm);
			if (class == 7 && (insn->code & 0xf0) == 0)
				learn_place(s, insn->imm);
		}
	}
	learn(s, 0);
}

/* ---- headers ---- */

static void put16(uint8_t *to, uint32_t value)
{
	to[0] = (uint8_t)(value >> 8);
	to[1] = (uint8_t)value;
}

static uint32_t port(struct pf_rng *rng)
{
	static const uint16_t ports[] = { 22, 53, 80, 123, 443, 8080, 9, 1900, 4789, 11211 };
	return pf_rng_chance(rng, 70) ? ports[pf_rng_below(rng, COUNT(ports))] : pf_rng_below(rng, 65536);
}

static uint32_t add_transport(uint8_t *to, uint32_t at, uint32_t protocol, struct pf_rng *rng)
{
	put16(to + at, port(rng));
	put16(to + at + 2, port(rng));
	if (protocol == 6) {
		to[at + 12] = (uint8_t)((5 + (pf_rng_chance(rng, 20) ? pf_rng_below(rng, 6) : 0)) << 4);
		to[at + 13] = pf_rng_chance(rng, 40) ? 2 : (uint8_t)pf_rng_below(rng, 64);
		return at + 20;
	}
	if (protocol == 1 || protocol == 58) {
		to[at] = protocol == 1 ? (pf_rng_chance(rng, 50) ? 8 : 0) : 128;
		to[at + 1] = 0;
	} else {
		put16(to + at + 4, 8 + pf_rng_below(rng, 64));
	}
	return at + 8;
}

static uint32_t add_ipv4(uint8_t *to, uint32_t at, struct pf_rng *rng)
{
	static const uint8_t protocols[] = { 6, 6, 6, 17, 17, 1, 4, 41, 47, 50 };
	const uint32_t words = pf_rng_chance(rng, 90) ? 5 : 5 + pf_rng_below(rng, 4);
	const uint8_t protocol = protocols[pf_rng_below(rng, sizeof(protocols))];
	to[at] = (uint8_t)(0x40 | words);
	put16(to + at + 2, 40 + pf_rng_below(rng, 100));
	put16(to + at + 6, pf_rng_chance(rng, 85) ? 0x4000 : pf_rng_below(rng, 65536));
	to[at + 8] = pf_rng_chance(rng, 90) ? 64 : (uint8_t)pf_rng_below(rng, 3);
	to[at + 9] = protocol;
	to[at + 12] = to[at + 16] = 10;
	to[at + 15] = (uint8_t)pf_rng_below(rng, 4);
	to[at + 19] = (uint8_t)pf_rng_below(rng, 4);
	return add_transport(to, at + 4 * words, protocol, rng);
}

static uint32_t add_ipv6(uint8_t *to, uint32_t at, struct pf_rng *rng)
{
	static const uint8_t protocols[] = { 6, 6, 17, 17, 58, 0, 44, 43, 60 };
	uint8_t protocol = protocols[pf_rng_below(rng, sizeof(protocols))];
	to[at] = 0x60;
	put16(to + at + 4, 20 + pf_rng_below(rng, 100));
	to[at + 6] = protocol;
	to[at + 7] = 64;
	at += 40;
	for (uint32_t n = 0; n < 3 && (protocol == 0 || protocol == 43 || protocol == 44 || protocol == 60); n++) {
		protocol = protocols[pf_rng_below(rng, sizeof(protocols))];
		to[at] = protocol;
		to[at + 1] = 0;
		at += 8;
	}
	return add_transport(to, at, protocol, rng);
}

static uint32_t headers(uint8_t *to, struct pf_rng *rng)
{
	uint32_t at = 12;
	for (uint32_t tags = pf_rng_chance(rng, 75) ? 0 : 1 + pf_rng_below(rng, 2); tags; tags--) {
		put16(to + at, pf_rng_chance(rng, 70) ? 0x8100 : 0x88a8);
		put16(to + at + 2, pf_rng_below(rng, 100));
		at += 4;
	}
	const uint32_t kind = pf_rng_below(rng, 10);
	put16(to + at, kind < 6 ? 0x0800 : kind < 9 ? 0x86dd : 0x0806);
	return kind < 6 ? add_ipv4(to, at + 2, rng) : kind < 9 ? add_ipv6(to, at + 2, rng) : at + 30;
}

/* ---- changes ---- */

static void write_constant(struct pf_tier_source *s, uint8_t *packet, uint32_t length)
{
	static const uint8_t sizes[] = { 1, 1, 2, 2, 4, 8 };
	const uint32_t size = sizes[pf_rng_below(&s->rng, sizeof(sizes))];
	uint32_t at = s->offsets && pf_rng_chance(&s->rng, 85) ? s->offset[pf_rng_below(&s->rng, s->offsets)] :
							       pf_rng_below(&s->rng, length);
	uint64_t value = s->constants[pf_rng_below(&s->rng, s->count)];
	if (pf_rng_chance(&s->rng, 20) && s->offsets)
		at += s->offset[pf_rng_below(&s->rng, s->offsets)];
	if (pf_rng_chance(&s->rng, 15))
		value += pf_rng_chance(&s->rng, 50) ? 1 : UINT64_MAX;
	if (size > 1 && pf_rng_chance(&s->rng, 50))
		value = __builtin_bswap64(value) >> (64 - 8 * size);
	if (at + size <= length)
		memcpy(packet + at, &value, size);
}

static uint32_t change(struct pf_tier_source *s, uint8_t *packet, uint32_t length)
{
	struct pf_rng *rng = &s->rng;
	for (uint32_t n = 1 + pf_rng_below(rng, 4); n; n--) {
		const uint32_t what = pf_rng_below(rng, 10);
		const uint64_t edge = pf_rng_edge(rng);
		if (what < 6) {
			write_constant(s, packet, length);
		} else if (what < 9) {
			const uint32_t at = s->offsets && pf_rng_chance(rng, 60) ? s->offset[pf_rng_below(rng, s->offsets)] :
									    pf_rng_below(rng, length < 96 ? length : 96);
			if (at < length)
				packet[at] = (uint8_t)edge;
		} else {
			const uint32_t to = 14 + pf_rng_below(rng, 160);
			for (uint32_t at = length; at < to; at++)
				packet[at] = (uint8_t)pf_rng_next(rng);
			length = to;
		}
	}
	return length;
}

uint32_t pf_tier_packet(struct pf_tier_source *s, uint8_t *to)
{
	struct pf_rng *rng = &s->rng;
	const uint32_t choice = pf_rng_below(rng, 100);
	uint32_t length;

	if (s->kept && choice < 60) {
		const uint32_t k = pf_rng_below(rng, s->kept);
		length = s->length[k];
		memcpy(to, s->bytes[k], length);
		return change(s, to, length);
	}
	length = pf_world_packet(to, pf_rng_next(rng));
	if (choice < 85) {
		uint8_t room[256];
		memcpy(room, to, sizeof(room));
		const uint32_t end = headers(room, rng);
		if (length < end && pf_rng_chance(rng, 90))
			length = end + pf_rng_below(rng, 20);
		memcpy(to, room, end < sizeof(room) ? end : sizeof(room));
	}
	return choice % 3 ? change(s, to, length) : length;
}

void pf_tier_keep(struct pf_tier_source *s, const uint8_t *packet, uint32_t length)
{
	const uint32_t at = s->kept < PF_TIERS_KEPT ? s->kept++ : s->next++ % PF_TIERS_KEPT;
	s->length[at] = length;
	memcpy(s->bytes[at], packet, length);
}
