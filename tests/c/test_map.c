/* test_map.c - results of bpf(2) by map type (tables measured on Linux 6.18), arrays, per-CPU values, ports. */
#include "map_util.h"

/* --- creation --- */

static const struct {
	struct pf_map_def def;
	enum pf_err err;
	enum pf_diag_code code;
} creations[] = {
	{{PF_MAP_HASH, 0, 8, 4, 0}, PF_EINVAL, PF_DIAG_MAP_KEY_SIZE},
	{{PF_MAP_HASH, 1, 1, 1, 0}, PF_OK, 0},
	{{PF_MAP_HASH, 65536, 8, 4, 0}, PF_OK, 0},
	{{PF_MAP_HASH, 1u << 22, 8, 4, 0}, PF_E2BIG, PF_DIAG_MAP_KEY_SIZE},
	{{PF_MAP_HASH, UINT32_MAX, 8, 4, 0}, PF_E2BIG, PF_DIAG_MAP_KEY_SIZE},
	{{PF_MAP_HASH, 4, 0, 4, 0}, PF_EINVAL, PF_DIAG_MAP_VALUE_SIZE},
	{{PF_MAP_HASH, 4, (1u << 22) - 100, 4, 0}, PF_OK, 0},
	{{PF_MAP_HASH, 4, 1u << 22, 4, 0}, PF_E2BIG, PF_DIAG_MAP_VALUE_SIZE},
	{{PF_MAP_HASH, 4, UINT32_MAX, 4, 0}, PF_E2BIG, PF_DIAG_MAP_VALUE_SIZE},
	{{PF_MAP_HASH, 4, 8, 0, 0}, PF_EINVAL, PF_DIAG_MAP_MAX_ENTRIES},
	{{PF_MAP_HASH, 4, 8, UINT32_MAX, 0}, PF_E2BIG, PF_DIAG_MAP_MAX_ENTRIES},
	{{PF_MAP_HASH, 65536, 1u << 20, 1u << 27, 0}, PF_ENOMEM, PF_DIAG_MAP_NOMEM},
	{{PF_MAP_HASH, 4, 8, 4, 0x1dd & ~0x110u}, PF_OK, 0},
	{{PF_MAP_HASH, 4, 8, 4, 2}, PF_EINVAL, PF_DIAG_MAP_FLAGS},
	{{PF_MAP_HASH, 4, 8, 4, 0x400}, PF_EINVAL, PF_DIAG_MAP_FLAGS},
	{{PF_MAP_HASH, 4, 8, 4, 0x18}, PF_EINVAL, PF_DIAG_MAP_FLAGS},
	{{PF_MAP_HASH, 4, 8, 4, 0x180}, PF_EINVAL, PF_DIAG_MAP_FLAGS},
	{{PF_MAP_HASH, 4, 8, 4, 1u << 31}, PF_EINVAL, PF_DIAG_MAP_FLAGS},
	{{PF_MAP_PERCPU_HASH, 4, 32768, 4, 1}, PF_OK, 0},
	{{PF_MAP_PERCPU_HASH, 4, 32769, 4, 0}, PF_E2BIG, PF_DIAG_MAP_VALUE_SIZE},
	{{PF_MAP_PERCPU_HASH, 4, 8, 4, 4}, PF_EINVAL, PF_DIAG_MAP_FLAGS},
	{{PF_MAP_LRU_HASH, 4, 8, 4, 1}, PF_EOPNOTSUPP, PF_DIAG_MAP_FLAGS},
	{{PF_MAP_LRU_HASH, 4, 8, 4, 2 | 4}, PF_OK, 0},
	{{PF_MAP_LRU_PERCPU_HASH, 4, 8, 4, 4}, PF_EINVAL, PF_DIAG_MAP_FLAGS},
	{{PF_MAP_ARRAY, 5, 8, 4, 0}, PF_EINVAL, PF_DIAG_MAP_KEY_SIZE},
	{{PF_MAP_ARRAY, 4, 0, 4, 0}, PF_EINVAL, PF_DIAG_MAP_VALUE_SIZE},
	{{PF_MAP_ARRAY, 4, 1, UINT32_MAX, 0}, PF_OK, 0},
	{{PF_MAP_ARRAY, 4, INT32_MAX, 1, 0}, PF_OK, 0},
	{{PF_MAP_ARRAY, 4, INT32_MAX, UINT32_MAX, 0}, PF_ENOMEM, PF_DIAG_MAP_NOMEM},
	{{PF_MAP_ARRAY, 4, UINT32_MAX, 1, 0}, PF_E2BIG, PF_DIAG_MAP_VALUE_SIZE},
	{{PF_MAP_ARRAY, 4, 8, 4, 0x1400}, PF_OK, 0},
	{{PF_MAP_ARRAY, 4, 8, 4, 1}, PF_EINVAL, PF_DIAG_MAP_FLAGS},
	{{PF_MAP_ARRAY, 4, 8, 4, 0x40}, PF_EINVAL, PF_DIAG_MAP_FLAGS},
	{{PF_MAP_PERCPU_ARRAY, 4, 32769, 4, 0}, PF_E2BIG, PF_DIAG_MAP_VALUE_SIZE},
	{{PF_MAP_PERCPU_ARRAY, 4, 8, 4, 0x400}, PF_EINVAL, PF_DIAG_MAP_FLAGS},
	{{PF_MAP_LPM_TRIE, 8, 8, 4, 0}, PF_EINVAL, PF_DIAG_MAP_LPM_PREALLOC},
	{{PF_MAP_LPM_TRIE, 4, 8, 4, 1}, PF_EINVAL, PF_DIAG_MAP_KEY_SIZE},
	{{PF_MAP_LPM_TRIE, 5, 8, 4, 1}, PF_OK, 0},
	{{PF_MAP_LPM_TRIE, 260, 8, 4, 1}, PF_OK, 0},
	{{PF_MAP_LPM_TRIE, 261, 8, 4, 1}, PF_EINVAL, PF_DIAG_MAP_KEY_SIZE},
	{{PF_MAP_LPM_TRIE, 8, UINT32_MAX, 4, 1}, PF_EINVAL, PF_DIAG_MAP_VALUE_SIZE},
	{{PF_MAP_LPM_TRIE, 8, 8, 4, 0x41}, PF_EINVAL, PF_DIAG_MAP_FLAGS},
	{{PF_MAP_PROG_ARRAY, 4, 8, 4, 0}, PF_EINVAL, PF_DIAG_MAP_VALUE_SIZE},
	{{PF_MAP_PROG_ARRAY, 8, 4, 4, 0}, PF_EINVAL, PF_DIAG_MAP_KEY_SIZE},
	{{PF_MAP_PROG_ARRAY, 4, 4, 4, 0x80}, PF_EINVAL, PF_DIAG_MAP_FLAGS},
	{{PF_MAP_HASH_OF_MAPS, 7, 4, 4, 0x80}, PF_OK, 0},
	{{PF_MAP_DEVMAP, 4, 8, 4, 0}, PF_OK, 0},
	{{PF_MAP_DEVMAP, 4, 5, 4, 0}, PF_EINVAL, PF_DIAG_MAP_VALUE_SIZE},
	{{PF_MAP_DEVMAP, 4, 12, 4, 0}, PF_EINVAL, PF_DIAG_MAP_VALUE_SIZE},
	{{PF_MAP_DEVMAP, 4, 4, 4, 0x80}, PF_EINVAL, PF_DIAG_MAP_FLAGS},
	{{PF_MAP_DEVMAP_HASH, 8, 4, 4, 0}, PF_EINVAL, PF_DIAG_MAP_KEY_SIZE},
	{{PF_MAP_CPUMAP, 4, 4, 16384, 0}, PF_E2BIG, PF_DIAG_MAP_MAX_ENTRIES},
	{{PF_MAP_CPUMAP, 4, 4, 4, 8}, PF_EINVAL, PF_DIAG_MAP_FLAGS},
	{{PF_MAP_RINGBUF, 0, 0, 1 << 20, 0}, PF_OK, 0},
	{{PF_MAP_RINGBUF, 4, 0, 1 << 20, 0}, PF_EINVAL, PF_DIAG_MAP_KEY_SIZE},
	{{PF_MAP_RINGBUF, 0, 8, 1 << 20, 0}, PF_EINVAL, PF_DIAG_MAP_VALUE_SIZE},
	{{PF_MAP_RINGBUF, 0, 0, 0, 0}, PF_EINVAL, PF_DIAG_MAP_MAX_ENTRIES},
	{{PF_MAP_RINGBUF, 0, 0, 2048, 0}, PF_EINVAL, PF_DIAG_MAP_RING_SIZE},
	{{PF_MAP_RINGBUF, 0, 0, 3 << 20, 0}, PF_EINVAL, PF_DIAG_MAP_RING_SIZE},
	{{PF_MAP_RINGBUF, 0, 0, 1 << 20, PF_MAP_F_NO_PREALLOC}, PF_EINVAL, PF_DIAG_MAP_FLAGS},
	{{PF_MAP_USER_RINGBUF, 0, 0, 4096, 0}, PF_EOPNOTSUPP, PF_DIAG_MAP_TYPE},
	{{(enum pf_map_type)0, 4, 4, 4, 0}, PF_EINVAL, PF_DIAG_MAP_TYPE_UNKNOWN},
	{{(enum pf_map_type)9999, 4, 4, 4, 0}, PF_EINVAL, PF_DIAG_MAP_TYPE_UNKNOWN},
};

