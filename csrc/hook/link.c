/* link.c - the rules of a link, and the commit that applies edits of links together. */
#include "trial_edit.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ALL_ACTIONS ((1u << PF_ACTIONS) - 1)

static enum pf_err check_type(const struct pf_prog *prog, struct pf_diag *diag)
{
	if (pf_prog_type_has_packet(prog->type))
		return PF_OK;
	return pf_diag_set(diag, PF_EINVAL, PF_DIAG_HOOK_TYPE, 0, 0, prog->type, PF_PROG_XDP, prog->name);
}

/* A link keeps the type of its program: rule 3 of design section 4, as in Linux. */
static enum pf_err check_same_type(const struct pf_link *link, const struct pf_prog *prog, struct pf_diag *diag)
{
	const struct pf_prog *now = pf_link_view(link);
	if (prog->type == now->type)
		return PF_OK;
	return pf_diag_set(diag, PF_EINVAL, PF_DIAG_HOOK_TYPE_CHANGE, 0, 0, prog->type, now->type, prog->name);
}

static enum pf_err check_trial(const struct pf_link *link, struct pf_diag *diag)
{
	if (!pf_link_view_trial(link))
		return PF_OK;
	return pf_diag_set(diag, PF_EBUSY, PF_DIAG_HOOK_TRIAL, 0, 0, link->id, 0,
			   pf_link_view_trial(link)->prog->name);
}

/* Rules 1 and 2 of design section 4, in that order. */
static enum pf_err check_expected(const struct pf_edit *edit, struct pf_diag *diag)
{
	const struct pf_prog *now = pf_link_view(edit->link);
	uint64_t generation = pf_link_view_generation(edit->link);
	const struct pf_expect *expect = edit->expect;
	if (!now)
		return pf_diag_set(diag, PF_ENOLINK, PF_DIAG_HOOK_DETACHED, 0, 0, edit->link->id, 0, NULL);
	if (!expect)
		return PF_OK;
	if (expect->program && expect->program != now)
		return pf_diag_set(diag, PF_EPERM, PF_DIAG_HOOK_STALE_PROGRAM, 0, 0, now->id, expect->program->id,
				   now->name);
	if (expect->generation && expect->generation != generation)
		return pf_diag_set(diag, PF_ESTALE, PF_DIAG_HOOK_STALE_GENERATION, 0, 0, generation,
				   expect->generation, NULL);
	return PF_OK;
}

static enum pf_err check_update(const struct pf_edit *edit, struct pf_diag *diag)
{
	enum pf_err err = check_expected(edit, diag);
	if (!err)
		err = check_type(edit->prog, diag);
	if (!err)
		err = check_same_type(edit->link, edit->prog, diag);
	return err ? err : check_trial(edit->link, diag);
}

static enum pf_err no_generation(const struct pf_edit *edit, struct pf_diag *diag)
{
	struct pf_generation oldest = { 0 };
	const struct pf_history *history = &edit->link->history;
	if (history->count)
		oldest = history->rows[history->first];
	if (!edit->generation)
		return pf_diag_set(diag, PF_ENOENT, PF_DIAG_HOOK_NOTHING_BEFORE, 0, 0,
				   pf_link_view_generation(edit->link), 0, NULL);
	return pf_diag_set(diag, PF_ENOENT, PF_DIAG_HOOK_NO_GENERATION, 0, 0, edit->generation, oldest.generation,
			   NULL);
}

/* Also finds the program, which the history keeps alive under dp->lock. */
static enum pf_err check_rollback(struct pf_edit *edit, struct pf_diag *diag)
{
	enum pf_err err = check_expected(edit, diag);
	if (err)
		return err;
	const struct pf_generation *row = pf_history_find(edit->link, edit->generation);
	if (!row)
		return no_generation(edit, diag);
	edit->prog = row->prog;
	edit->restores = row->generation;
	return check_trial(edit->link, diag);
}

static enum pf_err check_attach(const struct pf_datapath *dp, const struct pf_edit *edit, struct pf_diag *diag)
{
	const struct pf_link *link = edit->link;
	if (link->id)
		return pf_diag_set(diag, PF_EINVAL, PF_DIAG_HOOK_REATTACH, 0, 0, link->id, 0, NULL);
	if (link->hook >= dp->hooks)
		return pf_diag_set(diag, PF_EINVAL, PF_DIAG_HOOK_NUMBER, 0, 0, link->hook, dp->hooks, NULL);
	if (link->continue_on & ~ALL_ACTIONS)
		return pf_diag_set(diag, PF_EINVAL, PF_DIAG_HOOK_CONTINUE, 0, 0, link->continue_on, ALL_ACTIONS, NULL);
	return check_type(edit->prog, diag);
}

