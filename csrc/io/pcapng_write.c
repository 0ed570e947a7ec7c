/* pcapng_write.c - pcapng out. Source: draft-ietf-opsawg-pcapng.
 *
 * One section. An interface block is written when its first packet is. A packet that a program decided on carries
 * epb_verdict: octet 2 (Linux_eBPF_XDP) and the program's return value as 64 bits in the section's byte order. A packet
 * from a live interface carries epb_flags: its direction, and whether its checksum was still to be computed.
 */
#include "emit.h"

#include <stdio.h>
#include <stdlib.h>

#define BLOCK_SECTION 0x0a0d0d0au
#define BLOCK_INTERFACE 1u
#define BLOCK_ENHANCED 6u
#define PACKET_MIN 32u

enum {
	OPTION_END = 0,
	OPTION_COMMENT = 1,
	OPTION_FLAGS = 2,
	OPTION_USERAPPL = 4,
	OPTION_VERDICT = 7,
	OPTION_TSRESOL = 9,
	OPTION_TSOFFSET = 14,
};

#define VERDICT_XDP 2u
#define VERDICT_LEN 9u
#define VERDICT_SIZE 16u /* with its head, padded */
#define COMMENT_MAX (PF_NAME_MAX + 48)
#define END_SIZE 4u
#define FLAGS_SIZE 8u
#define FLAG_INBOUND 1u
#define FLAG_OUTBOUND 2u
#define FLAG_CHECKSUM_NOT_READY (1u << 9)

static uint32_t pad4(uint32_t n) { return (n + 3) & ~3u; }

static uint8_t *put_option(uint8_t *p, uint16_t code, const void *value, uint16_t length)
{
	p = pf_put16(p, code);
	p = pf_put16(p, length);
	memset(p, 0, pad4(length));
	memcpy(p, value, length);
	return p + pad4(length);
}

/* Fills in the length at both ends of the block that starts at block and whose contents end at p. */
static void end_block(struct pf_writer *w, uint8_t *block, uint8_t *p)
{
	uint32_t length = (uint32_t)(p - block) + 4;

	pf_put32(block + 4, length);
	pf_put32(p, length);
	w->len += length;
}

static void put_section(struct pf_writer *w)
{
	static const char application[] = "pktfilter";
	uint8_t *block = pf_writer_reserve(w, 64), *p = block;

	if (!block)
		return;
	p = pf_put32(p, BLOCK_SECTION) + 4;
	p = pf_put32(p, 0x1a2b3c4du);
	p = pf_put16(p, 1);
	p = pf_put16(p, 0);
	p = pf_put64(p, UINT64_MAX); /* section length not given */
	p = put_option(p, OPTION_USERAPPL, application, sizeof application - 1);
	p = put_option(p, OPTION_END, "", 0);
	end_block(w, block, p);
	w->header = true;
}

static void put_interface(struct pf_writer *w, const struct pf_iface *iface)
{
	uint8_t *block = pf_writer_reserve(w, 64), *p = block;

	if (!block)
		return;
	p = pf_put32(p, BLOCK_INTERFACE) + 4;
	p = pf_put16(p, iface->linktype);
	p = pf_put16(p, 0);
	p = pf_put32(p, iface->snaplen);
	p = put_option(p, OPTION_TSRESOL, &iface->tsresol, 1);
	if (iface->tsoffset)
		p = put_option(p, OPTION_TSOFFSET, &iface->tsoffset, 8);
	p = put_option(p, OPTION_END, "", 0);
	end_block(w, block, p);
}

static bool same(const struct pf_iface *a, const struct pf_iface *b)
{
	return a->linktype == b->linktype && a->linktype_high == b->linktype_high && a->snaplen == b->snaplen &&
	       a->tsresol == b->tsresol && a->tsoffset == b->tsoffset;
}

static void no_memory(struct pf_writer *w)
{
	pf_diag_set(&w->failed, PF_ENOMEM, PF_DIAG_IO_WRITE, 0, 0, 0, 0, pf_err_text(PF_ENOMEM));
}

/* by_index reaches index. */
static bool index_room(struct pf_writer *w, uint32_t index)
{
	uint32_t len = index + 1 > 2 * w->by_index_len ? index + 1 : 2 * w->by_index_len, *by_index;

	if (index < w->by_index_len)
		return true;
	by_index = realloc(w->by_index, len * sizeof *by_index);
	if (!by_index) {
		no_memory(w);
		return false;
	}
	memset(by_index + w->by_index_len, 0xff, (len - w->by_index_len) * sizeof *by_index);
	w->by_index = by_index;
	w->by_index_len = len;
	return true;
}

