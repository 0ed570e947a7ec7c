/* test_map_stress.c - readers, updaters and deleters on the same maps. Values say whose they are, word by word, so that
 * foreign or torn content shows; under ThreadSanitizer it also shows that all sharing is through atomics. */
#include <pthread.h>
#include <string.h>

#include "check.h"
#include "map/hash.h"

#define THREADS 4
#define WORDS 4
#define KEYS 128
#define PERMANENT 16 /* keys below are never deleted */
#define ROUNDS 20000

struct task {
	struct pf_map *map;
	uint64_t random;
	uint32_t number;
};

static uint64_t rnd(struct task *t, uint64_t below)
{
	t->random ^= t->random << 13;
	t->random ^= t->random >> 7;
	t->random ^= t->random << 17;
	return t->random % below;
}

/* Each word: whose (16 bits), which word (8 bits), a serial number (40 bits). */
static void compose(uint64_t value[WORDS], uint64_t owner, uint64_t serial)
{
	for (uint64_t i = 0; i < WORDS; i++)
		value[i] = owner << 48 | i << 40 | (serial & 0xffffffffffu);
}

/* A value in place, read as a program does. owner: whose it must be, or KEYS for anybody's (a reused element, M1). */
static void check_in_place(uint8_t *value, uint64_t owner)
{
	uint64_t *words = (uint64_t *)(void *)value;
	for (uint64_t i = 0; i < WORDS; i++) {
		uint64_t word = __atomic_load_n(&words[i], __ATOMIC_RELAXED);
		CHECK_EQ(word >> 40 & 255, i);
		CHECK(word >> 48 < KEYS && (owner == KEYS || word >> 48 == owner));
	}
}

/* A user's copy: all of one update of this key. */
static void check_copy(const uint64_t value[WORDS], uint64_t owner)
{
	for (uint64_t i = 0; i < WORDS; i++)
		CHECK_EQ(value[i], owner << 48 | i << 40 | (value[0] & 0xffffffffffu));
}

static void run(struct pf_map *map, void *(*body)(void *))
{
	pthread_t threads[THREADS];
	struct task tasks[THREADS];

	for (uint32_t i = 0; i < THREADS; i++) {
		tasks[i] = (struct task){.map = map, .number = i, .random = 0x9e3779b97f4a7c15u * (i + 1)};
		CHECK(!pthread_create(&threads[i], NULL, body, &tasks[i]));
	}
	for (uint32_t i = 0; i < THREADS; i++)
		CHECK(!pthread_join(threads[i], NULL));
}

static struct pf_map *make(enum pf_map_type type, uint32_t key, uint32_t max, uint32_t flags)
{
	struct pf_map_def def = {type, key, WORDS * 8, max, flags};
	struct pf_map *map;
	CHECK_EQ(pf_map_create(&def, NULL, 1, "stress", 1, &map, NULL), PF_OK);
	return map;
}

static void *hash_body(void *arg)
{
	struct task *t = arg;
	uint64_t value[WORDS];

	for (int round = 0; round < ROUNDS; round++) {
		uint32_t key = (uint32_t)rnd(t, KEYS);
		switch (rnd(t, t->number ? 5 : 3)) { /* thread 0 only reads */
		case 0:
		case 1: {
			uint8_t *v = pf_map_lookup(t->map, &key, 0);
			CHECK(v || key >= PERMANENT);
			if (v)
				check_in_place(v, key < PERMANENT ? key : KEYS);
			break;
		}
		case 2: {
			enum pf_err err = pf_map_user_lookup(t->map, &key, value, 0);
			CHECK(err == PF_OK || (err == PF_ENOENT && key >= PERMANENT));
			if (!err)
				check_copy(value, key);
			break;
		}
		case 3:
			compose(value, key, rnd(t, UINT64_MAX));
			CHECK_EQ(pf_map_update(t->map, &key, value, PF_MAP_ANY, 0), PF_OK);
			break;
		case 4:
			if (key >= PERMANENT)
				CHECK(pf_map_delete(t->map, &key) != PF_EINVAL);
			break;
		}
		CHECK(pf_map_count(t->map) <= t->map->def.max_entries);
	}
	return NULL;
}

static uint64_t visit_own(void *user, struct pf_map *map, void *key, uint8_t *value)
{
	uint32_t number;
	(void)user, (void)map;
	memcpy(&number, key, 4);
	check_in_place(value, number);
	return 0;
}

