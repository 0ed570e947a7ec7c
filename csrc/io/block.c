/* block.c - walking a block whose every number may be wrong. */
#include "block.h"

#include <linux/if_packet.h>
#include <string.h>

#define MACS 12u /* both addresses: what lies in front of a VLAN tag */
#define TAG 4u
#define ETHERTYPE_VLAN 0x8100u

#define FRAME_HEADER ((uint32_t)TPACKET_ALIGN(sizeof(struct tpacket3_hdr)))
#define FRAME_FRONT (FRAME_HEADER + (uint32_t)sizeof(struct sockaddr_ll))

static enum pf_err damaged(struct pf_diag *diag, const char *what, uint64_t offset, uint64_t found, uint64_t expected)
{
	return pf_diag_set(diag, PF_EBADMSG, PF_DIAG_LIVE_BLOCK, 0, offset, found, expected, what);
}

enum pf_err pf_block_open(struct pf_block *block, uint8_t *memory, uint32_t size, struct pf_diag *diag)
{
	struct tpacket_block_desc desc;

	memset(block, 0, sizeof *block);
	if (size < sizeof desc)
		return damaged(diag, "header", 0, size, sizeof desc);
	memcpy(&desc, memory, sizeof desc);
	block->memory = memory;
	block->size = size;
	block->at = desc.hdr.bh1.offset_to_first_pkt;
	block->low = sizeof desc;
	block->left = desc.hdr.bh1.num_pkts;
	return PF_OK;
}

/* G1: the header of the frame at block->at, and that its packet lies within the block. */
static enum pf_err load_frame(const struct pf_block *block, struct tpacket3_hdr *frame, struct pf_diag *diag)
{
	uint32_t room;

	if (block->at < block->low || block->at > block->size || block->size - block->at < FRAME_FRONT)
		return damaged(diag, "packet offset", block->at, block->at, block->size);
	room = block->size - block->at;
	memcpy(frame, block->memory + block->at, sizeof *frame);
	if (frame->tp_mac < FRAME_FRONT || frame->tp_mac > room)
		return damaged(diag, "link header offset", block->at, frame->tp_mac, room);
	if (frame->tp_snaplen > room - frame->tp_mac)
		return damaged(diag, "captured length", block->at, frame->tp_snaplen, room - frame->tp_mac);
	return PF_OK;
}

static void step(struct pf_block *block, const struct tpacket3_hdr *frame)
{
	block->low = block->at + frame->tp_mac + frame->tp_snaplen;
	/* An offset that is too large is found when the next frame is loaded; the sum must not wrap. */
	if (frame->tp_next_offset > block->size)
		block->at = UINT32_MAX;
	else
		block->at += frame->tp_next_offset;
	block->left--;
}

/* G3. The frame has four bytes to spare (PACKET_RESERVE), or the tag stays out. */
static void put_tag_back(struct pf_desc *d, const struct tpacket3_hdr *frame, struct pf_block_counts *counts)
{
	uint32_t tpid = frame->tp_status & TP_STATUS_VLAN_TPID_VALID ? frame->hv1.tp_vlan_tpid : ETHERTYPE_VLAN;
	uint32_t tci = frame->hv1.tp_vlan_tci;
	uint8_t *tag;

	if (d->caplen < MACS || frame->tp_mac < FRAME_FRONT + TAG)
		return;
	memmove(d->data - TAG, d->data, MACS);
	d->data -= TAG;
	d->caplen += TAG;
	d->wire_len += d->wire_len <= UINT32_MAX - TAG ? TAG : 0;
	tag = d->data + MACS;
	tag[0] = (uint8_t)(tpid >> 8);
	tag[1] = (uint8_t)tpid;
	tag[2] = (uint8_t)(tci >> 8);
	tag[3] = (uint8_t)tci;
	counts->vlan++;
}

/* 0: the packet is left out. */
static int describe(struct pf_desc *d, const struct pf_block *block, const struct tpacket3_hdr *frame,
		    const struct pf_block_options *options, struct pf_block_counts *counts)
{
	struct sockaddr_ll from;
	int partial = (frame->tp_status & TP_STATUS_CSUMNOTREADY) != 0;

	memcpy(&from, block->memory + block->at + FRAME_HEADER, sizeof from);
	if (from.sll_pkttype == PACKET_OUTGOING && !options->outgoing) {
		counts->outgoing_left_out++;
		return 0;
	}
	if (partial && options->partial == PF_PARTIAL_SKIP) {
		counts->partial_left_out++;
		return 0;
	}
	d->data = block->memory + block->at + frame->tp_mac;
	d->caplen = frame->tp_snaplen;
	d->wire_len = frame->tp_len > frame->tp_snaplen ? frame->tp_len : frame->tp_snaplen;
	d->ts_ns = d->ts_raw = (int64_t)frame->tp_sec * 1000000000 + frame->tp_nsec;
	d->iface = options->port;
	d->flags = from.sll_pkttype == PACKET_OUTGOING ? PF_DESC_OUTGOING : PF_DESC_INCOMING;
	if (frame->tp_status & TP_STATUS_VLAN_VALID)
		put_tag_back(d, frame, counts);
	if (partial && options->partial == PF_PARTIAL_COMPLETE && pf_checksum_complete(d->data, d->caplen)) {
		counts->partial_completed++;
	} else if (partial) {
		d->flags |= PF_DESC_PARTIAL;
		counts->partial++;
	}
	if (d->caplen > options->snaplen)
		d->caplen = options->snaplen;
	counts->packets++;
	counts->bytes += d->caplen;
	return 1;
}

enum pf_err pf_block_fill(struct pf_block *block, const struct pf_block_options *options, struct pf_batch *batch,
			  struct pf_block_counts *counts, struct pf_diag *diag)
{
	while (block->left && batch->n < batch->capacity) {
		struct tpacket3_hdr frame;
		enum pf_err err = load_frame(block, &frame, diag);

		if (err)
			return err;
		batch->n += (uint32_t)describe(&batch->desc[batch->n], block, &frame, options, counts);
		step(block, &frame);
	}
	return PF_OK;
}
