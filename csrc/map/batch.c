/* batch.c - loops over the user's side of a map. */
#include "batch.h"

#include <string.h>

enum pf_err pf_map_user_update_batch(struct pf_map *map, const uint8_t *keys, const uint8_t *values, uint64_t count,
				     uint64_t flags, uint64_t *done)
{
	const size_t step = pf_map_user_value_size(map);
	enum pf_err err = PF_OK;
	uint64_t i = 0;

	for (; i < count; i++) {
		err = pf_map_user_update(map, keys + i * map->def.key_size, values + i * step, flags);
		if (err)
			break;
	}
	*done = i;
	return err;
}

enum pf_err pf_map_user_delete_batch(struct pf_map *map, const uint8_t *keys, uint64_t count, uint64_t *done)
{
	enum pf_err err = PF_OK;
	uint64_t i = 0;

	for (; i < count; i++) {
		err = pf_map_user_delete(map, keys + i * map->def.key_size);
		if (err)
			break;
	}
	*done = i;
	return err;
}

enum pf_err pf_map_user_lookup_batch(struct pf_map *map, const uint8_t *keys, uint8_t *values, uint8_t *found, uint64_t count,
				     uint64_t flags, uint64_t *done)
{
	const size_t step = pf_map_user_value_size(map);
	enum pf_err err = PF_OK;
	uint64_t i = 0;

	for (; i < count; i++) {
		err = pf_map_user_lookup(map, keys + i * map->def.key_size, values + i * step, flags);
		if (err && err != PF_ENOENT)
			break;
		found[i] = !err;
		err = PF_OK;
	}
	*done = i;
	return err;
}

enum pf_err pf_map_user_walk(struct pf_map *map, uint8_t *last, int *started, uint8_t *keys, uint8_t *values, uint64_t count,
			     uint64_t *got)
{
	const size_t step = pf_map_user_value_size(map), key_size = map->def.key_size;
	enum pf_err err = PF_OK;
	uint64_t n = 0;

	for (uint64_t i = 0; i < count; i++) {
		uint8_t *key = keys + n * key_size;
		err = pf_map_user_next_key(map, *started ? last : NULL, key);
		if (err)
			break;
		memcpy(last, key, key_size);
		*started = 1;
		err = pf_map_user_lookup(map, key, values + n * step, 0);
		if (!err)
			n++;
		else if (err != PF_ENOENT)
			break;
		err = PF_OK;
	}
	*got = n;
	return err;
}