static int before(const struct pf_link *a, const struct pf_link *b)
{
	if (a->hook != b->hook)
		return a->hook < b->hook;
	if (a->priority != b->priority)
		return a->priority < b->priority;
	return a->id < b->id;
}

/* The datapath's reference to the link is taken with its place in the list. */
static void insert(struct pf_datapath *dp, struct pf_link *link)
{
	struct pf_link **at = &dp->links;
	while (*at && before(*at, link))
		at = &(*at)->next;
	link->next = *at;
	*at = link;
	dp->link_count++;
	pf_ref_get(&link->ref);
}

/* Whoever commits holds a reference to the link: this put is not the last. */
static void unlist(struct pf_datapath *dp, struct pf_link *link)
{
	struct pf_link **at = &dp->links;
	while (*at != link)
		at = &(*at)->next;
	*at = link->next;
	link->next = NULL;
	dp->link_count--;
	pf_ref_put(&link->ref);
}

/* Changes the link's view to what the edit says; prog NULL: detached. */
static void stage(const struct pf_edit *edit, struct pf_prog *prog)
{
	struct pf_link *link = edit->link;
	if (prog)
		pf_prog_get(prog);
	if (link->staged_prog)
		pf_prog_put(link->staged_prog); /* not the last: its edit's caller or the history holds one */
	link->staged_prog = prog;
	link->staged = edit;
}

static enum pf_err apply_edit(struct pf_datapath *dp, struct pf_edit *edit, struct pf_diag *diag)
{
	struct pf_link *link = edit->link;
	struct pf_prog *now = pf_link_view(link);
	enum pf_err err = PF_OK;
	if (link->dp != dp)
		return pf_diag_set(diag, PF_EINVAL, PF_DIAG_HOOK_FOREIGN, 0, 0, link->id, 0, NULL);
	switch (edit->kind) {
	case PF_EDIT_ATTACH:
		err = check_attach(dp, edit, diag);
		if (err)
			return err;
		link->id = ++dp->last_link;
		insert(dp, link);
		stage(edit, edit->prog);
		return PF_OK;
	case PF_EDIT_UPDATE:
		err = check_update(edit, diag);
		edit->idle = now == edit->prog;
		break;
	case PF_EDIT_ROLLBACK:
		err = check_rollback(edit, diag);
		edit->idle = now == edit->prog;
		break;
	case PF_EDIT_DETACH:
		edit->prog = NULL;
		edit->idle = now == NULL;
		break;
	case PF_EDIT_TRIAL:
		edit->prog = edit->trial->prog;
		err = check_update(edit, diag);
		if (!err)
			err = pf_trial_apply(edit, now, diag);
		break;
	case PF_EDIT_PROMOTE:
	case PF_EDIT_ABANDON:
		err = pf_trial_apply(edit, now, diag);
		break;
	}
	if (err)
		return err;
	if (now)
		pf_prog_get(now);
	edit->old = now;
	if (!edit->idle && !edit->revision_only)
		stage(edit, edit->prog);
	return PF_OK;
}

/* Undoes the first `count` edits: nobody has seen them. */
static void revert(struct pf_datapath *dp, struct pf_edit *edits, uint32_t count)
{
	while (count--) {
		struct pf_edit *edit = &edits[count];
		struct pf_link *link = edit->link;
		if (link->staged_prog)
			pf_prog_put(link->staged_prog); /* not the last, as in stage */
		link->staged_prog = NULL;
		link->staged = NULL;
		pf_trial_revert(edit);
		if (edit->kind == PF_EDIT_ATTACH) {
			unlist(dp, link);
			link->id = 0;
		}
	}
}

static enum pf_cause cause_of(const struct pf_edit *edit)
{
	if (edit->cause)
		return edit->cause;
	switch (edit->kind) {
	case PF_EDIT_ATTACH:
		return PF_CAUSE_ATTACH;
	case PF_EDIT_UPDATE:
		return PF_CAUSE_UPDATE;
	case PF_EDIT_ROLLBACK:
		return PF_CAUSE_ROLLBACK;
	case PF_EDIT_DETACH:
	case PF_EDIT_TRIAL:
	case PF_EDIT_PROMOTE:
	case PF_EDIT_ABANDON:
		break; /* the last three name theirs */
	}
	return PF_CAUSE_DETACH;
}

