/* hash.c - hash, percpu_hash, lru_hash, lru_percpu_hash, devmap_hash. See hash.h for the layout and H1 to H4.
 *
 * An update of an existing key writes its value in place, where Linux swaps in another element: a value pointer that a
 * program kept shows the new value here, the old one there.
 */
#include "hash.h"

#include <stdatomic.h>
#include <stdlib.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* A reader that lands on elements reused elsewhere asks now and then whether it is still in the right place. */
#define RECHECK_MASK 15u
#define ELEMENTS_PER_BUCKET 4u /* at most, on average: few buckets have more than they have slots */
#define FOUND_FIXED 64u
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
	h->add = (uint32_t)(h->seed >> 20);
	uint64_t buckets = 1;
	while (buckets * ELEMENTS_PER_BUCKET < h->max_entries)
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
	map->memory = map->elements * (map->stride + (h->referenced != NULL)) + buckets * sizeof(struct pf_bucket);
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
static uint32_t find(const struct pf_hash *h, const uint8_t *key, uint32_t hash)
{
	const struct pf_bucket *b = pf_hash_bucket(h, hash);

	for (;;) {
		const uint32_t begin = pf_vlock_begin(&b->vlock);
		uint32_t at = 0;
		for (uint32_t s = 0; s < PF_HASH_SLOTS && !at; s++) {
			const uint32_t number = __atomic_load_n(&b->number[s], __ATOMIC_ACQUIRE);
			if (number && __atomic_load_n(&b->hash[s], __ATOMIC_ACQUIRE) == hash &&
			    key_equal(pf_hash_element(h, number), key, h->key_size, h->key_words))
				at = number;
		}
		if (!at)
			at = __atomic_load_n(&b->number[PF_HASH_SLOTS], __ATOMIC_ACQUIRE);
		else if (pf_vlock_same(&b->vlock, begin))
			return at;
		else
			continue;
		for (uint32_t steps = 1; at; steps++) {
			const struct pf_element *e = pf_hash_element(h, at);
			if (__atomic_load_n(&e->hash, __ATOMIC_ACQUIRE) == hash &&
			    key_equal(e, key, h->key_size, h->key_words))
				break;
			at = __atomic_load_n(&e->next, __ATOMIC_ACQUIRE);
			if (PF_UNLIKELY((steps & RECHECK_MASK) == 0) && !pf_vlock_same(&b->vlock, begin))
				break;
		}
		if (PF_LIKELY(pf_vlock_same(&b->vlock, begin)))
			return at;
	}
}

static inline __attribute__((always_inline)) uint8_t *value_of(const struct pf_map *map, const struct pf_hash *h,
								uint32_t at, uint32_t cpu)
{
	if (h->referenced && at && !__atomic_load_n(&h->referenced[at - 1], __ATOMIC_RELAXED))
		__atomic_store_n(&h->referenced[at - 1], 1, __ATOMIC_RELAXED);
	/* Not by a branch, which would be wrong for every other flow. */
	const uint64_t offset = (uint64_t)(at - 1) * h->stride + map->value_offset + (uint64_t)cpu * map->cpu_step;
	return (uint8_t *)(((uintptr_t)h->elements + offset) & -(uintptr_t)(at != 0));
}

static __attribute__((noinline)) uint8_t *lookup_slowly(struct pf_map *map, const void *key, uint32_t cpu)
{
	const struct pf_hash *h = map->impl;
	return pf_map_has_cpu(map, cpu) ? value_of(map, h, find(h, key, pf_hash_of(h, key, h->key_size)), cpu) : NULL;
}

