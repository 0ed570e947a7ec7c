/* pipeline_impl.h - what pipeline.c (the driver), crew.c (the workers) and outcome.c (between them) share; terms and
 * invariants in pipeline.h.
 *
 * Threads: a block's packets belong to the driver until `filled` passed it, to the crew until every `done` passed it, then
 * to the driver again: release and acquire of these counters hand it over. A lane's fields are its thread's, but where
 * a comment says else. The lock guards sleeping and spools; no other state.
 */
#ifndef PF_PIPELINE_IMPL_H
#define PF_PIPELINE_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "pipeline.h"

/* One cache line, since neighbours are written by different workers. */
struct pf_outcome {
	_Alignas(PF_CACHE_LINE) uint8_t *data;
	uint8_t *extra;
	uint32_t linear, extra_len;
	uint64_t generation;
	uint32_t retval;
	uint16_t name; /* in the share's names, when covered */
	uint8_t action, covered, engine, faulted, arm;
	uint8_t framed;
	uint8_t lost; /* there was no memory to keep it */
};

/* Copies of packets, in one list of pieces. */
struct pf_piece {
	struct pf_piece *next;
	size_t used, size;
	uint8_t bytes[];
};

/* A packet that leaves by a port. */
struct pf_parting {
	struct pf_port port;
	uint32_t place; /* in the block: they come in its order */
	uint32_t len;
	const uint8_t *data; /* in a piece */
	uint64_t generation;
	uint32_t retval;
	uint16_t name;
	uint8_t engine;
};

struct pf_share {
	struct pf_piece *pieces; /* the one with room first */
	char (*names)[PF_NAME_MAX];
	uint32_t name_count, name_capacity;
	struct pf_parting *partings;
	uint32_t parting_count, parting_room, parting_told;
	uint8_t lost; /* there was no memory to keep one */
	uint64_t took_ns; /* of the worker's processor */
};

struct pf_block {
	struct pf_desc *desc;
	uint64_t *times;            /* D4; with several workers */
	uint8_t *owners;            /* with several workers */
	struct pf_outcome *outcomes; /* with a sink: made for the first */
	struct pf_share *shares;    /* one a worker */
	struct pf_chunk chunk;      /* where the packets lie */
	uint64_t first;
	uint32_t n;
	uint32_t ingress_ifindex;
	uint8_t told;               /* there is a sink */
	uint8_t ported;             /* it takes what leaves by a port */
	uint32_t actions;           /* that it takes */
	struct pf_source *source;   /* for nothing but the sink's emit */
};

struct pf_lane {
	struct pf_sink sink; /* first: what the worker tells becomes outcomes */
	struct pf_pipeline *pipeline;
	uint32_t number;
	struct pf_worker *worker;
	pthread_t thread;
	/* The batch at hand: with several workers a selection of the block's packets. */
	struct pf_desc *desc;
	struct pf_stamp *stamps;
	uint32_t *places; /* in the block */
	struct pf_block *block;
	struct pf_trace *spool; /* under the lock; NULL: nobody asked for traces */
	uint64_t emitted;       /* the driver's: shares */
	_Alignas(PF_CACHE_LINE) _Atomic uint64_t done; /* blocks */
};

struct pf_pipeline {
	uint32_t count, batch, block_count;
	uint8_t unordered;
	struct pf_lane *lanes;
	struct pf_block *blocks;
	pthread_mutex_t lock;
	pthread_cond_t work; /* for the crew: a block was filled, copies were freed, or the end */
	pthread_cond_t room; /* for the driver: Q3, or a worker waits by Q5 */
	_Alignas(PF_CACHE_LINE) _Atomic uint64_t filled;
	_Alignas(PF_CACHE_LINE) _Atomic uint64_t emitted;
	_Alignas(PF_CACHE_LINE) _Atomic uint64_t target; /* the driver sleeps until every `done` is as much; 0: it does not */
	_Alignas(PF_CACHE_LINE) _Atomic size_t copied;   /* bytes of pieces */
	_Atomic uint32_t sleeping; /* somebody of the crew went to sleep, or is about to, and nobody woke it since */
	_Atomic uint32_t stop;
	/* The driver's. */
	uint32_t started; /* threads */
	uint32_t limit;   /* packets a block (Q9) */
	uint64_t next_packet, clock_ns;
	struct pf_diag failed; /* of the sink */
};

/* crew.c */
enum pf_err pf_crew_start(struct pf_pipeline *p, struct pf_diag *diag);
void pf_crew_stop(struct pf_pipeline *p);
/* The crew sleeps where it does; wakes it. */
void pf_crew_wake(struct pf_pipeline *p);
/* Least number of blocks that every worker has done. */
uint64_t pf_crew_done(const struct pf_pipeline *p);
/* Until the crew has done `target` blocks, or Q5 makes a worker wait for an emission that is possible, or the deadline. */
void pf_crew_wait(struct pf_pipeline *p, uint64_t target, uint64_t deadline_ns);

/* outcome.c: the emit of a lane's sink. */
void pf_outcome_keep(struct pf_sink *sink, const struct pf_source *source, const struct pf_desc *desc,
		     const struct pf_packet *packet, const struct pf_verdict *verdict);
/* The depart of a lane's sink, where the driver's has one; and telling that of a packet, 0: one was lost. */
void pf_outcome_part(struct pf_sink *sink, const struct pf_source *source, const struct pf_desc *desc,
		     const struct pf_packet *packet, const struct pf_verdict *verdict, struct pf_port port);
int pf_outcome_tell_partings(const struct pf_block *block, uint32_t place, uint32_t worker, struct pf_sink *sink);
/* Gives the share's copies back. all: keeps nothing for the next block. */
void pf_share_clear(struct pf_pipeline *p, struct pf_share *share, int all);
/* Tells the sink what became of a packet; 0: it was lost. */
int pf_outcome_tell(const struct pf_block *block, uint32_t place, uint32_t worker, struct pf_sink *sink);

#endif