/* The link's new row; returns the program of the row that had to go. */
static struct pf_prog *remember(struct pf_link *link, const struct pf_edit *edit, const struct pf_change *published,
				uint64_t when_ns)
{
	struct pf_generation row = {
		.generation = link->generation,
		.restores = edit->restores ? edit->restores : link->generation,
		.prog = link->prog,
		.when_ns = when_ns,
		.published_at = published->published_at,
		.token = published->token,
		.publish_ns = published->publish_ns,
		.cause = cause_of(edit),
	};
	if (edit->detail)
		memcpy(row.detail, edit->detail, strnlen(edit->detail, PF_DETAIL_MAX - 1));
	if (row.prog)
		pf_prog_get(row.prog);
	return pf_history_push(&link->history, &row);
}

/* The world is out: views become what the links are. */
static void settle(struct pf_datapath *dp, struct pf_edit *edits, uint32_t count, const struct pf_change *published)
{
	struct timespec wall;
	clock_gettime(CLOCK_REALTIME, &wall);
	uint64_t when_ns = (uint64_t)wall.tv_sec * 1000000000u + (uint64_t)wall.tv_nsec;
	for (uint32_t i = 0; i < count; i++) {
		struct pf_link *link = edits[i].link;
		const struct pf_edit *staged = link->staged;
		pf_trial_settle(&edits[i]);
		if (!staged)
			continue;
		if (link->prog)
			pf_prog_put(link->prog); /* not the last: edits[i].old holds one */
		if (!link->prog || !link->staged_prog)
			link->token = published->token;
		link->generation = pf_link_view_generation(link);
		link->prog = link->staged_prog;
		link->staged_prog = NULL;
		link->staged = NULL;
		edits[i].evicted = remember(link, staged, published, when_ns);
		if (!link->prog)
			unlist(dp, link);
	}
}

/* Under dp->lock. *published is 0 when every edit was idle. */
static enum pf_err commit_locked(struct pf_datapath *dp, struct pf_edit *edits, uint32_t count,
				 struct pf_change *published, struct pf_diag *diag)
{
	uint64_t last_link = dp->last_link;
	uint32_t applied = 0, idle = 0, quiet = 0;
	enum pf_err err = PF_OK;
	while (applied < count) {
		err = apply_edit(dp, &edits[applied], diag);
		if (err) {
			edits[applied].refused = 1;
			break;
		}
		idle += edits[applied].idle;
		quiet += edits[applied].idle || edits[applied].revision_only;
		applied++;
	}
	const struct pf_world *current = pf_datapath_current(dp);
	published->revision = current ? current->revision : 0;
	if (!err && idle == count)
		return PF_OK;
	struct pf_world *world = NULL;
	if (!err) {
		struct pf_world_plan plan = {
			.dp = dp,
			.current = current,
			.hooks = dp->hooks,
			.limit = dp->engine,
			.generation = current->generation + (quiet != count),
		};
		err = pf_world_build(&plan, &world, diag);
	}
	if (err) {
		revert(dp, edits, applied);
		dp->last_link = last_link;
		return err;
	}
	pf_datapath_publish(dp, world, published);
	settle(dp, edits, count, published);
	return PF_OK;
}

enum pf_err pf_datapath_commit(struct pf_datapath *dp, struct pf_edit *edits, uint32_t count, struct pf_diag *diag)
{
	struct pf_change published = { 0 };
	for (uint32_t i = 0; i < count; i++) {
		edits[i].old = edits[i].evicted = NULL;
		edits[i].ended[0] = edits[i].ended[1] = NULL;
		edits[i].refused = edits[i].idle = edits[i].revision_only = 0;
		edits[i].restores = 0;
	}
	pthread_mutex_lock(&dp->lock);
	enum pf_err err = commit_locked(dp, edits, count, &published, diag);
	for (uint32_t i = 0; i < count && !err; i++) {
		struct pf_edit *edit = &edits[i];
		if (edit->kind == PF_EDIT_ROLLBACK && edit->restored) {
			pf_prog_get(edit->prog); /* its row or, displaced, edits[..].evicted holds one */
			*edit->restored = edit->prog;
		}
		if (!edit->change)
			continue;
		*edit->change = published;
		edit->change->generation = edit->link->generation;
		edit->change->old = edit->old;
		edit->old = NULL;
		if (edit->idle)
			edit->change->token = edit->change->publish_ns = edit->change->published_at = 0;
	}
	pthread_mutex_unlock(&dp->lock);
	for (uint32_t i = 0; i < count; i++) { /* outside the lock (H5) */
		if (edits[i].old)
			pf_prog_put(edits[i].old);
		if (edits[i].evicted)
			pf_prog_put(edits[i].evicted);
		edits[i].old = edits[i].evicted = NULL;
		for (unsigned t = 0; t < 2; t++)
			if (edits[i].ended[t])
				pf_trial_put(edits[i].ended[t]);
	}
	return err;
}

