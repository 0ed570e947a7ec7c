/* select.h - a source that gives a part of captures: a span of time, so many packets, several passes.
 *
 * Terms
 *   pass    all inputs once
 *   first   the first packet read of the first pass, from which relative times count
 *
 * Invariants
 *   T1 A packet is given if from <= time < to, by its own time, wherever it stands: captures need not be sorted, and are
 *      read to the end.
 *   T2 At most `limit` packets are given, over all passes; behind them nothing more is read.
 *   T3 In a later pass times go on: every packet's time and raw time lie later by the duration of all passes before, each
 *      with the mean gap between its packets as the gap to the next. Raw times are moved by whole units of their
 *      interface, rounded up, and times follow them, so that what programs see is what is written. A time that has
 *      no number in its interface's field is the field's last.
 *   T4 Programs' index counts what is given (the caller's batch->first, as in any source).
 *   T5 It lends its inner source's memory (D5) where that does.
 *
 * Threads: one at a time.
 */
#ifndef PF_IO_SELECT_H
#define PF_IO_SELECT_H

#include "../packet/batch.h"

struct pf_select_options {
	int64_t from_ns, to_ns; /* INT64_MIN, INT64_MAX: none. A relative end beyond int64_t is its end. */
	uint8_t from_relative, to_relative; /* to the first packet */
	uint64_t limit; /* UINT64_MAX: none */
};

struct pf_select_info {
	uint64_t packets;      /* given */
	uint64_t pass_packets; /* in this pass */
	uint64_t left_out;     /* outside of the span */
	uint64_t shift_ns;     /* of this pass (T3) */
	uint8_t done;          /* the limit is reached */
};

struct pf_select; /* its first member is struct pf_source */

/* PF_ENOMEM. */
PF_API enum pf_err pf_select_create(const struct pf_select_options *options, struct pf_select **select,
				    struct pf_diag *diag);
PF_API void pf_select_destroy(struct pf_select *select);

/* Goes on with this source; NULL: with none, which is the end. */
PF_API void pf_select_attach(struct pf_select *select, struct pf_source *inner);
/* What comes next is a new pass. */
PF_API void pf_select_pass(struct pf_select *select);
PF_API void pf_select_info(const struct pf_select *select, struct pf_select_info *info);

static inline struct pf_source *pf_select_source(struct pf_select *select) { return (struct pf_source *)select; }

#endif
