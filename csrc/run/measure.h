/* measure.h - what benchmarks time: packets in memory, run through a worker again and again.
 *
 * Terms
 *   round  all packets once, batch after batch, as pf_worker_run does them: slot, program, verdict counting
 *
 * Invariants
 *   M1 Packets lie one after another, `stride` bytes apart, without room on either side, as in a read chunk.
 *   M2 Every round begins with the packets as they were given: where a round changed a byte, they are restored before
 *      the next one, outside the time. A program that never writes is never restored for.
 *   M3 Times are processor time of the calling thread: waiting for a busy processor is not in them.
 *
 * Threads: one at a time. Everything but the clock is pf_worker_run's, pf_vm_execute's and the source's.
 */
#ifndef PF_MEASURE_H
#define PF_MEASURE_H

#include "run.h"

struct pf_measure;

/* lens: n captured lengths, each at most stride; bytes: n * stride, copied. PF_EINVAL: n or batch is 0. */
PF_API enum pf_err pf_measure_create(const uint8_t *bytes, const uint32_t *lens, uint32_t n, uint32_t stride,
				     uint32_t batch, struct pf_measure **measure);
PF_API void pf_measure_destroy(struct pf_measure *measure);

/* That many rounds; *ns is the time of all. */
PF_API void pf_measure_run(struct pf_measure *measure, struct pf_worker *worker, uint32_t rounds, uint64_t *ns);

/* The same packets given to a program of type memory, with their whole stride; *sum is that of the results. PF_EFAULT:
 * the checked interpreter stopped it. */
PF_API enum pf_err pf_measure_memory(struct pf_measure *measure, const struct pf_prog *prog, enum pf_engine engine,
				     uint32_t rounds, uint64_t *ns, uint64_t *sum);

/* The packets' bytes, for a peer in the same process. */
PF_API uint8_t *pf_measure_bytes(struct pf_measure *measure);

/* Reads a source to its end and runs nothing; packets and bytes as captured. Errors are the source's. */
PF_API enum pf_err pf_measure_read(struct pf_source *source, uint32_t batch, uint64_t *packets, uint64_t *bytes,
				   uint64_t *ns, struct pf_diag *diag);

#endif
