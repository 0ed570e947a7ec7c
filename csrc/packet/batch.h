/* batch.h - a batch of captured packets, and the interfaces between who makes, runs and takes them.
 *
 * Terms
 *   descriptor  struct pf_desc: where one captured packet lies in the source's private buffer
 *   batch       descriptors between two quiescent states of one worker; valid until the source's next call
 *   source      makes batches (io: a capture reader; live: a ring)
 *   sink        takes packets after their verdict, while a worker may be online: memory only, no system call; what it
 *               collected goes out in flush, while the worker is offline
 *
 * Invariants
 *   D1 Bytes data .. data + caplen belong to the batch: programs may write them.
 *   D2 A source that fails has first delivered every packet before the failure: the error comes alone (n == 0).
 *   D3 n == 0 with PF_OK is the end.
 *   D4 Programs see a packet's index in the whole input and the running maximum of capture time up to it (design
 *      section 7). A batch that is a run of the input has them by position; one that is a worker's share of several
 *      runs carries a stamp for each packet.
 *   D5 A source that can lend its memory says so by fill and renew: then batches stay valid from one renew to the next.
 *   D6 What emit was told of stays as it is until flush: a packet's bytes, unless it is framed, and those before it.
 */
#ifndef PF_BATCH_H
#define PF_BATCH_H

#include "packet.h"

#define PF_DESC_INCOMING 1u
#define PF_DESC_OUTGOING 2u /* this machine sent it */
#define PF_DESC_PARTIAL 4u  /* its transport checksum was left to the device, and is not right */
#define PF_DESC_LINK 8      /* shift: from here on what its link header is (PF_LINK_KIND); 0: Ethernet */

struct pf_desc {
	uint8_t *data;
	uint32_t caplen;
	uint32_t wire_len;
	int64_t ts_ns;   /* since the epoch, rounded down */
	int64_t ts_raw;  /* in the interface's own units, for exact write-back */
	uint32_t iface;  /* index into the source's interfaces */
	uint32_t flags;  /* PF_DESC_*: what a live source knows besides, and the link header */
};

/* Where packets came from: one pcap header or one pcapng interface block. */
struct pf_iface {
	uint16_t linktype;
	uint16_t linktype_high; /* upper half of a pcap link-type field: FCS length and reserved bits, kept as they are */
	uint32_t snaplen;
	uint8_t tsresol;        /* pcapng if_tsresol: 6, 9, or 0x80 | n for 2^-n */
	int64_t tsoffset;       /* seconds */
	uint8_t swapped;        /* captured by a machine with the other byte order, in which some link headers are */
};

static inline uint32_t pf_desc_link(const struct pf_desc *desc)
{
	const uint32_t link = desc->flags >> PF_DESC_LINK;
	return link ? link : PF_LINK_ETHERNET;
}

/* What a packet's place in the whole input decides (D4). */
struct pf_stamp {
	uint64_t index;
	uint64_t time_ns; /* since the epoch, 0 before it */
};

struct pf_batch {
	struct pf_desc *desc;
	const struct pf_stamp *stamps; /* n of them; NULL: desc[i] has index first + i and its own time */
	uint32_t n;
	uint32_t capacity;
	uint64_t first; /* without stamps: index of desc[0] in the whole input */
	uint32_t ingress_ifindex; /* that programs see; 0: the worker's */
};

static inline struct pf_stamp pf_stamp_of(const struct pf_stamp *stamps, uint64_t first, const struct pf_desc *desc,
					  uint32_t i)
{
	const int64_t ts_ns = desc[i].ts_ns;
	if (stamps)
		return stamps[i];
	return (struct pf_stamp){ .index = first + i, .time_ns = ts_ns > 0 ? (uint64_t)ts_ns : 0 };
}

/* The validated outcome of one packet. */
struct pf_verdict {
	uint32_t retval;  /* what the program returned, 32 bits */
	uint8_t action;   /* enum pf_action: an unknown retval is ABORTED */
	uint8_t covered;  /* 0: no program ran (hook empty) */
	uint8_t engine;   /* enum pf_engine of the last program that ran */
	uint8_t faulted;  /* the checked interpreter stopped it */
	uint8_t arm;      /* 1: a canary's candidate decided */
	uint64_t generation; /* of the link whose program decided; 0 when uncovered */
	const char *program; /* its name, while the worker is online: in emit; NULL when uncovered */
};

/* Where a redirect sends a packet: an interface, a CPU whose stack takes it, a socket's slot of an xskmap. */
enum pf_port_kind { PF_PORT_IFINDEX, PF_PORT_CPU, PF_PORT_XSK };
struct pf_port {
	enum pf_port_kind kind;
	uint32_t number;
};

#define PF_SOURCE_HEAD 16u

/* Memory of malloc that changes hands; NULL and 0: none yet. */
struct pf_chunk {
	uint8_t *memory;
	size_t capacity;
};

struct pf_source {
	enum pf_err (*next)(struct pf_source *source, struct pf_batch *batch, struct pf_diag *diag);
	const struct pf_iface *(*iface)(const struct pf_source *source, uint32_t index); /* NULL: no such */
	/* Both or neither (NULL), D5. fill: as next, from what is in memory alone; n == 0 with PF_OK: next would have to read,
	 * and end the life of earlier batches. renew: exchanges the memory of the batches so far for the chunk's. */
	enum pf_err (*fill)(struct pf_source *source, struct pf_batch *batch, struct pf_diag *diag);
	enum pf_err (*renew)(struct pf_source *source, struct pf_chunk *chunk, struct pf_diag *diag);
	uint8_t prompt; /* next does not wait for somebody else: a file */
	uint8_t heads;  /* PF_SOURCE_HEAD readable bytes lie before every packet: what they are, a sink may compare */
};

struct pf_sink {
	uint32_t actions; /* bit per enum pf_action that it may take; 0: all. Others need not be told */
	/* PF_ENOMEM is kept and reported by flush. */
	void (*emit)(struct pf_sink *sink, const struct pf_source *source, const struct pf_desc *desc,
		     const struct pf_packet *packet, const struct pf_verdict *verdict);
	enum pf_err (*flush)(struct pf_sink *sink, struct pf_diag *diag); /* while offline */
	/* One copy of a redirected packet leaves by a port; as emit, and besides it. Per port in capture order. The bytes
	 * (framed) are the caller's again on return. NULL: nobody takes them. */
	void (*depart)(struct pf_sink *sink, const struct pf_source *source, const struct pf_desc *desc,
		       const struct pf_packet *packet, const struct pf_verdict *verdict, struct pf_port port);
};

#endif
