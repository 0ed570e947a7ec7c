/* hash.c - hash, percpu_hash, lru_hash, lru_percpu_hash, devmap_hash. See hash.h for the layout and H1 to H4.
 *
 * An update of an existing key writes its value in place, where Linux swaps in another element: a value pointer that a
 * program kept shows the new value here, the old one there.
 */
#include "hash.h"

#include <stdlib.h>

/* A reader that lands on elements reused elsewhere asks now and then whether it is still in the right place. */
#define RECHECK_MASK 15u
#define CHAIN_FIXED 64u
#define KEY_FIXED 512u

/* Order of iteration must not depend on what else the process created, so the seed comes from the definition. */
static uint64_t seed_of(const struct pf_map *map)
{
	if (map->def.flags & PF_MAP_F_ZERO_SEED)
		return 0;
	return (uint64_t)pf_hash_key((const uint8_t *)map->name, PF_NAME_MAX, map->def.max_entries) << 20 | 1;
}

static enum pf_err hash_create(struct pf_map *map, struct pf_diag *diag)
{
	void *memory = NULL;
	if (posix_memalign(&memory, 64, sizeof(struct pf_hash)))
		return pf_diag_set(diag, PF_ENOMEM, PF_DIAG_MAP_NOMEM, 0, 0, sizeof(struct pf_hash), 0, NULL);
	struct pf_hash *h = memory;
	memset(h, 0, sizeof(*h));
	map->impl = h;
	h->key_size = map->def.key_size;
	h->key_words = (uint32_t)(pf_round8(h->key_size) / 8);
	h->max_entries = map->def.max_entries;
	h->seed = seed_of(map);
	uint64_t buckets = 1;
	while (buckets < h->max_entries)
		buckets *= 2;
	h->mask = (uint32_t)(buckets - 1);

	map->value_offset = (uint32_t)sizeof(struct pf_element) + h->key_words * 8;
	map->elements = h->max_entries;
	map->stride = h->stride = map->value_offset + (uint64_t)map->cpus * map->value_step;
	map->arena = h->elements = pf_arena_alloc(map->elements, map->stride, diag);
	if (!map->arena)
		return PF_ENOMEM;
	h->buckets = pf_arena_alloc(buckets, sizeof(struct pf_bucket), diag);
	if (!h->buckets)
		return PF_ENOMEM;
	if (map->def.type == PF_MAP_LRU_HASH || map->def.type == PF_MAP_LRU_PERCPU_HASH) {
		h->referenced = pf_arena_alloc(h->max_entries, 1, diag);
		if (!h->referenced)
			return PF_ENOMEM;
	}
	return PF_OK;
}

static void hash_destroy(struct pf_map *map)
{
	struct pf_hash *h = map->impl;

	if (!h)
		return;
	pf_arena_free(map->arena, map->elements, map->stride);
	pf_arena_free(h->buckets, (uint64_t)h->mask + 1, sizeof(struct pf_bucket));
	pf_arena_free(h->referenced, h->max_entries, 1);
	free(h);
}

/* Acquire: see V1. words is a constant where the caller is specialised. */
static inline __attribute__((always_inline)) int key_equal(const struct pf_element *e, const uint8_t *key,
							    uint32_t size, uint32_t words)
{
	for (uint32_t i = 0; i < words; i++)
		if (__atomic_load_n(&e->key[i], __ATOMIC_ACQUIRE) != pf_key_word(key, size, i))
			return 0;
	return 1;
}

/* The element with this key, or 0, without a lock (V1, M2). */
static inline __attribute__((always_inline)) uint32_t find(const struct pf_hash *h, const uint8_t *key, uint32_t size,
							    uint32_t hash)
{
	const struct pf_bucket *b = pf_hash_bucket(h, hash);
	uint32_t words = (size + 7) / 8;

	for (;;) {
		uint32_t begin = pf_vlock_begin(&b->vlock);
		uint32_t at = __atomic_load_n(&b->first, __ATOMIC_ACQUIRE);
		for (uint32_t steps = 1; at; steps++) {
			const struct pf_element *e = pf_hash_element(h, at);
			if (__atomic_load_n(&e->hash, __ATOMIC_ACQUIRE) == hash && key_equal(e, key, size, words))
				break;
			at = __atomic_load_n(&e->next, __ATOMIC_ACQUIRE);
			if (PF_UNLIKELY((steps & RECHECK_MASK) == 0) && !pf_vlock_same(&b->vlock, begin))
				break;
		}
		if (PF_LIKELY(pf_vlock_same(&b->vlock, begin)))
			return at;
	}
}

