/* reader.h - captures in: classic pcap and pcapng from a file descriptor, in place, in chunks that stay in the cache.
 *
 * Sources: pcap and pcapng drafts of the IETF opsawg (draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng).
 *
 * Terms
 *   chunk   one read(2) into a private buffer; a record that spans two chunks is moved to the front first
 *   record  a pcap packet record or a pcapng block
 *
 * Invariants
 *   R1 The buffer grows beyond the chunk size only when a record is longer, and then only as bytes arrive, at most to
 *      PF_READER_RECORD_MAX: a length in the file never decides an allocation.
 *   R2 Every packet before damage is delivered before the damage is reported (D2); the report names the byte offset
 *      at which the damaged record begins.
 *   R3 A pcapng section has its own byte order and interfaces; interface indices in descriptors are global (section
 *      base + id) and stay valid until close.
 *   R4 caplen above the header's snap length is kept whole.
 *   R5 The reader never blocks but in read(2); EINTR is returned (PF_EINTR) with nothing lost, call again. So is EAGAIN
 *      from a descriptor that does not block.
 *   R6 A damaged, cut or unreadable input is PF_EBADMSG; one that is no capture or has an unknown version PF_EINVAL; a
 *      refused link type PF_EOPNOTSUPP. An error is found again by every further call.
 *   R7 The batch's `first` is the caller's; capacity is at least 1.
 *   R8 With `announce`, no packet of an interface is delivered before pf_reader_accept: the first interface when it is
 *      read, a later one when a packet of it is next, ends each call with PF_EUNATCH until then (alone, D2).
 *
 * Threads: one at a time.
 */
#ifndef PF_READER_H
#define PF_READER_H

#include "../packet/batch.h"

#define PF_READER_CHUNK (256u << 10)
#define PF_READER_RECORD_MAX (64u << 20)
#define PF_READER_IFACES 65536u

enum pf_format { PF_FORMAT_PCAP, PF_FORMAT_PCAPNG };

struct pf_reader; /* its first member is struct pf_source */

struct pf_reader_options {
	uint32_t chunk;       /* bytes, 64 to 16 MiB; 0: PF_READER_CHUNK */
	uint8_t as_ethernet;  /* put an Ethernet header before raw IP, null/loop, SLL and SLL2 packets (ethernet.c) */
	uint8_t any_linktype; /* deliver every link type as it is (tests, readers without programs) */
	uint8_t announce;     /* R8: who runs programs has to have one for each link type before its first packet */
	uint8_t head_len;     /* bytes that the caller already took from the descriptor, to look at them; at most 64 */
	uint8_t head[64];
};

/* The descriptor stays the caller's. The header is read by the first call of next. */
PF_API enum pf_err pf_reader_open(int fd, const struct pf_reader_options *options, struct pf_reader **reader,
				  struct pf_diag *diag);
PF_API void pf_reader_close(struct pf_reader *reader);

static inline struct pf_source *pf_reader_source(struct pf_reader *reader) { return (struct pf_source *)reader; }

/* The interface that the last PF_EUNATCH was about; UINT32_MAX before the first. */
PF_API uint32_t pf_reader_awaited(const struct pf_reader *reader);
PF_API void pf_reader_accept(struct pf_reader *reader, uint32_t index);

struct pf_reader_info {
	enum pf_format format;
	uint8_t started;      /* the header was read: format and interfaces are known */
	uint8_t swapped;      /* byte order differs from this machine's (last section) */
	uint32_t ifaces;
	uint64_t bytes_read;  /* of the (decompressed) input */
	uint64_t packets;
	uint64_t skipped_blocks;
	uint64_t read_ns;     /* spent in read(2) */
};
PF_API void pf_reader_info(const struct pf_reader *reader, struct pf_reader_info *info);
/* Name of a link type ("EN10MB", "LINUX_SLL"); "unknown" if not in the table. */
PF_API const char *pf_linktype_name(uint16_t linktype);

#endif