static void test_creation(void)
{
	struct pf_map_def inner = {PF_MAP_ARRAY, 4, 8, 2, 0};

	for (size_t i = 0; i < sizeof(creations) / sizeof(creations[0]); i++) {
		struct pf_map *map;
		struct pf_diag diag = {0};
		enum pf_err err = pf_map_create(&creations[i].def, &inner, 2, "m", 1, &map, &diag);
		if (err != creations[i].err || (err && diag.code != creations[i].code)) {
			fprintf(stderr, "creation %zu: error %d, diagnostic: %s\n", i, err, pf_diag_text(diag.code));
			exit(1);
		}
		CHECK((err == PF_OK) == (map != NULL));
		if (map)
			pf_map_put(map);
	}
	static const struct { struct pf_map_def inner; enum pf_err err; } inners[] = {
		{{PF_MAP_PROG_ARRAY, 4, 4, 4, 0}, PF_EOPNOTSUPP},
		{{PF_MAP_ARRAY_OF_MAPS, 4, 4, 4, 0}, PF_EINVAL},
		{{PF_MAP_DEVMAP, 4, 4, 4, 0}, PF_OK},
		{{PF_MAP_HASH, 0, 4, 4, 0}, PF_EINVAL},
	};
	for (size_t i = 0; i <= 4; i++) {
		struct pf_map_def def = {PF_MAP_ARRAY_OF_MAPS, 4, 4, 4, 0};
		struct pf_map *map;
		CHECK_EQ(pf_map_create(&def, i < 4 ? &inners[i].inner : NULL, 1, NULL, 1, &map, NULL),
			 i < 4 ? inners[i].err : PF_EINVAL);
		if (map)
			pf_map_put(map);
	}
}

