/* packet.c - moving the edges of a packet, and copying it into the frame when it outgrows the chunk.
 *
 * Layout of a frame: [HEADROOM][linear room][extra room]; origin lies after the headroom. Every limit below is measured
 * from origin, so that it is the same in the chunk and in the frame (K3).
 */
#include "packet.h"

#include <stdlib.h>
#include <string.h>

#define PF_FRAG 4096u      /* extra bytes lie in pieces of this size; the last piece can grow to it (Linux: a page) */
#define PF_HELPER_LEN 0xffffu /* bpf_xdp_load_bytes: largest offset and length */

static uint32_t frag_room(uint32_t extra_len)
{
	return (extra_len + PF_FRAG - 1) / PF_FRAG * PF_FRAG;
}

/* The frame holds what a packet of these lengths can become; PF_ENOMEM leaves it as it was. */
static enum pf_err frame_reserve(struct pf_frame *frame, size_t linear, size_t extra)
{
	size_t need = PF_PACKET_HEADROOM + linear + extra;
	if (frame->size >= need)
		return PF_OK;
	uint8_t *memory = malloc(need);
	if (!memory)
		return PF_ENOMEM;
	free(frame->memory);
	frame->memory = memory;
	frame->size = need;
	return PF_OK;
}

enum pf_err pf_frame_init(struct pf_frame *frame)
{
	frame->memory = NULL;
	frame->size = 0;
	return frame_reserve(frame, PF_PACKET_LINEAR, PF_FRAG);
}

void pf_frame_destroy(struct pf_frame *frame)
{
	free(frame->memory);
	frame->memory = NULL;
	frame->size = 0;
}

/* Highest data_end that a program can reach. */
static uint8_t *tail_limit(const struct pf_packet *p)
{
	return p->hard_end - p->origin > (ptrdiff_t)PF_PACKET_LINEAR ? p->hard_end : p->origin + PF_PACKET_LINEAR;
}

/* Copies origin .. data_end (bytes that the head gave up come back when it returns) and extra; fresh room is zero. */
static enum pf_err move_to_frame(struct pf_packet *p)
{
	const size_t linear = (size_t)(tail_limit(p) - p->origin);
	enum pf_err err = frame_reserve(p->frame, linear, frag_room(p->extra_len));
	if (err)
		return err;
	uint8_t *origin = p->frame->memory + PF_PACKET_HEADROOM;
	memset(p->frame->memory, 0, PF_PACKET_HEADROOM);
	memcpy(origin, p->origin, (size_t)(p->data_end - p->origin));
	if (p->extra_len)
		memcpy(origin + linear, p->extra, p->extra_len);
	p->data = origin + (p->data - p->origin);
	p->data_meta = origin + (p->data_meta - p->origin);
	p->data_end = origin + (p->data_end - p->origin);
	p->origin = origin;
	p->extra = origin + linear;
	p->hard_start = p->frame->memory;
	p->hard_end = origin + linear;
	p->framed = 1;
	return PF_OK;
}

enum pf_err pf_packet_load(struct pf_packet *p, const uint8_t *data, uint32_t len, const uint8_t *meta, uint32_t meta_len,
			   uint32_t linear_limit)
{
	if (meta_len > PF_PACKET_HEADROOM || meta_len % 4)
		return PF_EINVAL;
	const uint32_t linear = len < linear_limit ? len : linear_limit;
	const uint32_t room = linear > PF_PACKET_LINEAR ? linear : PF_PACKET_LINEAR;
	enum pf_err err = frame_reserve(p->frame, room, frag_room(len - linear));
	if (err)
		return err;
	uint8_t *origin = p->frame->memory + PF_PACKET_HEADROOM;
	memset(p->frame->memory, 0, PF_PACKET_HEADROOM);
	if (linear)
		memcpy(origin, data, linear);
	if (len > linear)
		memcpy(origin + room, data + linear, len - linear);
	if (meta_len)
		memcpy(origin - meta_len, meta, meta_len);
	p->wire_len = len;
	p->data = p->origin = origin;
	p->data_meta = origin - meta_len;
	p->data_end = origin + linear;
	p->extra = p->hard_end = origin + room;
	p->extra_len = len - linear;
	p->hard_start = p->frame->memory;
	p->framed = 1;
	return PF_OK;
}

