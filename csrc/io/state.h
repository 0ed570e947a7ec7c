/* state.h - inside of the capture reader: its buffer, its interfaces, and the two formats' entry points.
 *
 * Terms
 *   fill   consume whole records from the buffer into descriptors; never reads
 *   need   bytes that the record at `cur` takes, as far as its bytes tell
 *
 * Invariants
 *   B1 memory + PF_INPUT_SLACK <= cur <= end <= memory + capacity; bytes cur .. end are unread input. Bytes in front of
 *      cur may be overwritten as far as PF_INPUT_SLACK (as_ethernet does).
 *   B2 The buffer is refilled only when no descriptor of the last batch is in use: at the start of a call of next.
 *   B3 A fill that reports an error has produced no descriptor and has not moved cur: the next call finds the same error.
 *   B4 end - cur <= limit, and no record needs more than limit: a refill always makes progress.
 *
 * Threads: one at a time, as the reader.
 */
#ifndef PF_IO_STATE_H
#define PF_IO_STATE_H

#include <stdbool.h>
#include <string.h>

#include "reader.h"

#define PF_INPUT_SLACK 64u
#define PF_IFACE_PAGE 256u

struct pf_input {
	int fd;
	uint32_t chunk;
	uint8_t *memory;
	size_t capacity;
	uint8_t *cur, *end;
	uint64_t limit;
	uint64_t bytes_read, read_ns;
	bool eof;
};

enum pf_err pf_input_open(struct pf_input *in, int fd, uint32_t chunk, struct pf_diag *diag);
void pf_input_close(struct pf_input *in);
/* Bytes taken from the descriptor before it was ours; at most 64, before the first refill. */
void pf_input_put_back(struct pf_input *in, const uint8_t *bytes, size_t count);
/* Goes on in the chunk's memory (or a larger one, which takes its place), with the unread bytes; the chunk gets what was
 * the input's. PF_ENOMEM leaves both as they were. */
enum pf_err pf_input_exchange(struct pf_input *in, struct pf_chunk *chunk);
/* One read(2) behind the unread bytes, which may move. At the end of the input sets eof. PF_EINTR: nothing changed. */
enum pf_err pf_input_refill(struct pf_input *in, struct pf_diag *diag);

static inline size_t pf_input_left(const struct pf_input *in) { return (size_t)(in->end - in->cur); }
/* Position of cur in the input. */
static inline uint64_t pf_input_offset(const struct pf_input *in) { return in->bytes_read - pf_input_left(in); }

enum pf_wrap { PF_WRAP_NONE, PF_WRAP_RAW, PF_WRAP_IPV4, PF_WRAP_IPV6, PF_WRAP_NULL, PF_WRAP_SLL, PF_WRAP_SLL2 };

/* How as_ethernet treats a link type; PF_WRAP_NONE: it cannot. */
enum pf_wrap pf_linktype_wrap(uint16_t linktype);
/* Puts an Ethernet header before the packet, over the link header it had and the bytes in front of it: 14 bytes in front
 * of data must be free. */
void pf_ethernet_wrap(enum pf_wrap wrap, struct pf_desc *desc);

struct pf_reader_iface {
	struct pf_iface shown; /* what descriptors of this interface are: after as_ethernet */
	uint32_t snaplen;      /* what the file says */
	uint16_t linktype;
	bool refused;
	bool pending;          /* R8: not accepted yet */
	uint32_t flags;        /* of descriptors: the link header */
	enum pf_wrap wrap;
	uint64_t unit_ns;      /* nanoseconds per timestamp unit */
	uint64_t unit_end;     /* raw timestamps below it are times unit_ns; others take the exact way */
};

enum pf_length_order { PF_LENGTHS_PLAIN, PF_LENGTHS_SWAPPED, PF_LENGTHS_MAYBE_SWAPPED };

struct pf_reader {
	struct pf_source source;
	struct pf_input in;
	enum pf_format format;
	bool started, swapped;
	bool as_ethernet, any_linktype, announce;
	/* classic pcap */
	bool nano;
	bool plain;                   /* 16-byte record headers, lengths in order, nothing to wrap: the fast loops */
	uint8_t record_header;        /* bytes */
	enum pf_length_order lengths; /* writers before version 2.4 exchanged the two */
	/* pcapng */
	bool in_section, order_changed;
	uint32_t section_base, section_ifaces;
	uint32_t awaited;             /* R8 */

	uint64_t need;
	uint64_t packets, skipped_blocks;
	uint32_t ifaces;
	struct pf_reader_iface *page[PF_READER_IFACES / PF_IFACE_PAGE];
};

static inline struct pf_reader_iface *pf_reader_iface_at(const struct pf_reader *r, uint32_t index)
{
	return &r->page[index / PF_IFACE_PAGE][index % PF_IFACE_PAGE];
}
/* Adds an interface as the file describes it. PF_ENOMEM, or PF_EINVAL at the limit. */
enum pf_err pf_reader_iface_add(struct pf_reader *r, const struct pf_iface *found, struct pf_diag *diag);
enum pf_err pf_reader_refuse_linktype(const struct pf_reader *r, uint32_t index, struct pf_diag *diag);
/* R8: says that the interface waits to be accepted. */
enum pf_err pf_reader_await(struct pf_reader *r, uint32_t index, struct pf_diag *diag);
/* Nanoseconds since the epoch, rounded down; saturates at the ends of int64_t. */
int64_t pf_reader_time(const struct pf_iface *iface, uint64_t raw);

/* Reads the 24-byte header at cur; the caller has checked that it is there. */
enum pf_err pf_pcap_start(struct pf_reader *r, struct pf_diag *diag);
enum pf_err pf_pcap_fill(struct pf_reader *r, struct pf_batch *batch, struct pf_diag *diag);
bool pf_pcap_magic(uint32_t magic);
enum pf_err pf_pcapng_fill(struct pf_reader *r, struct pf_batch *batch, struct pf_diag *diag);

#define PF_MAGIC_SECTION 0x0a0d0d0au

static inline uint16_t pf_load16(const uint8_t *p, bool swapped)
{
	uint16_t v;
	memcpy(&v, p, sizeof v);
	return swapped ? __builtin_bswap16(v) : v;
}

static inline uint32_t pf_load32(const uint8_t *p, bool swapped)
{
	uint32_t v;
	memcpy(&v, p, sizeof v);
	return swapped ? __builtin_bswap32(v) : v;
}

static inline uint64_t pf_load64(const uint8_t *p, bool swapped)
{
	uint64_t v;
	memcpy(&v, p, sizeof v);
	return swapped ? __builtin_bswap64(v) : v;
}

#endif
