/* block.h - one block of a TPACKET_V3 ring: from the kernel's layout to descriptors, in place.
 *
 * Source: Linux, include/uapi/linux/if_packet.h (the layout); packet(7).
 *
 * Terms
 *   block   consecutive packets that the kernel hands over together; what becomes a batch
 *   frame   one packet in it: struct tpacket3_hdr, struct sockaddr_ll, room, the packet
 *   port    the number of the interface within its source: a descriptor's iface
 *
 * Invariants
 *   G1 Nothing outside of memory .. memory + size is touched, whatever the block says, and no two descriptors of a block
 *      overlap: a frame lies behind the packet before.
 *   G2 A frame that cannot be is PF_EBADMSG; the packets in front of it have been delivered (D2).
 *   G3 A stripped VLAN tag is back in its place, four bytes before where the packet lay; captured and original length
 *      count it.
 *
 * Threads: one at a time. The block is the caller's (TP_STATUS_USER) until it is given back.
 */
#ifndef PF_IO_BLOCK_H
#define PF_IO_BLOCK_H

#include "../packet/batch.h"

/* Packets whose transport checksum the sender left to the device (TP_STATUS_CSUMNOTREADY). */
enum pf_partial { PF_PARTIAL_MARK, PF_PARTIAL_SKIP, PF_PARTIAL_COMPLETE };

struct pf_block_options {
	uint32_t snaplen;  /* captured bytes at most, the tag included */
	uint32_t port;
	uint8_t outgoing;  /* deliver packets that this machine sends */
	enum pf_partial partial;
};

struct pf_block_counts {
	uint64_t packets, bytes;    /* delivered, as captured */
	uint64_t outgoing_left_out;
	uint64_t partial;           /* delivered with PF_DESC_PARTIAL */
	uint64_t partial_completed, partial_left_out;
	uint64_t vlan;              /* tags put back */
};

struct pf_block {
	uint8_t *memory;
	uint32_t size;
	uint32_t at;    /* next frame */
	uint32_t left;  /* frames not looked at */
	uint32_t low;   /* behind the frame before */
};

PF_API enum pf_err pf_block_open(struct pf_block *block, uint8_t *memory, uint32_t size, struct pf_diag *diag);
/* Appends descriptors to the batch until it is full or the block ends (left == 0). */
PF_API enum pf_err pf_block_fill(struct pf_block *block, const struct pf_block_options *options, struct pf_batch *batch,
				 struct pf_block_counts *counts, struct pf_diag *diag);

/* Writes the right TCP or UDP checksum into a whole Ethernet packet over IPv4 or IPv6, with at most two VLAN tags. 0: it
 * is another kind, cut, or a fragment, and was left alone. */
PF_API int pf_checksum_complete(uint8_t *data, uint32_t len);

#endif
