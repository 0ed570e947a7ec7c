/* array.c - array and percpu_array; PORT arrays (devmap, cpumap, xskmap).
 *
 * Every key exists from creation on, with a zero value. An element of a PORT array is one word: target (u32; 0: empty)
 * and, with a value of 8 bytes, a second u32; it changes in one store, so nobody sees half of it.
 */
#include "map_impl.h"

static enum pf_err array_create(struct pf_map *map, struct pf_diag *diag)
{
	map->elements = map->def.max_entries;
	map->stride = (uint64_t)map->cpus * map->value_step;
	map->arena = pf_arena_alloc(map->elements, map->stride, diag);
	return map->arena ? PF_OK : PF_ENOMEM;
}

static void array_destroy(struct pf_map *map)
{
	pf_arena_free(map->arena, map->elements, map->stride);
}

static uint8_t *array_lookup(struct pf_map *map, const void *key, uint32_t cpu)
{
	uint32_t index = pf_index_of(key);
	if (PF_UNLIKELY(index >= map->def.max_entries || !pf_map_has_cpu(map, cpu)))
		return NULL;
	return map->arena + index * map->stride + (uint64_t)cpu * map->cpu_step;
}

/* The checks that every array shares, in Linux's order. */
static enum pf_err check_update(const struct pf_map *map, uint32_t index, uint64_t flags)
{
	if ((flags & ~(uint64_t)PF_MAP_F_LOCK) > PF_MAP_EXIST)
		return PF_EINVAL;
	if (index >= map->def.max_entries)
		return PF_E2BIG;
	if (flags & PF_MAP_NOEXIST)
		return PF_EEXIST;
	return pf_lock_flag_fits(map, flags) ? PF_OK : PF_EINVAL;
}

static enum pf_err array_update(struct pf_map *map, const void *key, const void *value, uint64_t flags, uint32_t cpu)
{
	uint32_t index = pf_index_of(key);
	enum pf_err err = check_update(map, index, flags);
	if (!err)
		pf_values_store(map, map->arena + index * map->stride, value, cpu, flags);
	return err;
}

static enum pf_err array_remove(struct pf_map *map, const void *key)
{
	(void)map, (void)key;
	return PF_EINVAL;
}

static enum pf_err array_read(struct pf_map *map, const void *key, void *value, uint64_t flags)
{
	uint8_t *values = array_lookup(map, key, 0);
	if (!values)
		return PF_ENOENT;
	pf_values_load(map, value, values, flags);
	return PF_OK;
}

static enum pf_err array_next_key(struct pf_map *map, const void *key, void *next)
{
	uint32_t index = key ? pf_index_of(key) : UINT32_MAX;
	if (index == map->def.max_entries - 1)
		return PF_ENOENT;
	index = index < map->def.max_entries ? index + 1 : 0;
	memcpy(next, &index, 4);
	return PF_OK;
}

static uint64_t array_count(struct pf_map *map)
{
	return map->def.max_entries;
}

static enum pf_err array_for_each(struct pf_map *map, uint32_t cpu, pf_map_visit visit, void *user, uint64_t *visited)
{
	for (uint32_t i = 0; i < map->def.max_entries; i++) {
		uint32_t key = i; /* a copy: the callback has a pointer to it */
		++*visited;
		if (visit(user, map, &key, map->arena + i * map->stride + (uint64_t)cpu * map->cpu_step))
			break;
	}
	return PF_OK;
}

const struct pf_map_ops pf_array_ops = {
	.create = array_create,
	.destroy = array_destroy,
	.lookup = array_lookup,
	.update = array_update,
	.remove = array_remove,
	.read = array_read,
	.next_key = array_next_key,
	.count = array_count,
	.for_each = array_for_each,
};

/* --- PORT --- */

static uint8_t *port_lookup(struct pf_map *map, const void *key, uint32_t cpu)
{
	uint8_t *value = array_lookup(map, key, cpu);
	if (!value || !__atomic_load_n((pf_half *)(void *)value, __ATOMIC_RELAXED))
		return NULL;
	return value;
}

void pf_array_mirror(struct pf_map *map, const void *key, const uint32_t *word)
{
	uint64_t whole = 0;

	if (word)
		memcpy(&whole, word, 8);
	__atomic_store_n((pf_word *)(void *)(map->arena + pf_index_of(key) * map->stride), whole, __ATOMIC_RELAXED);
}

static enum pf_err port_read(struct pf_map *map, const void *key, void *value, uint64_t flags)
{
	(void)flags;
	uint8_t *slot = array_lookup(map, key, 0);
	if (!slot)
		return PF_ENOENT;
	uint64_t whole = __atomic_load_n((pf_word *)(void *)slot, __ATOMIC_RELAXED);
	uint32_t word[2];
	memcpy(word, &whole, 8);
	if (!word[0])
		return PF_ENOENT;
	memcpy(value, word, map->def.value_size);
	return PF_OK;
}

static uint64_t port_count(struct pf_map *map)
{
	uint64_t count = 0;
	for (uint32_t i = 0; i < map->def.max_entries; i++)
		count += port_lookup(map, &i, 0) != NULL;
	return count;
}

const struct pf_map_ops pf_port_ops = {
	.create = array_create,
	.destroy = array_destroy,
	.lookup = port_lookup,
	.update = pf_port_update,
	.remove = pf_port_remove,
	.read = port_read,
	.next_key = array_next_key,
	.count = port_count,
};