static void test_hash(void)
{
	struct pf_map *map = make(PF_MAP_HASH, 4, KEYS, 0);
	uint64_t value[WORDS], visited;

	for (uint32_t key = 0; key < PERMANENT; key++) {
		compose(value, key, 1);
		CHECK_EQ(pf_map_update(map, &key, value, PF_MAP_NOEXIST, 0), PF_OK);
	}
	run(map, hash_body);
	uint32_t key, *at = NULL, seen = 0;
	for (; pf_map_user_next_key(map, at, &key) == PF_OK; at = &key)
		seen++;
	CHECK_EQ(seen, pf_map_count(map));
	CHECK(seen >= PERMANENT);
	CHECK_EQ(pf_map_for_each(map, 0, visit_own, NULL, &visited), PF_OK);
	CHECK_EQ(visited, seen);
	pf_map_put(map);
}

/* Each thread inserts and deletes two keys of its own in a map with room for exactly all of them: E2BIG would be
 * spurious (M4). */
static void *full_body(void *arg)
{
	struct task *t = arg;
	uint64_t value[WORDS];

	for (int round = 0; round < ROUNDS; round++) {
		uint32_t key = t->number * 2 + (uint32_t)(round & 1);
		compose(value, key, (uint64_t)round);
		CHECK_EQ(pf_map_update(t->map, &key, value, PF_MAP_NOEXIST, 0), PF_OK);
		if (round & 1) {
			check_in_place(pf_map_lookup(t->map, &key, 0), key);
			CHECK_EQ(pf_map_delete(t->map, &key), PF_OK);
			key--;
			CHECK_EQ(pf_map_delete(t->map, &key), PF_OK);
		}
	}
	return NULL;
}

/* The last element of a chain must be found while the one before it is deleted and reused on another chain: a reader
 * that stands on it is carried off, and must notice (V1). The same of slots. */
static uint32_t last_key, before_key, elsewhere_key;

static void *reuse_body(void *arg)
{
	struct task *t = arg;
	uint64_t value[WORDS];

	for (int round = 0; round < ROUNDS * 10; round++) {
		if (t->number) {
			uint8_t *v = pf_map_lookup(t->map, &last_key, 0);
			CHECK(v);
			check_in_place(v, 1);
			continue;
		}
		compose(value, 2, (uint64_t)round);
		uint32_t *key = round & 1 ? &elsewhere_key : &before_key;
		CHECK_EQ(pf_map_update(t->map, key, value, PF_MAP_NOEXIST, 0), PF_OK);
		CHECK_EQ(pf_map_delete(t->map, key), PF_OK);
	}
	return NULL;
}

static uint32_t key_in_bucket(const struct pf_map *map, uint32_t bucket, uint32_t from)
{
	const struct pf_hash *h = map->impl;
	while ((pf_hash_of(h, (const uint8_t *)&from, 4) & h->mask) != bucket)
		from++;
	return from;
}

/* chained: all slots of both buckets are taken, by others. */
static void test_reuse(int chained)
{
	struct pf_map *map = make(PF_MAP_HASH, 4, 2 * PF_HASH_SLOTS + 2, 0);
	uint64_t value[WORDS];
	uint32_t free_from[2] = {0, 0};

	compose(value, 3, 0);
	for (uint32_t n = 0; chained && n < 2 * PF_HASH_SLOTS; n++) {
		const uint32_t key = key_in_bucket(map, n & 1, free_from[n & 1]);
		CHECK_EQ(pf_map_update(map, &key, value, PF_MAP_NOEXIST, 0), PF_OK);
		free_from[n & 1] = key + 1;
	}
	last_key = key_in_bucket(map, 0, free_from[0]);
	before_key = key_in_bucket(map, 0, last_key + 1);
	elsewhere_key = key_in_bucket(map, 1, free_from[1]);
	compose(value, 1, 0);
	CHECK_EQ(pf_map_update(map, &last_key, value, PF_MAP_ANY, 0), PF_OK);
	run(map, reuse_body);
	pf_map_put(map);
}

static void *lru_body(void *arg)
{
	struct task *t = arg;
	uint64_t value[WORDS];

	for (int round = 0; round < ROUNDS; round++) {
		uint32_t key = (uint32_t)rnd(t, KEYS);
		uint8_t *v = pf_map_lookup(t->map, &key, 0);
		if (v)
			check_in_place(v, KEYS);
		if (!pf_map_user_lookup(t->map, &key, value, 0))
			check_copy(value, key);
		compose(value, key, (uint64_t)round);
		CHECK_EQ(pf_map_update(t->map, &key, value, PF_MAP_ANY, 0), PF_OK); /* never full */
		if (rnd(t, 8) == 0)
			CHECK(pf_map_delete(t->map, &key) != PF_EINVAL);
		CHECK(pf_map_count(t->map) <= t->map->def.max_entries);
	}
	return NULL;
}