static void link_destroy(struct pf_ref *ref)
{
	struct pf_link *link = (struct pf_link *)ref;
	struct pf_datapath *dp = link->dp;
	pf_history_destroy(&link->history);
	free(link);
	pf_ref_put(&dp->ref);
}

enum pf_err pf_link_create(struct pf_datapath *dp, uint32_t hook, int32_t priority, uint32_t continue_on,
			   uint32_t history, struct pf_link **out, struct pf_diag *diag)
{
	struct pf_link *link = calloc(1, sizeof(*link));
	if (!link)
		return pf_hook_nomem(diag);
	enum pf_err err = pf_history_create(&link->history, history, diag);
	if (err) {
		free(link);
		return err;
	}
	pf_ref_init(&link->ref, link_destroy);
	link->dp = dp;
	pf_ref_get(&dp->ref);
	link->hook = hook;
	link->priority = priority;
	link->continue_on = continue_on;
	*out = link;
	return PF_OK;
}

enum pf_err pf_link_attach(struct pf_datapath *dp, uint32_t hook, struct pf_prog *prog, int32_t priority,
			   uint32_t continue_on, struct pf_link **out, struct pf_change *change, struct pf_diag *diag)
{
	struct pf_link *link;
	enum pf_err err = pf_link_create(dp, hook, priority, continue_on, PF_HISTORY_DEFAULT, &link, diag);
	if (err)
		return err;
	struct pf_edit edit = { .kind = PF_EDIT_ATTACH, .link = link, .prog = prog, .change = change };
	err = pf_datapath_commit(dp, &edit, 1, diag);
	if (err)
		pf_link_put(link);
	else
		*out = link;
	return err;
}

enum pf_err pf_link_update(struct pf_link *link, struct pf_prog *prog, const struct pf_expect *expect,
			   struct pf_change *change, struct pf_diag *diag)
{
	struct pf_edit edit = {
		.kind = PF_EDIT_UPDATE, .link = link, .prog = prog, .expect = expect, .change = change
	};
	return pf_datapath_commit(link->dp, &edit, 1, diag);
}

enum pf_err pf_link_rollback(struct pf_link *link, uint64_t generation, const struct pf_expect *expect,
			     struct pf_change *change, struct pf_diag *diag)
{
	struct pf_edit edit = { .kind = PF_EDIT_ROLLBACK,
				.link = link,
				.generation = generation,
				.expect = expect,
				.change = change };
	return pf_datapath_commit(link->dp, &edit, 1, diag);
}

enum pf_err pf_link_detach(struct pf_link *link, struct pf_change *change, struct pf_diag *diag)
{
	struct pf_edit edit = { .kind = PF_EDIT_DETACH, .link = link, .change = change };
	return pf_datapath_commit(link->dp, &edit, 1, diag);
}

enum pf_err pf_link_can_update(struct pf_link *link, struct pf_prog *prog, const struct pf_expect *expect,
			       struct pf_diag *diag)
{
	struct pf_edit edit = { .kind = PF_EDIT_UPDATE, .link = link, .prog = prog, .expect = expect };
	pthread_mutex_lock(&link->dp->lock);
	enum pf_err err = prog ? check_update(&edit, diag) : check_expected(&edit, diag);
	pthread_mutex_unlock(&link->dp->lock);
	return err;
}

void pf_link_put(struct pf_link *link)
{
	pf_ref_put(&link->ref);
}

/* Under dp->lock. */
static enum pf_link_state state_of(const struct pf_link *link)
{
	if (!link->id)
		return PF_LINK_INITIAL;
	int passed = pf_rcu_passed(&link->dp->rcu, link->token);
	if (link->prog)
		return passed ? PF_LINK_ATTACHED : PF_LINK_ATTACHING;
	return passed ? PF_LINK_DETACHED : PF_LINK_DETACHING;
}

void pf_link_info(struct pf_link *link, struct pf_link_info *info)
{
	pthread_mutex_lock(&link->dp->lock);
	*info = (struct pf_link_info){
		.id = link->id,
		.generation = link->generation,
		.hook = link->hook,
		.priority = link->priority,
		.continue_on = link->continue_on,
		.history = link->history.capacity,
		.state = state_of(link),
		.detached = link->id && !link->prog,
		.trial = link->trial != NULL,
		.prog = link->prog,
	};
	if (link->prog)
		pf_prog_get(link->prog);
	pthread_mutex_unlock(&link->dp->lock);
}
