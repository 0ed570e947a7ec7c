/* trial.c - the loop over a batch in whose chain a trial runs: shadows on copies, canaries by flow, and their counters. Every
 * other chain has the loops of batch.c, which know nothing of this. */
#include "round.h"
#include "route.h"

#include "../hook/clock.h"
#include "../packet/flow_hash.h"

#include <string.h>

/* One packet in a watched chain. */
struct step {
	const struct pf_chain_entry *entry;
	const struct pf_desc *desc;
	uint64_t flow; /* hash of the packet as it came in, when the chain has a canary */
	uint32_t place; /* the worker's row */
	uint32_t retval;
	uint8_t faulted;
	uint8_t arm;
};

/* G2: only this worker writes. */
INLINE void add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

/* Steps of PF_TRIAL_TIMES: 0 1 2 3, then four an octave (hook/guard.c reads them). */
static uint32_t time_step(uint64_t ns)
{
	if (ns < 4)
		return (uint32_t)ns;
	const uint32_t octave = 63u - (uint32_t)__builtin_clzll(ns);
	const uint32_t step = (octave - 1) * 4 + (uint32_t)(ns >> (octave - 2) & 3);
	return step < PF_TRIAL_TIMES ? step : PF_TRIAL_TIMES - 1;
}

/* One run, and its duration where it is this packet's turn: less what the clock itself takes. */
static enum pf_err run_arm(struct pf_exec *x, const struct pf_prog *prog, enum pf_engine engine,
			   struct pf_trial_arm *arm, uint32_t *retval)
{
	uint64_t r0 = 0;
	const uint64_t turn = atomic_load_explicit(&arm->packets, memory_order_relaxed);
	prog = running(prog, x->packet.link, &engine);
	x->packet.frags = prog->frags;
	if (PF_LIKELY(turn % PF_TRIAL_TIME_EACH)) {
		enum pf_err err = pf_vm_run(x, prog, engine, (uintptr_t)&x->packet, 0, &r0);
		*retval = (uint32_t)r0;
		return err;
	}
	const uint64_t before = pf_clock_ns(), start = pf_clock_ns();
	enum pf_err err = pf_vm_run(x, prog, engine, (uintptr_t)&x->packet, 0, &r0);
	const uint64_t took = pf_clock_ns() - start, clock = start - before;
	_Atomic uint32_t *step = &arm->times[time_step(took > clock ? took - clock : 0)];
	atomic_store_explicit(step, atomic_load_explicit(step, memory_order_relaxed) + 1, memory_order_relaxed);
	add(&arm->timed, 1);
	*retval = (uint32_t)r0;
	return err;
}

static void count_arm(struct pf_trial_arm *arm, uint32_t action, int faulted)
{
	add(&arm->packets, 1);
	add(&arm->actions[action], 1);
	if (faulted)
		add(&arm->faults, 1);
}

/* The worker's own program, or a canary's candidate in its place. */
static void run_deciding(struct pf_worker *w, struct step *s, const struct pf_prog *prog, enum pf_engine engine,
			 struct pf_trial_row *row)
{
	struct pf_trial_arm *arm = &row->arms[s->arm];
	const int failed = run_arm(w->exec, prog, engine, arm, &s->retval) != PF_OK;
	if (failed) {
		pf_run_note_fault(w);
		s->faulted = 1;
		s->retval = PF_XDP_ABORTED;
	}
	count_arm(arm, pf_action_of(s->retval), failed);
}

/* Another exec in the state in which x is, over a copy of its packet; NULL: no memory. */
static struct pf_exec *mirror(struct pf_worker *w)
{
	const struct pf_exec *x = w->exec;
	if (!w->second && pf_exec_create(&w->second))
		return NULL;
	struct pf_exec *y = w->second;
	y->bindings = x->bindings;
	y->net = x->net;
	y->seed = x->seed;
	y->cpu = x->cpu;
	y->budget = x->budget;
	y->time_ns = x->time_ns;
	y->packet_index = x->packet_index;
	y->random_calls = x->random_calls;
	y->redirect = PF_REDIRECT_NONE;
	return pf_packet_copy(&y->packet, &x->packet) ? NULL : y;
}

/* The packet as both programs got it, kept until it is known whether it is wanted. */
struct input {
	uint32_t length, kept;
	uint8_t bytes[PF_TRIAL_SAMPLE];
};

