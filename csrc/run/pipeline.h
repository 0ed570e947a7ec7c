/* pipeline.h - a replay on several threads: one reads and hands on, workers run, and what comes out is in capture order.
 *
 * Terms
 *   driver   the thread that calls pf_pipeline_step: reads, decides which worker gets a packet, and emits
 *   crew     the workers, one thread each
 *   block    a run of the input: its bytes, descriptors and owners; filled by the driver, run by the crew, emitted
 *   share    the packets of a block that one worker owns
 *   ring     a fixed number of blocks, used round and round
 *   outcome  what a run left: the verdict, and where the packet's bytes now lie
 *
 * Data flow
 *   source -> driver: fill a block -> ring -> each worker: its share, as batches -> outcomes -> driver: emit -> sink
 *
 * Invariants
 *   Q1 A packet is owned by the worker that its flow chooses (pf_flow_owner, packet/flow_hash.h), so that a flow stays in order on
 *      one worker; which worker depends on the packet's bytes and the number of workers alone.
 *   Q2 Index and time of a packet (batch.h, D4) are given by the driver: programs see the same for any number of workers.
 *   Q3 A block is run only after it was filled, emitted only after every share of it was run, and filled again only after
 *      it was emitted: filled >= done[k] >= emitted >= filled - blocks, each counter written by one thread.
 *   Q4 Emission is in capture order. With `unordered` a share is emitted when it was run: in order within a flow.
 *   Q5 A packet that a program moved to its worker's frame is copied into the block, and stays until it was emitted.
 *      Copies beyond PF_PIPELINE_COPIES make a worker wait, unless its block is the next to be emitted: so it ends.
 *   Q6 When step returns anything but PF_REPLAY_MORE, and after pf_pipeline_drain, every packet that was read has been run
 *      and emitted. So a swap made at PF_REPLAY_UNTIL is a barrier: no worker ran a later packet.
 *   Q7 Packets before an error of the source are run and emitted first (D2). After an error of the sink nothing more is
 *      read or emitted; what was read is run.
 *   Q8 Memory: blocks x (chunk, PF_PIPELINE_BLOCK descriptors), PF_PIPELINE_COPIES, and PF_PIPELINE_BYTES of longer chunks.
 *   Q9 A block has no more packets than the crew runs in about PF_PIPELINE_BLOCK_NS, so that an interruption is quick
 *      for slow programs too.
 *
 * Threads: every function by one thread at a time, the driver. The workers are the crew's from create to destroy; their
 * statistics may be read after a drain. A waiting worker is offline (L1).
 */
#ifndef PF_PIPELINE_H
#define PF_PIPELINE_H

#include "run.h"

#define PF_PIPELINE_WORKERS 64u
#define PF_PIPELINE_BLOCKS 8u          /* in the ring */
#define PF_PIPELINE_BLOCK 4096u        /* packets */
#define PF_PIPELINE_BLOCK_NS 4000000u
#define PF_PIPELINE_COPIES (32u << 20) /* bytes */
#define PF_PIPELINE_BYTES (64u << 20)  /* of chunks in flight, beyond the oldest */

struct pf_pipeline; /* pipeline_impl.h */

struct pf_pipeline_config {
	struct pf_worker *const *workers; /* stay the caller's */
	uint32_t count;
	uint32_t batch;   /* packets, 1 or more */
	uint32_t blocks;  /* 2 or more; 0: PF_PIPELINE_BLOCKS */
	uint64_t first;   /* index of the first packet */
	uint8_t unordered;
};

/* Starts the threads. PF_ENOMEM, PF_EAGAIN (no thread), PF_EINVAL. */
PF_API enum pf_err pf_pipeline_create(const struct pf_pipeline_config *config, struct pf_pipeline **pipeline,
				      struct pf_diag *diag);
/* Ends the threads. What was read and not emitted is run and forgotten. NULL is nothing. */
PF_API void pf_pipeline_destroy(struct pf_pipeline *pipeline);

/* As pf_replay_step (L5). PF_REPLAY_MORE leaves blocks in the ring: then the next call has the same source and sink, or
 * pf_pipeline_drain comes before. */
PF_API enum pf_err pf_pipeline_step(struct pf_pipeline *pipeline, struct pf_source *source, struct pf_sink *sink,
				    uint64_t until, uint64_t slice_ns, enum pf_replay_end *end, struct pf_diag *diag);

/* Waits for what was read, and emits it. Errors: the sink's. */
PF_API enum pf_err pf_pipeline_drain(struct pf_pipeline *pipeline, struct pf_source *source, struct pf_sink *sink,
				     struct pf_diag *diag);

PF_API uint64_t pf_pipeline_next_packet(const struct pf_pipeline *pipeline);

/* What one worker printed with trace_printk since the last call. */
PF_API void pf_pipeline_take_trace(struct pf_pipeline *pipeline, uint32_t worker, struct pf_trace *trace);

#endif
