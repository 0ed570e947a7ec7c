/* test_map_hash.c - hash maps against a linear model, with colliding keys; for_each; LRU. */
#include "map_util.h"
#include "map/hash.h"

/* --- the model: a linear table --- */

#define MODEL_KEYS 96
#define MODEL_KEY 40
#define MODEL_VALUE 20
#define MODEL_CPUS 2

struct model {
	struct pf_map *map;
	uint32_t max, present_count;
	struct entry {
		uint8_t key[MODEL_KEY];
		int present;
		uint8_t value[MODEL_CPUS][24];
	} entries[MODEL_KEYS];
};

static void check_all_keys(struct model *m)
{
	uint8_t key[MODEL_KEY], *at = NULL;
	uint32_t seen = 0;

	while (pf_map_user_next_key(m->map, at, key) == PF_OK) {
		at = key;
		int hits = 0;
		for (int i = 0; i < MODEL_KEYS; i++)
			hits += m->entries[i].present && !memcmp(m->entries[i].key, key, m->map->def.key_size);
		CHECK_EQ(hits, 1);
		CHECK(++seen <= m->present_count);
	}
	CHECK_EQ(seen, m->present_count);
}

static void check_entry(struct model *m, const struct entry *e)
{
	uint8_t out[MODEL_CPUS * 24];
	uint32_t cpu = (uint32_t)rnd(m->map->cpus), size = m->map->def.value_size, step = m->map->value_step;
	uint8_t *v = pf_map_lookup(m->map, e->key, cpu);

	CHECK_EQ(v != NULL, e->present);
	CHECK_EQ(pf_map_user_lookup(m->map, e->key, out, 0), e->present ? PF_OK : PF_ENOENT);
	if (!v)
		return;
	CHECK(pf_map_contains(m->map, v, size) && (uintptr_t)v % 8 == 0);
	CHECK(!memcmp(v, e->value[cpu], size));
	for (uint32_t c = 0; c < m->map->cpus; c++)
		CHECK(!memcmp(out + c * step, e->value[c], size));
}

static void model_update(struct model *m, struct entry *e)
{
	uint64_t flags = rnd(8) ? rnd(3) : 3 + rnd(9);
	uint32_t cpu = rnd(2) ? PF_MAP_ALL_CPUS : (uint32_t)rnd(m->map->cpus);
	uint8_t value[MODEL_CPUS * 24];
	enum pf_err want = PF_OK, full = m->map->def.type == PF_MAP_LPM_TRIE ? PF_ENOSPC : PF_E2BIG;

	for (size_t i = 0; i < sizeof(value); i++)
		value[i] = (uint8_t)rnd(256);
	if (flags > EXIST)
		want = PF_EINVAL;
	else if (e->present && flags == NOEXIST)
		want = PF_EEXIST;
	else if (!e->present && flags == EXIST)
		want = PF_ENOENT;
	else if (!e->present && m->present_count == m->max)
		want = full;
	CHECK_EQ(cpu == PF_MAP_ALL_CPUS ? pf_map_user_update(m->map, e->key, value, flags)
					: pf_map_update(m->map, e->key, value, flags, cpu), want);
	if (want)
		return;
	m->present_count += !e->present;
	if (!e->present)
		memset(e->value, 0, sizeof(e->value));
	e->present = 1;
	for (uint32_t c = 0; c < m->map->cpus; c++)
		if (cpu == PF_MAP_ALL_CPUS)
			memcpy(e->value[c], value + c * m->map->value_step, m->map->def.value_size);
		else if (c == cpu)
			memcpy(e->value[c], value, m->map->def.value_size);
}

