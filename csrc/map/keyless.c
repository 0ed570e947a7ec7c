/* keyless.c - what the maps without keys (queue, stack, bloom_filter) answer where others have keys, as Linux does. */
#include "map_impl.h"

uint8_t *pf_keyless_lookup(struct pf_map *map, const void *key, uint32_t cpu)
{
	(void)map, (void)key, (void)cpu;
	return NULL;
}

enum pf_err pf_keyless_update(struct pf_map *map, const void *key, const void *value, uint64_t flags, uint32_t cpu)
{
	(void)map, (void)key, (void)value, (void)flags, (void)cpu;
	return PF_EINVAL;
}

enum pf_err pf_keyless_remove(struct pf_map *map, const void *key)
{
	(void)key;
	return map->ops->keyless->pop ? PF_EINVAL : PF_EOPNOTSUPP;
}

enum pf_err pf_keyless_read(struct pf_map *map, const void *key, void *value, uint64_t flags)
{
	(void)map, (void)key, (void)value, (void)flags;
	return PF_EINVAL;
}

enum pf_err pf_keyless_next_key(struct pf_map *map, const void *key, void *next)
{
	(void)key, (void)next;
	return map->ops->keyless->pop ? PF_EINVAL : PF_EOPNOTSUPP;
}

void pf_bytes_give(void *to, const uint8_t *from, uint32_t size)
{
	uint8_t *out = to;
	uint32_t i = 0;

	if (((uintptr_t)out & 7) == 0)
		for (; size - i >= 8; i += 8)
			__atomic_store_n((pf_word *)(void *)(out + i), from ? pf_word_gather(from + i) : 0, __ATOMIC_RELAXED);
	for (; i < size; i++)
		__atomic_store_n(out + i, from ? __atomic_load_n(from + i, __ATOMIC_RELAXED) : 0, __ATOMIC_RELAXED);
}

enum pf_err pf_map_push(struct pf_map *map, const void *value, uint64_t flags)
{
	if (!pf_map_prog_writable(map))
		return PF_EPERM;
	return map->ops->keyless ? map->ops->keyless->push(map, value, flags) : PF_EOPNOTSUPP;
}

enum pf_err pf_map_pop(struct pf_map *map, void *value)
{
	if (!pf_map_prog_writable(map))
		return PF_EPERM;
	return map->ops->keyless && map->ops->keyless->pop ? map->ops->keyless->pop(map, value) : PF_EOPNOTSUPP;
}

enum pf_err pf_map_peek(struct pf_map *map, void *value)
{
	return map->ops->keyless ? map->ops->keyless->peek(map, value) : PF_EOPNOTSUPP;
}

enum pf_err pf_map_user_push(struct pf_map *map, const void *value, uint64_t flags)
{
	if (!pf_map_user_writable(map))
		return PF_EPERM;
	return map->ops->keyless ? map->ops->keyless->push(map, value, flags) : PF_EOPNOTSUPP;
}

enum pf_err pf_map_user_pop(struct pf_map *map, void *value, uint64_t flags)
{
	if (flags & ~(uint64_t)PF_MAP_F_LOCK)
		return PF_EINVAL;
	if (!pf_map_user_writable(map) || !pf_map_user_readable(map))
		return PF_EPERM;
	if (!map->ops->keyless || !map->ops->keyless->pop)
		return PF_EOPNOTSUPP;
	return flags ? PF_EINVAL : map->ops->keyless->pop(map, value);
}

enum pf_err pf_map_user_peek(struct pf_map *map, void *value, uint64_t flags)
{
	if (flags & ~(uint64_t)PF_MAP_F_LOCK)
		return PF_EINVAL;
	if (!pf_map_user_readable(map))
		return PF_EPERM;
	if (!map->ops->keyless)
		return PF_EOPNOTSUPP;
	return flags ? PF_EINVAL : map->ops->keyless->peek(map, value);
}