/* --- update, delete, lookup: results by type --- */

static const struct {
	struct pf_map_def def;
	/* of a map with 2 of 4 entries (keys 0 and 1): update of key 1 and of key 2 with flags 0, 1, 2, 3, 4, 8 */
	enum pf_err present[6], absent[6];
	enum pf_err full[3];        /* update of a fifth key with ANY, NOEXIST, EXIST once 0..3 are there */
	enum pf_err remove[2];      /* of key 1, and again */
	enum pf_err lookup_removed; /* of key 1 */
} results[] = {
#define BAD PF_EINVAL, PF_EINVAL, PF_EINVAL
	{{PF_MAP_HASH, 4, 4, 4, 0}, {0, PF_EEXIST, 0, BAD}, {0, 0, PF_ENOENT, BAD},
	 {PF_E2BIG, PF_E2BIG, PF_ENOENT}, {0, PF_ENOENT}, PF_ENOENT},
	{{PF_MAP_PERCPU_HASH, 4, 4, 4, 0}, {0, PF_EEXIST, 0, BAD}, {0, 0, PF_ENOENT, BAD},
	 {PF_E2BIG, PF_E2BIG, PF_ENOENT}, {0, PF_ENOENT}, PF_ENOENT},
	{{PF_MAP_LRU_HASH, 4, 4, 64, 0}, {0, PF_EEXIST, 0, BAD}, {0, 0, PF_ENOENT, BAD},
	 {0, PF_EEXIST, 0}, {0, PF_ENOENT}, PF_ENOENT},
	{{PF_MAP_ARRAY, 4, 4, 4, 0}, {0, PF_EEXIST, 0, BAD}, {0, PF_EEXIST, 0, BAD},
	 {PF_E2BIG, PF_E2BIG, PF_E2BIG}, {PF_EINVAL, PF_EINVAL}, 0},
	{{PF_MAP_PERCPU_ARRAY, 4, 4, 4, 0}, {0, PF_EEXIST, 0, BAD}, {0, PF_EEXIST, 0, BAD},
	 {PF_E2BIG, PF_E2BIG, PF_E2BIG}, {PF_EINVAL, PF_EINVAL}, 0},
	{{PF_MAP_DEVMAP, 4, 4, 4, 0}, {0, PF_EEXIST, 0, BAD}, {0, PF_EEXIST, 0, BAD},
	 {PF_E2BIG, PF_E2BIG, PF_E2BIG}, {0, 0}, PF_ENOENT},
	{{PF_MAP_CPUMAP, 4, 8, 4, 0}, {0, PF_EEXIST, 0, BAD}, {0, PF_EEXIST, 0, BAD},
	 {PF_E2BIG, PF_E2BIG, PF_E2BIG}, {0, 0}, PF_ENOENT},
	{{PF_MAP_DEVMAP_HASH, 4, 4, 4, 0}, {0, PF_EEXIST, 0, BAD}, {0, 0, 0, BAD},
	 {PF_E2BIG, PF_E2BIG, PF_E2BIG}, {0, PF_ENOENT}, PF_ENOENT},
	{{PF_MAP_LPM_TRIE, 8, 4, 4, 1}, {0, PF_EEXIST, 0, BAD}, {0, 0, PF_ENOENT, BAD},
	 {PF_ENOSPC, PF_ENOSPC, PF_ENOENT}, {0, PF_ENOENT}, PF_ENOENT},
#undef BAD
};