static void add_interface(struct pf_writer *w, const struct pf_iface *iface, uint32_t index)
{
	if (w->n_ifaces == w->ifaces_capacity) {
		uint32_t capacity = w->ifaces_capacity ? 2 * w->ifaces_capacity : 8;
		struct pf_written_iface *ifaces = realloc(w->ifaces, capacity * sizeof *ifaces);

		if (!ifaces) {
			no_memory(w);
			return;
		}
		w->ifaces = ifaces;
		w->ifaces_capacity = capacity;
	}
	put_interface(w, iface);
	if (w->failed.err)
		return;
	w->ifaces[w->n_ifaces].iface = *iface;
	w->ifaces[w->n_ifaces].index = index;
	w->n_ifaces++;
}

static uint8_t *put_flags(uint8_t *p, uint32_t known)
{
	uint32_t flags = known & PF_DESC_OUTGOING ? FLAG_OUTBOUND : known & PF_DESC_INCOMING ? FLAG_INBOUND : 0;

	if (known & PF_DESC_PARTIAL)
		flags |= FLAG_CHECKSUM_NOT_READY;
	return flags ? put_option(p, OPTION_FLAGS, &flags, sizeof flags) : p;
}

/* The number of the interface's block in the output, which is written if it was not. May set `failed`. */
static uint32_t interface_id(struct pf_writer *w, const struct pf_iface *iface, uint32_t index)
{
	uint32_t id;

	if (!index_room(w, index))
		return 0;
	id = w->by_index[index];
	if (PF_LIKELY(id < w->n_ifaces && same(&w->ifaces[id].iface, iface)))
		return id;
	for (id = 0; id < w->n_ifaces; id++)
		if (w->ifaces[id].index == index && same(&w->ifaces[id].iface, iface))
			break;
	if (id == w->n_ifaces)
		add_interface(w, iface, index);
	w->by_index[index] = id;
	return id;
}

void pf_pcapng_header(struct pf_writer *w, const struct pf_iface *iface)
{
	put_section(w);
	if (iface && !w->failed.err)
		(void)interface_id(w, iface, 0);
}

void pf_pcapng_emit(struct pf_writer *w, const struct pf_iface *iface, const struct pf_record *record)
{
	const struct pf_verdict *verdict = record->verdict;
	uint64_t time = (uint64_t)record->desc->ts_raw, retval = verdict->retval;
	uint8_t value[VERDICT_LEN] = {VERDICT_XDP}, *block, *p;
	char comment[COMMENT_MAX];
	const uint8_t *options;
	int comment_len = 0;
	uint32_t id;

	if (!w->header)
		put_section(w);
	id = w->failed.err ? 0 : interface_id(w, iface, record->desc->iface);
	if (w->failed.err)
		return;
	block = pf_writer_reserve(w, PACKET_MIN + (size_t)pad4(record->caplen) + VERDICT_SIZE + FLAGS_SIZE + 4 + COMMENT_MAX +
					     END_SIZE);
	if (!block)
		return;
	p = pf_put32(block, BLOCK_ENHANCED) + 4;
	p = pf_put32(p, id);
	p = pf_put32(p, (uint32_t)(time >> 32));
	p = pf_put32(p, (uint32_t)time);
	p = pf_put32(p, record->caplen);
	p = pf_put32(p, record->wire_len);
	p = pf_put_packet(p, record);
	memset(p, 0, pad4(record->caplen) - record->caplen);
	p += pad4(record->caplen) - record->caplen;
	options = p;
	p = put_flags(p, record->desc->flags);
	if (verdict->covered) { /* no program, no verdict */
		if (w->options.comment)
			comment_len = snprintf(comment, sizeof comment, "program %.*s generation %llu", PF_NAME_MAX - 1,
					       verdict->program ? verdict->program : "",
					       (unsigned long long)verdict->generation);
		if (comment_len > 0)
			p = put_option(p, OPTION_COMMENT, comment, (uint16_t)comment_len);
		memcpy(value + 1, &retval, sizeof retval);
		p = put_option(p, OPTION_VERDICT, value, sizeof value);
	}
	if (p != options)
		p = put_option(p, OPTION_END, "", 0);
	end_block(w, block, p);
	w->buffered++;
}

size_t pf_pcapng_record(const uint8_t *p, size_t size)
{
	uint32_t length;

	if (size < 8)
		return 0;
	memcpy(&length, p + 4, sizeof length);
	return length;
}

bool pf_writer_is_packet(const struct pf_writer *w, const uint8_t *record)
{
	uint32_t type;

	memcpy(&type, record, sizeof type);
	return w->options.format == PF_FORMAT_PCAP || type == BLOCK_ENHANCED;
}
