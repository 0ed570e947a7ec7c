/* trial.h - a candidate beside a link's current program: shadow and canary, what they count, and guards. Part of hook.h.
 *
 * Terms
 *   shadow   the candidate runs on copies of the packets that its link's program sees; nothing it does has an effect but
 *            on its own maps
 *   canary   the candidate gets a share of the flows (flow_hash.h), and its verdict is the link's
 *   arm      0: the current program, 1: the candidate
 *   row      one worker place's counters
 *   guard    limits; a worker that sees one exceeded ends the trial itself
 *
 * Invariants
 *   G1 A trial holds its candidate and its link. While it runs the link holds it, and so does every world in which it
 *      runs; ending it (promote, abandon, guard, detach, the datapath's end) drops the link's reference, which breaks
 *      the circle. Counters live as long as the last handle.
 *   G2 A counter is written by the owner of its worker place alone, relaxed; any thread may read it, and sees each one
 *      at some moment of its own: sums of a running trial may disagree by a batch, those of an ended one are exact once
 *      its grace period is over.
 *   G3 The first `samples` differing packets are kept, counted over all workers: a slot is claimed once, filled, then
 *      released; readers take released ones only.
 *   G4 A guard trips at most once (claim). The worker decides while online, where the world keeps the trial alive, takes
 *      a reference, and publishes after it went offline: under dp->lock like any other change, waiting for nobody.
 *   G5 States: IDLE, RUNNING, then one of the others for good; changed under dp->lock at the commit that publishes it.
 *
 * Threads: any, but those that count (run/trial.c) and no online worker (hook.h).
 */
#ifndef PF_TRIAL_H
#define PF_TRIAL_H

#include "link.h"

#define PF_ARMS 2u
#define PF_TRIAL_TIMES 96u     /* durations: four steps an octave, the last one open */
#define PF_TRIAL_TIME_EACH 64u /* one in so many packets of an arm is timed */
#define PF_TRIAL_TIMED_MIN 16u /* timed packets of an arm before its duration is judged */
#define PF_TRIAL_SAMPLE 128u   /* bytes of a sample */
#define PF_TRIAL_SAMPLES_MAX 65536u

enum pf_trial_kind { PF_TRIAL_SHADOW, PF_TRIAL_CANARY };
enum pf_trial_state {
	PF_TRIAL_IDLE, PF_TRIAL_RUNNING, PF_TRIAL_PROMOTED, PF_TRIAL_ABANDONED, PF_TRIAL_TRIPPED, PF_TRIAL_DETACHED,
};

/* A negative limit (UINT64_MAX for faults): none. A limit is exceeded above it, not at it. */
struct pf_guard {
	double max_difference;  /* differing of compared packets; shadow only */
	double max_drop_change; /* the arms' shares of DROP and ABORTED apart, either way */
	double max_ns_ratio;    /* median duration of the candidate over the current program's */
	uint64_t max_faults;    /* of the candidate, from the first packet on */
	uint64_t min_packets;   /* of each arm, before the three rates are judged */
};

struct pf_trial_options {
	enum pf_trial_kind kind;
	uint32_t samples;   /* shadow: at most PF_TRIAL_SAMPLES_MAX */
	uint64_t threshold; /* canary: flows with a 32-bit pick below it; at most 1 << 32 */
	uint64_t seed;      /* canary: which flows */
	struct pf_guard guard;
};

struct pf_trial_sample {
	uint64_t packet; /* index in the whole input */
	int64_t ts_ns;
	uint8_t actions[PF_ARMS];
	uint32_t lengths[PF_ARMS];    /* after the run */
	uint32_t first_difference;    /* offset in the bytes after the runs, metadata in front; UINT32_MAX: none */
	uint32_t length, kept;        /* of the packet that both were given, and how many bytes of it are here */
	uint8_t bytes[PF_TRIAL_SAMPLE];
	_Atomic uint32_t ready;       /* G3 */
};

struct pf_trial_arm {
	_Atomic uint64_t packets, faults, timed, actions[PF_ACTIONS];
	_Atomic uint32_t times[PF_TRIAL_TIMES];
};

