/* pace.h - a source that gives the packets of another one when they are due.
 *
 * Terms
 *   origin     clock time at which the schedule's 0 is
 *   late       how long after it was due a packet was given
 *   stall      a packet later than PF_PACE_LAG_NS
 *
 * Invariants
 *   P1 No packet is given before it is due; a batch holds packets that are due now, and is cut to the caller's capacity,
 *      so that swaps stay exact (L5).
 *   P2 Deadlines are absolute: being late once makes nothing after it late. Up to PF_PACE_LAG_NS is caught up, by giving at
 *      once what is due; a stall moves the origin by all of it instead, so that no burst holds more than PF_PACE_LAG_NS of
 *      the schedule. Stalls and the time they cost are counted.
 *   P3 Waiting happens in next, where the worker is offline. It ends after slice_ns or with a signal (PF_EINTR), and
 *      nothing is lost.
 *   P4 The inner source is read only when everything of its last batch was given: its packets stay where they are, and its
 *      error comes after them (D2).
 *
 * Threads: one at a time.
 */
#ifndef PF_PACE_H
#define PF_PACE_H

#include "schedule.h"

#define PF_PACE_LAG_NS UINT64_C(100000000)
#define PF_PACE_SLICE_NS UINT64_C(50000000)
#define PF_PACE_SPIN_NS UINT64_C(50000) /* at most so long a wait, or end of one, keeps the processor */

/* Where time comes from. `wait` returns at `until` or when a signal came; exact: as close to it as can be. */
struct pf_pace_clock {
	uint64_t (*now)(struct pf_pace_clock *clock);
	void (*wait)(struct pf_pace_clock *clock, uint64_t until, int exact);
};

struct pf_pace_options {
	struct pf_schedule_options schedule;
	uint32_t batch;              /* packets read ahead; 0: 256 */
	uint64_t slice_ns;           /* 0: PF_PACE_SLICE_NS */
	struct pf_pace_clock *clock; /* NULL: the machine's monotonic one */
};

struct pf_pace_info {
	uint64_t packets, bits;    /* given; bits as on the wire (S4) */
	uint64_t last_bits;        /* of the last one */
	uint64_t first_ns, last_ns; /* when the first and the last were given */
	uint64_t due_ns;           /* when the last was due after the first, stalls left out */
	uint64_t late_median_ns, late_p99_ns, late_max_ns;
	uint64_t stalls, stalled_ns;
	uint64_t shortened, stepped_back; /* S3 */
};

struct pf_pace; /* its first member is struct pf_source */

/* PF_ENOMEM. */
PF_API enum pf_err pf_pace_create(const struct pf_pace_options *options, struct pf_pace **pace, struct pf_diag *diag);
PF_API void pf_pace_destroy(struct pf_pace *pace);

/* Goes on with this source, and forgets what the one before had read ahead; NULL: with none, which is the end. */
PF_API void pf_pace_attach(struct pf_pace *pace, struct pf_source *inner);
/* The next packet begins a new pass. */
PF_API void pf_pace_pass(struct pf_pace *pace);
PF_API void pf_pace_info(const struct pf_pace *pace, struct pf_pace_info *info);

static inline struct pf_source *pf_pace_source(struct pf_pace *pace) { return (struct pf_source *)pace; }

#endif