static void *array_body(void *arg)
{
	struct task *t = arg;
	uint64_t value[WORDS];

	for (int round = 0; round < ROUNDS; round++) {
		uint32_t key = (uint32_t)rnd(t, 8);
		uint8_t *v = pf_map_lookup(t->map, &key, 0);
		check_in_place(v, key);
		compose(value, key, rnd(t, UINT64_MAX));
		CHECK_EQ(rnd(t, 2) ? pf_map_update(t->map, &key, value, PF_MAP_ANY, 0)
				   : pf_map_user_update(t->map, &key, value, PF_MAP_ANY), PF_OK);
	}
	return NULL;
}

struct lpm_key { uint32_t prefix; uint8_t data[4]; };

/* 10.0.0.0/8 (owner 8) is always there; longer prefixes of 10.x (owner: their length) come and go. */
static void *lpm_body(void *arg)
{
	struct task *t = arg;
	uint64_t value[WORDS];

	for (int round = 0; round < ROUNDS; round++) {
		struct lpm_key key = {9 + (uint32_t)rnd(t, 24), {10, (uint8_t)rnd(t, 256), (uint8_t)rnd(t, 4), 1}};
		compose(value, key.prefix, (uint64_t)round);
		switch (rnd(t, t->number ? 3 : 1)) {
		case 1:
			CHECK(pf_map_update(t->map, &key, value, PF_MAP_ANY, 0) != PF_EINVAL);
			break;
		case 2:
			CHECK(pf_map_delete(t->map, &key) != PF_EINVAL);
			break;
		}
		key.prefix = 32;
		uint8_t *v = pf_map_lookup(t->map, &key, 0);
		CHECK(v);
		check_in_place(v, KEYS);
		CHECK_EQ(pf_map_user_lookup(t->map, &key, value, 0), PF_OK);
		check_copy(value, value[0] >> 48);
		CHECK(value[0] >> 48 >= 8 && value[0] >> 48 <= 32);
		CHECK(pf_map_count(t->map) <= t->map->def.max_entries);
	}
	return NULL;
}

static void keep(struct pf_ref *ref) { (void)ref; }

static struct pf_ref programs[2];

static void *binding_body(void *arg)
{
	struct task *t = arg;

	for (int round = 0; round < ROUNDS / 20; round++) {
		uint32_t key = (uint32_t)rnd(t, 3);
		if (t->number & 1)
			CHECK_EQ(pf_map_bind(t->map, &key, &programs[rnd(t, 2)], PF_MAP_ANY, NULL, NULL), PF_OK);
		struct pf_ref *bound = pf_map_bound(t->map, &key);
		if (bound) {
			CHECK(bound == &programs[0] || bound == &programs[1]);
			pf_ref_put(bound);
		}
		struct pf_binding *binding = pf_map_binding(t->map);
		uint32_t present = 0;
		for (uint32_t i = 0; i < binding->capacity; i++)
			present += binding->objects[i] != NULL;
		CHECK_EQ(present, binding->count);
		pf_ref_put(&binding->ref);
	}
	return NULL;
}

int main(void)
{
	uint64_t value[WORDS];
	struct pf_map *map;

	test_hash();
	test_reuse(0);
	test_reuse(1);

	map = make(PF_MAP_HASH, 4, THREADS * 2, 0);
	run(map, full_body);
	CHECK_EQ(pf_map_count(map), 0);
	pf_map_put(map);

	for (uint32_t max = 1; max <= 33; max += 16) {
		map = make(PF_MAP_LRU_HASH, 4, max, 0);
		run(map, lru_body);
		pf_map_put(map);
	}

	map = make(PF_MAP_ARRAY, 4, 8, 0);
	for (uint32_t key = 0; key < 8; key++) {
		compose(value, key, 0);
		CHECK_EQ(pf_map_update(map, &key, value, PF_MAP_ANY, 0), PF_OK);
	}
	run(map, array_body);
	pf_map_put(map);

	map = make(PF_MAP_LPM_TRIE, 8, 64, PF_MAP_F_NO_PREALLOC);
	struct lpm_key ten = {8, {10}};
	compose(value, 8, 0);
	CHECK_EQ(pf_map_update(map, &ten, value, PF_MAP_ANY, 0), PF_OK);
	run(map, lpm_body);
	pf_map_put(map);

	struct pf_map_def def = {PF_MAP_PROG_ARRAY, 4, 4, 3, 0};
	pf_ref_init(&programs[0], keep);
	pf_ref_init(&programs[1], keep);
	CHECK_EQ(pf_map_create(&def, NULL, 1, "programs", 2, &map, NULL), PF_OK);
	run(map, binding_body);
	pf_map_put(map);
	CHECK(atomic_load(&programs[0].count) == 1 && atomic_load(&programs[1].count) == 1);
	return 0;
}
