/* protocol.c - the reclamation protocol of csrc/rcu/rcu.h (I0 to I4) and of the slot (csrc/hook, W1 to W3), as programs for
 * the machine of machine.pml; every -DM_... takes one thing away (run.py lists them all).
 *
 * The machine's rules: when is operation i of a process always performed before its later operation j?
 *   R1  i or j is a seq_cst fence
 *   R2  i is an acquire load
 *   R3  j is a release store (a read-modify-write's store part too)
 *   R4  both access the same location (coherence)
 *   R5  j is a store and i is a load that decides what it stores or whether it is made: no machine, and no compiler, lets
 *       others see a store that may turn out not to happen
 *   R6  both are seq_cst (a seq_cst load is also an acquire, a seq_cst store also a release)
 * In all other cases j may be performed first, whatever it is. So a store stays in the store buffer past later loads
 * (store, load), leaves it before an earlier one (store, store), loads are satisfied early with what is stale later (load,
 * load), and stores come before earlier loads (load, store). A load's address is not a reason to wait (no R5 for loads): a
 * value that is guessed right is as good as one that was loaded; this is weaker than every machine but one, and it is what
 * C11 without consume allows to a compiler.
 *
 * Shape: -DBATCHES, -DUPDATES, -DSTYLE (0: each batch between online and offline; 1: quiescent between batches; 2: every
 * other worker), -DWAITS (bit u - 1: update u waits), -DSANITIZED (the operations of a ThreadSanitizer build). */
#include "ops.h"

#include <stdio.h>

#ifndef BATCHES
#define BATCHES 2
#endif
#ifndef UPDATES
#define UPDATES 2
#endif
#ifndef STYLE
#define STYLE 0
#endif
#ifndef WAITS
#define WAITS ~0
#endif

struct op program[MAX_PROCS][MAX_OPS];
unsigned before[MAX_PROCS][MAX_OPS];
int length[MAX_PROCS];
int all[MAX_PROCS];
int awaited[MAX_PROCS][MAX_OPS];
unsigned char lets_pass[256][8];
static int waits[8]; /* by update: does its caller wait? */
int last_update = UPDATES;

#ifdef M_TOKEN_FROM_0
int first_token = 0;
#else
int first_token = 1;
#endif
#ifdef M_NO_TOKEN_LOAD
int constant_token = 1;
#else
int constant_token = -1;
#endif

#ifdef M_NO_INCREMENT
#define ADVANCE_BY 0
#else
#define ADVANCE_BY 1
#endif
#if defined SANITIZED || defined M_NO_FENCE_B
int fenced = 0;
#else
int fenced = 1;
#endif

/* What an order becomes in the sanitizer's build, where it has no fences. */
#ifdef SANITIZED
#define IN_SAN(order, sanitized) (sanitized)
#else
#define IN_SAN(order, sanitized) (order)
#endif

#define ONLINE_TOKEN IN_SAN(RELAXED, ACQUIRE)
#ifdef M_COUNTER_SC
#define ONLINE_COUNTER RELEASE
#else
#define ONLINE_COUNTER IN_SAN(RELAXED, SEQ_CST)
#endif
#ifdef M_SLOT_SC
#define SLOT_ORDER ACQUIRE
#elif defined M_SLOT_ACQUIRE
#define SLOT_ORDER RELAXED
#else
#define SLOT_ORDER IN_SAN(ACQUIRE, SEQ_CST)
#endif
#ifdef M_QUIESCENT_ACQUIRE
#define QUIESCENT_TOKEN RELAXED
#else
#define QUIESCENT_TOKEN ACQUIRE
#endif
#ifdef M_QUIESCENT_RELEASE
#define QUIESCENT_COUNTER RELAXED
#else
#define QUIESCENT_COUNTER RELEASE
#endif
#ifdef M_OFFLINE_RELEASE
#define OFFLINE_ORDER RELAXED
#else
#define OFFLINE_ORDER RELEASE
#endif
#ifdef M_XCHG_SC
#define XCHG_ORDER RELEASE
#elif defined M_XCHG_RELEASE
#define XCHG_ORDER RELAXED
#else
#define XCHG_ORDER IN_SAN(RELEASE, SEQ_CST)
#endif
#ifdef M_ADVANCE_RELEASE
#define ADVANCE_ORDER RELAXED
#else
#define ADVANCE_ORDER RELEASE
#endif
#ifdef M_POLL_SC
#define POLL_ORDER ACQUIRE
#elif defined M_POLL_ACQUIRE
#define POLL_ORDER RELAXED
#else
#define POLL_ORDER IN_SAN(ACQUIRE, SEQ_CST)
#endif