/* pairs[current][candidate]: packets by the two actions. differing: in action, redirection or bytes. missed: packets
 * that the candidate did not see, for want of memory. */
struct pf_trial_row {
	_Alignas(PF_CACHE_LINE) struct pf_trial_arm arms[PF_ARMS];
	_Atomic uint64_t compared, differing, action_differs, redirect_differs, bytes_differ, missed;
	_Atomic uint64_t pairs[PF_ACTIONS][PF_ACTIONS];
	uint32_t batches; /* the owner's: since its last look at the guard */
};

struct pf_trial {
	struct pf_ref ref; /* first (F1) */
	enum pf_trial_kind kind;
	struct pf_prog *prog; /* the candidate */
	struct pf_link *link;
	uint64_t threshold, seed;
	struct pf_guard guard;
	uint8_t guarded;
	_Atomic uint32_t rows_used; /* highest worker place that counted, + 1 */
	_Atomic uint32_t claimed;   /* G4 */
	struct pf_trial *next_tripped; /* of the worker that claimed it */
	uint32_t sample_room;
	_Atomic uint32_t samples_taken; /* may exceed sample_room */
	struct pf_trial_sample *samples;
	struct pf_trial_row *rows; /* PF_RCU_WORKERS */
	enum pf_trial_state state; /* this, why and begun: under dp->lock */
	uint8_t begun;             /* staged by a commit that may still fail, or began: it does not begin again (G5) */
	char why[PF_DETAIL_MAX];
};

/* One reference for the caller. PF_EINVAL: options out of range. A shadow must not come to a map which programs can write and
 * the link's program comes to, by tail calls and maps of maps too: it would change what that one sees. Checked at the start,
 * for what stands in prog arrays and maps of maps then. */
PF_API enum pf_err pf_trial_create(struct pf_link *link, struct pf_prog *candidate,
				   const struct pf_trial_options *options, struct pf_trial **trial,
				   struct pf_diag *diag);
PF_API void pf_trial_put(struct pf_trial *trial); /* does not end it */

/* Checked as an update; PF_EBUSY also when this one began before, PF_EINVAL also for maps in common. A canary is
 * a generation of its link, a shadow a revision only. expect may be NULL. */
PF_API enum pf_err pf_trial_start(struct pf_trial *trial, const struct pf_expect *expect, struct pf_change *change,
				  struct pf_diag *diag);
/* The candidate becomes the link's program: a generation. PF_ESTALE when the trial has ended; again: nothing. */
PF_API enum pf_err pf_trial_promote(struct pf_trial *trial, struct pf_change *change, struct pf_diag *diag);
/* Ends it, for `cause` (ABANDON or GUARD) and with a text why (may be NULL). A canary's end, and a guard's always, so that
 * the history says why, is a generation; a shadow's a revision. When it has ended: nothing, token 0. */
PF_API enum pf_err pf_trial_abandon(struct pf_trial *trial, enum pf_cause cause, const char *why,
				    struct pf_change *change, struct pf_diag *diag);

/* Counters over all workers. median_ns: 0 when nothing was timed. */
struct pf_trial_sums {
	struct pf_trial_arm_sums {
		uint64_t packets, faults, timed, actions[PF_ACTIONS];
		double median_ns;
	} arms[PF_ARMS];
	uint64_t compared, differing, action_differs, redirect_differs, bytes_differ, missed;
	uint64_t pairs[PF_ACTIONS][PF_ACTIONS];
};
PF_API void pf_trial_sum(struct pf_trial *trial, struct pf_trial_sums *sums);
/* The nth sample, while the caller holds the trial; NULL when there is none (yet). */
PF_API const struct pf_trial_sample *pf_trial_sample(struct pf_trial *trial, uint32_t n);
/* why: PF_DETAIL_MAX bytes. */
PF_API enum pf_trial_state pf_trial_state(struct pf_trial *trial, char *why);

/* Is a limit of the guard exceeded? Writes the reason to why (PF_DETAIL_MAX bytes). */
PF_API int pf_trial_exceeded(struct pf_trial *trial, char *why);

#endif
