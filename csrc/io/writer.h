/* writer.h - captures out: pcap and pcapng to a file descriptor, buffered in memory, whole records only.
 *
 * Invariants
 *   O1 emit only appends to memory, whole records; flush writes. The buffer holds at most buffer_flush and what one
 *      batch emitted. Long runs of pcap records that lie in the source's memory as they are to be written are written
 *      from there: flush comes before that memory is used again, and leaves no pointer into it.
 *   O2 After a failed write to a regular file, the file is cut back to the last whole record; what was written stays
 *      valid. Later emits are discarded and flush repeats the error.
 *   O3 Order, captured bytes after the program, timestamps at full resolution of the source, original length (changed by
 *      as much as the program changed the captured length) and snap length are kept.
 *   O4 pcap holds one link type: a second one is refused (PF_EINVAL, IO_MIXED_LINKTYPE) and nothing of it is written.
 *      Its resolution and snap length are those of the interfaces known at the first packet; later finer times are cut.
 *   O5 The caller ignores SIGPIPE and SIGXFSZ, so that a closed pipe and a size limit are errors.
 *
 * Threads: one at a time.
 */
#ifndef PF_WRITER_H
#define PF_WRITER_H

#include "reader.h"

struct pf_writer; /* its first member is struct pf_sink */

struct pf_writer_options {
	enum pf_format format;
	uint32_t actions;     /* bit per enum pf_action: which packets are written */
	uint8_t comment;      /* pcapng: opt_comment with program and generation */
	uint32_t buffer_flush; /* flush to the descriptor once this many bytes are buffered (0: 128 KiB) */
};

/* The descriptor stays the caller's, who has opened it for writing, at the position where the file begins. The header is
 * written with the first packet (its interface decides link type and resolution), or by finish. */
PF_API enum pf_err pf_writer_open(int fd, const struct pf_writer_options *options, struct pf_writer **writer,
				  struct pf_diag *diag);
/* Writes what is buffered, and the header if no packet came (iface: for it; NULL: Ethernet, microseconds). */
PF_API enum pf_err pf_writer_finish(struct pf_writer *writer, const struct pf_iface *iface, struct pf_diag *diag);
PF_API void pf_writer_close(struct pf_writer *writer); /* frees; writes nothing */
PF_API uint64_t pf_writer_packets(const struct pf_writer *writer); /* in whole records that reached the descriptor */
PF_API uint64_t pf_writer_bytes(const struct pf_writer *writer); /* of the file so far, buffered ones included */

static inline struct pf_sink *pf_writer_sink(struct pf_writer *writer) { return (struct pf_sink *)writer; }

#endif
