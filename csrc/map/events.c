/* events.c - perf_event_array: names a stream of events (csrc/helper/events.h), and holds none itself.
 *
 * In Linux a slot holds a descriptor of perf_event_open(2). There are none here: whoever runs a program listens to every
 * slot, or to none, so nothing can be put into one, and lookups find nothing.
 */
#include "map_impl.h"

static enum pf_err events_create(struct pf_map *map, struct pf_diag *diag)
{
	(void)map, (void)diag;
	return PF_OK;
}

static void events_destroy(struct pf_map *map)
{
	(void)map;
}

static uint8_t *events_lookup(struct pf_map *map, const void *key, uint32_t cpu)
{
	(void)map, (void)key, (void)cpu;
	return NULL;
}

static enum pf_err events_update(struct pf_map *map, const void *key, const void *value, uint64_t flags, uint32_t cpu)
{
	(void)map, (void)key, (void)value, (void)flags, (void)cpu;
	return PF_EOPNOTSUPP;
}

static enum pf_err events_remove(struct pf_map *map, const void *key)
{
	return pf_index_of(key) < map->def.max_entries ? PF_ENOENT : PF_E2BIG;
}

static enum pf_err events_read(struct pf_map *map, const void *key, void *value, uint64_t flags)
{
	(void)map, (void)key, (void)value, (void)flags;
	return PF_EOPNOTSUPP;
}

static enum pf_err events_next_key(struct pf_map *map, const void *key, void *next)
{
	(void)map, (void)key, (void)next;
	return PF_ENOENT;
}

static uint64_t events_count(struct pf_map *map)
{
	(void)map;
	return 0;
}

const struct pf_map_ops pf_events_ops = {
	.create = events_create,
	.destroy = events_destroy,
	.lookup = events_lookup,
	.update = events_update,
	.remove = events_remove,
	.read = events_read,
	.next_key = events_next_key,
	.count = events_count,
};
