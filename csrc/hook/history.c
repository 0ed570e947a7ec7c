/* history.c - what a link remembers (link.h, K3 and K4), and the texts of causes. */
#include "clock.h"
#include "internal.h"

#include <stdlib.h>

const char *pf_cause_text(enum pf_cause cause)
{
	static const char *const texts[PF_CAUSES] = {
#define PF_CAUSE(name, text) [PF_CAUSE_##name] = text,
#include "../tables/cause.def"
#undef PF_CAUSE
	};
	return (unsigned)cause < PF_CAUSES && texts[cause] ? texts[cause] : "";
}

static enum pf_err check_capacity(uint32_t capacity, struct pf_diag *diag)
{
	if (capacity && capacity <= PF_HISTORY_MAX)
		return PF_OK;
	return pf_diag_set(diag, PF_EINVAL, PF_DIAG_HOOK_HISTORY, 0, 0, capacity, PF_HISTORY_MAX, NULL);
}

enum pf_err pf_history_create(struct pf_history *history, uint32_t capacity, struct pf_diag *diag)
{
	enum pf_err err = check_capacity(capacity, diag);
	if (err)
		return err;
	history->rows = calloc(capacity, sizeof(*history->rows));
	if (!history->rows)
		return pf_hook_nomem(diag);
	history->capacity = capacity;
	return PF_OK;
}

/* age 0: the newest. */
static struct pf_generation *row_at(const struct pf_history *history, uint32_t age)
{
	uint32_t at = history->first + history->count - 1 - age;
	return &history->rows[at < history->capacity ? at : at - history->capacity];
}

struct pf_prog *pf_history_push(struct pf_history *history, const struct pf_generation *row)
{
	struct pf_prog *displaced = NULL;
	if (history->count == history->capacity) {
		displaced = history->rows[history->first].prog;
		history->first = history->first + 1 < history->capacity ? history->first + 1 : 0;
		history->count--;
	}
	history->count++;
	*row_at(history, 0) = *row;
	return displaced;
}

/* What the current row restores, or the view's own. */
uint64_t pf_history_base(const struct pf_link *link)
{
	if (link->staged)
		return link->staged->restores ? link->staged->restores : pf_link_view_generation(link);
	return link->history.count ? row_at(&link->history, 0)->restores : link->generation;
}

const struct pf_generation *pf_history_find(const struct pf_link *link, uint64_t generation)
{
	uint64_t base = pf_history_base(link);
	for (uint32_t age = 0; age < link->history.count; age++) {
		const struct pf_generation *row = row_at(&link->history, age);
		if (!row->prog)
			continue;
		if (generation ? row->generation == generation
			       : row->generation < base && row->prog != pf_link_view(link))
			return row;
	}
	return NULL;
}

uint64_t pf_history_grace(struct pf_history *history, uint64_t token, uint64_t now)
{
	for (uint32_t age = 0; age < history->count; age++) {
		struct pf_generation *row = row_at(history, age);
		if (row->token < token)
			return 0; /* tokens rise with generations */
		if (row->token > token)
			continue;
		if (!row->grace_ns)
			row->grace_ns = now - row->published_at;
		return row->grace_ns;
	}
	return 0;
}

void pf_history_destroy(struct pf_history *history)
{
	for (uint32_t age = 0; age < history->count; age++)
		if (row_at(history, age)->prog)
			pf_prog_put(row_at(history, age)->prog);
	free(history->rows);
	*history = (struct pf_history){ 0 };
}

uint32_t pf_link_history(struct pf_link *link, struct pf_generation *rows, uint32_t capacity)
{
	pthread_mutex_lock(&link->dp->lock);
	const struct pf_history *history = &link->history;
	uint32_t count = history->count < capacity ? history->count : capacity;
	for (uint32_t i = 0; i < count; i++) {
		rows[i] = *row_at(history, count - 1 - i);
		if (rows[i].prog)
			pf_prog_get(rows[i].prog);
	}
	pthread_mutex_unlock(&link->dp->lock);
	return count;
}

enum pf_err pf_link_set_history(struct pf_link *link, uint32_t capacity, struct pf_diag *diag)
{
	struct pf_history changed = { 0 };
	enum pf_err err = pf_history_create(&changed, capacity, diag);
	if (err)
		return err;
	pthread_mutex_lock(&link->dp->lock);
	struct pf_history dropped = link->history;
	uint32_t keep = dropped.count < capacity ? dropped.count : capacity;
	for (uint32_t age = keep; age-- > 0;)
		(void)pf_history_push(&changed, row_at(&dropped, age)); /* nothing is displaced: keep rows fit */
	link->history = changed;
	pthread_mutex_unlock(&link->dp->lock);
	dropped.count -= keep; /* the rows that moved are its newest */
	pf_history_destroy(&dropped); /* outside the lock (H5) */
	return PF_OK;
}

enum pf_err pf_link_wait(struct pf_link *link, const struct pf_change *change, uint64_t timeout_ns,
			 const struct pf_rcu_worker *self, uint64_t *grace_ns, struct pf_diag *diag)
{
	uint64_t grace = 0;
	if (change->token) {
		enum pf_err err = pf_datapath_wait(link->dp, change->token, timeout_ns, self, diag);
		if (err)
			return err;
		uint64_t now = pf_clock_ns();
		pthread_mutex_lock(&link->dp->lock); /* a detached link is not in the datapath's list */
		grace = pf_history_grace(&link->history, change->token, now);
		pthread_mutex_unlock(&link->dp->lock);
		if (!grace)
			grace = now - change->published_at; /* its row was displaced meanwhile */
	}
	if (grace_ns)
		*grace_ns = grace;
	return PF_OK;
}
