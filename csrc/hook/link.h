/* link.h - links: what one change is, how several become visible together, and what a link remembers. Part of hook.h.
 *
 * Terms
 *   edit        one change of one link
 *   commit      edits of links of one datapath that become visible by one exchange of the slot, or none of them
 *   generation  struct pf_generation: one row of a link's history; holds its program staged
 *
 * Invariants
 *   K1 Edits are checked and applied in their order, each against what its predecessors leave. A link takes one generation
 *      a commit, however many edits name it; its row has the cause, detail and restores of the last one that was not idle.
 *   K2 A refused commit changes nothing at all: no program, generation, revision, id, history or list.
 *   K3 A link's history holds its last `capacity` generations, the current one included, oldest dropped first. The memory
 *      for a row is there before the exchange begins (W3).
 *   K4 Generations never go back: a rollback is a new generation with the program of an old one.
 *
 * Threads: any, but no online worker (hook.h).
 */
#ifndef PF_LINK_H
#define PF_LINK_H

#include "../prog/prog.h"
#include "../rcu/rcu.h"

#define PF_HISTORY_DEFAULT 8
#define PF_HISTORY_MAX 1024
#define PF_DETAIL_MAX 128

struct pf_datapath;
struct pf_link; /* counted: pf_ref first; may outlive the datapath, then it is detached */
struct pf_trial;

enum pf_cause {
	PF_CAUSE_OF_KIND, /* in an edit: ATTACH, UPDATE, ROLLBACK or DETACH, as its kind */
#define PF_CAUSE(name, text) PF_CAUSE_##name,
#include "../tables/cause.def"
#undef PF_CAUSE
	PF_CAUSES
};
PF_API const char *pf_cause_text(enum pf_cause cause);

/* What a change did. old is the program before (a reference for the caller; NULL when there was none). */
struct pf_change {
	uint64_t generation;   /* of the link */
	uint64_t revision;
	uint64_t token;        /* of the grace period; 0: nothing was published */
	uint64_t publish_ns;   /* exchange and advance */
	uint64_t published_at; /* when the exchange began, CLOCK_MONOTONIC; 0: nothing was published */
	struct pf_prog *old;
};

struct pf_expect {
	const struct pf_prog *program; /* NULL: any */
	uint64_t generation;           /* 0: any; generations start at 1 */
};

enum pf_edit_kind {
	PF_EDIT_ATTACH, PF_EDIT_UPDATE, PF_EDIT_ROLLBACK, PF_EDIT_DETACH,
	PF_EDIT_TRIAL, PF_EDIT_PROMOTE, PF_EDIT_ABANDON, /* trial.h: begins; ends with the candidate in place, or without */
};

struct pf_edit {
	enum pf_edit_kind kind;
	struct pf_link *link;
	struct pf_prog *prog;           /* ATTACH, UPDATE */
	uint64_t generation;            /* ROLLBACK: whose program; 0: the program before */
	const struct pf_expect *expect; /* UPDATE, ROLLBACK; may be NULL */
	struct pf_trial *trial;         /* TRIAL, PROMOTE, ABANDON */
	enum pf_cause cause;
	const char *detail;             /* may be NULL; kept up to PF_DETAIL_MAX - 1 bytes */
	struct pf_change *change;       /* out; may be NULL */
	struct pf_prog **restored;      /* ROLLBACK, out: its program, a reference for the caller; may be NULL */
	uint8_t refused;                /* out: this is the edit whose check failed */
	/* The commit's own. */
	uint8_t idle;            /* nothing to publish for this one */
	uint8_t revision_only;   /* published, but no generation of the link */
	uint64_t restores;       /* as in struct pf_generation; 0: its own generation */
	struct pf_prog *old;     /* one reference */
	struct pf_prog *evicted; /* one reference, out of the history */
	struct pf_trial *ended[2]; /* one reference each */
};

/* All edits at one exchange, or none (K1, K2). Every link is of dp, and the caller keeps them and dp alive. */
PF_API enum pf_err pf_datapath_commit(struct pf_datapath *dp, struct pf_edit *edits, uint32_t count, struct pf_diag *diag);

