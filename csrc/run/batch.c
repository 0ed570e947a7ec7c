/* batch.c - the hot loop: one batch in one world.
 *
 * One program alone runs in pieces through the engine's own loop over packets (pf_vm_run_packets), with or without
 * somebody who wants verdicts: those are told when the piece has run, each packet where it lies, since a program that moves
 * no packet's edge (its tail calls included) writes in place. The loop over a chain of more, or over one that may move an edge
 * before somebody who wants to see it, is written once and inlined three times. A chain with a trial has a loop of its own
 * (trial.c). Per packet they set only what a program can observe (E2) and add to a tally on the stack.
 */
#include "round.h"
#include "route.h"

#include <string.h>

void pf_run_note_fault(struct pf_worker *w)
{
	struct pf_exec *x = w->exec;
	if (w->stats.faults++)
		return;
	w->first_fault = x->fault;
	w->first_fault.prog = NULL;
	w->first_fault_packet = x->packet_index;
	memset(w->first_fault_prog, 0, sizeof(w->first_fault_prog));
	if (x->fault.prog)
		memcpy(w->first_fault_prog, x->fault.prog->name, sizeof(w->first_fault_prog) - 1);
}

/* The rest of a chain: its programs see the packet as the one before left it. Returns the entry that decided. */
static const struct pf_chain_entry *go_on(struct pf_worker *w, const struct pf_chain *chain, uint32_t *retval,
					  uint8_t *faulted)
{
	const struct pf_chain_entry *entry = chain->entries, *const last = entry + chain->count - 1;
	struct pf_exec *x = w->exec;
	while (entry != last && (entry->continue_on >> pf_action_of(*retval) & 1)) {
		entry++;
		x->redirect = PF_REDIRECT_NONE; /* the one before did not decide */
		x->packet.frags = entry->prog->frags;
		*retval = run_program(w, x, entry->prog, entry->engine, faulted);
	}
	w->stats.engine_packets[entry->engine]++;
	return entry;
}

/* single and told are constants at every call. What does not change within the batch is in locals: the compiler must
 * assume that a program changes memory. */
INLINE void run_chain(struct pf_worker *w, const struct pf_chain *chain, const struct round *round,
		      struct tally *tally, int single, int told)
{
	struct pf_exec *const x = w->exec;
	const struct pf_desc *d = round->batch->desc;
	const struct pf_chain_entry *entry = chain->entries;
	enum pf_engine engine = entry->engine;
	const struct pf_prog *const prog = running(entry->prog, x->packet.link, &engine);
	const uint32_t linear_limit = round->linear_limit, n = round->batch->n;
	x->packet.frags = prog->frags;
	for (uint32_t i = 0; i < n; i++, d++) {
		uint8_t faulted = 0;
		begin(x, round->batch, i, linear_limit);
		if (!single)
			x->packet.frags = prog->frags;
		uint32_t retval = run_program(w, x, prog, engine, &faulted);
		if (!single)
			entry = go_on(w, chain, &retval, &faulted);
		const uint32_t action = pf_action_of(retval);
		tally->packets[action]++;
		tally->bytes[action] += d->caplen;
		if (told || PF_UNLIKELY(action == PF_XDP_REDIRECT)) {
			struct pf_verdict verdict = {
				.retval = retval,
				.action = (uint8_t)action,
				.covered = 1,
				.engine = (uint8_t)(single ? engine : entry->engine),
				.faulted = faulted,
				.generation = entry->generation,
				.program = entry->prog->name,
			};
			if (action == PF_XDP_REDIRECT)
				pf_route_packet(w, round, i, &verdict);
			tell(round, i, &x->packet, &verdict);
		}
	}
	if (single)
		w->stats.engine_packets[engine] += n;
}

static void add_sums(struct tally *tally, const uint64_t *sums)
{
	for (unsigned a = 0; a < PF_ACTIONS; a++) {
		tally->packets[a] += sums[a] / PF_VM_ONE_PACKET;
		tally->bytes[a] += sums[a] % PF_VM_ONE_PACKET;
	}
}

/* After a piece ran: every packet is where it was when it came (in_place). */
static void tell_piece(struct pf_worker *w, const struct pf_chain_entry *entry, enum pf_engine engine,
		       const struct round *round, uint32_t from, const uint32_t *retvals, const uint8_t *faulted, uint32_t n)
{
	struct pf_packet *const packet = &w->exec->packet;
	struct pf_verdict verdict = {
		.covered = 1,
		.engine = (uint8_t)engine,
		.generation = entry->generation,
		.program = entry->prog->name,
	};
	const uint32_t wanted = round->verdicts || !round->sink->actions ? ~0u : round->sink->actions;
	for (uint32_t i = 0; i < n; i++) {
		const struct pf_desc *d = &round->batch->desc[from + i];
		if (!(wanted >> pf_action_of(retvals[i]) & 1))
			continue;
		verdict.retval = retvals[i];
		verdict.action = (uint8_t)pf_action_of(retvals[i]);
		verdict.faulted = faulted[i];
		pf_packet_init(packet, d->data, d->caplen, round->linear_limit);
		tell(round, from + i, packet, &verdict);
	}
}