static void key_for(const struct pf_map_def *def, uint32_t number, uint8_t key[8])
{
	uint32_t words[2] = {number, 0};
	if (def->type == PF_MAP_LPM_TRIE) {
		words[0] = 32;
		words[1] = number << 24;
	}
	memcpy(key, words, 8);
}

static void test_results(void)
{
	static const uint64_t flags[6] = {ANY, NOEXIST, EXIST, 3, 4, 8};

	for (size_t i = 0; i < sizeof(results) / sizeof(results[0]); i++) {
		const struct pf_map_def *def = &results[i].def;
		uint64_t value[4] = {5, 5, 5, 5};
		uint8_t keys[5][8], next[8];
		for (uint32_t k = 0; k < 5; k++)
			key_for(def, k, keys[k]);
		for (int f = 0; f < 6; f++) {
			struct pf_map *map = make(def->type, def->key_size, def->value_size, def->max_entries, def->flags, 2);
			CHECK_EQ(pf_map_user_update(map, keys[0], value, ANY), PF_OK);
			CHECK_EQ(pf_map_user_update(map, keys[1], value, ANY), PF_OK);
			CHECK_EQ(pf_map_user_update(map, keys[1], value, flags[f]), results[i].present[f]);
			CHECK_EQ(pf_map_user_update(map, keys[2], value, flags[f]), results[i].absent[f]);
			pf_map_put(map);
		}
		struct pf_map *map = make(def->type, def->key_size, def->value_size, def->max_entries, def->flags, 2);
		for (uint32_t k = 0; k < 4; k++)
			CHECK_EQ(pf_map_user_update(map, keys[k], value, ANY), PF_OK);
		CHECK_EQ(pf_map_count(map), 4);
		for (int f = 0; f < 3; f++)
			CHECK_EQ(pf_map_user_update(map, keys[4], value, flags[f]), results[i].full[f]);
		CHECK_EQ(pf_map_user_update(map, keys[1], value, ANY), PF_OK); /* full, but present */
		CHECK_EQ(pf_map_user_delete(map, keys[1]), results[i].remove[0]);
		CHECK_EQ(pf_map_user_delete(map, keys[1]), results[i].remove[1]);
		CHECK_EQ(pf_map_user_lookup(map, keys[1], value, 0), results[i].lookup_removed);
		pf_map_freeze(map);
		CHECK_EQ(pf_map_user_update(map, keys[0], value, 99), PF_EPERM);
		CHECK_EQ(pf_map_user_delete(map, keys[0]), PF_EPERM);
		CHECK_EQ(pf_map_user_lookup(map, keys[0], value, 0), PF_OK);
		CHECK_EQ(pf_map_user_next_key(map, NULL, next), PF_OK);
		pf_map_put(map);
		if (def->type == PF_MAP_CPUMAP)
			continue;
		map = make(def->type, def->key_size, def->value_size, def->max_entries, def->flags | PF_MAP_F_RDONLY, 2);
		CHECK_EQ(pf_map_user_update(map, keys[0], value, ANY), PF_EPERM);
		CHECK_EQ(pf_map_user_delete(map, keys[0]), PF_EPERM);
		CHECK(pf_map_user_lookup(map, keys[0], value, 0) != PF_EPERM);
		pf_map_put(map);
		map = make(def->type, def->key_size, def->value_size, def->max_entries, def->flags | PF_MAP_F_WRONLY, 2);
		CHECK_EQ(pf_map_user_update(map, keys[0], value, ANY), PF_OK);
		CHECK_EQ(pf_map_user_lookup(map, keys[0], value, 0), PF_EPERM);
		CHECK_EQ(pf_map_user_next_key(map, NULL, next), PF_EPERM);
		pf_map_put(map);
	}
}

