/* run.h - workers: the loop over a batch, verdicts, statistics, and the replay loop over a source.
 *
 * Invariants
 *   L1 A worker is online only inside pf_worker_run (pf_prog_test_run has one of its own), around one batch: online, one
 *      slot load, packets, offline. Reading, writing, waiting and every callback happen offline.
 *   L2 Each packet of a batch gets exactly one verdict, from one world. A chain runs until an action outside the entry's
 *      continue_on; the last action is the verdict. An empty hook passes and counts as uncovered.
 *   L3 An action above REDIRECT counts as ABORTED; so does a fault of the checked interpreter, which is also counted.
 *   L4 Statistics are the worker's own; the owner reads them while the worker is not running.
 *   L5 pf_replay_step stops exactly before packet `until`: no batch crosses it.
 *   L6 Counts by generation are differences of the running totals at the batches at which the generation changed
 *      (generations.h): they cost the loop one comparison a batch.
 *
 * Threads: a worker belongs to one thread at a time.
 */
#ifndef PF_RUN_H
#define PF_RUN_H

#include "../hook/hook.h"
#include "../packet/batch.h"
#include "../vm/vm.h"
#include "generations.h"

struct pf_worker_options {
	uint32_t cpu;
	uint64_t seed;
	uint32_t linear_limit; /* PF_PACKET_LINEAR or UINT32_MAX; 0: PF_PACKET_LINEAR */
	uint64_t budget;       /* 0: PF_EXEC_BUDGET */
	uint32_t ingress_ifindex; /* 0: 1 */
	uint32_t rx_queue_index;
	uint8_t trace;         /* keep the text of trace_printk in exec->trace */
	uint64_t events;       /* bytes of a buffer for events (events.h); 0: nobody listens */
	struct pf_net *net;    /* network.h: the worker takes a reference; NULL: the empty network */
	const char *name;      /* for reports of a stalled grace period; NULL: "worker" */
};

struct pf_worker {
	struct pf_datapath *dp; /* one reference */
	struct pf_rcu_worker *rcu;
	struct pf_datapath_cpu present; /* W7 of hook.h, until pf_worker_leave */
	uint32_t hook;
	uint32_t linear_limit;
	struct pf_exec *exec;
	struct pf_net *net;       /* one reference, or NULL */
	struct pf_exec *second;   /* of candidates in the shadow; made when the first one runs */
	struct pf_routes *routes; /* where REDIRECT leads (route.h); NULL: none was followed yet */
	struct pf_trial *tripped; /* claimed in this batch (G4), a reference each */
	struct pf_run_stats stats;
	struct pf_generations generations;
	struct pf_fault first_fault;   /* prog is NULL: only name and diag are kept */
	char first_fault_prog[PF_NAME_MAX];
	uint64_t first_fault_packet;
	uint64_t batch_revision;   /* world of the last batch */
	uint64_t batch_generation; /* datapath generation of the last batch */
};

PF_API enum pf_err pf_worker_create(struct pf_datapath *dp, uint32_t hook, const struct pf_worker_options *options,
				    struct pf_worker **worker, struct pf_diag *diag);
PF_API void pf_worker_destroy(struct pf_worker *worker);
/* The worker runs no more: it binds no program by W7 from here on. Its counts stay. */
PF_API void pf_worker_leave(struct pf_worker *worker);

/* One batch. verdicts: batch->n entries, or NULL. sink may be NULL (its flush is the caller's). source: for the sink. */
PF_API void pf_worker_run(struct pf_worker *worker, struct pf_batch *batch, struct pf_verdict *verdicts,
			  struct pf_source *source, struct pf_sink *sink);

/* The same loop in a world that the caller keeps alive and nobody replaces: neither online nor a slot. For the other
 * ways of replacing a program, and for what being replaceable costs (strategy.h). */
void pf_worker_run_kept(struct pf_worker *worker, const struct pf_world *world, struct pf_batch *batch);

enum pf_replay_end { PF_REPLAY_MORE, PF_REPLAY_UNTIL, PF_REPLAY_DONE, PF_REPLAY_LINK };

/* Reads and runs batches until packet index `until` (UINT64_MAX: none), the end of the source, or `slice_ns` passed
 * (UINT64_MAX: no limit; else at least one batch runs). A read that a signal interrupted, or that found nothing yet in a
 * source that does not wait, ends the step with PF_REPLAY_MORE; PF_REPLAY_LINK: the source waits for an interface to be
 * accepted (reader.h, R8). A step also ends, with PF_REPLAY_MORE, once half of the buffer for events is used. The next packet's index is batch->first + batch->n, also
 * after an error and for the next source of several. Errors: the source's or the sink's, after everything before was run
 * and flushed. */
PF_API enum pf_err pf_replay_step(struct pf_worker *worker, struct pf_source *source, struct pf_batch *batch,
				  struct pf_sink *sink, uint64_t until, uint64_t slice_ns, enum pf_replay_end *end,
				  struct pf_diag *diag);

/* A batch of `capacity` descriptors. */
PF_API struct pf_batch *pf_batch_create(uint32_t capacity);
PF_API void pf_batch_destroy(struct pf_batch *batch);

/* BPF_PROG_TEST_RUN: one packet, `repeat` times, in a world of its own. As in Linux 6.18 (measured), each run goes on
 * with the packet as the run before left it, repeat 0 counts as 1, metadata is a multiple of 4 bytes and at most
 * PF_PACKET_HEADROOM, and a packet has at least PF_PACKET_MIN bytes behind it (not for type pcap); else PF_EINVAL, as for a CPU that a per-CPU
 * map of the program has no value for. Run i has packet index i.
 * PF_EFAULT: the checked interpreter stopped a run; diag says why. */
struct pf_test_run {
	const uint8_t *data, *meta;
	uint32_t len, meta_len, repeat;
	uint32_t cpu, ingress_ifindex, rx_queue_index, linear_limit;
	uint32_t wire_len; /* 0: len */
	uint64_t time_ns, seed, budget;
	enum pf_engine engine; /* highest allowed */
	struct pf_net *net;    /* NULL: the empty network */
	/* out */
	enum pf_engine ran;
	uint32_t retval; /* of the last run */
	uint64_t duration_ns; /* mean per run */
	uint8_t *out;         /* malloc'ed: meta_out_len bytes of metadata, then out_len bytes of packet */
	uint32_t out_len, meta_out_len;
	struct pf_trace *trace; /* in: may be NULL */
	struct pf_events *events; /* in: may be NULL (events.h) */
	struct pf_observer *observer; /* in: may be NULL (observe.h) */
	struct pf_redirected { enum pf_redirect kind; uint32_t target; } redirected;
};
PF_API enum pf_err pf_prog_test_run(struct pf_prog *prog, struct pf_test_run *run, struct pf_diag *diag);

#endif
