/* flow_hash.h - one number for a connection, the same in both directions.
 *
 * What is hashed, from the captured bytes alone (nothing is read past caplen):
 *   IPv4, IPv6      both addresses, the protocol, and the ports of TCP, UDP, DCCP, SCTP and UDP-Lite, or the identifier of
 *                   an ICMP echo (request and reply carry the same). The endpoints are put in order first. VLAN tags
 *                   (802.1Q, 802.1ad, any number up to PF_FLOW_TAGS) and IPv6 extension headers are skipped.
 *   a fragment      (first ones included, so that all of a datagram go together) addresses and protocol only
 *   cut short       what is there: without ports, addresses and protocol; without a whole IP header, as for non-IP
 *   anything else   both MAC addresses, in order, and the Ethernet type; fewer than 14 bytes: nothing
 *
 * Invariants
 *   S1 Exchanging source and destination of every layer that is hashed leaves the hash as it is.
 *   S2 The hash is a function of the key above and the seed: equal on every machine.
 *   S3 The owner is a function of the same key without a seed: packets with equal hashes for every seed have one owner. It
 *      costs a fraction of the hash, since it is computed for every packet of a replay on several workers.
 * So an ICMP error does not follow the connection it is about, nor do fragments follow their connection's whole packets.
 *
 * Threads: any.
 */
#ifndef PF_FLOW_HASH_H
#define PF_FLOW_HASH_H

#include "../tables/tables.h"

#define PF_FLOW_TAGS 8u       /* VLAN tags that are skipped; more make a packet non-IP */
#define PF_FLOW_EXTENSIONS 8u /* IPv6 extension headers that are skipped; more: addresses and the next one's number */

/* A bijection of 64 bits in which every bit of the input moves about half of the output's. */
static inline uint64_t pf_flow_mix(uint64_t x)
{
	x ^= x >> 30;
	x *= UINT64_C(0xbf58476d1ce4e5b9);
	x ^= x >> 27;
	x *= UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* Which of `workers` (1 to 255) a packet goes to. */
uint8_t pf_flow_owner(const uint8_t *data, uint32_t caplen, uint32_t workers);

PF_API uint64_t pf_flow_hash(const uint8_t *data, uint32_t caplen, uint64_t seed);

#endif
