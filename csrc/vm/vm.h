/* vm.h - the interpreter: one source, two builds of the loop.
 *
 * Terms
 *   lowering   translation of a program's instructions, one to one, into struct pf_lowered: handler address, and map
 *              and value addresses filled into the halves of ld_imm64
 *   checked    every load, store and helper argument is checked at run time; an instruction budget; for any legal program
 *   unchecked  for verified programs; ctx loads were rewritten by their per-instruction type
 *
 * Invariants
 *   V1 The two builds give the same result for every program that the checked build runs without a fault.
 *   V2 A checked run touches no memory outside E5's regions; a fault leaves packet and maps as the instructions before
 *      it left them. It ends: whenever control goes back (backward jump, return, callback), the distance is charged to
 *      `budget`. Between two such points the instruction index only grows, so a run executes at most budget + count
 *      instructions, and `executed` is an upper bound of their number. A helper that works through memory or buckets is
 *      charged for them too (helper/check.c), so that the budget bounds time.
 *   V3 Division by zero gives 0, modulo by zero the dividend, shifts are masked, INT_MIN / -1 is INT_MIN (RFC 9669
 *      section 4.1). 32-bit operations zero the upper half.
 *   V4 A tail call replaces the program in its frame; made in a subprogram, the target's result goes to the
 *      subprogram's caller. The 34th of a run is not made (helper returns to the next instruction), as in Linux.
 *   V5 Staged code is immutable.
 *   V6 No byte of another packet's run can be read from the stack: stack_bytes below r10 are zeroed when a frame is
 *      entered. They are as many as constant offsets from r10 reach, or the whole frame once r10 goes anywhere else.
 *      In the checked build the rest of the stack is out of bounds (exec.h, E8).
 *   V7 An atomic operation on an address that is not a multiple of its size faults in the checked build; the unchecked
 *      build, which the verifier keeps from it, does it in plain steps.
 *
 * Threads: pf_vm_stage by any thread that holds a reference to the program (two at once make one form). pf_vm_run and
 * pf_vm_execute by the thread that owns x; a program may run in any number of threads.
 */
#ifndef PF_VM_H
#define PF_VM_H

#include "../helper/exec.h"
#include "../packet/batch.h"

/* What an instruction's memory operand is, for the unchecked build: from the verifier (or a C test). One byte per
 * instruction slot. */
enum pf_insn_type { PF_INSN_PLAIN, PF_INSN_CTX_LOAD };

/* Builds and publishes prog->code[engine] for CHECKED or INTERP (P1); at once done if present. types: for INTERP, one
 * enum pf_insn_type per slot, NULL when no instruction reads ctx. */
PF_API enum pf_err pf_vm_stage(struct pf_prog *prog, enum pf_engine engine, const uint8_t *types, struct pf_diag *diag);

/* Runs a staged program. r1, r2: initial registers (xdp: r1 = &x->packet). PF_OK with *r0, or PF_EFAULT with x->fault
 * (checked only). Tail calls go to programs staged for the same engine; a target without is not called. */
enum pf_err pf_vm_run(struct pf_exec *x, const struct pf_prog *prog, enum pf_engine engine, uint64_t r1, uint64_t r2,
		      uint64_t *r0);

/* Packets to run without going in and out of the loop between them: at most PF_VM_FEED_MAX, so that a sum holds their
 * bytes, as captured, below PF_VM_ONE_PACKET, and their number from there on. Whoever runs a packet counts it (pf_vm_count). */
#define PF_VM_FEED_MAX 256
#define PF_VM_ONE_PACKET (UINT64_C(1) << 40)
_Static_assert(PF_VM_FEED_MAX * (uint64_t)UINT32_MAX < PF_VM_ONE_PACKET, "bytes stay below the count");

struct pf_vm_feed {
	const struct pf_desc *desc;
	const struct pf_stamp *stamps; /* as in struct pf_batch */
	uint32_t *retvals;
	uint64_t first;
	uint32_t linear_limit;
	uint32_t n;
	uint32_t done;  /* the next packet */
	uint64_t sums[PF_ACTIONS];
};

/* Packet `done` has run. */
static inline void pf_vm_count(struct pf_vm_feed *feed, uint32_t retval)
{
	feed->retvals[feed->done] = retval;
	feed->sums[pf_action_of(retval)] += PF_VM_ONE_PACKET + feed->desc[feed->done].caplen;
	feed->done++;
}

/* Runs a staged program of type xdp once for each packet, as pf_exec_begin and pf_vm_run would. PF_OK: at the end.
 * PF_EFAULT (checked only): packet `done` faulted; to count it is the caller's. */
enum pf_err pf_vm_run_packets(struct pf_exec *x, const struct pf_prog *prog, enum pf_engine engine,
			      struct pf_vm_feed *feed);

/* pf.vm.execute: program type memory over a caller's buffer. */
PF_API enum pf_err pf_vm_execute(struct pf_exec *x, const struct pf_prog *prog, enum pf_engine engine, uint8_t *memory,
				 uint64_t len, uint64_t *r0);

#endif
