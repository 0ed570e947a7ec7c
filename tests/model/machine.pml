/* machine.pml - a weakly ordered machine that runs the worker and writer programs of protocol.c, and the properties.
 *
 * Spin's processes are sequentially consistent, so the weakness is written out: a process is a list of operations, and its
 * step performs any one of them that is not performed yet and whose forced predecessors are (before[], protocol.c, R1 to
 * R6). To perform a load is to take the value that memory has now; to perform a store is to let it leave the process's store
 * buffer: everybody sees it from then on. Between the two,
 *   - a store of which later operations were performed is one that still sits in the store buffer; buffers are drained in any
 *     order that R3 and R4 allow, not first in, first out. Nobody loads what he stores himself, so there is no forwarding;
 *   - a load that was performed before earlier ones was satisfied early, from what may be stale when they are performed. The
 *     window is the whole program: all batches, all updates;
 *   - a read of a world whose pointer is not loaded yet is performed for every world, and judged when the pointer is known.
 * A store is seen by all others at once. That loses nothing here: a store that reaches one worker later than another is a
 * worker whose load was early, for workers load only what the writer stores, and a counter is loaded by the writer alone.
 *
 * Properties (`broken` is the first one violated)
 *   1  nobody reads, or writes through, a freed world; no world is freed twice
 *   2  nobody reads a world before it was built
 *   3  a worker's batch uses one world
 *   4  when a waiting update returned, nobody uses an older world, and what its caller reads from then on is final
 *   5  a worker never goes back to an older world
 *   6  who comes online, or is quiescent, after a publication does not hold back its grace period
 *   7  a counter is never ahead of the token
 *   8  at the end the current world lives and all others are freed
 * and no state from which a waiting writer cannot go on while all workers end (spin's invalid end states). Every step
 * performs one of finitely many operations and none twice: no execution is infinite, so there is no livelock to look for
 * but that one.
 *
 * -DWORKERS=1 or 2 (chosen when spin translates); everything else is in protocol.c. */
#ifndef WORKERS
#define WORKERS 2
#endif
#define WRITER WORKERS
#define BATCHES_MAX 4
#define WORLDS_MAX 4

#include "kinds.h"

#define RAW 0
#define LIVE 1
#define FREED 2

/* May process p perform its operation i now? (Spin allows no call in an expression of C; hence tables.) */
#define READY(p, i) \
	(i < length[p] && !(now.done[p] >> i & 1) && !(before[p][i] & ~now.done[p]) && \
	 lets_pass[now.counter[program[p][i].who]][awaited[p][i]])

c_decl {
\#include "ops.h"
\#include <stdio.h>
}

int done[WORKERS + 1]; /* bits: operations performed */
byte slot;             /* number of the world */
byte token;
byte counter[WORKERS];
byte world[WORLDS_MAX]; /* RAW, LIVE, FREED */
byte loaded_token[WORKERS * BATCHES_MAX];
byte loaded_slot[WORKERS * BATCHES_MAX]; /* number of the world + 1; 0: not loaded */
byte loaded_again[WORKERS * BATCHES_MAX];
short early[WORKERS * BATCHES_MAX]; /* what a read found in every world, 2 bits each, and 256; 0: none, or judged */
byte lowest[WORLDS_MAX]; /* by update: the lowest counter that its scan met */
byte begun;              /* update whose grace period began: its fence B is passed */
byte returned;           /* waiting update whose caller went on */
byte broken;

byte op, kind, arg, who; /* of the step that is being made; 0 between steps */
byte r, w;

#define CHOOSE(p, i) :: c_expr { READY(p, i) } -> op = i
#define CHOOSE_ANY(p) \
	CHOOSE(p, 0) CHOOSE(p, 1) CHOOSE(p, 2) CHOOSE(p, 3) CHOOSE(p, 4) CHOOSE(p, 5) CHOOSE(p, 6) CHOOSE(p, 7) \
	CHOOSE(p, 8) CHOOSE(p, 9) CHOOSE(p, 10) CHOOSE(p, 11) CHOOSE(p, 12) CHOOSE(p, 13) CHOOSE(p, 14) CHOOSE(p, 15) \
	CHOOSE(p, 16) CHOOSE(p, 17) CHOOSE(p, 18) CHOOSE(p, 19) CHOOSE(p, 20) CHOOSE(p, 21) CHOOSE(p, 22) CHOOSE(p, 23) \
	CHOOSE(p, 24) CHOOSE(p, 25) CHOOSE(p, 26) CHOOSE(p, 27) CHOOSE(p, 28) CHOOSE(p, 29) CHOOSE(p, 30) CHOOSE(p, 31)

