/* transmit.h - packets out: the sink that makes a filter of two interfaces, or puts a capture onto one.
 *
 * Invariants
 *   X1 PASS and REDIRECT go to the other port than the packet came from, TX goes back to that one, DROP and ABORTED go
 *      nowhere. With one port, PASS, TX and REDIRECT go out of it, wherever the packet came from. Each packet is sent once,
 *      as the program left it, in the order of arrival per port; one that was captured cut is not sent.
 *   X2 emit only copies; flush sends. Memory is bounded by what one batch lets through.
 *   X3 A full queue is waited for, at most retry_ms a flush, then the packet is given up and counted:
 *      packets let through = sent + dropped + too_long + cut + refused.
 *   X4 An interface that is gone or down ends it (PF_ENODEV), found again by every further flush.
 *
 * Threads: one at a time, as the source.
 */
#ifndef PF_IO_TRANSMIT_H
#define PF_IO_TRANSMIT_H

#include "ring.h"

struct pf_transmit; /* its first member is struct pf_sink */

struct pf_transmit_counts {
	uint64_t sent, sent_bytes;
	uint64_t dropped;  /* the queue stayed full */
	uint64_t too_long; /* for the interface (EMSGSIZE) */
	uint64_t cut;      /* when it was captured (X1) */
	uint64_t refused;  /* by the kernel for another reason, as a packet shorter than its header */
};

/* ifindex of each port, one or two; retry_ms 0: 100. */
PF_API enum pf_err pf_transmit_open(const uint32_t *ifindex, uint32_t ports, uint32_t retry_ms,
				    struct pf_transmit **transmit, struct pf_diag *diag);
/* REDIRECT goes nowhere from here on: redirects have ports of their own (ports.h). */
PF_API void pf_transmit_leave_redirects(struct pf_transmit *transmit);
PF_API void pf_transmit_close(struct pf_transmit *transmit);
PF_API void pf_transmit_counts(const struct pf_transmit *transmit, uint32_t port, struct pf_transmit_counts *counts);

static inline struct pf_sink *pf_transmit_sink(struct pf_transmit *transmit) { return (struct pf_sink *)transmit; }

/* Two sinks as one: both take every packet, both are flushed, the first error is reported. */
struct pf_tee {
	struct pf_sink sink; /* first */
	struct pf_sink *first, *second;
};
PF_API void pf_tee_init(struct pf_tee *tee, struct pf_sink *first, struct pf_sink *second);

#endif