/* Can nothing that this program comes to move a packet's edge? What it tail-calls is not looked at. */
static int in_place(const struct pf_prog *prog)
{
	return !prog->moves_packet && !prog->tail_calls;
}

/* One program; told: a constant at every call. */
INLINE void run_single(struct pf_worker *w, const struct pf_chain *chain, const struct round *round, struct tally *tally,
		       int told)
{
	const struct pf_chain_entry *const entry = chain->entries;
	uint32_t retvals[PF_VM_FEED_MAX];
	uint8_t faulted[PF_VM_FEED_MAX];
	enum pf_engine engine = entry->engine;
	const struct pf_prog *const prog = running(entry->prog, w->exec->packet.link, &engine);
	struct pf_vm_feed feed = {
		.desc = round->batch->desc,
		.stamps = round->batch->stamps,
		.retvals = retvals,
		.first = round->batch->first,
		.linear_limit = round->linear_limit,
	};
	w->exec->packet.frags = prog->frags;
	for (uint32_t left = round->batch->n; left; left -= feed.n) {
		feed.n = left < PF_VM_FEED_MAX ? left : PF_VM_FEED_MAX;
		feed.done = 0;
		memset(feed.sums, 0, sizeof(feed.sums));
		if (told)
			memset(faulted, 0, feed.n);
		while (pf_vm_run_packets(w->exec, prog, engine, &feed)) {
			pf_run_note_fault(w);
			faulted[feed.done] = 1;
			pf_vm_count(&feed, PF_XDP_ABORTED);
		}
		add_sums(tally, feed.sums);
		if (told)
			tell_piece(w, entry, engine, round, round->batch->n - left, retvals, faulted, feed.n);
		feed.desc += feed.n;
		if (feed.stamps)
			feed.stamps += feed.n;
		feed.first += feed.n;
	}
	w->stats.engine_packets[engine] += round->batch->n;
}

static void run_single_quiet(struct pf_worker *w, const struct pf_chain *c, const struct round *r, struct tally *t)
{
	run_single(w, c, r, t, 0);
}

static void run_single_each(struct pf_worker *w, const struct pf_chain *c, const struct round *r, struct tally *t)
{
	run_chain(w, c, r, t, 1, 1);
}

static void run_single_told(struct pf_worker *w, const struct pf_chain *c, const struct round *r, struct tally *t)
{
	if (in_place(c->entries->prog))
		run_single(w, c, r, t, 1);
	else
		run_single_each(w, c, r, t);
}

/* Programs that name targets: packet by packet, since only the last run's is known. */
static void run_single_followed(struct pf_worker *w, const struct pf_chain *c, const struct round *r, struct tally *t)
{
	run_chain(w, c, r, t, 1, 0);
}

static void run_many_quiet(struct pf_worker *w, const struct pf_chain *c, const struct round *r, struct tally *t)
{
	run_chain(w, c, r, t, 0, 0);
}

static void run_many_told(struct pf_worker *w, const struct pf_chain *c, const struct round *r, struct tally *t)
{
	run_chain(w, c, r, t, 0, 1);
}

/* No program: everything passes, uncovered. Time goes on. */
static void run_empty(struct pf_worker *w, const struct round *round, struct tally *tally)
{
	const struct pf_verdict verdict = { .retval = PF_XDP_PASS, .action = PF_XDP_PASS };
	const struct pf_batch *batch = round->batch;
	for (uint32_t i = 0; i < batch->n; i++) {
		const struct pf_desc *d = &batch->desc[i];
		begin(w->exec, batch, i, round->linear_limit);
		tally->packets[PF_XDP_PASS]++;
		tally->bytes[PF_XDP_PASS] += d->caplen;
		tell(round, i, &w->exec->packet, &verdict);
	}
	w->stats.uncovered += batch->n;
}

static void add_up(struct pf_run_stats *stats, const struct tally *tally)
{
	for (unsigned a = 0; a < PF_ACTIONS; a++) {
		stats->packets += tally->packets[a];
		stats->bytes += tally->bytes[a];
		stats->actions[a] += tally->packets[a];
		stats->action_bytes[a] += tally->bytes[a];
	}
	stats->batches++;
}

