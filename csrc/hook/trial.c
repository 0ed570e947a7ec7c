/* trial.c - a trial's beginning, its edits of the link, and its end. */
#include "reach.h"
#include "trial_edit.h"

#include <stdlib.h>
#include <string.h>

static void trial_destroy(struct pf_ref *ref)
{
	struct pf_trial *trial = (struct pf_trial *)ref;
	pf_prog_put(trial->prog);
	pf_link_put(trial->link);
	free(trial->samples);
	free(trial->rows);
	free(trial);
}

static enum pf_err check_options(const struct pf_trial_options *o, struct pf_diag *diag)
{
	if (o->samples > PF_TRIAL_SAMPLES_MAX)
		return pf_diag_set(diag, PF_EINVAL, PF_DIAG_HOOK_TRIAL_OPTION, 0, 0, o->samples, PF_TRIAL_SAMPLES_MAX,
				   "samples");
	if (o->threshold > UINT64_C(1) << 32)
		return pf_diag_set(diag, PF_EINVAL, PF_DIAG_HOOK_TRIAL_OPTION, 0, 0, o->threshold, UINT64_C(1) << 32,
				   "threshold");
	return PF_OK;
}

static int has_limit(const struct pf_guard *g)
{
	return g->max_difference >= 0 || g->max_drop_change >= 0 || g->max_ns_ratio >= 0 ||
	       g->max_faults != UINT64_MAX;
}

static int allocate(struct pf_trial *trial)
{
	const size_t rows = PF_RCU_WORKERS * sizeof(*trial->rows);
	trial->rows = aligned_alloc(PF_CACHE_LINE, rows);
	if (trial->rows)
		memset(trial->rows, 0, rows);
	if (trial->sample_room)
		trial->samples = calloc(trial->sample_room, sizeof(*trial->samples));
	return trial->rows && (trial->samples || !trial->sample_room);
}

enum pf_err pf_trial_create(struct pf_link *link, struct pf_prog *candidate, const struct pf_trial_options *options,
			    struct pf_trial **out, struct pf_diag *diag)
{
	enum pf_err err = check_options(options, diag);
	if (err)
		return err;
	struct pf_trial *trial = calloc(1, sizeof(*trial));
	if (!trial)
		return pf_hook_nomem(diag);
	pf_ref_init(&trial->ref, trial_destroy);
	trial->kind = options->kind;
	trial->threshold = options->threshold;
	trial->seed = options->seed;
	trial->guard = options->guard;
	trial->guarded = (uint8_t)has_limit(&options->guard);
	trial->sample_room = options->kind == PF_TRIAL_SHADOW ? options->samples : 0;
	if (!allocate(trial)) {
		free(trial->rows);
		free(trial->samples);
		free(trial);
		return pf_hook_nomem(diag);
	}
	pf_prog_get(candidate);
	trial->prog = candidate;
	pf_ref_get(&link->ref);
	trial->link = link;
	*out = trial;
	return PF_OK;
}

void pf_trial_put(struct pf_trial *trial)
{
	pf_ref_put(&trial->ref);
}

/* What a candidate in the shadow must not write, since the current program reads it. */
static enum pf_err check_shared(const struct pf_trial *trial, const struct pf_prog *now, struct pf_diag *diag)
{
	if (trial->kind != PF_TRIAL_SHADOW)
		return PF_OK;
	char name[PF_NAME_MAX];
	int found;
	enum pf_err err = pf_reach_shared(trial->prog, now, name, &found, diag);
	if (err || !found)
		return err;
	return pf_diag_set(diag, PF_EINVAL, PF_DIAG_HOOK_TRIAL_SHARED, 0, 0, trial->prog->id, now->id, name);
}

static void stage(struct pf_edit *edit, struct pf_trial *trial)
{
	struct pf_link *link = edit->link;
	if (trial)
		pf_ref_get(&trial->ref);
	if (link->staged_trial)
		pf_trial_put(link->staged_trial); /* not the last: its edit's caller holds one */
	link->staged_trial = trial;
	link->trial_staged = 1;
}

/* A row of the same program again: a rollback must look before the generation that brought it. */
static void keep_program(struct pf_edit *edit, struct pf_prog *now)
{
	edit->prog = now;
	edit->restores = pf_history_base(edit->link);
}