static inline __attribute__((always_inline)) uint8_t *lookup(struct pf_map *map, const void *key, uint32_t cpu,
							      uint32_t size)
{
	struct pf_hash *h = map->impl;
	uint32_t at = find(h, key, size, pf_hash_key(key, size, h->seed));

	if (!at || PF_UNLIKELY(!pf_map_has_cpu(map, cpu)))
		return NULL;
	if (h->referenced && !__atomic_load_n(&h->referenced[at - 1], __ATOMIC_RELAXED))
		__atomic_store_n(&h->referenced[at - 1], 1, __ATOMIC_RELAXED);
	return (uint8_t *)pf_hash_element(h, at) + map->value_offset + (uint64_t)cpu * map->cpu_step;
}

static uint8_t *lookup_4(struct pf_map *map, const void *key, uint32_t cpu) { return lookup(map, key, cpu, 4); }
static uint8_t *lookup_8(struct pf_map *map, const void *key, uint32_t cpu) { return lookup(map, key, cpu, 8); }
static uint8_t *lookup_16(struct pf_map *map, const void *key, uint32_t cpu) { return lookup(map, key, cpu, 16); }
static uint8_t *lookup_any(struct pf_map *map, const void *key, uint32_t cpu)
{
	return lookup(map, key, cpu, map->def.key_size);
}

/* Under the bucket's vlock: the link to the element with this key; the link holds 0 when there is none. */
static uint32_t *locate(const struct pf_hash *h, struct pf_bucket *b, const uint8_t *key, uint32_t hash)
{
	uint32_t *link = &b->first;

	for (;;) {
		uint32_t at = __atomic_load_n(link, __ATOMIC_RELAXED);
		if (!at)
			return link;
		struct pf_element *e = pf_hash_element(h, at);
		if (__atomic_load_n(&e->hash, __ATOMIC_RELAXED) == hash && key_equal(e, key, h->key_size, h->key_words))
			return link;
		link = &e->next;
	}
}

/* Puts a spare on the chain (V2: release stores; V3: the link comes last). */
static void insert(struct pf_map *map, struct pf_bucket *b, uint32_t spare, const uint8_t *key, uint32_t hash,
		   const void *value, uint32_t cpu)
{
	struct pf_hash *h = map->impl;
	struct pf_element *e = pf_hash_element(h, spare);
	uint8_t *values = (uint8_t *)e + map->value_offset;

	__atomic_store_n(&e->hash, hash, __ATOMIC_RELEASE);
	for (uint32_t i = 0; i < h->key_words; i++)
		__atomic_store_n(&e->key[i], pf_key_word(key, h->key_size, i), __ATOMIC_RELEASE);
	if (map->percpu && cpu != PF_MAP_ALL_CPUS)
		pf_words_zero(values, (uint64_t)map->cpus * map->value_step);
	pf_values_store(map, values, value, cpu, 0); /* nobody else knows the element yet */
	if (h->referenced)
		__atomic_store_n(&h->referenced[spare - 1], 0, __ATOMIC_RELAXED);
	__atomic_store_n(&e->next, __atomic_load_n(&b->first, __ATOMIC_RELAXED), __ATOMIC_RELEASE);
	__atomic_fetch_add(&h->count, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&b->first, spare, __ATOMIC_RELEASE);
}

/* Under the vlock: the key is there. */
static enum pf_err overwrite(struct pf_map *map, uint32_t at, const void *value, uint64_t flags, uint32_t cpu)
{
	struct pf_hash *h = map->impl;

	if (flags & PF_MAP_NOEXIST)
		return PF_EEXIST;
	pf_values_store(map, (uint8_t *)pf_hash_element(h, at) + map->value_offset, value, cpu, flags);
	if (h->referenced)
		__atomic_store_n(&h->referenced[at - 1], 1, __ATOMIC_RELAXED);
	return PF_OK;
}

static enum pf_err hash_update(struct pf_map *map, const void *key, const void *value, uint64_t flags, uint32_t cpu)
{
	struct pf_hash *h = map->impl;
	uint32_t hash = pf_hash_key(key, h->key_size, h->seed);
	struct pf_bucket *b = pf_hash_bucket(h, hash);
	uint32_t spare = 0;
	enum pf_err err = PF_OK;

