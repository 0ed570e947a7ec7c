/* records.c - helpers of ring buffers (bpf-helpers(7)), with Linux's checks in Linux's order. */
#include "events.h"
#include "groups.h"
#include "../map/ring.h"

#include <string.h>

#define WAKEUP_FLAGS (PF_RING_NO_WAKEUP | PF_RING_FORCE_WAKEUP)

struct delivery {
	struct pf_exec *x;
	const struct pf_map *map;
};

static void deliver(void *user, const uint8_t *data, uint32_t size)
{
	const struct delivery *d = user;
	(void)pf_events_keep(d->x, d->map, data, size, 0); /* without room it is counted as lost */
}

/* After a commit (events.h, V4). */
static void committed(struct pf_exec *x, struct pf_map *map)
{
	struct delivery d = { .x = x, .map = map };
	if (x->events)
		pf_ring_drain(map, deliver, &d);
}

/* The bytes may be a map value, which others change meanwhile. */
static enum pf_err output(struct pf_exec *x, struct pf_map *map, const uint8_t *from, uint64_t size, uint64_t flags)
{
	if (flags & ~WAKEUP_FLAGS)
		return PF_EINVAL;
	uint8_t *to = pf_ring_reserve(map, size);
	if (!to)
		return PF_EAGAIN;
	for (uint64_t i = 0; i < size; i++)
		to[i] = __atomic_load_n(from + i, __ATOMIC_RELAXED);
	committed(x, pf_ring_commit(to, 0));
	return PF_OK;
}

PF_HELPER_FN(ringbuf_output)
{
	PF_UNUSED(r5);
	return (uint64_t) - (int64_t)output(x, pf_helper_map(r1), pf_helper_mem(r2), r3, r4);
}

PF_HELPER_FN(ringbuf_reserve)
{
	PF_UNUSED(r4, r5);
	if (r3 || (x->checked && x->record_count == PF_EXEC_RECORDS))
		return 0;
	uint8_t *record = pf_ring_reserve(pf_helper_map(r1), r2);
	if (record && x->checked)
		x->records[x->record_count++] = (struct pf_held){ record, (uint32_t)r2 };
	return (uint64_t)(uintptr_t)record;
}

static void end(struct pf_exec *x, uint64_t r1, int discard)
{
	uint8_t *record = (uint8_t *)(uintptr_t)r1;

	if (x->checked)
		pf_exec_forget_record(x, record);
	committed(x, pf_ring_commit(record, discard));
}

PF_HELPER_FN(ringbuf_submit)
{
	PF_UNUSED(r2, r3, r4, r5);
	end(x, r1, 0);
	return 0;
}

PF_HELPER_FN(ringbuf_discard)
{
	PF_UNUSED(r2, r3, r4, r5);
	end(x, r1, 1);
	return 0;
}

PF_HELPER_FN(ringbuf_query)
{
	PF_UNUSED(r3, r4, r5);
	(void)x;
	return pf_ring_ask(pf_helper_map(r1), r2);
}