/* The first slot with this hash; PF_HASH_SLOTS: none. */
static inline __attribute__((always_inline)) uint32_t match(const struct pf_bucket *b, uint32_t hash)
{
#if defined(__SSE2__) && !defined(__SANITIZE_THREAD__)
	/* What these loads, which the language has no atomic form of, saw is believed only when vlock did not change. */
	const __m128i wanted = _mm_set1_epi32((int)hash);
	const __m128i low = _mm_cmpeq_epi32(_mm_load_si128((const __m128i *)(const void *)b->hash), wanted);
	const __m128i high = _mm_cmpeq_epi32(_mm_load_si128((const __m128i *)(const void *)(b->hash + 4)), wanted);
	const uint32_t equal = (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(_mm_packs_epi32(low, high), low)) & 0x7f;
	atomic_signal_fence(memory_order_seq_cst);
#else
	uint32_t equal = 0;
	for (uint32_t s = 0; s < PF_HASH_SLOTS; s++)
		equal |= (uint32_t)(__atomic_load_n(&b->hash[s], __ATOMIC_ACQUIRE) == hash) << s;
#endif
	return (uint32_t)__builtin_ctz(equal | 1u << PF_HASH_SLOTS);
}

/* bucket.h: the lookup, and what lookup_slowly has to decide. */
static inline __attribute__((always_inline)) uint8_t *lookup(struct pf_map *map, const void *key, uint32_t cpu,
							      uint32_t size)
{
	const struct pf_hash *h = map->impl;
	const uint32_t hash = pf_hash_of(h, key, size);
	const struct pf_bucket *b = pf_hash_bucket(h, hash);
	const uint32_t begin = pf_vlock_begin(&b->vlock), slot = match(b, hash);
	const uint32_t at = __atomic_load_n(&b->number[slot], __ATOMIC_ACQUIRE);
	int sure = (slot < PF_HASH_SLOTS) | !at;

	if (size != 4 && slot < PF_HASH_SLOTS) /* H5 */
		sure = at && key_equal(pf_hash_element(h, at), key, size, (size + 7) / 8);
	if (PF_UNLIKELY(!sure || !hash || !pf_map_has_cpu(map, cpu) || !pf_vlock_same(&b->vlock, begin)))
		return lookup_slowly(map, key, cpu);
	return value_of(map, h, at, cpu);
}

static uint8_t *lookup_4(struct pf_map *map, const void *key, uint32_t cpu) { return lookup(map, key, cpu, 4); }
static uint8_t *lookup_8(struct pf_map *map, const void *key, uint32_t cpu) { return lookup(map, key, cpu, 8); }
static uint8_t *lookup_16(struct pf_map *map, const void *key, uint32_t cpu) { return lookup(map, key, cpu, 16); }
static uint8_t *lookup_any(struct pf_map *map, const void *key, uint32_t cpu)
{
	return lookup(map, key, cpu, map->def.key_size);
}

/* Under the bucket's vlock: where the element with this key is. */
static struct pf_place locate(const struct pf_hash *h, struct pf_bucket *b, const uint8_t *key, uint32_t hash)
{
	struct pf_place place = { b, 0, &b->number[PF_HASH_SLOTS], 0 };

	for (; place.slot < PF_HASH_SLOTS; place.slot++) {
		place.number = __atomic_load_n(&b->number[place.slot], __ATOMIC_RELAXED);
		if (place.number && __atomic_load_n(&b->hash[place.slot], __ATOMIC_RELAXED) == hash &&
		    key_equal(pf_hash_element(h, place.number), key, h->key_size, h->key_words))
			return place;
	}
	while ((place.number = __atomic_load_n(place.link, __ATOMIC_RELAXED)) != 0) {
		struct pf_element *e = pf_hash_element(h, place.number);
		if (__atomic_load_n(&e->hash, __ATOMIC_RELAXED) == hash &&
		    key_equal(e, key, h->key_size, h->key_words))
			break;
		place.link = &e->next;
	}
	return place;
}