enum pf_err pf_packet_copy(struct pf_packet *to, const struct pf_packet *from)
{
	const size_t linear = (size_t)(tail_limit(from) - from->origin);
	enum pf_err err = frame_reserve(to->frame, linear, frag_room(from->extra_len));
	if (err)
		return err;
	uint8_t *const origin = to->frame->memory + PF_PACKET_HEADROOM;
	memset(to->frame->memory, 0, PF_PACKET_HEADROOM);
	/* hard_start is origin, or with a frame of its own the headroom before it. */
	memcpy(origin - (from->origin - from->hard_start), from->hard_start, (size_t)(from->data_end - from->hard_start));
	if (from->extra_len)
		memcpy(origin + linear, from->extra, from->extra_len);
	to->data = origin + (from->data - from->origin);
	to->data_meta = origin + (from->data_meta - from->origin);
	to->data_end = origin + (from->data_end - from->origin);
	to->origin = origin;
	to->extra = origin + linear;
	to->extra_len = from->extra_len;
	to->hard_start = to->frame->memory;
	to->hard_end = origin + linear;
	to->framed = 1;
	to->wire_len = from->wire_len;
	to->link = from->link;
	to->ingress_ifindex = from->ingress_ifindex;
	to->rx_queue_index = from->rx_queue_index;
	to->egress_ifindex = from->egress_ifindex;
	return PF_OK;
}

/* The stretch of bytes at `offset` of metadata, linear part and extra taken as one. */
static const uint8_t *stretch(const struct pf_packet *p, uint32_t offset, uint32_t *left)
{
	const uint32_t front = (uint32_t)(p->data_end - p->data_meta);
	*left = offset < front ? front - offset : front + p->extra_len - offset;
	return offset < front ? p->data_meta + offset : p->extra + (offset - front);
}

static uint32_t whole(const struct pf_packet *p)
{
	return (uint32_t)(p->data_end - p->data_meta) + p->extra_len;
}

uint32_t pf_packet_difference(const struct pf_packet *a, const struct pf_packet *b)
{
	const uint32_t a_len = whole(a), b_len = whole(b), common = a_len < b_len ? a_len : b_len;
	uint32_t at = 0;
	while (at < common) {
		uint32_t n, b_left;
		const uint8_t *p = stretch(a, at, &n), *q = stretch(b, at, &b_left);
		n = n < b_left ? n : b_left;
		n = n < common - at ? n : common - at;
		if (memcmp(p, q, n)) {
			while (*p == *q)
				p++, q++, at++;
			return at;
		}
		at += n;
	}
	const int same_edges = a_len == b_len && a->data - a->data_meta == b->data - b->data_meta;
	return same_edges ? UINT32_MAX : common;
}

int64_t pf_packet_adjust_head(struct pf_packet *p, int32_t offset)
{
	const ptrdiff_t at = p->data - p->origin + offset; /* of the new data, from origin */
	const ptrdiff_t meta_len = p->data - p->data_meta;
	if (at - meta_len < -(ptrdiff_t)PF_PACKET_HEADROOM || at > p->data_end - p->origin - (ptrdiff_t)PF_PACKET_MIN)
		return -PF_EINVAL;
	if (at - meta_len < p->hard_start - p->origin) {
		enum pf_err err = move_to_frame(p);
		if (err)
			return -(int64_t)err;
	}
	if (meta_len)
		memmove(p->data_meta + offset, p->data_meta, (size_t)meta_len);
	p->data_meta += offset;
	p->data += offset;
	return 0;
}

