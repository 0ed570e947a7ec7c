/* test_map_batch.c - many keys in one call, against the same operations one by one, in buffers of the exact size. */
#include "map_util.h"

#include <stdlib.h>

#include "map/batch.h"

#define KEYS 40u

static void check_same(struct pf_map *one, struct pf_map *many)
{
	uint8_t a[64], b[64];

	CHECK_EQ(pf_map_count(one), pf_map_count(many));
	for (uint32_t key = 0; key < KEYS; key++) {
		enum pf_err err = pf_map_user_lookup(one, &key, a, 0);
		CHECK_EQ(pf_map_user_lookup(many, &key, b, 0), err);
		if (!err)
			CHECK_EQ(memcmp(a, b, pf_map_user_value_size(one)), 0);
	}
}

static void walk_all(struct pf_map *map, uint64_t count)
{
	const size_t step = pf_map_user_value_size(map);
	uint8_t *keys = malloc(count * 4), *values = malloc(count * step), *value = malloc(step), last[4];
	uint64_t got, total = 0, seen = 0;
	int started = 0;
	enum pf_err err = PF_OK;

	while (!err) {
		err = pf_map_user_walk(map, last, &started, keys, values, count, &got);
		for (uint64_t i = 0; i < got; i++) {
			uint32_t key;
			memcpy(&key, keys + i * 4, 4);
			seen |= UINT64_C(1) << key;
			CHECK_EQ(pf_map_user_lookup(map, &key, value, 0), PF_OK);
			CHECK_EQ(memcmp(value, values + i * step, step), 0);
		}
		total += got;
	}
	CHECK_EQ(err, PF_ENOENT);
	CHECK_EQ(total, pf_map_count(map));
	CHECK_EQ((uint64_t)__builtin_popcountll(seen), total);
	free(keys);
	free(values);
	free(value);
}

static void operations(enum pf_map_type type, uint32_t cpus)
{
	struct pf_map *one = make(type, 4, 12, KEYS, 0, cpus), *many = make(type, 4, 12, KEYS, 0, cpus);
	const size_t step = pf_map_user_value_size(one);
	const uint32_t count = 25;
	uint32_t *keys = malloc(count * 4);
	uint8_t *values = malloc(count * step), *got = malloc(count * step), found[25];
	uint64_t done;

	for (uint32_t i = 0; i < count; i++)
		keys[i] = (uint32_t)rnd(KEYS);
	for (size_t i = 0; i < count * step; i++)
		values[i] = (uint8_t)rnd(256);
	for (uint32_t i = 0; i < count; i++)
		CHECK_EQ(pf_map_user_update(one, &keys[i], values + i * step, ANY), PF_OK);
	CHECK_EQ(pf_map_user_update_batch(many, (uint8_t *)keys, values, count, ANY, &done), PF_OK);
	CHECK_EQ(done, count);
	check_same(one, many);
	for (uint32_t i = 0; i < count; i++)
		keys[i] = (uint32_t)rnd(KEYS);
	CHECK_EQ(pf_map_user_lookup_batch(many, (uint8_t *)keys, got, found, count, 0, &done), PF_OK);
	CHECK_EQ(done, count);
	for (uint32_t i = 0; i < count; i++) {
		CHECK_EQ(found[i], !pf_map_user_lookup(one, &keys[i], values, 0));
		if (found[i])
			CHECK_EQ(memcmp(values, got + i * step, step), 0);
	}
	for (uint64_t n = 1; n < KEYS + 3; n += 3)
		walk_all(many, n);
	free(keys);
	free(values);
	free(got);
	pf_map_put(one);
	pf_map_put(many);
}

/* An error stops a batch at its key: what is before is done, what is behind is not. */
static void errors(void)
{
	struct pf_map *map = make(PF_MAP_HASH, 4, 4, 3, 0, 1);
	const uint32_t keys[] = {1, 2, 3, 4, 5}, again[] = {1, 9, 2};
	uint64_t done;
	uint32_t key = 4;

	CHECK_EQ(pf_map_user_update_batch(map, (const uint8_t *)keys, (const uint8_t *)keys, 5, ANY, &done), PF_E2BIG);
	CHECK_EQ(done, 3);
	CHECK_EQ(pf_map_count(map), 3);
	CHECK_EQ(pf_map_user_update_batch(map, (const uint8_t *)keys, (const uint8_t *)keys, 5, NOEXIST, &done), PF_EEXIST);
	CHECK_EQ(done, 0);
	CHECK_EQ(pf_map_user_delete_batch(map, (const uint8_t *)again, 3, &done), PF_ENOENT);
	CHECK_EQ(done, 1);
	CHECK_EQ(pf_map_count(map), 2);
	CHECK_EQ(pf_map_user_delete(map, &key), PF_ENOENT);
	pf_map_freeze(map);
	CHECK_EQ(pf_map_user_delete_batch(map, (const uint8_t *)keys, 1, &done), PF_EPERM);
	CHECK_EQ(done, 0);
	pf_map_put(map);
}

int main(void)
{
	operations(PF_MAP_HASH, 1);
	operations(PF_MAP_LRU_HASH, 1);
	operations(PF_MAP_PERCPU_HASH, 3);
	operations(PF_MAP_ARRAY, 1);
	operations(PF_MAP_PERCPU_ARRAY, 3);
	errors();
	return 0;
}