static void run_model(struct model *m, int operations)
{
	for (int op = 0; op < operations; op++) {
		struct entry *e = &m->entries[rnd(MODEL_KEYS)];
		switch (rnd(3)) {
		case 0:
			CHECK_EQ(rnd(2) ? pf_map_delete(m->map, e->key) : pf_map_user_delete(m->map, e->key),
				 e->present ? PF_OK : PF_ENOENT);
			m->present_count -= (uint32_t)e->present;
			e->present = 0;
			break;
		case 1:
			model_update(m, e);
			break;
		case 2:
			model_update(m, &m->entries[rnd(8)]); /* a few hot keys */
			break;
		}
		CHECK_EQ(pf_map_count(m->map), m->present_count);
		check_entry(m, e);
		if (op % 64 == 0)
			check_all_keys(m);
	}
	pf_map_put(m->map);
}

static void test_hash_model(void)
{
	static const struct { enum pf_map_type type; uint32_t key, value, max; int collide; } kinds[] = {
		{PF_MAP_HASH, 4, 8, 48, 0},        {PF_MAP_HASH, 4, 20, 64, 1},  {PF_MAP_HASH, 8, 4, 95, 1},
		{PF_MAP_HASH, 16, 16, 33, 0},      {PF_MAP_HASH, 13, 7, 48, 1},  {PF_MAP_HASH, 40, 1, 48, 0},
		{PF_MAP_PERCPU_HASH, 6, 12, 48, 1}, {PF_MAP_HASH, 3, 3, 1, 0},   {PF_MAP_LRU_HASH, 12, 8, 96, 1},
	};

	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
		struct model m = {.map = make(kinds[k].type, kinds[k].key, kinds[k].value, kinds[k].max, 0, MODEL_CPUS)};
		struct pf_hash *h = m.map->impl;
		m.max = kinds[k].max;
		for (int i = 0; i < MODEL_KEYS; i++) {
			uint8_t *key = m.entries[i].key;
			int again;
			do { /* distinct; colliding: all in two buckets */
				for (uint32_t b = 0; b < kinds[k].key; b++)
					key[b] = (uint8_t)rnd(256);
				again = kinds[k].collide &&
					(pf_hash_of(h, key, kinds[k].key) & h->mask) > 1;
				for (int j = 0; j < i; j++)
					again |= !memcmp(key, m.entries[j].key, kinds[k].key);
			} while (again);
		}
		run_model(&m, 30000);
	}
}

/* x * inverse_of(x) is 1 for odd x. */
static uint32_t inverse_of(uint32_t x)
{
	uint32_t y = x;
	for (int i = 0; i < 5; i++)
		y *= 2 - x * y;
	return y;
}

static uint32_t unshift(uint32_t x, int by) { return x ^ x >> by ^ (by < 16 ? x >> 2 * by : 0); }

/* H5: the key whose hash is 0 is one like any other, and no two keys have one hash. */
static void test_the_key_whose_hash_is_0(void)
{
	struct pf_map *map = make(PF_MAP_HASH, 4, 8, 3, 0, 1);
	const struct pf_hash *h = map->impl;
	uint32_t x = unshift(0, 16) * inverse_of(PF_HASH_WORD_2);
	uint32_t key = unshift(unshift(x, 15) * inverse_of(PF_HASH_WORD_1), 16) - h->add, other = key + 1;
	uint64_t value = 7;

	CHECK_EQ(pf_hash_of(h, (const uint8_t *)&key, 4), 0);
	CHECK(!pf_map_lookup(map, &key, 0));
	CHECK_EQ(pf_map_update(map, &other, &value, PF_MAP_ANY, 0), PF_OK);
	CHECK(!pf_map_lookup(map, &key, 0));
	CHECK_EQ(pf_map_update(map, &key, &value, PF_MAP_NOEXIST, 0), PF_OK);
	CHECK(pf_map_lookup(map, &key, 0));
	CHECK_EQ(pf_map_delete(map, &other), PF_OK);
	CHECK(pf_map_lookup(map, &key, 0));
	CHECK_EQ(pf_map_delete(map, &key), PF_OK);
	CHECK(!pf_map_lookup(map, &key, 0));
	for (uint32_t n = 0; n < 1000000; n++) {
		const uint32_t made = pf_hash_word(n * 4001 + h->add);
		const uint32_t y = unshift(unshift(made, 16) * inverse_of(PF_HASH_WORD_2), 15) * inverse_of(PF_HASH_WORD_1);
		CHECK_EQ(unshift(y, 16) - h->add, n * 4001);
	}
	pf_map_put(map);
}

