/* emit.h - inside of the capture writer: its state and how the two formats append to the buffer.
 *
 * Invariants
 *   W1 The buffer starts at a record boundary of the file and holds whole records. So do spans, which are records that
 *      lie in the source's memory as they are to be written: they go between the buffer's bytes before and after `at`.
 *   W4 Spans and the run, the last one as long as it may still grow, live from emit to the next flush.
 *   W2 Once `failed` is set nothing is appended. What was appended before is still written, unless a write failed
 *      (`broken`).
 *   W3 Everything is written in the byte order of this machine, which both formats allow and state.
 *
 * Threads: one at a time, as the writer.
 */
#ifndef PF_IO_EMIT_H
#define PF_IO_EMIT_H

#include <stdbool.h>
#include <string.h>
#include <sys/types.h>

#include "writer.h"

#define PF_PCAP_HEADER 24u

/* An interface block that was written. A source's interface is told by its index and definition: two sources with
 * the same definition at the same index share the block, two interfaces of one source do not. */
struct pf_written_iface {
	struct pf_iface iface;
	uint32_t index;
};

struct pf_span {
	size_t at; /* in the buffer */
	const uint8_t *bytes;
	size_t len;
};
#define PF_SPANS 64u

struct pf_writer {
	struct pf_sink sink;
	struct pf_writer_options options;
	int fd;
	bool regular;  /* a regular file: can be cut back */
	off_t start;   /* where in it the capture begins */
	bool header;   /* the file header was appended */
	bool broken;   /* a write failed: nothing more is written */
	struct pf_diag failed;
	uint8_t *buffer;
	size_t len, capacity;
	uint64_t buffered; /* packets in the buffer, the spans and the run */
	struct pf_span spans[PF_SPANS];
	uint32_t n_spans;
	size_t span_bytes;
	struct pf_span run; /* len 0: none */
	uint64_t run_packets;
	uint64_t packets, written; /* packets and bytes that reached the descriptor, in whole records */
	/* pcap */
	bool nano;
	uint16_t linktype;
	/* pcapng */
	struct pf_written_iface *ifaces;
	uint32_t n_ifaces, ifaces_capacity;
	uint32_t *by_index; /* the block last used for a source's interface index; UINT32_MAX: none */
	uint32_t by_index_len;
};

struct pf_record {
	const struct pf_desc *desc;
	const struct pf_packet *packet;
	const struct pf_verdict *verdict;
	uint32_t linear, caplen, wire_len;
};

/* Room for size bytes at the end of the buffer, or NULL with `failed` set. The caller adds to len. */
uint8_t *pf_writer_reserve(struct pf_writer *w, size_t size);

/* A whole record that lies in the source's memory is to be written. */
void pf_writer_refer(struct pf_writer *w, const uint8_t *record, size_t size);

void pf_pcap_header(struct pf_writer *w, const struct pf_iface *iface, uint32_t snaplen, bool nano);
void pf_pcap_emit(struct pf_writer *w, const struct pf_source *source, const struct pf_iface *iface,
		  const struct pf_record *record);
/* Section header, and the interface's block when iface is not NULL. */
void pf_pcapng_header(struct pf_writer *w, const struct pf_iface *iface);
void pf_pcapng_emit(struct pf_writer *w, const struct pf_iface *iface, const struct pf_record *record);

/* Length of the record at p, of which `size` bytes are there; 0: not even its length is there. */
size_t pf_pcap_record(const uint8_t *p, size_t size);
size_t pf_pcapng_record(const uint8_t *p, size_t size);
bool pf_writer_is_packet(const struct pf_writer *w, const uint8_t *record);

/* Microseconds cannot hold every timestamp of this interface. */
bool pf_needs_nano(const struct pf_iface *iface);

static inline uint8_t *pf_put16(uint8_t *p, uint16_t v)
{
	memcpy(p, &v, sizeof v);
	return p + sizeof v;
}

static inline uint8_t *pf_put32(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, sizeof v);
	return p + sizeof v;
}

static inline uint8_t *pf_put64(uint8_t *p, uint64_t v)
{
	memcpy(p, &v, sizeof v);
	return p + sizeof v;
}

/* The packet's bytes, whose two parts need not lie together. */
static inline uint8_t *pf_put_packet(uint8_t *p, const struct pf_record *r)
{
	memcpy(p, r->packet->data, r->linear);
	if (r->packet->extra_len)
		memcpy(p + r->linear, r->packet->extra, r->packet->extra_len);
	return p + r->caplen;
}

#endif
