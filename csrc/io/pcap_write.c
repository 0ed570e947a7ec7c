/* pcap_write.c - classic pcap out. Source: draft-ietf-opsawg-pcap. */
#include "emit.h"

#define MAGIC_MICRO 0xa1b2c3d4u
#define MAGIC_NANO 0xa1b23c4du
#define RECORD_LEN 16u

_Static_assert(RECORD_LEN <= PF_SOURCE_HEAD, "a record header may lie before a packet");

bool pf_needs_nano(const struct pf_iface *iface)
{
	/* 2^-6 is the last binary fraction of a second with six decimals. */
	return iface->tsresol & 0x80 ? (iface->tsresol & 0x7f) > 6 : iface->tsresol > 6;
}

void pf_pcap_header(struct pf_writer *w, const struct pf_iface *iface, uint32_t snaplen, bool nano)
{
	uint8_t *p = pf_writer_reserve(w, PF_PCAP_HEADER);

	if (!p)
		return;
	p = pf_put32(p, nano ? MAGIC_NANO : MAGIC_MICRO);
	p = pf_put16(p, 2);
	p = pf_put16(p, 4);
	p = pf_put64(p, 0); /* time zone and accuracy, always 0 */
	p = pf_put32(p, snaplen);
	pf_put32(p, (uint32_t)iface->linktype_high << 16 | iface->linktype);
	w->len += PF_PCAP_HEADER;
	w->header = true;
	w->nano = nano;
	w->linktype = iface->linktype;
}

/* The one header stands for all interfaces that the source knows by now: the finest resolution, the longest snap length
 * (0 is unlimited). */
static void header_for(struct pf_writer *w, const struct pf_source *source, const struct pf_iface *first)
{
	uint32_t snaplen = first->snaplen;
	bool nano = pf_needs_nano(first);
	const struct pf_iface *other;

	for (uint32_t i = 0; (other = source->iface(source, i)); i++) {
		if (other->linktype != first->linktype)
			continue;
		nano = nano || pf_needs_nano(other);
		if (snaplen && (!other->snaplen || other->snaplen > snaplen))
			snaplen = other->snaplen;
	}
	pf_pcap_header(w, first, snaplen, nano);
}

/* In the source's memory, in one piece, with neither edge moved; the bytes may have changed. */
static bool lies_as_it_came(const struct pf_record *r)
{
	return r->packet->data == r->desc->data && r->caplen == r->desc->caplen &&
	       (!r->packet->extra_len || r->packet->extra == r->packet->data + r->linear);
}

/* Is this the record's header? From registers: one that was just written in four parts would have to leave the store
 * buffer before it can be compared in two. */
static bool head_is(const uint8_t *p, uint32_t seconds, uint32_t fraction, uint32_t caplen, uint32_t wire_len)
{
	uint32_t there[4];

	memcpy(there, p, sizeof there);
	return !((there[0] ^ seconds) | (there[1] ^ fraction) | (there[2] ^ caplen) | (there[3] ^ wire_len));
}

void pf_pcap_emit(struct pf_writer *w, const struct pf_source *source, const struct pf_iface *iface,
		  const struct pf_record *record)
{
	int64_t ns = record->desc->ts_ns, seconds, rest;
	size_t size = RECORD_LEN + (size_t)record->caplen;
	uint32_t fraction;
	uint8_t *p;

	if (!w->header)
		header_for(w, source, iface);
	if (w->failed.err)
		return;
	if (iface->linktype != w->linktype) {
		pf_diag_set(&w->failed, PF_EINVAL, PF_DIAG_IO_MIXED_LINKTYPE, record->desc->iface, 0, iface->linktype,
			    w->linktype, pf_linktype_name(iface->linktype));
		return;
	}
	seconds = ns / 1000000000;
	rest = ns % 1000000000;
	if (rest < 0) {
		rest += 1000000000;
		seconds--;
	}
	fraction = (uint32_t)(w->nano ? rest : rest / 1000);
	if (source->heads && lies_as_it_came(record) &&
	    head_is(record->packet->data - RECORD_LEN, (uint32_t)seconds, fraction, record->caplen, record->wire_len)) {
		pf_writer_refer(w, record->packet->data - RECORD_LEN, size);
		return;
	}
	p = pf_writer_reserve(w, size);
	if (!p)
		return;
	p = pf_put32(p, (uint32_t)seconds);
	p = pf_put32(p, fraction);
	p = pf_put32(p, record->caplen);
	p = pf_put32(p, record->wire_len);
	pf_put_packet(p, record);
	w->len += size;
	w->buffered++;
}

size_t pf_pcap_record(const uint8_t *p, size_t size)
{
	uint32_t caplen;

	if (size < RECORD_LEN)
		return 0;
	memcpy(&caplen, p + 8, sizeof caplen);
	return RECORD_LEN + (size_t)caplen;
}
