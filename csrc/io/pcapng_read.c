/* pcapng_read.c - pcapng blocks into descriptors.
 *
 * Source: draft-ietf-opsawg-pcapng. Where the draft leaves damage open we do as libpcap and Wireshark both do: block
 * lengths are multiples of 4 and stand at both ends; the section length is not used.
 *
 * The fast loop takes an enhanced packet block only when all of it is as it should be. Everything else, and every reason
 * to stop, goes through block_any, which knows the sentences.
 */
#include "state.h"

enum block_type {
	BLOCK_INTERFACE = 1,
	BLOCK_PACKET = 2, /* obsolete */
	BLOCK_SIMPLE = 3,
	BLOCK_ENHANCED = 6,
};

enum { OPTION_END = 0, OPTION_TSRESOL = 9, OPTION_TSOFFSET = 14 };

#define BLOCK_MIN 12u
#define SECTION_MIN 28u
#define INTERFACE_MIN 20u
#define PACKET_MIN 32u /* enhanced and obsolete packet blocks */
#define PACKET_HEAD 28u
#define SIMPLE_MIN 16u
#define SIMPLE_HEAD 12u
#define TRAILER 4u
#define BYTE_ORDER_MAGIC 0x1a2b3c4du

/* What the block at cur came to. */
enum outcome { TAKEN, PACKET, MORE, FAILED };

struct block {
	const uint8_t *at;
	uint32_t type, length;
	bool swapped;
};

static enum outcome fail(const struct pf_reader *r, struct pf_diag *diag, enum pf_diag_code code, uint64_t found,
			 uint64_t expected, const char *name)
{
	pf_diag_set(diag, PF_EBADMSG, code, 0, pf_input_offset(&r->in), found, expected, name);
	return FAILED;
}

/* TAKEN: the block's bytes are all there and both lengths agree. */
static enum outcome block_whole(struct pf_reader *r, const struct block *b, uint32_t min, struct pf_diag *diag)
{
	uint32_t trailer;

	if (b->length < min)
		return fail(r, diag, PF_DIAG_IO_BLOCK_LENGTH, b->length, min, "at least");
	if (b->length % 4)
		return fail(r, diag, PF_DIAG_IO_BLOCK_LENGTH, b->length, 4, "a multiple of");
	if (b->length > PF_READER_RECORD_MAX)
		return fail(r, diag, PF_DIAG_IO_BLOCK_LENGTH, b->length, PF_READER_RECORD_MAX, "at most");
	r->need = b->length;
	if (pf_input_left(&r->in) < b->length)
		return MORE;
	trailer = pf_load32(b->at + b->length - TRAILER, b->swapped);
	if (trailer != b->length)
		return fail(r, diag, PF_DIAG_IO_BLOCK_TRAILER, trailer, b->length, NULL);
	return TAKEN;
}

static enum outcome section_block(struct pf_reader *r, struct block *b, struct pf_diag *diag)
{
	uint32_t order = pf_load32(b->at + 8, false);
	uint16_t major, minor;
	enum outcome whole;

	b->swapped = order != BYTE_ORDER_MAGIC;
	if (b->swapped && order != __builtin_bswap32(BYTE_ORDER_MAGIC))
		return fail(r, diag, PF_DIAG_IO_BYTE_ORDER, __builtin_bswap32(order), BYTE_ORDER_MAGIC, NULL);
	b->length = pf_load32(b->at + 4, b->swapped);
	whole = block_whole(r, b, SECTION_MIN, diag);
	if (whole != TAKEN)
		return whole;
	major = pf_load16(b->at + 12, b->swapped);
	minor = pf_load16(b->at + 14, b->swapped);
	if (major != 1 || (minor != 0 && minor != 2))
		return pf_diag_set(diag, PF_EINVAL, PF_DIAG_IO_VERSION, 0, pf_input_offset(&r->in), major, minor,
				   "pcapng 1.0 or 1.2"), FAILED;
	r->order_changed = b->swapped != r->swapped;
	r->swapped = b->swapped;
	r->in_section = true;
	r->section_base = r->ifaces;
	r->section_ifaces = 0;
	return TAKEN;
}

static enum outcome option_length(const struct pf_reader *r, struct pf_diag *diag, uint16_t found, uint16_t expected,
				  const char *name)
{
	if (found == expected)
		return TAKEN;
	return fail(r, diag, PF_DIAG_IO_OPTION_LENGTH, found, expected, name);
}

static enum outcome interface_options(const struct pf_reader *r, const struct block *b, struct pf_iface *iface,
				      struct pf_diag *diag)
{
	const uint8_t *p = b->at + INTERFACE_MIN - TRAILER, *end = b->at + b->length - TRAILER;

