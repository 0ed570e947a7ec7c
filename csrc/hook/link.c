/* link.c - the rules of a link, and the commit that applies edits of links together. */
#include "internal.h"

#include <stdlib.h>

#define ALL_ACTIONS ((1u << PF_ACTIONS) - 1)

static enum pf_err check_type(const struct pf_prog *prog, struct pf_diag *diag)
{
	if (prog->type == PF_PROG_XDP)
		return PF_OK;
	return pf_diag_set(diag, PF_EINVAL, PF_DIAG_HOOK_TYPE, 0, 0, prog->type, PF_PROG_XDP, prog->name);
}

/* Rules 1 to 3 of design section 4, in that order. */
static enum pf_err check_update(const struct pf_edit *edit, struct pf_diag *diag)
{
	const struct pf_prog *now = pf_link_view(edit->link);
	uint64_t generation = pf_link_view_generation(edit->link);
	const struct pf_expect *expect = edit->expect;
	if (!now)
		return pf_diag_set(diag, PF_ENOLINK, PF_DIAG_HOOK_DETACHED, 0, 0, 0, 0, NULL);
	if (expect && expect->program && expect->program != now)
		return pf_diag_set(diag, PF_EPERM, PF_DIAG_HOOK_STALE_PROGRAM, 0, 0, now->id, expect->program->id,
				   now->name);
	if (expect && expect->generation && expect->generation != generation)
		return pf_diag_set(diag, PF_ESTALE, PF_DIAG_HOOK_STALE_GENERATION, 0, 0, generation,
				   expect->generation, NULL);
	return check_type(edit->prog, diag);
}

static enum pf_err check_attach(const struct pf_datapath *dp, const struct pf_edit *edit, struct pf_diag *diag)
{
	const struct pf_link *link = edit->link;
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

/* Changes the link's view; prog NULL: detached. */
static void stage(struct pf_link *link, struct pf_prog *prog)
{
	if (prog)
		pf_prog_get(prog);
	if (link->staged && link->staged_prog)
		pf_prog_put(link->staged_prog); /* not the last: the edit that brought it holds one as its caller's */
	link->staged_prog = prog;
	link->staged = 1;
}

static enum pf_err apply_edit(struct pf_datapath *dp, struct pf_edit *edit, struct pf_diag *diag)
{
	struct pf_link *link = edit->link;
	struct pf_prog *now = pf_link_view(link);
	enum pf_err err = PF_OK;
	switch (edit->kind) {
	case PF_EDIT_ATTACH:
		err = check_attach(dp, edit, diag);
		if (err)
			return err;
		link->id = ++dp->last_link;
		insert(dp, link);
		stage(link, edit->prog);
		return PF_OK;
	case PF_EDIT_UPDATE:
		err = check_update(edit, diag);
		if (err)
			return err;
		edit->idle = now == edit->prog;
		break;
	case PF_EDIT_DETACH:
		edit->idle = now == NULL;
		break;
	}
	if (now)
		pf_prog_get(now);
	edit->old = now;
	if (!edit->idle)
		stage(link, edit->kind == PF_EDIT_UPDATE ? edit->prog : NULL);
	return PF_OK;
}

/* Undoes the first `count` edits: nobody has seen them. */
static void revert(struct pf_datapath *dp, struct pf_edit *edits, uint32_t count)
{
	while (count--) {
		struct pf_edit *edit = &edits[count];
		struct pf_link *link = edit->link;
		if (link->staged) {
			if (link->staged_prog)
				pf_prog_put(link->staged_prog);
			link->staged_prog = NULL;
			link->staged = 0;
		}
		if (edit->kind == PF_EDIT_ATTACH)
			unlist(dp, link);
	}
}

/* The world is out: views become what the links are. */
static void settle(struct pf_datapath *dp, struct pf_edit *edits, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct pf_link *link = edits[i].link;
		if (!link->staged)
			continue;
		if (link->prog)
			pf_prog_put(link->prog); /* not the last: edits[i].old holds one */
		link->prog = link->staged_prog;
		link->generation = pf_link_view_generation(link);
		link->staged_prog = NULL;
		link->staged = 0;
		if (!link->prog)
			unlist(dp, link);
	}
}

/* Under dp->lock. *published is 0 when every edit was idle. */
static enum pf_err commit_locked(struct pf_datapath *dp, struct pf_edit *edits, uint32_t count,
				 struct pf_change *published, struct pf_diag *diag)
{
	uint64_t last_link = dp->last_link;
	uint32_t applied = 0, idle = 0;
	enum pf_err err = PF_OK;
	while (applied < count) {
		err = apply_edit(dp, &edits[applied], diag);
		if (err)
			break;
		idle += edits[applied++].idle;
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
			.generation = current->generation + 1,
		};
		err = pf_world_build(&plan, &world, diag);
	}
	if (err) {
		revert(dp, edits, applied);
		dp->last_link = last_link;
		return err;
	}
	published->revision = world->revision;
	published->token = pf_datapath_publish(dp, world, &published->publish_ns);
	settle(dp, edits, count);
	return PF_OK;
}

enum pf_err pf_datapath_commit(struct pf_datapath *dp, struct pf_edit *edits, uint32_t count, struct pf_diag *diag)
{
	struct pf_change published = { 0 };
	pthread_mutex_lock(&dp->lock);
	enum pf_err err = commit_locked(dp, edits, count, &published, diag);
	for (uint32_t i = 0; i < count && !err; i++) {
		struct pf_edit *edit = &edits[i];
		if (!edit->change)
			continue;
		*edit->change = published;
		edit->change->generation = edit->link->generation;
		edit->change->old = edit->old;
		edit->old = NULL;
		if (edit->idle)
			edit->change->token = edit->change->publish_ns = 0;
	}
	pthread_mutex_unlock(&dp->lock);
	for (uint32_t i = 0; i < count; i++)
		if (edits[i].old)
			pf_prog_put(edits[i].old);
	return err;
}

static void link_destroy(struct pf_ref *ref)
{
	struct pf_link *link = (struct pf_link *)ref;
	struct pf_datapath *dp = link->dp;
	free(link);
	pf_ref_put(&dp->ref);
}

enum pf_err pf_link_attach(struct pf_datapath *dp, uint32_t hook, struct pf_prog *prog, int32_t priority,
			   uint32_t continue_on, struct pf_link **out, struct pf_change *change, struct pf_diag *diag)
{
	struct pf_link *link = calloc(1, sizeof(*link));
	if (!link)
		return pf_hook_nomem(diag);
	pf_ref_init(&link->ref, link_destroy);
	link->dp = dp;
	pf_ref_get(&dp->ref);
	link->hook = hook;
	link->priority = priority;
	link->continue_on = continue_on;
	struct pf_edit edit = { .kind = PF_EDIT_ATTACH, .link = link, .prog = prog, .change = change };
	enum pf_err err = pf_datapath_commit(dp, &edit, 1, diag);
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

enum pf_err pf_link_detach(struct pf_link *link, struct pf_change *change, struct pf_diag *diag)
{
	struct pf_edit edit = { .kind = PF_EDIT_DETACH, .link = link, .change = change };
	return pf_datapath_commit(link->dp, &edit, 1, diag);
}

void pf_link_put(struct pf_link *link)
{
	pf_ref_put(&link->ref);
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
		.detached = link->prog == NULL,
		.prog = link->prog,
	};
	if (link->prog)
		pf_prog_get(link->prog);
	pthread_mutex_unlock(&link->dp->lock);
}