enum pf_err pf_trial_apply(struct pf_edit *edit, struct pf_prog *now, struct pf_diag *diag)
{
	struct pf_trial *trial = edit->trial;
	const int runs = now && pf_link_view_trial(edit->link) == trial;
	if (edit->kind == PF_EDIT_TRIAL) {
		if (trial->begun || trial->link != edit->link)
			return pf_diag_set(diag, PF_EBUSY, PF_DIAG_HOOK_TRIAL_AGAIN, 0, 0, 0, 0, trial->prog->name);
		enum pf_err err = check_shared(trial, now, diag);
		if (err)
			return err;
		edit->revision_only = trial->kind == PF_TRIAL_SHADOW;
		keep_program(edit, now);
		stage(edit, trial);
		trial->begun = 1;
		return PF_OK;
	}
	if (!runs) {
		edit->idle = edit->kind == PF_EDIT_ABANDON || trial->state == PF_TRIAL_PROMOTED;
		if (edit->idle)
			return PF_OK;
		return pf_diag_set(diag, PF_ESTALE, PF_DIAG_HOOK_TRIAL_ENDED, 0, 0, 0, 0, trial->prog->name);
	}
	if (edit->kind == PF_EDIT_PROMOTE) {
		edit->prog = trial->prog;
	} else {
		edit->revision_only = trial->kind == PF_TRIAL_SHADOW && edit->cause != PF_CAUSE_GUARD;
		keep_program(edit, now);
	}
	stage(edit, NULL);
	return PF_OK;
}

static void end(struct pf_trial *trial, enum pf_trial_state state, const char *why)
{
	trial->state = state;
	if (why)
		memcpy(trial->why, why, strnlen(why, PF_DETAIL_MAX - 1));
}

static void note_state(const struct pf_edit *edit)
{
	if (edit->idle)
		return;
	if (edit->kind == PF_EDIT_TRIAL)
		edit->trial->state = PF_TRIAL_RUNNING;
	else if (edit->kind == PF_EDIT_PROMOTE)
		end(edit->trial, PF_TRIAL_PROMOTED, edit->detail);
	else if (edit->kind == PF_EDIT_ABANDON)
		end(edit->trial, edit->cause == PF_CAUSE_GUARD ? PF_TRIAL_TRIPPED : PF_TRIAL_ABANDONED, edit->detail);
}

void pf_trial_revert(const struct pf_edit *edit)
{
	if (edit->kind == PF_EDIT_TRIAL)
		edit->trial->begun = 0;
	pf_trial_unstage(edit->link);
}

void pf_trial_unstage(struct pf_link *link)
{
	if (link->staged_trial)
		pf_trial_put(link->staged_trial); /* not the last, as in stage */
	link->staged_trial = NULL;
	link->trial_staged = 0;
}

void pf_trial_settle(struct pf_edit *edit)
{
	struct pf_link *link = edit->link;
	struct pf_trial *before = link->trial, *staged = link->staged_trial, *after = pf_link_view_trial(link);
	note_state(edit);
	link->trial = after;
	link->staged_trial = NULL;
	link->trial_staged = 0;
	if (before != after)
		edit->ended[0] = before;
	if (staged != after)
		edit->ended[1] = staged;
	for (unsigned i = 0; i < 2; i++)
		if (edit->ended[i] && edit->ended[i]->state == PF_TRIAL_RUNNING)
			end(edit->ended[i], PF_TRIAL_DETACHED, NULL); /* an edit that ended it says so itself */
}

void pf_trial_lose(struct pf_trial *trial)
{
	end(trial, PF_TRIAL_DETACHED, NULL);
}

enum pf_err pf_trial_start(struct pf_trial *trial, const struct pf_expect *expect, struct pf_change *change,
			   struct pf_diag *diag)
{
	struct pf_edit edit = { .kind = PF_EDIT_TRIAL,
				.link = trial->link,
				.trial = trial,
				.expect = expect,
				.cause = PF_CAUSE_CANARY,
				.change = change };
	return pf_datapath_commit(trial->link->dp, &edit, 1, diag);
}

enum pf_err pf_trial_promote(struct pf_trial *trial, struct pf_change *change, struct pf_diag *diag)
{
	struct pf_edit edit = { .kind = PF_EDIT_PROMOTE,
				.link = trial->link,
				.trial = trial,
				.cause = PF_CAUSE_PROMOTE,
				.change = change };
	return pf_datapath_commit(trial->link->dp, &edit, 1, diag);
}

enum pf_err pf_trial_abandon(struct pf_trial *trial, enum pf_cause cause, const char *why, struct pf_change *change,
			     struct pf_diag *diag)
{
	struct pf_edit edit = { .kind = PF_EDIT_ABANDON,
				.link = trial->link,
				.trial = trial,
				.cause = cause,
				.detail = why,
				.change = change };
	return pf_datapath_commit(trial->link->dp, &edit, 1, diag);
}

enum pf_trial_state pf_trial_state(struct pf_trial *trial, char *why)
{
	pthread_mutex_t *lock = &trial->link->dp->lock;
	pthread_mutex_lock(lock);
	const enum pf_trial_state state = trial->state;
	memcpy(why, trial->why, PF_DETAIL_MAX);
	pthread_mutex_unlock(lock);
	return state;
}