/* --- arrays and ports --- */

static uint64_t stop_at_third(void *user, struct pf_map *map, void *key, uint8_t *value)
{
	uint32_t index;
	memcpy(&index, key, 4);
	CHECK_EQ(index, (*(uint32_t *)user)++);
	CHECK(pf_map_contains(map, value, map->def.value_size));
	return index == 2;
}

static void test_array(void)
{
	struct pf_map *map = make(PF_MAP_ARRAY, 4, 12, 5, 0, 4);
	uint32_t index = 0, next = 9, calls = 0;
	uint64_t visited;
	uint8_t value[16] = "abcdefghijkl", out[16] = {0};

	CHECK_EQ(map->stride, 16);
	CHECK_EQ(map->cpus, 1);
	for (index = 0; index < 5; index++) {
		uint8_t *v = pf_map_lookup(map, &index, 3);
		CHECK(v == map->arena + index * 16);
		for (uint32_t at = 0; at < 20; at++)
			CHECK_EQ(pf_map_contains(map, v + at, 1), at < 12 || (at >= 16 && index < 4));
		CHECK(pf_map_contains(map, v, 12) && pf_map_contains(map, v + 12, 0));
		CHECK(!pf_map_contains(map, v, 13) && !pf_map_contains(map, v + 11, 2));
		CHECK(!pf_map_contains(map, v, UINT64_MAX));
	}
	CHECK(!pf_map_contains(map, map->arena - 1, 1) && !pf_map_contains(map, map->arena + 80, 1));
	CHECK(!pf_map_contains(map, NULL, 0));
	CHECK(!pf_map_lookup(map, &index, 0));
	CHECK(!pf_map_direct_value(map, 0)); /* five entries */
	index = 4;
	CHECK_EQ(pf_map_update(map, &index, value, ANY, 0), PF_OK);
	CHECK_EQ(pf_map_user_lookup(map, &index, out, 0), PF_OK);
	CHECK(!memcmp(out, "abcdefghijkl\0\0\0", 16));
	CHECK_EQ(pf_map_user_next_key(map, &index, &next), PF_ENOENT);
	index = 5;
	CHECK(pf_map_user_next_key(map, &index, &next) == PF_OK && next == 0);
	CHECK(pf_map_user_next_key(map, &next, &next) == PF_OK && next == 1);
	CHECK_EQ(pf_map_for_each(map, 0, stop_at_third, &calls, &visited), PF_OK);
	CHECK(visited == 3 && calls == 3);
	pf_map_put(map);

	map = make(PF_MAP_ARRAY, 4, 12, 1, PF_MAP_F_RDONLY_PROG, 1);
	index = 0;
	CHECK(pf_map_direct_value(map, 11) == map->arena + 11 && !pf_map_direct_value(map, 12));
	CHECK_EQ(pf_map_update(map, &index, value, ANY, 0), PF_EPERM);
	CHECK_EQ(pf_map_user_update(map, &index, value, ANY), PF_OK);
	pf_map_put(map);

	map = make(PF_MAP_ARRAY, 4, 8, 1u << 30, 0, 1); /* 8 GiB that nobody touches */
	index = (1u << 30) - 1;
	CHECK_EQ(pf_map_update(map, &index, value, ANY, 0), PF_OK);
	CHECK(!memcmp(pf_map_lookup(map, &index, 0), "abcdefgh", 8));
	pf_map_put(map);
}

