/* strategy_impl.h - what strategy.c (the ways) and swap.c (load, judging, times) share; terms in strategy.h.
 *
 * Threads: a lane's fields belong to its thread while it runs; the rest to the writer, but where an atomic says else.
 */
#ifndef PF_STRATEGY_IMPL_H
#define PF_STRATEGY_IMPL_H

#include "strategy.h"

struct pf_lane {
	struct pf_swap *swap;
	pthread_t thread;
	struct pf_worker *worker;
	struct pf_batch *batch;
	uint8_t *bytes; /* of the batch's packets, one after the other */
	struct pf_swap_totals seen;
	struct pf_histogram gaps;
	_Alignas(PF_CACHE_LINE) _Atomic uint64_t begun; /* batches; S4 */
	uint64_t met; /* the writer's: `begun` when it looked last */
};

/* The interface of a way. */
struct pf_strategy {
	void (*run)(struct pf_swap *swap, struct pf_lane *lane); /* one batch, by the lane's thread */
	/* By the writer; total_ns is the caller's. */
	enum pf_err (*update)(struct pf_swap *swap, struct pf_prog *prog, struct pf_swap_times *times,
			      struct pf_diag *diag);
};

struct pf_swap {
	/* Read by lanes. */
	const struct pf_strategy *strategy;
	uint32_t program_count, packet_len;
	_Alignas(PF_CACHE_LINE) _Atomic uint64_t started; /* S2 */
	_Alignas(PF_CACHE_LINE) _Atomic uint64_t returned;
	_Alignas(PF_CACHE_LINE) _Atomic uint32_t stop;
	/* Of the ways. */
	pthread_mutex_t mutex;
	pthread_rwlock_t rwlock;
	struct pf_place { /* under a lock: what all lanes run */
		struct pf_world world;
		struct pf_chain_entry entry;
	} place;
	/* Of the writer. */
	struct pf_datapath *dp; /* one reference */
	struct pf_link *link;   /* one reference once `own_link` */
	uint32_t hook;
	uint8_t own_link;
	struct pf_prog **programs; /* one reference each */
	uint32_t lane_count, lanes_started;
	struct pf_lane *lanes;
	uint64_t updates, preempted;
	uint64_t start_ns, random; /* S4: when the lanes started, and the state of a small generator */
	struct pf_histogram times[PF_SWAP_GAPS]; /* by enum pf_swap_series; gaps are the lanes' */
};

const struct pf_strategy *pf_strategy_of(enum pf_swap_way way);

#endif
