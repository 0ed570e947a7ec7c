/* pcap_read.c - classic pcap records into descriptors.
 *
 * Source: draft-ietf-opsawg-pcap; the older versions and the 24-byte record header as the libpcap manual page
 * pcap-savefile(5) and its release notes describe them.
 */
#include "state.h"

#define MAGIC_MICRO 0xa1b2c3d4u
#define MAGIC_NANO 0xa1b23c4du
#define MAGIC_LONG 0xa1b2cd34u /* record headers of 24 bytes: interface index, protocol, packet type follow */
#define HEADER_LEN 24u
#define RECORD_LEN 16u
#define RECORD_LONG_LEN 24u
#define AHEAD 512u /* bytes; from L2 into L1 some records early, measured 10% */

bool pf_pcap_magic(uint32_t magic)
{
	uint32_t other = __builtin_bswap32(magic);

	return magic == MAGIC_MICRO || magic == MAGIC_NANO || magic == MAGIC_LONG || other == MAGIC_MICRO ||
	       other == MAGIC_NANO || other == MAGIC_LONG;
}

enum pf_err pf_pcap_start(struct pf_reader *r, struct pf_diag *diag)
{
	const uint8_t *p = r->in.cur;
	uint32_t magic = pf_load32(p, false), linktype;
	bool swapped = magic != MAGIC_MICRO && magic != MAGIC_NANO && magic != MAGIC_LONG;
	uint16_t major = pf_load16(p + 4, swapped), minor = pf_load16(p + 6, swapped);
	struct pf_iface iface = {0};
	enum pf_err err;

	if (swapped)
		magic = __builtin_bswap32(magic);
	if (major != 2 || minor > 4)
		return pf_diag_set(diag, PF_EINVAL, PF_DIAG_IO_VERSION, 0, 4, major, minor, "pcap 2.0 to 2.4");
	linktype = pf_load32(p + 20, swapped);
	r->swapped = swapped;
	r->nano = magic == MAGIC_NANO;
	r->record_header = magic == MAGIC_LONG ? RECORD_LONG_LEN : RECORD_LEN;
	r->in.limit = PF_READER_RECORD_MAX + r->record_header;
	/* Up to 2.2 the original length came first; for 2.3 both orders exist, and the larger is the original length. */
	r->lengths = minor < 3 ? PF_LENGTHS_SWAPPED : minor == 3 ? PF_LENGTHS_MAYBE_SWAPPED : PF_LENGTHS_PLAIN;
	if (!r->ifaces) {
		iface.linktype = (uint16_t)linktype;
		iface.linktype_high = (uint16_t)(linktype >> 16);
		iface.snaplen = pf_load32(p + 16, swapped);
		iface.tsresol = r->nano ? 9 : 6;
		iface.swapped = swapped;
		err = pf_reader_iface_add(r, &iface, diag);
		if (err)
			return err;
	}
	if (pf_reader_iface_at(r, 0)->refused)
		return pf_reader_refuse_linktype(r, 0, diag);
	r->plain = r->record_header == RECORD_LEN && r->lengths == PF_LENGTHS_PLAIN &&
		   pf_reader_iface_at(r, 0)->wrap == PF_WRAP_NONE;
	r->in.cur += HEADER_LEN;
	r->started = true;
	return PF_OK;
}

/* The sub-second part may be a second or more in damaged or odd files: it carries over, as in other readers. Seconds are
 * unsigned. */
static inline void set_time(struct pf_desc *d, const uint8_t *p, const bool swapped, const bool nano)
{
	uint32_t seconds = pf_load32(p, swapped), fraction = pf_load32(p + 4, swapped);

	d->ts_ns = (int64_t)seconds * 1000000000 + (int64_t)fraction * (nano ? 1 : 1000);
	d->ts_raw = nano ? d->ts_ns : (int64_t)seconds * 1000000 + fraction;
}

/* The hot loop. The address of the next record hangs on this record's length, and nothing else in the body does. */
static inline __attribute__((always_inline)) void fill_plain(struct pf_reader *r, struct pf_batch *batch,
							      const bool swapped, const bool nano)
{
	uint8_t *p = r->in.cur, *const end = r->in.end;
	const uint32_t flags = pf_reader_iface_at(r, 0)->flags;
	struct pf_desc *d = batch->desc, *const stop = d + batch->capacity;

	while (d < stop) {
		size_t left = (size_t)(end - p);
		uint32_t caplen;

		if (PF_UNLIKELY(left < RECORD_LEN))
			break;
		caplen = pf_load32(p + 8, swapped);
		if (PF_UNLIKELY(caplen > left - RECORD_LEN))
			break;
		__builtin_prefetch((const void *)((uintptr_t)p + AHEAD));
		d->data = p + RECORD_LEN;
		d->caplen = caplen;
		d->wire_len = pf_load32(p + 12, swapped);
		set_time(d, p, swapped, nano);
		d->iface = 0;
		d->flags = flags;
		p += RECORD_LEN + caplen;
		d++;
	}
	batch->n = (uint32_t)(d - batch->desc);
	r->in.cur = p;
}

static void lengths(const struct pf_reader *r, const uint8_t *p, uint32_t *caplen, uint32_t *wire_len)
{
	uint32_t first = pf_load32(p + 8, r->swapped), second = pf_load32(p + 12, r->swapped);
	bool exchanged = r->lengths == PF_LENGTHS_SWAPPED || (r->lengths == PF_LENGTHS_MAYBE_SWAPPED && first > second);

	*caplen = exchanged ? second : first;
	*wire_len = exchanged ? first : second;
}

/* Every variant, and every record that ends the fast loop: says what is needed, or what is wrong. */
static enum pf_err fill_any(struct pf_reader *r, struct pf_batch *batch, struct pf_diag *diag)
{
	const struct pf_reader_iface *iface = pf_reader_iface_at(r, 0);
	const uint32_t header = r->record_header;

	while (batch->n < batch->capacity) {
		struct pf_desc *d = &batch->desc[batch->n];
		uint8_t *p = r->in.cur;
		size_t left = pf_input_left(&r->in);

		r->need = header;
		if (left < header)
			return PF_OK;
		lengths(r, p, &d->caplen, &d->wire_len);
		if (d->caplen > PF_READER_RECORD_MAX)
			return batch->n ? PF_OK : pf_diag_set(diag, PF_EBADMSG, PF_DIAG_IO_RECORD_LENGTH, 0,
							     pf_input_offset(&r->in), d->caplen, PF_READER_RECORD_MAX,
							     NULL);
		r->need = (uint64_t)header + d->caplen;
		if (left < r->need)
			return PF_OK;
		d->data = p + header;
		set_time(d, p, r->swapped, r->nano);
		d->iface = 0;
		d->flags = iface->flags;
		r->in.cur += r->need;
		batch->n++;
		if (iface->wrap != PF_WRAP_NONE)
			pf_ethernet_wrap(iface->wrap, d);
	}
	return PF_OK;
}

enum pf_err pf_pcap_fill(struct pf_reader *r, struct pf_batch *batch, struct pf_diag *diag)
{
	if (PF_UNLIKELY(pf_reader_iface_at(r, 0)->pending))
		return pf_reader_await(r, 0, diag);
	if (r->plain) {
		if (r->swapped) {
			if (r->nano)
				fill_plain(r, batch, true, true);
			else
				fill_plain(r, batch, true, false);
		} else {
			if (r->nano)
				fill_plain(r, batch, false, true);
			else
				fill_plain(r, batch, false, false);
		}
		if (batch->n)
			return PF_OK;
	}
	return fill_any(r, batch, diag);
}