/* Puts a spare into the bucket (V2: release stores; V3: what names it comes last). */
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
	__atomic_fetch_add(&h->count, 1, __ATOMIC_RELAXED);
	for (uint32_t i = 0; i < PF_HASH_SLOTS; i++) {
		if (__atomic_load_n(&b->number[i], __ATOMIC_RELAXED))
			continue;
		__atomic_store_n(&b->hash[i], hash, __ATOMIC_RELEASE);
		__atomic_store_n(&b->number[i], spare, __ATOMIC_RELEASE);
		return;
	}
	__atomic_store_n(&e->next, __atomic_load_n(&b->number[PF_HASH_SLOTS], __ATOMIC_RELAXED), __ATOMIC_RELEASE);
	__atomic_store_n(&b->number[PF_HASH_SLOTS], spare, __ATOMIC_RELEASE);
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
	uint32_t hash = pf_hash_of(h, key, h->key_size);
	struct pf_bucket *b = pf_hash_bucket(h, hash);
	uint32_t spare = 0;
	enum pf_err err = PF_OK;

	if ((flags & ~(uint64_t)PF_MAP_F_LOCK) > PF_MAP_EXIST || !pf_lock_flag_fits(map, flags))
		return PF_EINVAL;
	for (;;) {
		pf_vlock_lock(&b->vlock);
		const uint32_t at = locate(h, b, key, hash).number;
		if (at) {
			err = overwrite(map, at, value, flags, cpu);
			break;
		}
		if (flags & PF_MAP_EXIST) {
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

static enum pf_err hash_remove(struct pf_map *map, const void *key)
{
	struct pf_hash *h = map->impl;
	uint32_t hash = pf_hash_of(h, key, h->key_size);
	struct pf_bucket *b = pf_hash_bucket(h, hash);

	pf_vlock_lock(&b->vlock);
	const struct pf_place place = locate(h, b, key, hash);
	if (!place.number) {
		pf_vlock_unlock(&b->vlock);
		return PF_ENOENT;
	}
	pf_hash_unlink(h, &place);
	pf_vlock_unlock_removed(&b->vlock);
	pf_hash_give(h, place.number);
	return PF_OK;
}

static enum pf_err hash_read(struct pf_map *map, const void *key, void *value, uint64_t flags)
{
	struct pf_hash *h = map->impl;
	uint32_t hash = pf_hash_of(h, key, h->key_size);
	struct pf_bucket *b = pf_hash_bucket(h, hash);

	pf_vlock_lock(&b->vlock);
	const uint32_t at = locate(h, b, key, hash).number;
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
		uint32_t hash = pf_hash_of(h, key, h->key_size);
		struct pf_bucket *b = pf_hash_bucket(h, hash);
		pf_vlock_lock(&b->vlock);
		const struct pf_place at = locate(h, b, key, hash);
		uint32_t after = 0;
		if (at.number && at.slot < PF_HASH_SLOTS)
			after = pf_bucket_from(b, at.slot + 1);
		else if (at.number)
			after = __atomic_load_n(&pf_hash_element(h, at.number)->next, __ATOMIC_RELAXED);
		if (after)
			copy_key(h, after, next);
		pf_vlock_unlock(&b->vlock);
		if (after)
			return PF_OK;
		if (at.number)
			bucket = (uint64_t)(hash & h->mask) + 1;
	}
	for (; bucket <= h->mask; bucket++) {
		struct pf_bucket *b = &h->buckets[bucket];
		if (!pf_bucket_from(b, 0))
			continue;
		pf_vlock_lock(&b->vlock);
		const uint32_t at = pf_bucket_from(b, 0);
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

/* Buffers for one iteration; they grow only for buckets and keys of unusual length. */
struct walk {
	uint32_t *found;
	uint32_t capacity;
	uint8_t *key;
	uint32_t fixed_found[FOUND_FIXED];
	_Alignas(8) uint8_t fixed_key[KEY_FIXED];
};

/* The elements of a bucket at one moment; *count of them. */
static enum pf_err snapshot(const struct pf_hash *h, struct pf_bucket *b, struct walk *walk, uint32_t *count)
{
	for (;;) {
		uint32_t n = 0;
		pf_vlock_lock(&b->vlock);
		for (uint32_t s = 0; s < PF_HASH_SLOTS; s++) {
			const uint32_t number = __atomic_load_n(&b->number[s], __ATOMIC_RELAXED);
			if (number)
				walk->found[n++] = number; /* there is room for all slots */
		}
		for (uint32_t at = __atomic_load_n(&b->number[PF_HASH_SLOTS], __ATOMIC_RELAXED); at; n++) {
			if (n < walk->capacity)
				walk->found[n] = at;
			at = __atomic_load_n(&pf_hash_element(h, at)->next, __ATOMIC_RELAXED);
		}
		pf_vlock_unlock(&b->vlock);
		*count = n;
		if (n <= walk->capacity)
			return PF_OK;
		uint32_t *larger = malloc((size_t)n * 2 * sizeof(*larger));
		if (!larger)
			return PF_ENOMEM;
		if (walk->found != walk->fixed_found)
			free(walk->found);
		walk->found = larger;
		walk->capacity = n * 2;
	}
}

/* Copies the key of an element that is still in this bucket. */
static int still_there(const struct pf_hash *h, struct pf_bucket *b, uint32_t number, uint8_t *key)
{
	int there = 0;
	pf_vlock_lock(&b->vlock);
	for (uint32_t s = 0; s < PF_HASH_SLOTS; s++)
		there |= __atomic_load_n(&b->number[s], __ATOMIC_RELAXED) == number;
	for (uint32_t at = __atomic_load_n(&b->number[PF_HASH_SLOTS], __ATOMIC_RELAXED); at && !there;) {
		there = at == number;
		at = __atomic_load_n(&pf_hash_element(h, at)->next, __ATOMIC_RELAXED);
	}
	if (there)
		copy_key(h, number, key);
	pf_vlock_unlock(&b->vlock);
	return there;
}

static enum pf_err hash_for_each(struct pf_map *map, uint32_t cpu, pf_map_visit visit, void *user, uint64_t *visited)
{
	struct pf_hash *h = map->impl;
	struct walk walk = {.capacity = FOUND_FIXED};
	enum pf_err err = PF_OK;
	uint64_t stop = 0;

	walk.found = walk.fixed_found;
	walk.key = h->key_size <= KEY_FIXED ? walk.fixed_key : malloc(h->key_size);
	if (!walk.key)
		return PF_ENOMEM;
	for (uint64_t i = 0; i <= h->mask && !stop && !err; i++) {
		struct pf_bucket *b = &h->buckets[i];
		uint32_t count = 0;
		if (!pf_bucket_from(b, 0))
			continue;
		err = snapshot(h, b, &walk, &count);
		for (uint32_t n = 0; n < count && !stop && !err; n++) {
			if (!still_there(h, b, walk.found[n], walk.key))
				continue;
			++*visited;
			stop = visit(user, map, walk.key, (uint8_t *)pf_hash_element(h, walk.found[n]) +
					     map->value_offset + (uint64_t)cpu * map->cpu_step);
		}
	}
	if (walk.found != walk.fixed_found)
		free(walk.found);
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

void pf_hash_mirror(struct pf_map *map, const void *key, const uint32_t *word)
{
	(void)(word ? hash_update(map, key, word, PF_MAP_ANY, PF_MAP_ALL_CPUS) : hash_remove(map, key));
}

static const struct pf_map_ops ops_devmap = {
	.create = hash_create, .destroy = hash_destroy, .lookup = lookup_4, .update = pf_port_update,
	.remove = pf_port_remove, .read = hash_read, .next_key = hash_next_key, .count = hash_count,
};

int pf_map_inline_of(const struct pf_map *map, struct pf_map_inline *out)
{
	const struct pf_hash *h = map->impl;

	if ((map->def.type != PF_MAP_HASH && map->def.type != PF_MAP_PERCPU_HASH) || map->def.key_size != 4)
		return 0;
	*out = (struct pf_map_inline){ .buckets = h->buckets, .add = h->add, .mask = h->mask };
	return 1;
}

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