	if ((flags & ~(uint64_t)PF_MAP_F_LOCK) > PF_MAP_EXIST || !pf_lock_flag_fits(map, flags))
		return PF_EINVAL;
	for (;;) {
		pf_vlock_lock(&b->vlock);
		uint32_t at = __atomic_load_n(locate(h, b, key, hash), __ATOMIC_RELAXED);
		if (at) {
			err = overwrite(map, at, value, flags, cpu);
			break;
		}
		if (flags & PF_MAP_EXIST && map->def.type != PF_MAP_DEVMAP_HASH) { /* devmap_hash inserts, as in Linux */
			err = PF_ENOENT;
			break;
		}
		if (!spare)
			spare = pf_hash_take(h);
		if (spare) {
			insert(map, b, spare, key, hash, value, cpu);
			spare = 0;
			break;
		}
		if (!h->referenced) {
			err = PF_E2BIG;
			break;
		}
		pf_vlock_unlock(&b->vlock); /* H2: the victim's bucket has a lock of its own */
		spare = pf_hash_evict(h);
	}
	pf_vlock_unlock(&b->vlock);
	if (spare) /* another thread inserted the key meanwhile */
		pf_hash_give(h, spare);
	return err;
}

/* devmap_hash, user side: value checks as in Linux (see array.c for the second word). */
static enum pf_err devmap_update(struct pf_map *map, const void *key, const void *value, uint64_t flags, uint32_t cpu)
{
	uint32_t word[2] = {0, 0};

	if (cpu != PF_MAP_ALL_CPUS)
		return PF_EPERM;
	memcpy(word, value, map->def.value_size);
	if (!word[0] || (int32_t)word[1] > 0)
		return PF_EINVAL;
	word[1] = 0;
	return hash_update(map, key, word, flags, cpu);
}

static enum pf_err hash_remove(struct pf_map *map, const void *key)
{
	struct pf_hash *h = map->impl;
	uint32_t hash = pf_hash_key(key, h->key_size, h->seed);
	struct pf_bucket *b = pf_hash_bucket(h, hash);

	pf_vlock_lock(&b->vlock);
	uint32_t *link = locate(h, b, key, hash);
	uint32_t at = __atomic_load_n(link, __ATOMIC_RELAXED);
	if (!at) {
		pf_vlock_unlock(&b->vlock);
		return PF_ENOENT;
	}
	pf_hash_unlink(h, link);
	pf_vlock_unlock_removed(&b->vlock);
	pf_hash_give(h, at);
	return PF_OK;
}

static enum pf_err hash_read(struct pf_map *map, const void *key, void *value, uint64_t flags)
{
	struct pf_hash *h = map->impl;
	uint32_t hash = pf_hash_key(key, h->key_size, h->seed);
	struct pf_bucket *b = pf_hash_bucket(h, hash);

	pf_vlock_lock(&b->vlock);
	uint32_t at = __atomic_load_n(locate(h, b, key, hash), __ATOMIC_RELAXED);
	if (at)
		pf_values_load(map, value, (uint8_t *)pf_hash_element(h, at) + map->value_offset, flags);
	pf_vlock_unlock(&b->vlock);
	return at ? PF_OK : PF_ENOENT;
}

static void copy_key(const struct pf_hash *h, uint32_t at, void *key)
{
	pf_words_load(key, (const uint8_t *)pf_hash_element(h, at)->key, h->key_size);
}

static enum pf_err hash_next_key(struct pf_map *map, const void *key, void *next)
{
	struct pf_hash *h = map->impl;
	uint64_t bucket = 0;

	if (key) {
		uint32_t hash = pf_hash_key(key, h->key_size, h->seed);
		struct pf_bucket *b = pf_hash_bucket(h, hash);
		pf_vlock_lock(&b->vlock);
		uint32_t at = __atomic_load_n(locate(h, b, key, hash), __ATOMIC_RELAXED);
		uint32_t after = at ? __atomic_load_n(&pf_hash_element(h, at)->next, __ATOMIC_RELAXED) : 0;
		if (after)
			copy_key(h, after, next);
		pf_vlock_unlock(&b->vlock);
		if (after)
			return PF_OK;
		if (at)
			bucket = (uint64_t)(hash & h->mask) + 1;
	}
	for (; bucket <= h->mask; bucket++) {
		struct pf_bucket *b = &h->buckets[bucket];
		if (!__atomic_load_n(&b->first, __ATOMIC_RELAXED))
			continue;
		pf_vlock_lock(&b->vlock);
		uint32_t at = __atomic_load_n(&b->first, __ATOMIC_RELAXED);
		if (at)
			copy_key(h, at, next);
		pf_vlock_unlock(&b->vlock);
		if (at)
			return PF_OK;
	}
	return PF_ENOENT;
}

static uint64_t hash_count(struct pf_map *map)
{
	return __atomic_load_n(&((struct pf_hash *)map->impl)->count, __ATOMIC_RELAXED);
}