static int worker_count;
static int at; /* process whose program is being written */

static unsigned add(int kind, enum order order, int arg, int who, unsigned needs)
{
	int i = length[at]++;
	program[at][i] = (struct op){ kind, order, arg, who, needs };
	return 1u << i;
}

static void online(int batch)
{
#ifdef M_FENCE_A_EARLY
	add(BARRIER, FENCE, batch, 0, 0);
#endif
#ifdef M_SLOT_FIRST
	add(SLOT, SLOT_ORDER, batch, 0, 0);
#endif
	unsigned token = add(TOKEN, ONLINE_TOKEN, batch, 0, 0);
#ifndef M_NO_COUNTER_STORE
	add(COUNTER, ONLINE_COUNTER, batch, 0, token);
#else
	(void)token;
#endif
#if !defined SANITIZED && !defined M_NO_FENCE_A && !defined M_FENCE_A_EARLY
	add(BARRIER, FENCE, batch, 0, 0);
#endif
}

static void quiescent(int batch)
{
	unsigned token = add(TOKEN, QUIESCENT_TOKEN, batch, 0, 0);
	add(COUNTER, QUIESCENT_COUNTER, batch, 0, token);
}

static void run_batch(int batch)
{
	unsigned slot = 0;
#ifndef M_SLOT_FIRST
	slot = add(SLOT, SLOT_ORDER, batch, 0, 0);
#else
	for (int i = 0; i < length[at]; i++)
		if (program[at][i].kind == SLOT && program[at][i].arg == batch)
			slot = 1u << i;
#endif
	add(USE, PLAIN, batch, 0, 0);
#ifdef M_SLOT_TWICE
	slot = add(SLOT2, SLOT_ORDER, batch, 0, 0);
#endif
	add(EFFECT, PLAIN, batch, 0, slot);
}

static void write_worker(int quiescent_style)
{
	for (int batch = 0; batch < BATCHES; batch++) {
		if (batch == 0 || !quiescent_style)
			online(batch);
		else
			quiescent(batch);
		run_batch(batch);
#ifndef M_NO_OFFLINE
		if (!quiescent_style || batch == BATCHES - 1)
			add(OFFLINE, OFFLINE_ORDER, batch, 0, 0);
#endif
	}
}

static unsigned polls(int update, int workers)
{
	unsigned all = 0;
#ifdef M_NO_POLL
	workers = 0;
#endif
#ifdef M_POLL_MISSES_ONE
	workers--;
#endif
	for (int w = 0; w < workers; w++)
		all |= add(POLL, POLL_ORDER, update, w, 0);
	return all;
}

static void write_writer(int workers)
{
	unsigned waited = 0; /* what the caller waited for before it begins its next update */
	for (int u = 1; u <= UPDATES; u++) {
		unsigned scan = 0;
#ifdef M_POLL_BEFORE_XCHG
		scan = polls(u, workers);
#endif
#ifdef M_ADVANCE_BEFORE_XCHG
		add(ADVANCE, ADVANCE_ORDER, u, 0, waited);
#endif
#ifndef M_XCHG_BEFORE_BUILD
		add(BUILD, PLAIN, u, 0, waited);
#endif
#ifndef M_NO_XCHG
		add(XCHG, XCHG_ORDER, u, 0, waited);
#endif
#ifdef M_XCHG_BEFORE_BUILD
		add(BUILD, PLAIN, u, 0, waited);
#endif
#ifndef M_ADVANCE_BEFORE_XCHG
		add(ADVANCE, ADVANCE_ORDER, u, 0, waited);
#endif
#if !defined SANITIZED && !defined M_NO_FENCE_B
		add(BARRIER, FENCE, u, 0, 0);
#endif
#ifndef M_POLL_BEFORE_XCHG
		scan = polls(u, workers);
#endif
		if (waits[u])
			add(SEE, PLAIN, u, 0, 0);
		add(FREE, PLAIN, u, 0, scan);
		waited = waits[u] ? scan : 0;
	}
}