/* Packets of one kind of link header. */
static void run_part(struct pf_worker *w, const struct pf_chain *chain, const struct round *round, struct tally *tally)
{
	const int told = round->verdicts || round->sink;
	if (!chain->count)
		run_empty(w, round, tally);
	else if (PF_UNLIKELY(chain->watched))
		pf_run_watched(w, chain, round, tally);
	else if (chain->count == 1 && PF_UNLIKELY(chain->redirects))
		(told ? run_single_each : run_single_followed)(w, chain, round, tally);
	else if (chain->count == 1)
		(told ? run_single_told : run_single_quiet)(w, chain, round, tally);
	else
		(told ? run_many_told : run_many_quiet)(w, chain, round, tally);
}

/* Are all packets of one kind? Without a branch a packet: nearly always they are. */
static int one_link(const struct pf_batch *batch)
{
	uint32_t differ = 0;
	for (uint32_t i = 1; i < batch->n; i++)
		differ |= batch->desc[i].flags ^ batch->desc[0].flags;
	return !(differ >> PF_DESC_LINK);
}

/* A chain with families: pieces of the batch of one kind each, in order. */
static void run_by_link(struct pf_worker *w, const struct pf_chain *chain, const struct round *round,
			struct tally *tally)
{
	const struct pf_desc *desc = round->batch->desc;
	const int one = one_link(round->batch);
	struct pf_batch batch = *round->batch;
	struct round part = *round;
	part.batch = &batch;
	for (uint32_t at = 0, to; at < round->batch->n; at = to) {
		const uint32_t link = pf_desc_link(&desc[at]);
		for (to = one ? round->batch->n : at + 1; to < round->batch->n; to++)
			if (pf_desc_link(&desc[to]) != link)
				break;
		w->exec->packet.link = link;
		batch.desc = round->batch->desc + at;
		batch.stamps = round->batch->stamps ? round->batch->stamps + at : NULL;
		batch.first = round->batch->first + at;
		batch.n = to - at;
		part.verdicts = round->verdicts ? round->verdicts + at : NULL;
		run_part(w, chain, &part, tally);
	}
}

/* Whether any program of the chain is of type pcap; *all: every one is. */
static int has_expressions(const struct pf_chain *chain, int *all)
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < chain->count; i++)
		count += chain->entries[i].prog->type == PF_PROG_PCAP;
	*all = count && count == chain->count;
	return count != 0;
}

/* One batch in this world, which the caller keeps alive. */
INLINE void run_world(struct pf_worker *w, const struct pf_world *world, struct round *round, struct tally *tally)
{
	const struct pf_chain *chain = &world->chains[w->hook];
	int all;
	if (PF_UNLIKELY(world->generation != w->batch_generation || !w->generations.count))
		pf_generations_begin(&w->generations, world, chain, &w->stats);
	w->batch_revision = world->revision;
	w->batch_generation = world->generation;
	w->exec->bindings = &world->bindings;
	if (round->batch->ingress_ifindex)
		w->exec->packet.ingress_ifindex = round->batch->ingress_ifindex;
	round->linear_limit = w->linear_limit;
	if (has_expressions(chain, &all)) {
		if (all)
			round->linear_limit = UINT32_MAX;
		run_by_link(w, chain, round, tally);
	} else {
		run_part(w, chain, round, tally);
	}
	if (PF_UNLIKELY(w->routes != NULL))
		pf_route_depart(w, world, round);
	w->exec->bindings = NULL;
}

INLINE void finish(struct pf_worker *w, const struct tally *tally)
{
	if (PF_UNLIKELY(w->tripped))
		pf_run_trip(w);
	add_up(&w->stats, tally);
	if (w->exec->trace)
		w->stats.trace_lost = w->exec->trace->lost;
}

void pf_worker_run(struct pf_worker *w, struct pf_batch *batch, struct pf_verdict *verdicts, struct pf_source *source,
		   struct pf_sink *sink)
{
	struct round round = { .batch = batch, .verdicts = verdicts, .source = source, .sink = sink };
	struct tally tally = { { 0 }, { 0 } };
	pf_rcu_online(w->rcu);
	run_world(w, pf_datapath_world(w->dp), &round, &tally); /* the batch's only load of the slot (W1) */
	pf_rcu_offline(w->rcu);
	finish(w, &tally);
}

void pf_worker_run_kept(struct pf_worker *w, const struct pf_world *world, struct pf_batch *batch)
{
	struct round round = { .batch = batch };
	struct tally tally = { { 0 }, { 0 } };
	run_world(w, world, &round, &tally);
	finish(w, &tally);
}