	while (p < end) { /* both are multiples of 4 from the block's start: 4 bytes are there */
		uint16_t code = pf_load16(p, b->swapped), length = pf_load16(p + 2, b->swapped);
		uint32_t padded = (length + 3u) & ~3u;
		enum outcome fits = TAKEN;

		p += 4;
		if (code == OPTION_END)
			break;
		if (padded > (size_t)(end - p))
			return fail(r, diag, PF_DIAG_IO_OPTION, length, (uint64_t)(end - p), NULL);
		if (code == OPTION_TSRESOL) {
			fits = option_length(r, diag, length, 1, "if_tsresol");
			if (fits == TAKEN)
				iface->tsresol = *p;
		} else if (code == OPTION_TSOFFSET) {
			fits = option_length(r, diag, length, 8, "if_tsoffset");
			if (fits == TAKEN)
				iface->tsoffset = (int64_t)pf_load64(p, b->swapped);
		}
		if (fits != TAKEN)
			return fits;
		p += padded;
	}
	return TAKEN;
}

static enum outcome interface_block(struct pf_reader *r, const struct block *b, struct pf_diag *diag)
{
	struct pf_iface iface = {0};
	enum outcome done = block_whole(r, b, INTERFACE_MIN, diag);

	if (done != TAKEN)
		return done;
	iface.linktype = pf_load16(b->at + 8, b->swapped);
	iface.snaplen = pf_load32(b->at + 12, b->swapped);
	iface.tsresol = 6;
	iface.swapped = b->swapped;
	done = interface_options(r, b, &iface, diag);
	if (done != TAKEN)
		return done;
	if (r->ifaces == PF_READER_IFACES)
		return fail(r, diag, PF_DIAG_IO_INTERFACES, r->ifaces + 1, PF_READER_IFACES, NULL);
	if (pf_reader_iface_add(r, &iface, diag))
		return FAILED;
	r->section_ifaces++;
	return TAKEN;
}

static inline uint64_t timestamp(const uint8_t *p, bool swapped)
{
	return (uint64_t)pf_load32(p, swapped) << 32 | pf_load32(p + 4, swapped);
}

static inline int64_t nanoseconds(const struct pf_reader_iface *iface, uint64_t raw)
{
	return PF_LIKELY(raw < iface->unit_end) ? (int64_t)(raw * iface->unit_ns) : pf_reader_time(&iface->shown, raw);
}

/* Enhanced, obsolete and simple packet blocks. */
static enum outcome packet_block(struct pf_reader *r, const struct block *b, struct pf_desc *d, struct pf_diag *diag)
{
	bool simple = b->type == BLOCK_SIMPLE;
	enum outcome whole = block_whole(r, b, simple ? SIMPLE_MIN : PACKET_MIN, diag);
	uint32_t id, room, head = simple ? SIMPLE_HEAD : PACKET_HEAD;
	const struct pf_reader_iface *iface;
	uint64_t raw = 0;

	if (whole != TAKEN)
		return whole;
	id = simple			? 0
	     : b->type == BLOCK_PACKET	? pf_load16(b->at + 8, b->swapped)
					: pf_load32(b->at + 8, b->swapped);
	if (id >= r->section_ifaces)
		return fail(r, diag, PF_DIAG_IO_INTERFACE, id, r->section_ifaces, NULL);
	iface = pf_reader_iface_at(r, r->section_base + id);
	if (iface->refused) {
		pf_reader_refuse_linktype(r, r->section_base + id, diag);
		return FAILED;
	}
	if (iface->pending) {
		pf_reader_await(r, r->section_base + id, diag);
		return FAILED;
	}
	if (simple) {
		/* It carries no captured length: that is the original length, cut by the snap length. Nor has it a time: it
		 * counts as raw time 0, so that writing it back as an enhanced block changes nothing. */
		d->wire_len = pf_load32(b->at + 8, b->swapped);
		d->caplen = iface->snaplen && iface->snaplen < d->wire_len ? iface->snaplen : d->wire_len;
	} else {
		raw = timestamp(b->at + 12, b->swapped);
		d->caplen = pf_load32(b->at + 20, b->swapped);
		d->wire_len = pf_load32(b->at + 24, b->swapped);
	}
	room = b->length - head - TRAILER;
	if (d->caplen > room)
		return fail(r, diag, PF_DIAG_IO_PACKET_LENGTH, d->caplen, room, NULL);
	d->data = r->in.cur + head;
	d->ts_raw = (int64_t)raw;
	d->ts_ns = nanoseconds(iface, raw);
	d->iface = r->section_base + id;
	d->flags = iface->flags;
	return PACKET;
}

