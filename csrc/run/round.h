/* round.h - what the loops over a batch share (batch.c, trial.c): one packet's beginning, one program's run, telling. */
#ifndef PF_ROUND_H
#define PF_ROUND_H

#include "run.h"

#define INLINE static inline __attribute__((always_inline))

struct tally {
	uint64_t packets[PF_ACTIONS];
	uint64_t bytes[PF_ACTIONS];
};

/* What a loop needs of its caller, apart from the worker. */
struct round {
	const struct pf_batch *batch;
	uint32_t linear_limit;
	struct pf_verdict *verdicts;
	const struct pf_source *source;
	struct pf_sink *sink;
};

INLINE void begin(struct pf_exec *x, const struct pf_batch *batch, uint32_t i, uint32_t linear_limit)
{
	const struct pf_desc *d = &batch->desc[i];
	const struct pf_stamp stamp = pf_stamp_of(batch->stamps, batch->first, batch->desc, i);
	pf_packet_init(&x->packet, d->data, d->caplen, linear_limit);
	x->packet.wire_len = d->wire_len;
	pf_exec_begin(x, stamp.index, stamp.time_ns);
}

/* The program that runs for a chain's entry over packets of this kind, and its engine; the head itself, which aborts, where
 * its family has none for them (prog.h, P5). */
INLINE const struct pf_prog *running(const struct pf_prog *prog, uint32_t link, enum pf_engine *engine)
{
	if (PF_LIKELY(prog->link != PF_LINK_HEAD))
		return prog;
	const struct pf_prog *member = pf_prog_member(prog, link);
	if (PF_UNLIKELY(!member))
		member = prog;
	while (*engine != PF_ENGINE_CHECKED && !atomic_load_explicit(&member->code[*engine], memory_order_acquire))
		--*engine;
	return member;
}

/* Programs of type pcap see all that was captured. The rest behind the linear part lies there in a packet that nobody has
 * moved; returns its length, for conceal. */
INLINE uint32_t reveal(const struct pf_prog *prog, struct pf_packet *p)
{
	const uint32_t rest = p->extra_len;
	if (PF_LIKELY(!rest || prog->type != PF_PROG_PCAP || p->extra != p->data_end))
		return 0;
	p->data_end += rest;
	p->extra_len = 0;
	return rest;
}

INLINE void conceal(struct pf_packet *p, uint32_t rest)
{
	p->data_end -= rest;
	p->extra_len += rest;
}

/* The worker's exec has stopped a program. */
__attribute__((noinline, cold)) void pf_run_note_fault(struct pf_worker *w);

/* One program over the packet at hand; a fault is ABORTED (L3). */
INLINE uint32_t run_program(struct pf_worker *w, struct pf_exec *x, const struct pf_prog *prog, enum pf_engine engine,
			    uint8_t *faulted)
{
	uint64_t r0;
	prog = running(prog, x->packet.link, &engine);
	const uint32_t rest = reveal(prog, &x->packet);
	const enum pf_err err = pf_vm_run(x, prog, engine, (uintptr_t)&x->packet, 0, &r0);
	conceal(&x->packet, rest);
	if (PF_LIKELY(err == PF_OK))
		return (uint32_t)r0;
	pf_run_note_fault(w);
	*faulted = 1;
	return PF_XDP_ABORTED;
}

INLINE void tell(const struct round *round, uint32_t i, const struct pf_packet *packet,
		 const struct pf_verdict *verdict)
{
	if (round->verdicts)
		round->verdicts[i] = *verdict;
	if (round->sink)
		round->sink->emit(round->sink, round->source, &round->batch->desc[i], packet, verdict);
}

/* trial.c: a chain in which a trial runs. */
void pf_run_watched(struct pf_worker *w, const struct pf_chain *chain, const struct round *round, struct tally *tally);
/* Offline: ends the trials whose guards tripped in the batch (hook/trial.h, G4). */
void pf_run_trip(struct pf_worker *w);

#endif