/* --- for_each --- */

/* Buffers for one iteration; they grow only for chains and keys of unusual length. */
struct walk {
	uint32_t *chain;
	uint32_t capacity;
	uint8_t *key;
	uint32_t fixed_chain[CHAIN_FIXED];
	_Alignas(8) uint8_t fixed_key[KEY_FIXED];
};

/* The elements of a chain at one moment; *count of them. */
static enum pf_err snapshot(const struct pf_hash *h, struct pf_bucket *b, struct walk *walk, uint32_t *count)
{
	for (;;) {
		uint32_t n = 0;
		pf_vlock_lock(&b->vlock);
		for (uint32_t at = __atomic_load_n(&b->first, __ATOMIC_RELAXED); at; n++) {
			if (n < walk->capacity)
				walk->chain[n] = at;
			at = __atomic_load_n(&pf_hash_element(h, at)->next, __ATOMIC_RELAXED);
		}
		pf_vlock_unlock(&b->vlock);
		*count = n;
		if (n <= walk->capacity)
			return PF_OK;
		uint32_t *larger = malloc((size_t)n * 2 * sizeof(*larger));
		if (!larger)
			return PF_ENOMEM;
		if (walk->chain != walk->fixed_chain)
			free(walk->chain);
		walk->chain = larger;
		walk->capacity = n * 2;
	}
}

/* Copies the key of an element that is still on this chain. */
static int still_there(const struct pf_hash *h, struct pf_bucket *b, uint32_t number, uint8_t *key)
{
	pf_vlock_lock(&b->vlock);
	uint32_t at = __atomic_load_n(&b->first, __ATOMIC_RELAXED);
	while (at && at != number)
		at = __atomic_load_n(&pf_hash_element(h, at)->next, __ATOMIC_RELAXED);
	if (at)
		copy_key(h, at, key);
	pf_vlock_unlock(&b->vlock);
	return at != 0;
}

static enum pf_err hash_for_each(struct pf_map *map, uint32_t cpu, pf_map_visit visit, void *user, uint64_t *visited)
{
	struct pf_hash *h = map->impl;
	struct walk walk = {.capacity = CHAIN_FIXED};
	enum pf_err err = PF_OK;
	uint64_t stop = 0;

	walk.chain = walk.fixed_chain;
	walk.key = h->key_size <= KEY_FIXED ? walk.fixed_key : malloc(h->key_size);
	if (!walk.key)
		return PF_ENOMEM;
	for (uint64_t i = 0; i <= h->mask && !stop && !err; i++) {
		struct pf_bucket *b = &h->buckets[i];
		uint32_t count = 0;
		if (!__atomic_load_n(&b->first, __ATOMIC_RELAXED))
			continue;
		err = snapshot(h, b, &walk, &count);
		for (uint32_t n = 0; n < count && !stop && !err; n++) {
			if (!still_there(h, b, walk.chain[n], walk.key))
				continue;
			++*visited;
			stop = visit(user, map, walk.key, (uint8_t *)pf_hash_element(h, walk.chain[n]) +
					     map->value_offset + (uint64_t)cpu * map->cpu_step);
		}
	}
	if (walk.chain != walk.fixed_chain)
		free(walk.chain);
	if (walk.key != walk.fixed_key)
		free(walk.key);
	return err;
}

#define HASH_OPS(lookup_, update_, for_each_)                                                                          \
	{                                                                                                              \
		.create = hash_create, .destroy = hash_destroy, .lookup = lookup_, .update = update_,                  \
		.remove = hash_remove, .read = hash_read, .next_key = hash_next_key, .count = hash_count,              \
		.for_each = for_each_                                                                                  \
	}

static const struct pf_map_ops ops_4 = HASH_OPS(lookup_4, hash_update, hash_for_each);
static const struct pf_map_ops ops_8 = HASH_OPS(lookup_8, hash_update, hash_for_each);
static const struct pf_map_ops ops_16 = HASH_OPS(lookup_16, hash_update, hash_for_each);
static const struct pf_map_ops ops_any = HASH_OPS(lookup_any, hash_update, hash_for_each);
static const struct pf_map_ops ops_devmap = HASH_OPS(lookup_4, devmap_update, NULL);

const struct pf_map_ops *pf_hash_ops_of(const struct pf_map_def *def)
{
	if (def->type == PF_MAP_DEVMAP_HASH)
		return &ops_devmap;
	switch (def->key_size) {
	case 4: return &ops_4;
	case 8: return &ops_8;
	case 16: return &ops_16;
	}
	return &ops_any;
}
