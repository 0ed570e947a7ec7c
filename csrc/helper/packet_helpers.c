/* packet_helpers.c - helpers over the packet: edges, bytes, checksum differences (bpf-helpers(7)). */
#include "groups.h"

#include <string.h>

PF_HELPER_FN(xdp_adjust_head)
{
	PF_UNUSED(r1, r3, r4, r5);
	return (uint64_t)pf_packet_adjust_head(&x->packet, (int32_t)r2);
}

PF_HELPER_FN(xdp_adjust_meta)
{
	PF_UNUSED(r1, r3, r4, r5);
	return (uint64_t)pf_packet_adjust_meta(&x->packet, (int32_t)r2);
}

PF_HELPER_FN(xdp_adjust_tail)
{
	PF_UNUSED(r1, r3, r4, r5);
	return (uint64_t)pf_packet_adjust_tail(&x->packet, (int32_t)r2);
}

PF_HELPER_FN(xdp_get_buff_len)
{
	PF_UNUSED(r1, r2, r3, r4, r5);
	return pf_packet_length(&x->packet);
}

PF_HELPER_FN(xdp_load_bytes)
{
	PF_UNUSED(r1, r5);
	return (uint64_t)pf_packet_load_bytes(&x->packet, (uint32_t)r2, (void *)(uintptr_t)r3, (uint32_t)r4);
}

PF_HELPER_FN(xdp_store_bytes)
{
	PF_UNUSED(r1, r5);
	return (uint64_t)pf_packet_store_bytes(&x->packet, (uint32_t)r2, pf_helper_mem(r3), (uint32_t)r4);
}

/* Ones' complement sum of the 32-bit words in host order (RFC 1071 lets the byte order be anything), a rest padded with
 * zero bytes. Never overflows: sizes are below 2^32. */
static uint64_t word_sum(const uint8_t *from, uint32_t size)
{
	uint64_t sum = 0;
	for (; size; from += 4) {
		const uint32_t n = size < 4 ? size : 4;
		uint32_t word = 0;
		memcpy(&word, from, n);
		sum += word;
		size -= n;
	}
	return sum;
}

/* Folded to `bits` with end-around carry: 0 only for a sum of 0. */
static uint32_t fold(uint64_t sum, int bits)
{
	const uint64_t mask = (1ull << bits) - 1;
	while (sum >> bits)
		sum = (sum & mask) + (sum >> bits);
	return (uint32_t)sum;
}

/* seed + sum(to) - sum(from), folded to 16 bits. Subtracting is adding the complement. Both 0 and 0xffff are zero; which
 * one comes out follows Linux 6.18 (measured), where any size is taken: with `from` alone the complement of
 * from - seed. */
PF_HELPER_FN(csum_diff)
{
	(void)x;
	const uint32_t from_size = (uint32_t)r2, to_size = (uint32_t)r4, seed = (uint32_t)r5;
	uint64_t sum = seed;
	if (to_size)
		sum += word_sum(pf_helper_mem(r3), to_size);
	if (from_size) {
		const uint64_t from = word_sum(pf_helper_mem(r1), from_size);
		sum = to_size ? (uint64_t)fold(sum, 32) + (uint32_t)~fold(from, 32)
			      : (uint32_t)~fold(from + (uint32_t)~seed, 32);
	}
	return fold(fold(sum, 32), 16);
}
