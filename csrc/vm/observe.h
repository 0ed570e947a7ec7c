/* observe.h - a third build of the loop, which tells an observer of every instruction before it is executed.
 *
 * Terms
 *   step      one instruction of one run, with the registers as they are before it
 *   counting  how often each instruction of each program ran, how often a conditional jump was taken, and what it took
 *   recording the steps themselves, and the memory that a helper's arguments or an atomic operation point to
 *
 * Invariants
 *   O1 The observed build executes the checked build's code with the checked build's checks; it has no fused handlers and
 *      finds the handler by the original instruction. It runs where x->observer is set and the engine is CHECKED.
 *   O2 An observer changes nothing that a program can see. A run without one pays a comparison.
 *   O3 Memory is bounded: PF_OBSERVED_PROGS programs, and as many steps and bytes as asked for. What finds no room is
 *      counted in `lost`; the run goes on.
 *   O4 An observer holds a reference to each program that it counted.
 *
 * Threads: an observer belongs to the thread that runs x.
 */
#ifndef PF_OBSERVE_H
#define PF_OBSERVE_H

#include "../helper/exec.h"

#define PF_OBSERVED_PROGS 1024u
#define PF_OBSERVED_BYTES 256u /* of one argument's memory, at most */
#define PF_OBSERVED_ATOMIC 16u /* stands in place of an argument's number: what an atomic operation will change */

struct pf_observed_prog {
	struct pf_prog *prog;
	uint64_t *ran;   /* by slot */
	uint64_t *taken; /* by slot: conditional jumps that were taken */
	uint64_t *ticks; /* by slot, of pf_observe_ticks: until the next step of the same run */
};

struct pf_step {
	uint64_t regs[11];
	uint64_t data_meta, data, data_end;
	uint64_t memory;     /* place of what was recorded with it in `bytes` */
	uint32_t memory_len; /* pieces, each a pf_piece and its bytes, rounded up to 8 */
	uint32_t prog;       /* index in `progs` */
	uint32_t at;         /* slot */
	uint32_t depth;      /* frames above it */
};

struct pf_piece {
	uint32_t arg; /* 0 to 4, or PF_OBSERVED_ATOMIC */
	uint32_t len;
};

struct pf_observer {
	struct pf_observed_prog *progs;
	uint32_t prog_count;
	uint8_t timed;
	/* The step before, in this run. */
	struct pf_observed_prog *last; /* NULL: none */
	uint32_t last_at, last_depth;
	uint64_t last_ticks;
	/* Recording; no limits, no recording. */
	struct pf_step *steps;
	uint64_t step_count, step_limit;
	uint8_t *bytes;
	uint64_t bytes_used, bytes_limit;
	uint64_t lost; /* steps of which something was not kept */
};

/* steps, bytes: room for recording, 0 for none. timed: count ticks too. NULL: no memory. */
PF_API struct pf_observer *pf_observer_create(uint64_t steps, uint64_t bytes, int timed);
PF_API void pf_observer_destroy(struct pf_observer *observer);
/* Units of `ticks` since a fixed point. */
PF_API uint64_t pf_observe_ticks(void);

/* A run begins: there is no step before. */
static inline void pf_observe_run(struct pf_observer *observer)
{
	observer->last = NULL;
}

/* Tells x->observer of the instruction at this slot of the running program; r: r0 to r10. */
void pf_observe_step(struct pf_exec *x, uint32_t at, const uint64_t *r);

/* For the observed build: tells of the instruction at pc, and returns the number of its own handler (interp.h). */
uint32_t pf_vm_observed_op(struct pf_exec *x, const struct pf_code *code, const struct pf_lowered *pc, const uint64_t *r);

#endif