static void keep_input(const struct pf_trial *trial, const struct pf_packet *p, struct input *in)
{
	in->length = pf_packet_length(p);
	in->kept = 0;
	if (atomic_load_explicit(&trial->samples_taken, memory_order_relaxed) >= trial->sample_room)
		return;
	in->kept = in->length < PF_TRIAL_SAMPLE ? in->length : PF_TRIAL_SAMPLE;
	(void)pf_packet_load_bytes(p, 0, in->bytes, in->kept); /* in range by construction */
}

/* G3. */
static void take_sample(struct pf_trial *trial, const struct step *s, const struct pf_exec *x, const struct pf_exec *y,
			const uint32_t actions[PF_ARMS], uint32_t difference, const struct input *in)
{
	if (atomic_load_explicit(&trial->samples_taken, memory_order_relaxed) >= trial->sample_room)
		return;
	const uint32_t n = atomic_fetch_add_explicit(&trial->samples_taken, 1, memory_order_relaxed);
	if (n >= trial->sample_room)
		return;
	struct pf_trial_sample *sample = &trial->samples[n];
	sample->packet = x->packet_index;
	sample->ts_ns = s->desc->ts_ns;
	sample->actions[0] = (uint8_t)actions[0];
	sample->actions[1] = (uint8_t)actions[1];
	sample->lengths[0] = pf_packet_length(&x->packet);
	sample->lengths[1] = pf_packet_length(&y->packet);
	sample->first_difference = difference;
	sample->length = in->length;
	sample->kept = in->kept;
	memcpy(sample->bytes, in->bytes, in->kept);
	atomic_store_explicit(&sample->ready, 1, memory_order_release); /* pairs with pf_trial_sample's acquire */
}

/* Where to: an interface, or a key of the program's own map. */
static int same_target(const struct pf_exec *x, const struct pf_exec *y)
{
	return x->redirect == y->redirect &&
	       (x->redirect == PF_REDIRECT_NONE || x->redirect_target == y->redirect_target);
}

static void compare(struct pf_trial *trial, const struct step *s, const struct pf_exec *x, const struct pf_exec *y,
		    const uint32_t actions[PF_ARMS], struct pf_trial_row *row, const struct input *in)
{
	const uint32_t difference = pf_packet_difference(&x->packet, &y->packet);
	const int redirected = actions[0] == PF_XDP_REDIRECT && actions[1] == PF_XDP_REDIRECT && !same_target(x, y);
	add(&row->compared, 1);
	add(&row->pairs[actions[0]][actions[1]], 1);
	if (PF_LIKELY(actions[0] == actions[1] && difference == UINT32_MAX && !redirected))
		return;
	add(&row->differing, 1);
	add(&row->action_differs, actions[0] != actions[1]);
	add(&row->redirect_differs, (uint64_t)redirected);
	add(&row->bytes_differ, difference != UINT32_MAX);
	take_sample(trial, s, x, y, actions, difference, in);
}

/* The copy is made before the current program runs, since that one writes in place. */
static void run_shadow(struct pf_worker *w, struct step *s, struct pf_trial_row *row)
{
	struct pf_trial *trial = s->entry->trial;
	struct input in;
	struct pf_exec *y = mirror(w);
	keep_input(trial, &w->exec->packet, &in);
	run_deciding(w, s, s->entry->prog, s->entry->engine, row);
	if (!y) {
		add(&row->missed, 1);
		return;
	}
	uint32_t retval;
	const int failed = run_arm(y, trial->prog, s->entry->candidate_engine, &row->arms[1], &retval) != PF_OK;
	const uint32_t actions[PF_ARMS] = { pf_action_of(s->retval), failed ? (uint32_t)PF_XDP_ABORTED : pf_action_of(retval) };
	count_arm(&row->arms[1], actions[1], failed);
	compare(trial, s, w->exec, y, actions, row, &in);
	y->bindings = NULL;
}

static void run_canary(struct pf_worker *w, struct step *s, struct pf_trial_row *row)
{
	const struct pf_chain_entry *entry = s->entry;
	const struct pf_trial *trial = entry->trial;
	s->arm = pf_flow_mix(s->flow ^ trial->seed) >> 32 < trial->threshold;
	if (s->arm)
		run_deciding(w, s, trial->prog, entry->candidate_engine, row);
	else
		run_deciding(w, s, entry->prog, entry->engine, row);
}