/* Looks the chosen operation up, and tells of it when a trail is replayed. */
#define LOOK_UP(p) \
	c_code { \
		now.kind = program[p][now.op].kind; \
		now.arg = program[p][now.op].arg; \
		now.who = program[p][now.op].who; \
		now.done[p] |= 1 << now.op; \
		if (readtrail) \
			tell(p, now.op); \
	}

#define REQUIRE(condition, property) if :: !(condition) && broken == 0 -> broken = property :: else fi
/* A world in this state may be used. */
#define JUDGE(state) REQUIRE((state) != FREED, 1); REQUIRE((state) != RAW, 2)

inline worker_step(me)
{
	r = me * BATCHES_MAX + arg;
	if
	:: kind == TOKEN ->
		c_code { now.loaded_token[now.r] = constant_token >= 0 ? constant_token : now.token; }
		c_code { now.w = now.begun ? token_of(now.begun) : 0; }
		REQUIRE(loaded_token[r] >= w, 6)
	:: kind == COUNTER ->
		counter[me] = loaded_token[r];
		REQUIRE(counter[me] <= token, 7)
	:: kind == SLOT ->
		loaded_slot[r] = slot + 1;
		REQUIRE(arg == 0 || slot + 1 >= loaded_slot[r - 1], 5);
		if
		:: early[r] != 0 -> JUDGE((early[r] >> (2 * slot)) & 3); early[r] = 0
		:: else
		fi
	:: kind == SLOT2 -> loaded_again[r] = slot + 1
	:: kind == USE ->
		if
		:: loaded_slot[r] == 0 ->
			early[r] = 256 + world[0] + 4 * world[1] + 16 * world[2] + 64 * world[3]
		:: else ->
			w = loaded_slot[r] - 1;
			JUDGE(world[w]);
			REQUIRE(w >= returned, 4)
		fi
	:: kind == EFFECT ->
		w = loaded_slot[r] - 1;
		if
		:: loaded_again[r] != 0 -> w = loaded_again[r] - 1
		:: else
		fi;
		REQUIRE(w == loaded_slot[r] - 1, 3);
		JUDGE(world[w]);
		REQUIRE(w >= returned, 4)
	:: kind == OFFLINE -> counter[me] = 0
	:: kind == BARRIER -> skip
	fi
}

inline writer_step()
{
	if
	:: kind == BUILD -> world[arg] = LIVE
	:: kind == XCHG -> slot = arg
	:: kind == ADVANCE ->
		c_code { now.token = token_of(now.arg); }
		c_code { if (!fenced) now.begun = now.arg; }
	:: kind == BARRIER -> begun = arg
	:: kind == POLL ->
		c_code {
			if (!passes(now.counter[now.who], 255) && now.counter[now.who] < now.lowest[now.arg])
				now.lowest[now.arg] = now.counter[now.who];
		}
	:: kind == SEE -> returned = (arg > returned -> arg : returned)
	:: kind == FREE -> /* update v retired world v - 1 with its token */
		w = 1;
		do
		:: w <= arg ->
			c_code { now.r = passes(now.lowest[now.arg] ? now.lowest[now.arg] : 1, token_of(now.w)); }
			if
			:: r && world[w - 1] == LIVE -> world[w - 1] = FREED
			:: else
			fi;
			w++
		:: else -> break
		od
	fi
}

#define STEP_ENDS op = 0; kind = 0; arg = 0; who = 0; r = 0; w = 0

#define SOUND c_code { if (readtrail && now.broken) tell_broken(now.broken); }; assert(broken == 0)

proctype worker(byte me)
{
	do
	:: atomic {
		if CHOOSE_ANY(Pworker->me) fi;
		d_step { LOOK_UP(Pworker->me); worker_step(me); STEP_ENDS; SOUND }
	   }
	:: c_expr { now.done[Pworker->me] == all[Pworker->me] } -> break
	od
}

proctype writer()
{
	do
	:: atomic {
		if CHOOSE_ANY(WRITER) fi;
		d_step { LOOK_UP(WRITER); writer_step(); STEP_ENDS; SOUND }
	   }
	:: c_expr { now.done[WRITER] == all[WRITER] } ->
		d_step {
			w = 0;
			do
			:: c_expr { now.w < last_update } -> REQUIRE(world[w] == FREED, 8); w++
			:: else -> break
			od;
			REQUIRE(world[slot] == LIVE, 8);
			w = 0;
			SOUND
		};
		break
	od
}

init {
	d_step {
		c_code {
			make_programs(WORKERS);
			now.token = first_token;
			now.lowest[1] = now.lowest[2] = now.lowest[3] = 255;
		}
		world[0] = LIVE
	};
	atomic {
		w = 0;
		do
		:: w < WORKERS -> run worker(w); w++
		:: else -> break
		od;
		w = 0;
		run writer()
	}
}
