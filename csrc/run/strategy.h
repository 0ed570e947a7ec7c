/* strategy.h - ways to replace a running program, behind one interface, under one load: what does each cost and break?
 *
 * Terms
 *   way       how a new program takes the place of the old one (enum pf_swap_way)
 *   lane      a worker thread with packets in memory that it runs again and again, batch by batch
 *   stamp     what a program leaves in the first four bytes of every packet it sees: its index in the list of programs.
 *             Update number u brings program u modulo the list's length; the link starts with number 0
 *   bare      a packet that no program stamped
 *   mixed     a batch in which two packets have different stamps, or some have one and some have none
 *   stale     a packet with the stamp of an update older than the last one that had returned when the batch began
 *   gap       time from the end of one batch of a lane to the end of the next: the longest is the reader's stall
 *
 * Invariants
 *   S1 Packets are judged by their bytes alone: what a way itself counts takes no part. Stamps are wiped before a batch.
 *   S2 `started` rises before an update begins, `returned` after it came back (release); a lane reads `returned` before
 *      and `started` after its batch (acquire). A batch during which as many updates passed as there are programs cannot
 *      be told from an older one by its stamps: it is counted as unjudged, never as clean.
 *      S4 makes that impossible for pf_swap_drive.
 *   S3 Every way runs the same loop over the batch (pf_worker_run, pf_worker_run_kept) with the same programs.
 *   S4 pf_swap_drive lets every lane begin a batch between two updates, and then some random part of a batch pass: an
 *      update that meets no traffic would measure nothing, and one that always meets a batch's start the wrong thing.
 *
 * Threads: create, start, update, drive, stop, read and destroy by one thread, the writer.
 */
#ifndef PF_STRATEGY_H
#define PF_STRATEGY_H

#include <pthread.h>

#include "histogram.h"
#include "run.h"

enum pf_swap_way {
	PF_SWAP_PUBLISH,       /* pf_link_update, then pf_datapath_wait */
	PF_SWAP_MUTEX,         /* the program's place is overwritten under a mutex that a lane holds around each batch */
	PF_SWAP_RWLOCK,        /* the same with a lock that lanes share, writers first */
	PF_SWAP_DETACH_ATTACH, /* pf_link_detach, wait, pf_link_attach: the hook is empty meanwhile, or has its fallback */
	PF_SWAP_WAYS
};

struct pf_swap_config {
	enum pf_swap_way way;
	struct pf_datapath *dp;
	uint32_t hook;
	struct pf_link *link; /* with programs[0], the only one of the hook but for a fallback behind it */
	struct pf_prog *const *programs; /* references are taken; at least 2 */
	uint32_t program_count;
	uint32_t lanes;
	uint32_t batch;      /* packets */
	uint32_t packet_len; /* bytes, at least 4 */
};

/* One update's times in nanoseconds. */
struct pf_swap_times {
	uint64_t publish_ns; /* making the new program visible: exchange and advance; under a lock the whole of it */
	uint64_t wait_ns;    /* grace periods; 0 under a lock */
	uint64_t total_ns;   /* the call as its caller sees it: checks, building the world, publishing, waiting */
	uint64_t bare_ns;    /* from the old program's leaving to the new one's arrival; 0 where there is no such time */
};

struct pf_swap_totals {
	uint64_t packets, batches, bare, mixed, stale, unjudged;
	uint64_t dropped; /* packets with the verdict DROP, which only a fallback gives */
	uint64_t updates;
	uint64_t preempted_lanes, preempted_writer; /* involuntary context switches while running, while driving */
};

struct pf_swap;

PF_API enum pf_err pf_swap_create(const struct pf_swap_config *config, struct pf_swap **swap, struct pf_diag *diag);
PF_API void pf_swap_destroy(struct pf_swap *swap); /* NULL is nothing; stops first */

PF_API enum pf_err pf_swap_start(struct pf_swap *swap, struct pf_diag *diag);
PF_API void pf_swap_stop(struct pf_swap *swap);

/* The next program by the configured way; from its return on no packet runs an older one. */
PF_API enum pf_err pf_swap_update(struct pf_swap *swap, struct pf_swap_times *times, struct pf_diag *diag);

/* Updates one after another for this long (S4), at least pace_ns from one to the next; times go into the histograms. */
PF_API enum pf_err pf_swap_drive(struct pf_swap *swap, uint64_t duration_ns, uint64_t pace_ns, struct pf_diag *diag);

/* Somebody else does the updates (from Python, through the link): index of the next program, and that it came back. */
PF_API uint32_t pf_swap_begin(struct pf_swap *swap);
PF_API void pf_swap_returned(struct pf_swap *swap);

/* While stopped. */
PF_API void pf_swap_totals(const struct pf_swap *swap, struct pf_swap_totals *totals);

enum pf_swap_series { PF_SWAP_PUBLISHES, PF_SWAP_WAITS, PF_SWAP_UPDATES, PF_SWAP_BARES, PF_SWAP_GAPS, PF_SWAP_SERIES };
PF_API void pf_swap_histogram(const struct pf_swap *swap, enum pf_swap_series series, struct pf_histogram *out);

/* What it costs a batch that its program can be replaced: `batches` batches of the first lane through the slot, and as
 * many with the same world behind a plain pointer. Not while running, and nothing may be published meanwhile. */
struct pf_swap_cost {
	uint64_t slot_ns, plain_ns; /* all batches together */
};
PF_API void pf_swap_cost(struct pf_swap *swap, uint32_t batches, struct pf_swap_cost *cost);

#endif
