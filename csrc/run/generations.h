/* generations.h - what a worker counted, in all and by generation of its datapath.
 *
 * Terms
 *   row    one generation that ran packets here: what ran, and the totals when it began
 *
 * Invariants
 *   N1 Rows are in the order in which the worker ran them; generations never go backward. A row's counts are the next
 *      row's `before` (the last one's: the totals) minus its own.
 *   N2 At most PF_GENERATION_ROWS are kept; what ran before the oldest is its `before`, and `left_out` says how many rows
 *      that were.
 *
 * Threads: as the worker's statistics.
 */
#ifndef PF_GENERATIONS_H
#define PF_GENERATIONS_H

#include "../hook/hook.h"

#define PF_GENERATION_ROWS 32u

struct pf_run_stats {
	uint64_t packets, bytes; /* bytes as captured, before the programs */
	uint64_t actions[PF_ACTIONS], action_bytes[PF_ACTIONS];
	uint64_t uncovered, faults, batches;
	uint64_t engine_packets[PF_ENGINES];
	uint64_t trace_lost;
};

struct pf_generation_row {
	uint64_t generation;      /* of the datapath */
	uint64_t link_generation; /* of the chain's first link; 0: the hook was empty */
	uint32_t programs;        /* in the chain */
	char program[PF_NAME_MAX]; /* the first one */
	struct pf_run_stats before;
};

struct pf_generations {
	struct pf_generation_row rows[PF_GENERATION_ROWS]; /* a ring */
	uint64_t count; /* rows begun; row i is rows[i % PF_GENERATION_ROWS] */
};

/* The worker is about to run its first batch of this generation. Online, and allocates nothing. */
void pf_generations_begin(struct pf_generations *generations, const struct pf_world *world,
			  const struct pf_chain *chain, const struct pf_run_stats *totals);

static inline uint64_t pf_generations_left_out(const struct pf_generations *g)
{
	return g->count > PF_GENERATION_ROWS ? g->count - PF_GENERATION_ROWS : 0;
}

static inline const struct pf_generation_row *pf_generations_row(const struct pf_generations *g, uint64_t i)
{
	return &g->rows[i % PF_GENERATION_ROWS];
}

#endif