static void test_percpu(void)
{
	static const enum pf_map_type kinds[] = {PF_MAP_PERCPU_ARRAY, PF_MAP_PERCPU_HASH, PF_MAP_LRU_PERCPU_HASH};

	for (int i = 0; i < 3; i++) {
		struct pf_map *map = make(kinds[i], 4, 5, 4, 0, 3);
		uint32_t key = 1;
		uint8_t all[24], out[24] = {0};
		memset(all, 'x', sizeof(all));
		CHECK_EQ(pf_map_user_value_size(map), 24);
		CHECK_EQ(pf_map_user_update(map, &key, all, ANY), PF_OK);
		CHECK_EQ(pf_map_user_lookup(map, &key, out, 0), PF_OK);
		CHECK(!memcmp(out, all, 24)); /* the padding too, as in Linux */
		CHECK_EQ(pf_map_update(map, &key, "abcde", ANY, 1), PF_OK);
		CHECK_EQ(pf_map_user_lookup(map, &key, out, 0), PF_OK);
		CHECK(!memcmp(out, "xxxxxxxxabcde\0\0\0xxxxxxxx", 24));
		uint8_t *v = pf_map_lookup(map, &key, 2);
		CHECK(v == (uint8_t *)pf_map_lookup(map, &key, 0) + 16);
		CHECK(pf_map_contains(map, v, 5) && !pf_map_contains(map, v, 6) && !pf_map_contains(map, v + 5, 1));
		if (i) { /* a new element has zeroes for the other CPUs, also when the element was used before */
			CHECK_EQ(pf_map_user_delete(map, &key), PF_OK);
			CHECK_EQ(pf_map_update(map, &key, "fghij", NOEXIST, 1), PF_OK);
			CHECK_EQ(pf_map_user_lookup(map, &key, out, 0), PF_OK);
			CHECK(!memcmp(out, "\0\0\0\0\0\0\0\0fghij\0\0\0\0\0\0\0\0\0\0", 24));
		}
		pf_map_put(map);
	}
}

static void test_ports(void)
{
	uint32_t key = 1, value[2] = {7, 0}, out[2];
	struct pf_map *map = make(PF_MAP_DEVMAP, 4, 8, 3, 0, 1);

	CHECK(!pf_map_prog_writable(map));
	CHECK(!pf_map_lookup(map, &key, 0));
	CHECK_EQ(pf_map_count(map), 0);
	CHECK_EQ(pf_map_user_update(map, &key, value, ANY), PF_OK);
	CHECK(!memcmp(pf_map_lookup(map, &key, 0), value, 8));
	CHECK_EQ(pf_map_count(map), 1);
	value[1] = 3; /* a program's descriptor */
	CHECK_EQ(pf_map_user_update(map, &key, value, ANY), PF_EINVAL);
	value[1] = UINT32_MAX; /* "none", too */
	CHECK_EQ(pf_map_user_update(map, &key, value, ANY), PF_OK);
	CHECK(pf_map_user_lookup(map, &key, out, 0) == PF_OK && out[0] == 7 && out[1] == 0);
	CHECK_EQ(pf_map_update(map, &key, value, ANY, 0), PF_EPERM);
	CHECK_EQ(pf_map_delete(map, &key), PF_EPERM);
	value[0] = value[1] = 0;
	CHECK_EQ(pf_map_user_update(map, &key, value, EXIST), PF_OK); /* clears */
	CHECK_EQ(pf_map_user_lookup(map, &key, out, 0), PF_ENOENT);
	key = 3;
	CHECK_EQ(pf_map_user_delete(map, &key), PF_EINVAL);
	CHECK_EQ(pf_map_for_each(map, 0, stop_at_third, &key, NULL), PF_EINVAL);
	pf_map_put(map);

	key = 0;
	map = make(PF_MAP_CPUMAP, 4, 4, 3, 0, 1);
	value[0] = 16385;
	CHECK_EQ(pf_map_user_update(map, &key, value, ANY), PF_EOVERFLOW);
	value[0] = 16384;
	CHECK_EQ(pf_map_user_update(map, &key, value, ANY), PF_OK);
	CHECK_EQ(pf_map_update(map, &key, value, ANY, 0), PF_EPERM);
	CHECK_EQ(pf_map_delete(map, &key), PF_EPERM);
	pf_map_put(map);

	map = make(PF_MAP_DEVMAP_HASH, 4, 4, 3, 0, 1);
	value[0] = 0;
	CHECK_EQ(pf_map_user_update(map, &key, value, ANY), PF_EINVAL);
	value[0] = 1;
	CHECK_EQ(pf_map_update(map, &key, value, ANY, 0), PF_EPERM);
	CHECK_EQ(pf_map_user_update(map, &key, value, ANY), PF_OK);
	CHECK(pf_map_lookup(map, &key, 0));
	pf_map_put(map);
}

int main(void)
{
	test_creation();
	test_results();
	test_array();
	test_percpu();
	test_ports();
	return 0;
}
