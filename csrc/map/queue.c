/* queue.c - queue and stack: values without keys, given back in the order they came, or the other way round.
 *
 * The values of a full map that programs or users push to with BPF_EXIST: the oldest gives way, in both types, as in Linux.
 * No value pointer ever leaves the map, so the arena is no memory of programs (pf_map_contains): it hangs on impl alone.
 *
 * Invariant
 *   Q1 Under the lock: slots first, first + 1, .. first + count - 1 (modulo max_entries) hold the values, oldest first;
 *      count <= max_entries.
 */
#include "map_impl.h"

#include <stdlib.h>

struct queue {
	uint8_t *values;
	uint32_t lock; /* a vlock, of which only the lock is used */
	uint32_t first;
	uint32_t count;
};

static enum pf_err queue_create(struct pf_map *map, struct pf_diag *diag)
{
	struct queue *q = calloc(1, sizeof(*q));

	if (!q)
		return pf_diag_set(diag, PF_ENOMEM, PF_DIAG_MAP_NOMEM, 0, 0, sizeof(*q), 0, NULL);
	map->impl = q;
	map->elements = map->def.max_entries;
	map->stride = map->value_step;
	q->values = pf_arena_alloc(map->elements, map->stride, diag);
	return q->values ? PF_OK : PF_ENOMEM;
}

static void queue_destroy(struct pf_map *map)
{
	struct queue *q = map->impl;

	if (q)
		pf_arena_free(q->values, map->elements, map->stride);
	free(q);
}

static uint8_t *slot(const struct pf_map *map, uint32_t distance)
{
	const struct queue *q = map->impl;
	uint64_t at = (uint64_t)q->first + distance;

	if (at >= map->def.max_entries)
		at -= map->def.max_entries;
	return q->values + at * map->stride;
}

static enum pf_err queue_push(struct pf_map *map, const void *value, uint64_t flags)
{
	struct queue *q = map->impl;
	enum pf_err err = PF_OK;

	if (flags & PF_MAP_NOEXIST || flags > PF_MAP_EXIST)
		return PF_EINVAL;
	pf_vlock_lock(&q->lock);
	if (q->count == map->def.max_entries) {
		if (flags & PF_MAP_EXIST) {
			q->first = q->first + 1 == map->def.max_entries ? 0 : q->first + 1;
			q->count--;
		} else {
			err = PF_E2BIG;
		}
	}
	if (!err)
		pf_words_store(slot(map, q->count++), value, map->def.value_size);
	pf_vlock_unlock(&q->lock);
	return err;
}

/* The oldest value (a queue's), or the newest; taken out or left. Without one the buffer reads zero. */
static enum pf_err give(struct pf_map *map, void *value, int newest, int take)
{
	struct queue *q = map->impl;
	enum pf_err err = PF_OK;

	pf_vlock_lock(&q->lock);
	if (!q->count) {
		err = PF_ENOENT;
	} else {
		pf_bytes_give(value, slot(map, newest ? q->count - 1 : 0), map->def.value_size);
		if (take) {
			q->count--;
			if (!newest)
				q->first = q->first + 1 == map->def.max_entries ? 0 : q->first + 1;
		}
	}
	pf_vlock_unlock(&q->lock);
	if (err)
		pf_bytes_give(value, NULL, map->def.value_size);
	return err;
}

static enum pf_err queue_pop(struct pf_map *map, void *value) { return give(map, value, 0, 1); }
static enum pf_err queue_peek(struct pf_map *map, void *value) { return give(map, value, 0, 0); }
static enum pf_err stack_pop(struct pf_map *map, void *value) { return give(map, value, 1, 1); }
static enum pf_err stack_peek(struct pf_map *map, void *value) { return give(map, value, 1, 0); }

static uint64_t queue_count(struct pf_map *map)
{
	struct queue *q = map->impl;

	pf_vlock_lock(&q->lock);
	const uint64_t count = q->count;
	pf_vlock_unlock(&q->lock);
	return count;
}

static const struct pf_keyless_ops queue_ends = { queue_push, queue_pop, queue_peek };
static const struct pf_keyless_ops stack_ends = { queue_push, stack_pop, stack_peek };

#define QUEUE_OPS(ends)                                                                                                \
	{                                                                                                              \
		.create = queue_create, .destroy = queue_destroy, .lookup = pf_keyless_lookup,                         \
		.update = pf_keyless_update, .remove = pf_keyless_remove, .read = pf_keyless_read,                     \
		.next_key = pf_keyless_next_key, .count = queue_count, .keyless = &ends                                \
	}

const struct pf_map_ops pf_queue_ops = QUEUE_OPS(queue_ends);
const struct pf_map_ops pf_stack_ops = QUEUE_OPS(stack_ends);