int64_t pf_packet_adjust_meta(struct pf_packet *p, int32_t offset)
{
	const ptrdiff_t at = p->data_meta - p->origin + offset;
	const ptrdiff_t meta_len = p->data - p->origin - at;
	if (at < -(ptrdiff_t)PF_PACKET_HEADROOM || meta_len < 0)
		return -PF_EINVAL;
	if (meta_len % 4 || meta_len > (ptrdiff_t)PF_PACKET_META_MAX)
		return -PF_EACCES;
	if (at < p->hard_start - p->origin) {
		enum pf_err err = move_to_frame(p);
		if (err)
			return -(int64_t)err;
	}
	p->data_meta += offset;
	return 0;
}

/* With extra bytes the tail is the last piece: it gives up bytes, then the pieces before it, then the linear part. */
static int64_t adjust_extra(struct pf_packet *p, int64_t offset)
{
	if (offset > 0) {
		if (offset > (int64_t)frag_room(p->extra_len) - (int64_t)p->extra_len)
			return -PF_EINVAL;
		if (!p->framed) {
			enum pf_err err = move_to_frame(p);
			if (err)
				return -(int64_t)err;
		}
		memset(p->extra + p->extra_len, 0, (size_t)offset);
		p->extra_len += (uint32_t)offset;
		return 0;
	}
	if (-offset > (int64_t)pf_packet_length(p) - (int64_t)PF_PACKET_MIN)
		return -PF_EINVAL;
	const int64_t from_extra = -offset < (int64_t)p->extra_len ? -offset : (int64_t)p->extra_len;
	p->extra_len -= (uint32_t)from_extra;
	p->data_end -= -offset - from_extra;
	return 0;
}

int64_t pf_packet_adjust_tail(struct pf_packet *p, int32_t offset)
{
	if (p->extra_len)
		return adjust_extra(p, offset);
	const ptrdiff_t at = p->data_end - p->origin + offset;
	if (at > tail_limit(p) - p->origin || at < p->data - p->origin + (ptrdiff_t)PF_PACKET_MIN)
		return -PF_EINVAL;
	if (at > p->hard_end - p->origin) {
		enum pf_err err = move_to_frame(p);
		if (err)
			return -(int64_t)err;
	}
	if (offset > 0)
		memset(p->data_end, 0, (size_t)offset);
	p->data_end += offset;
	return 0;
}

static int64_t check_range(const struct pf_packet *p, uint32_t offset, uint32_t len)
{
	if (offset > PF_HELPER_LEN || len > PF_HELPER_LEN)
		return -PF_EFAULT;
	return offset + len > pf_packet_length(p) ? -PF_EINVAL : 0;
}

void pf_packet_copy_out(const struct pf_packet *p, uint32_t offset, void *to, uint32_t len)
{
	const uint32_t length = pf_packet_length(p), linear = (uint32_t)(p->data_end - p->data);
	if (offset >= length)
		return;
	if (len > length - offset)
		len = length - offset;
	uint32_t first = offset < linear ? linear - offset : 0;
	if (first > len)
		first = len;
	if (first)
		memmove(to, p->data + offset, first); /* the program may copy within its own packet */
	if (len > first)
		memmove((uint8_t *)to + first, p->extra + (offset + first - linear), len - first);
}

int64_t pf_packet_load_bytes(const struct pf_packet *p, uint32_t offset, void *to, uint32_t len)
{
	int64_t err = check_range(p, offset, len);
	if (err)
		return err;
	pf_packet_copy_out(p, offset, to, len);
	return 0;
}

int64_t pf_packet_store_bytes(struct pf_packet *p, uint32_t offset, const void *from, uint32_t len)
{
	int64_t err = check_range(p, offset, len);
	if (err)
		return err;
	const uint32_t linear = (uint32_t)(p->data_end - p->data);
	uint32_t first = offset < linear ? linear - offset : 0;
	if (first > len)
		first = len;
	if (first)
		memmove(p->data + offset, from, first);
	if (len > first)
		memmove(p->extra + (offset + first - linear), (const uint8_t *)from + first, len - first);
	return 0;
}