/* A link in no chain yet, for an ATTACH edit; one reference for the caller. */
PF_API enum pf_err pf_link_create(struct pf_datapath *dp, uint32_t hook, int32_t priority, uint32_t continue_on,
				  uint32_t history, struct pf_link **link, struct pf_diag *diag);
/* Create and attach, with a history of PF_HISTORY_DEFAULT. */
PF_API enum pf_err pf_link_attach(struct pf_datapath *dp, uint32_t hook, struct pf_prog *prog, int32_t priority,
				  uint32_t continue_on, struct pf_link **link, struct pf_change *change,
				  struct pf_diag *diag);
/* In order: PF_ENOLINK (detached), PF_EPERM (program is not the current one), PF_ESTALE (generation), PF_EINVAL (type),
 * PF_EBUSY (a trial runs), success without publishing when prog is current, publish. */
PF_API enum pf_err pf_link_update(struct pf_link *link, struct pf_prog *prog, const struct pf_expect *expect,
				  struct pf_change *change, struct pf_diag *diag);
/* As an update to the program of `generation`; PF_ENOENT in place of the type when the history does not have it. 0: the
 * program before: the newest other one in the rows older than the current row, or than the row that one restores. */
PF_API enum pf_err pf_link_rollback(struct pf_link *link, uint64_t generation, const struct pf_expect *expect,
				    struct pf_change *change, struct pf_diag *diag);
/* Idempotent: token 0 when it was detached before. Ends a trial. */
PF_API enum pf_err pf_link_detach(struct pf_link *link, struct pf_change *change, struct pf_diag *diag);
/* Whether an update would pass its checks now. prog NULL: only those on the link and what is expected; expect may be NULL. */
PF_API enum pf_err pf_link_can_update(struct pf_link *link, struct pf_prog *prog, const struct pf_expect *expect,
				      struct pf_diag *diag);
PF_API void pf_link_put(struct pf_link *link); /* dropping the handle does not detach */

/* pf_datapath_wait for the change; *grace_ns (may be NULL): from its exchange to the end of the first wait for it. */
PF_API enum pf_err pf_link_wait(struct pf_link *link, const struct pf_change *change, uint64_t timeout_ns,
				const struct pf_rcu_worker *self, uint64_t *grace_ns, struct pf_diag *diag);

/* The words of eBPF for Windows. ATTACHING, DETACHING: published, but a worker may still run a world from before. */
enum pf_link_state { PF_LINK_INITIAL, PF_LINK_ATTACHING, PF_LINK_ATTACHED, PF_LINK_DETACHING, PF_LINK_DETACHED };

struct pf_link_info {
	uint64_t id; /* 0: never attached */
	uint64_t generation;
	uint32_t hook;
	int32_t priority;
	uint32_t continue_on;
	uint32_t history; /* capacity */
	enum pf_link_state state;
	uint8_t detached;     /* DETACHING or DETACHED */
	uint8_t trial;        /* one runs */
	struct pf_prog *prog; /* a reference for the caller; NULL when detached */
};
PF_API void pf_link_info(struct pf_link *link, struct pf_link_info *info);

struct pf_generation {
	uint64_t generation;
	uint64_t restores;     /* the generation whose program this is: itself, but after a rollback an older one */
	struct pf_prog *prog;  /* NULL: the link was detached */
	uint64_t when_ns;      /* of the exchange, CLOCK_REALTIME */
	uint64_t published_at; /* the same, CLOCK_MONOTONIC */
	uint64_t token;
	uint64_t publish_ns;
	uint64_t grace_ns;     /* from the exchange to the end of the first wait for exactly it; 0: nobody waited */
	enum pf_cause cause;
	char detail[PF_DETAIL_MAX];
};
/* The newest `capacity` rows, oldest first, each program with a reference for the caller; returns their number. */
PF_API uint32_t pf_link_history(struct pf_link *link, struct pf_generation *rows, uint32_t capacity);
/* How many generations it keeps, 1 to PF_HISTORY_MAX (PF_EINVAL); drops the oldest beyond that. */
PF_API enum pf_err pf_link_set_history(struct pf_link *link, uint32_t capacity, struct pf_diag *diag);

#endif