static enum outcome block_any(struct pf_reader *r, struct pf_desc *d, struct pf_diag *diag)
{
	struct block b = {.at = r->in.cur, .swapped = r->swapped};
	enum outcome done;

	r->need = BLOCK_MIN;
	if (pf_input_left(&r->in) < BLOCK_MIN)
		return MORE;
	b.type = pf_load32(b.at, b.swapped);
	b.length = pf_load32(b.at + 4, b.swapped);
	switch (b.type) {
	case PF_MAGIC_SECTION:
		done = section_block(r, &b, diag);
		break;
	case BLOCK_INTERFACE:
		done = interface_block(r, &b, diag);
		break;
	case BLOCK_PACKET:
	case BLOCK_SIMPLE:
	case BLOCK_ENHANCED:
		done = packet_block(r, &b, d, diag);
		break;
	default: /* names, statistics, secrets, custom and unknown blocks */
		done = block_whole(r, &b, BLOCK_MIN, diag);
		r->skipped_blocks += done == TAKEN;
	}
	if (done == TAKEN || done == PACKET)
		r->in.cur += b.length;
	if (done == PACKET && pf_reader_iface_at(r, d->iface)->wrap != PF_WRAP_NONE)
		pf_ethernet_wrap(pf_reader_iface_at(r, d->iface)->wrap, d);
	return done;
}

/* Enhanced packet blocks that need nothing but a descriptor. Stops before anything else. */
static inline __attribute__((always_inline)) void fill_enhanced(struct pf_reader *r, struct pf_batch *batch,
								 const bool swapped)
{
	uint8_t *p = r->in.cur, *const end = r->in.end;
	struct pf_desc *d = batch->desc + batch->n, *const stop = batch->desc + batch->capacity;

	while (d < stop && (size_t)(end - p) >= PACKET_MIN) {
		uint32_t length = pf_load32(p + 4, swapped), id = pf_load32(p + 8, swapped);
		uint32_t caplen = pf_load32(p + 20, swapped);
		const struct pf_reader_iface *iface;

		if (PF_UNLIKELY(pf_load32(p, swapped) != BLOCK_ENHANCED || length < PACKET_MIN || length % 4 ||
				length > (size_t)(end - p) || caplen > length - PACKET_MIN || id >= r->section_ifaces))
			break;
		iface = pf_reader_iface_at(r, r->section_base + id);
		if (PF_UNLIKELY(iface->refused || iface->pending || iface->wrap != PF_WRAP_NONE ||
				pf_load32(p + length - TRAILER, swapped) != length))
			break;
		d->data = p + PACKET_HEAD;
		d->caplen = caplen;
		d->wire_len = pf_load32(p + 24, swapped);
		d->ts_raw = (int64_t)timestamp(p + 12, swapped);
		d->ts_ns = nanoseconds(iface, (uint64_t)d->ts_raw);
		d->iface = r->section_base + id;
		d->flags = iface->flags;
		p += length;
		d++;
	}
	batch->n = (uint32_t)(d - batch->desc);
	r->in.cur = p;
}

/* The section's byte order is a constant here; a section with the other one ends the call with order_changed. */
static inline __attribute__((always_inline)) enum pf_err fill_order(struct pf_reader *r, struct pf_batch *batch,
								     const bool swapped, struct pf_diag *diag)
{
	while (batch->n < batch->capacity && !r->order_changed) {
		struct pf_diag local;

		fill_enhanced(r, batch, swapped);
		if (batch->n == batch->capacity)
			break;
		switch (block_any(r, &batch->desc[batch->n], &local)) {
		case TAKEN:
			if (r->ifaces == 1 && pf_reader_iface_at(r, 0)->pending)
				return pf_reader_await(r, 0, diag);
			break;
		case PACKET:
			batch->n++;
			break;
		case MORE:
			return PF_OK;
		case FAILED:
			if (batch->n)
				return PF_OK; /* delivered first; the next call meets the same block again */
			if (diag)
				*diag = local;
			return local.err;
		}
	}
	return PF_OK;
}

enum pf_err pf_pcapng_fill(struct pf_reader *r, struct pf_batch *batch, struct pf_diag *diag)
{
	enum pf_err err;

	do {
		r->order_changed = false;
		err = r->swapped ? fill_order(r, batch, true, diag) : fill_order(r, batch, false, diag);
	} while (!err && r->order_changed);
	return err;
}