/* Deletes every second element it is shown, itself or another. */
struct deleter {
	uint32_t shown;
	uint8_t seen[200];
};

static uint64_t delete_some(void *user, struct pf_map *map, void *key, uint8_t *value)
{
	struct deleter *d = user;
	uint32_t number, other;
	memcpy(&number, key, 4);
	CHECK_EQ(*(uint32_t *)(void *)value, number * 3);
	CHECK(number < 200 && !d->seen[number]);
	d->seen[number] = 1;
	other = d->shown++ % 2 ? number : (number + 1) % 200;
	CHECK(pf_map_delete(map, &other) == PF_OK || other != number);
	if (other != number)
		d->seen[other] = 1; /* deleted: must not be shown any more */
	return 0;
}

static void test_hash_for_each(void)
{
	struct pf_map *map = make(PF_MAP_HASH, 4, 4, 200, 0, 1);
	struct deleter d = {0};
	uint64_t visited;

	for (uint32_t i = 0; i < 200; i++) {
		uint32_t value = i * 3;
		CHECK_EQ(pf_map_update(map, &i, &value, ANY, 0), PF_OK);
	}
	CHECK_EQ(pf_map_for_each(map, 0, delete_some, &d, &visited), PF_OK);
	CHECK_EQ(visited, d.shown);
	for (uint32_t i = 0; i < 200; i++)
		CHECK(d.seen[i]);
	pf_map_put(map);
}

static void test_lru(void)
{
	for (uint32_t max = 1; max <= 65; max += 16) {
		struct pf_map *map = make(max % 3 ? PF_MAP_LRU_HASH : PF_MAP_LRU_PERCPU_HASH, 4, 4, max, 0, 1);
		uint32_t hot = UINT32_MAX, zero = 0;
		CHECK_EQ(pf_map_update(map, &hot, &zero, ANY, 0), PF_OK);
		for (uint32_t i = 0; i < 20000; i++) {
			uint32_t before = (uint32_t)pf_map_count(map);
			CHECK_EQ(pf_map_update(map, &i, &i, NOEXIST, 0), PF_OK); /* never full */
			CHECK_EQ(pf_map_count(map), before < max ? before + 1 : max);
			uint32_t out[2]; /* a user's lookup is no use */
			CHECK(pf_map_user_lookup(map, &i, out, 0) == PF_OK && out[0] == i);
			CHECK(max == 1 || pf_map_lookup(map, &hot, 0)); /* used all the time: never evicted */
			if (i >= 2 * max) { /* old and not used since */
				uint32_t old = i - 2 * max;
				CHECK_EQ(pf_map_user_lookup(map, &old, out, 0), PF_ENOENT);
			}
			if (i % 7 == 0)
				CHECK_EQ(pf_map_delete(map, &i), PF_OK);
		}
		pf_map_put(map);
	}
	/* Never looked up: the oldest goes first, and the same operations give the same order of iteration. */
	uint32_t order[2][100], count[2] = {0, 0};
	for (int round = 0; round < 2; round++) {
		struct pf_map *map = make(PF_MAP_LRU_HASH, 4, 4, 100, 0, 1);
		for (uint32_t i = 0; i < 250; i++)
			CHECK_EQ(pf_map_user_update(map, &i, &i, ANY), PF_OK);
		uint32_t *at = NULL, next;
		while (pf_map_user_next_key(map, at, &next) == PF_OK) {
			CHECK(next >= 150 && count[round] < 100);
			order[round][count[round]] = next;
			at = &order[round][count[round]++];
		}
		pf_map_put(map);
	}
	CHECK(count[0] == 100 && count[1] == 100 && !memcmp(order[0], order[1], sizeof(order[0])));
}

int main(void)
{
	test_hash_model();
	test_the_key_whose_hash_is_0();
	test_hash_for_each();
	test_lru();
	return 0;
}
