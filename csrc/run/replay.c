/* replay.c - reading, running and flushing until something ends it. */
#include "run.h"

#include "../helper/events.h"
#include "../hook/clock.h"

/* The next batch, at most `room` packets of it (L5). An error comes without packets (D2). */
static enum pf_err read_batch(struct pf_source *source, struct pf_batch *batch, uint64_t room, struct pf_diag *diag)
{
	uint64_t at = batch->first + batch->n;
	uint32_t capacity = batch->capacity;
	if (room < capacity)
		batch->capacity = (uint32_t)room;
	batch->first = at;
	batch->n = 0;
	enum pf_err err = source->next(source, batch, diag);
	if (PF_BUG_ON(batch->n > batch->capacity))
		err = PF_EINVAL;
	if (err)
		batch->n = 0;
	batch->first = at;
	batch->capacity = capacity;
	return err;
}

/* Should the owner take the events before the next batch adds to them? */
static int events_due(const struct pf_worker *w)
{
	const struct pf_events *events = w->exec->events;
	return events && (events->used > events->capacity / 2 || events->lost);
}

enum pf_err pf_replay_step(struct pf_worker *w, struct pf_source *source, struct pf_batch *batch, struct pf_sink *sink,
			   uint64_t until, uint64_t slice_ns, enum pf_replay_end *end, struct pf_diag *diag)
{
	uint64_t start = slice_ns == UINT64_MAX ? 0 : pf_clock_ns();
	*end = PF_REPLAY_MORE;
	do {
		uint64_t at = batch->first + batch->n;
		if (at >= until) {
			*end = PF_REPLAY_UNTIL;
			return PF_OK;
		}
		enum pf_err err = read_batch(source, batch, until - at, diag);
		if (err == PF_EINTR || err == PF_EAGAIN)
			return PF_OK;
		if (err == PF_EUNATCH) {
			*end = PF_REPLAY_LINK;
			return PF_OK;
		}
		if (err)
			return err;
		if (!batch->n) {
			*end = PF_REPLAY_DONE;
			return PF_OK;
		}
		pf_worker_run(w, batch, NULL, source, sink);
		if (sink) {
			err = sink->flush(sink, diag);
			if (err)
				return err;
		}
	} while (!events_due(w) && (slice_ns == UINT64_MAX || pf_clock_ns() - start < slice_ns));
	return PF_OK;
}