/* A number for the location; USE and FREE access worlds through pointers, where R4 has nothing to say before the pointer is
 * known: the machine checks every such access instead. */
static int location(const struct op *op)
{
	switch (op->kind) {
	case TOKEN: case ADVANCE: return 1;
	case COUNTER: case OFFLINE: return 2;
	case SLOT: case SLOT2: case XCHG: return 3;
	case POLL: return 4 + op->who;
	case BARRIER: case USE: case EFFECT: case BUILD: case SEE: case FREE: return 0;
	}
	return 0;
}

static int is_store(const struct op *op)
{
	return op->kind == COUNTER || op->kind == OFFLINE || op->kind == EFFECT || op->kind == BUILD ||
	       op->kind == XCHG || op->kind == ADVANCE || op->kind == FREE;
}

static int ordered(const struct op *i, const struct op *j, unsigned bit)
{
	if (i->order == FENCE || j->order == FENCE) /* R1 */
		return 1;
	if (!is_store(i) && (i->order == ACQUIRE || i->order == SEQ_CST)) /* R2 */
		return 1;
	if (is_store(j) && (j->order == RELEASE || j->order == SEQ_CST)) /* R3 */
		return 1;
	if (location(i) && location(i) == location(j)) /* R4 */
		return 1;
	if (is_store(j) && (j->needs & bit)) /* R5 */
		return 1;
	return i->order == SEQ_CST && j->order == SEQ_CST; /* R6 */
}

int token_of(int update)
{
	return first_token + ADVANCE_BY * update;
}

int passes(int counter, int token)
{
#ifndef M_ZERO_IS_A_TOKEN
	if (counter == 0)
		return 1;
#endif
#ifdef M_PASSES_ONE_EARLY
	return counter >= token - 1;
#else
	return counter >= token;
#endif
}

void make_programs(int workers)
{
	worker_count = workers;
	for (int u = 1; u <= UPDATES; u++)
		waits[u] = WAITS >> (u - 1) & 1;
	for (int counter = 0; counter < 256; counter++)
		for (int token = 0; token < 8; token++)
			lets_pass[counter][token] = token == 0 || passes(counter, token);
	for (at = 0; at <= workers; at++) {
		length[at] = 0;
		if (at < workers)
			write_worker(STYLE == 2 ? at & 1 : STYLE);
		else
			write_writer(workers);
		all[at] = (int)((1ull << length[at]) - 1);
		for (int j = 0; j < length[at]; j++) {
			const struct op *op = &program[at][j];
			awaited[at][j] = op->kind == POLL && waits[op->arg] ? token_of(op->arg) : 0;
			before[at][j] = 0;
			for (int i = 0; i < j; i++)
				if (ordered(&program[at][i], &program[at][j], 1u << i))
					before[at][j] |= 1u << i;
		}
	}
}

static const char *name_of(const struct op *op)
{
	switch (op->kind) {
	case TOKEN: return "load the token";
	case COUNTER: return "store it in the counter";
	case BARRIER: return "fence";
	case SLOT: return "load the slot";
	case USE: return "use the world (first packet)";
	case SLOT2: return "load the slot again";
	case EFFECT: return "use the world, write into its map (last packet)";
	case OFFLINE: return "store 0 in the counter";
	case BUILD: return "build the world";
	case XCHG: return "exchange the slot";
	case ADVANCE: return "advance the token";
	case POLL: return "poll the counter of worker";
	case SEE: return "the caller goes on";
	case FREE: return "free what has passed";
	}
	return "";
}

void tell(int process, int i)
{
	static const char *const orders[] = { "plain", "relaxed", "acquire", "release", "seq_cst", "seq_cst" };
	const struct op *op = &program[process][i];
	if (process == worker_count)
		printf("writer    update %d  ", op->arg);
	else
		printf("worker %d  batch %d   ", process, op->arg);
	printf("%s", name_of(op));
	if (op->kind == POLL)
		printf(" %d", op->who);
	printf(", %s\n", orders[op->order]);
}

void tell_broken(int property)
{
	printf("violated: %d\n", property);
}
