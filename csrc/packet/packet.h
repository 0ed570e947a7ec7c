/* packet.h - the packet a program sees: geometry, growth, and the bytes past the linear part.
 *
 * Terms
 *   linear   data .. data_end, what direct access reaches
 *   extra    bytes after the linear part that only helpers reach (multi-buffer packets, packets over the linear limit)
 *   frame    a worker's private buffer with the room a Linux driver gives; a packet moves there when it must grow
 *   wire_len length on the wire, which the capture may have cut
 *
 * Invariants (Linux 6.18, measured; tests/test_kernel_*.py compares)
 *   K1 hard_start <= data_meta <= data <= data_end <= hard_end.
 *   K2 A fresh packet offers PF_PACKET_HEADROOM bytes in front, shared by head and metadata, and growth at the tail up to
 *      PF_PACKET_LINEAR linear bytes, new bytes zero. After any adjustment at least PF_PACKET_MIN bytes remain.
 *   K3 In the read chunk a packet owns data .. data + caplen and nothing else. What a program can observe does not depend
 *      on whether the packet is in the chunk or in the frame.
 *   K4 Total length = data_end - data + extra_len.
 *
 * Threads: a packet belongs to one worker.
 */
#ifndef PF_PACKET_H
#define PF_PACKET_H

#include "../tables/tables.h"

#define PF_PACKET_HEADROOM 216u
#define PF_PACKET_LINEAR 3520u
#define PF_PACKET_MIN 14u
#define PF_PACKET_META_MAX 252u /* multiples of 4 */

/* Grown on demand, kept for the worker's life; size is bounded by the largest packet plus room on both sides. */
struct pf_frame {
	uint8_t *memory;
	size_t size;
};

/* The ctx of program types xdp and pcap: r1 points here. Programs see it as struct xdp_md through ctx_field.def. */
struct pf_packet {
	uint8_t *data;
	uint8_t *data_end;
	uint8_t *data_meta;
	uint8_t *hard_start; /* lowest byte data may move to without copying */
	uint8_t *hard_end;   /* highest data_end without copying */
	uint8_t *extra;
	uint32_t extra_len;
	uint32_t ingress_ifindex;
	uint32_t rx_queue_index;
	uint32_t egress_ifindex;
	uint32_t wire_len;   /* what K4 says in a fresh packet, unless whoever made it knows better */
	uint32_t link;       /* PF_LINK_KIND: which program of a family runs (prog.h) */
	uint8_t framed;      /* data is in the frame */
	uint8_t frags;       /* the program takes multi-buffer packets */
	uint8_t *origin;     /* where the packet lay when it entered: room in front of data is measured from here (K3) */
	struct pf_frame *frame;
};

/* A packet over len bytes at data, which the packet may write. linear_limit: PF_PACKET_LINEAR ("kernel") or UINT32_MAX
 * ("full"); the rest becomes extra. */
static inline void pf_packet_init(struct pf_packet *p, uint8_t *data, uint32_t len, uint32_t linear_limit)
{
	uint32_t linear = len < linear_limit ? len : linear_limit;
	p->data = p->data_meta = p->hard_start = p->origin = data;
	p->data_end = p->hard_end = data + linear;
	p->extra = data + linear;
	p->extra_len = len - linear;
	p->wire_len = len;
	p->framed = 0;
}

static inline uint32_t pf_packet_length(const struct pf_packet *p)
{
	return (uint32_t)(p->data_end - p->data) + p->extra_len;
}

enum pf_err pf_frame_init(struct pf_frame *frame);
void pf_frame_destroy(struct pf_frame *frame);

/* Puts the packet into the frame with metadata in front (test_run: meta_len bytes at meta). */
enum pf_err pf_packet_load(struct pf_packet *p, const uint8_t *data, uint32_t len, const uint8_t *meta, uint32_t meta_len,
			   uint32_t linear_limit);

/* Another packet's bytes, room and place in its hook, in `to`'s own frame: a program cannot tell them apart. PF_ENOMEM leaves
 * `to` unusable until its next init. */
enum pf_err pf_packet_copy(struct pf_packet *to, const struct pf_packet *from);
/* Offset of the first byte in which metadata, linear part and extra, one after another, differ; UINT32_MAX: they are the
 * same, lengths too. */
uint32_t pf_packet_difference(const struct pf_packet *a, const struct pf_packet *b);

/* bpf_xdp_adjust_head/meta/tail, bpf_xdp_load/store_bytes: 0 or a negative errno, as programs see it. */
int64_t pf_packet_adjust_head(struct pf_packet *p, int32_t offset);
int64_t pf_packet_adjust_meta(struct pf_packet *p, int32_t offset);
int64_t pf_packet_adjust_tail(struct pf_packet *p, int32_t offset);
int64_t pf_packet_load_bytes(const struct pf_packet *p, uint32_t offset, void *to, uint32_t len);
/* As many of the bytes as there are, whatever the offset. */
void pf_packet_copy_out(const struct pf_packet *p, uint32_t offset, void *to, uint32_t len);
int64_t pf_packet_store_bytes(struct pf_packet *p, uint32_t offset, const void *from, uint32_t len);

#endif
