/* ring.h - live packets in: memory-mapped AF_PACKET rings (TPACKET_V3) of one or two interfaces as one source.
 *
 * Sources: packet(7); Linux, Documentation/networking/packet_mmap.rst.
 *
 * Terms
 *   port    an interface of the source, by number; a descriptor's iface is its port
 *   ring    blocks that the kernel fills and we give back, shared by mmap
 *   slice   the longest wait within one call of next
 *
 * Invariants
 *   Q1 A block is ours from TP_STATUS_USER (acquire) until it is given back (release), which happens in the first call of
 *      next in which no descriptor points into it any more. A batch lies in one block: one interface, one ifindex.
 *   Q2 A wait ends after a slice with PF_EINTR and nothing lost: the caller looks at signals, limits, control, and calls
 *      again. Waiting happens in next, where the worker is offline: it never holds back a grace period.
 *   Q3 What the kernel could not store is in `dropped`. received = delivered + left out + dropped + what is still in the
 *      ring.
 *   Q4 An interface that goes down or away is an error (PF_ENODEV), reported after the packets that came before (D2), and
 *      found again by every further call. So is a block that cannot be.
 *   Q5 Capturing starts when pf_ring_open returns, for all ports; what came before is not seen.
 *
 * Threads: one at a time, but pf_ring_stop, which any thread and a signal handler may call.
 */
#ifndef PF_IO_RING_H
#define PF_IO_RING_H

#include "block.h"

#define PF_RING_PORTS 2u
#define PF_RING_SNAPLEN 262144u

struct pf_ring; /* its first member is struct pf_source */

struct pf_ring_options {
	uint32_t ifindex[PF_RING_PORTS];
	uint32_t ports;
	uint32_t block_size; /* bytes, a power of two, at least a page; 0: 256 KiB */
	uint32_t blocks;     /* per port; 0: 64 */
	uint32_t retire_ms;  /* a block with packets is handed over after this long; 0: 10 */
	uint32_t slice_ms;   /* 0: 100 */
	uint32_t snaplen;    /* 0: PF_RING_SNAPLEN */
	uint8_t outgoing, promiscuous;
	enum pf_partial partial;
};

/* PF_EPERM without CAP_NET_RAW, PF_ENODEV for an interface that is not there or down, PF_EOPNOTSUPP for one that does not
 * carry Ethernet. diag.insn is the port. */
PF_API enum pf_err pf_ring_open(const struct pf_ring_options *options, struct pf_ring **ring, struct pf_diag *diag);
PF_API void pf_ring_close(struct pf_ring *ring);

static inline struct pf_source *pf_ring_source(struct pf_ring *ring) { return (struct pf_source *)ring; }

/* From now on next reports the end. */
PF_API void pf_ring_stop(struct pf_ring *ring);

struct pf_ring_info {
	struct pf_block_counts counts;
	uint64_t received; /* that the interface gave to the ring, dropped ones included */
	uint64_t dropped;
	uint64_t blocks;
};
PF_API void pf_ring_info(struct pf_ring *ring, uint32_t port, struct pf_ring_info *info);

/* An Ethernet packet socket bound to the interface, which captures nothing; or -1 with diag. */
int pf_packet_socket(uint32_t ifindex, uint32_t port, struct pf_diag *diag);
/* Why the interface gives or takes nothing more: down, or gone. Returns PF_ENODEV. */
enum pf_err pf_interface_lost(int fd, uint32_t ifindex, uint32_t port, struct pf_diag *diag);

#endif