/* Runs the chain over the packet at hand; s->entry is the one that decided. */
static void run_chain(struct pf_worker *w, const struct pf_chain *chain, struct step *s)
{
	const struct pf_chain_entry *const last = chain->entries + chain->count - 1;
	struct pf_exec *x = w->exec;
	for (s->entry = chain->entries;; s->entry++) {
		struct pf_trial *trial = s->entry->trial;
		s->arm = 0;
		if (!trial) {
			x->packet.frags = s->entry->prog->frags;
			s->retval = run_program(w, x, s->entry->prog, s->entry->engine, &s->faulted);
		} else if (trial->kind == PF_TRIAL_SHADOW) {
			run_shadow(w, s, &trial->rows[s->place]);
		} else {
			run_canary(w, s, &trial->rows[s->place]);
		}
		if (s->entry == last || !(s->entry->continue_on >> pf_action_of(s->retval) & 1))
			return;
		x->redirect = PF_REDIRECT_NONE; /* the one before did not decide */
	}
}

/* Rows below rows_used are added up; the release gives readers the row's zeros. */
static int prepare(const struct pf_chain *chain, uint32_t place)
{
	int canary = 0;
	for (uint32_t i = 0; i < chain->count; i++) {
		struct pf_trial *trial = chain->entries[i].trial;
		if (!trial)
			continue;
		canary |= trial->kind == PF_TRIAL_CANARY;
		uint32_t used = atomic_load_explicit(&trial->rows_used, memory_order_relaxed);
		while (used <= place && !atomic_compare_exchange_weak_explicit(&trial->rows_used, &used, place + 1,
									       memory_order_release,
									       memory_order_relaxed))
			continue;
	}
	return canary;
}

/* Looks at each guard once in as many batches as there are rows to add up: the cost a batch does not grow with the
 * workers. */
static void look(struct pf_worker *w, const struct pf_chain *chain, uint32_t place)
{
	char why[PF_DETAIL_MAX];
	for (uint32_t i = 0; i < chain->count; i++) {
		struct pf_trial *trial = chain->entries[i].trial;
		if (!trial || !trial->guarded)
			continue;
		struct pf_trial_row *row = &trial->rows[place];
		if (++row->batches < atomic_load_explicit(&trial->rows_used, memory_order_relaxed))
			continue;
		row->batches = 0;
		if (!pf_trial_exceeded(trial, why) ||
		    atomic_exchange_explicit(&trial->claimed, 1, memory_order_acq_rel))
			continue;
		pf_ref_get(&trial->ref); /* the world holds one while we are online */
		trial->next_tripped = w->tripped;
		w->tripped = trial;
	}
}

void pf_run_trip(struct pf_worker *w)
{
	while (w->tripped) {
		struct pf_trial *trial = w->tripped;
		char why[PF_DETAIL_MAX];
		w->tripped = trial->next_tripped;
		/* Again, for the text: counters only grow, but rates may have come back within the limits. */
		if (!pf_trial_exceeded(trial, why) ||
		    pf_trial_abandon(trial, PF_CAUSE_GUARD, why, NULL, NULL))
			atomic_store_explicit(&trial->claimed, 0, memory_order_release); /* the next look tries again */
		pf_trial_put(trial);
	}
}

void pf_run_watched(struct pf_worker *w, const struct pf_chain *chain, const struct round *round, struct tally *tally)
{
	const struct pf_desc *d = round->batch->desc;
	struct step s = { .place = (uint32_t)(w->rcu - w->rcu->rcu->workers) };
	const int canary = prepare(chain, s.place);
	for (uint32_t i = 0; i < round->batch->n; i++, d++) {
		s.desc = d;
		s.faulted = 0;
		if (canary) /* before a program writes into the packet */
			s.flow = pf_flow_hash(d->data, d->caplen, 0);
		begin(w->exec, round->batch, i, round->linear_limit);
		run_chain(w, chain, &s);
		const struct pf_chain_entry *entry = s.entry;
		const enum pf_engine engine = s.arm ? entry->candidate_engine : entry->engine;
		const uint32_t action = pf_action_of(s.retval);
		const struct pf_verdict verdict = {
			.retval = s.retval,
			.action = (uint8_t)action,
			.covered = 1,
			.engine = (uint8_t)engine,
			.faulted = s.faulted,
			.arm = s.arm,
			.generation = entry->generation,
			.program = s.arm ? entry->trial->prog->name : entry->prog->name,
		};
		tally->packets[action]++;
		tally->bytes[action] += d->caplen;
		w->stats.engine_packets[engine]++;
		if (action == PF_XDP_REDIRECT)
			pf_route_packet(w, round, i, &verdict);
		tell(round, i, &w->exec->packet, &verdict);
	}
	look(w, chain, s.place);
}
