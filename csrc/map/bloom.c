/* bloom.c - bloom_filter: says of a value that it was never pushed, or that it may have been.
 *
 * The number of bits, the hash (Bob Jenkins' lookup3, with the seed and then the number of the hash function added to its
 * start) and the places of the bits are those of Linux, so with BPF_F_ZERO_SEED both answer every question alike, wrong
 * ones included. Without the flag Linux takes a random seed; here it is a function of the map's name and size, so that a
 * replay can be repeated.
 *
 * Invariant
 *   L1 Bits are only ever set. A push that has returned is seen by every later peek of the same thread; a peek beside a
 *      push of the same value finds it or not.
 */
#include "map_impl.h"

#include <stdlib.h>

#define HASHES_DEFAULT 5u
#define HASHES_MAX 15u

struct bloom {
	uint64_t *bits;
	uint64_t words;
	uint64_t pushed;
	uint32_t mask;
	uint32_t seed;
	uint32_t hashes;
};

/* Bits for so many values: hashes / ln 2 (7 / 5 in whole numbers) each, rounded up to a power of two. */
static uint64_t bits_for(uint32_t entries, uint32_t hashes)
{
	uint64_t bits = (uint64_t)entries * hashes;

	if (bits > UINT32_MAX || bits / 5 * 7 > UINT64_C(1) << 31)
		return UINT64_C(1) << 32;
	bits = bits / 5 * 7;
	uint64_t rounded = 64;
	while (rounded < bits)
		rounded *= 2;
	return rounded;
}

static enum pf_err allocate(struct pf_map *map, uint32_t hashes, struct pf_diag *diag)
{
	struct bloom *b = map->impl;
	const uint64_t bits = bits_for(map->def.max_entries, hashes);
	uint64_t *memory = pf_arena_alloc(bits / 64, 8, diag);

	if (!memory)
		return PF_ENOMEM;
	pf_arena_free(b->bits, b->words, 8);
	b->bits = memory;
	b->words = bits / 64;
	b->mask = (uint32_t)(bits - 1);
	b->hashes = hashes;
	map->memory = bits / 8;
	return PF_OK;
}

static enum pf_err bloom_create(struct pf_map *map, struct pf_diag *diag)
{
	struct bloom *b = calloc(1, sizeof(*b));

	if (!b)
		return pf_diag_set(diag, PF_ENOMEM, PF_DIAG_MAP_NOMEM, 0, 0, sizeof(*b), 0, NULL);
	map->impl = b;
	if (!(map->def.flags & PF_MAP_F_ZERO_SEED))
		b->seed = pf_hash_key((const uint8_t *)map->name, PF_NAME_MAX, map->def.max_entries);
	return allocate(map, HASHES_DEFAULT, diag);
}

static void bloom_destroy(struct pf_map *map)
{
	struct bloom *b = map->impl;

	if (b)
		pf_arena_free(b->bits, b->words, 8);
	free(b);
}

enum pf_err pf_map_set_extra(struct pf_map *map, uint64_t extra, struct pf_diag *diag)
{
	if (!extra)
		return PF_OK;
	if (map->def.type != PF_MAP_BLOOM_FILTER || extra > HASHES_MAX)
		return pf_diag_set(diag, PF_EINVAL, PF_DIAG_MAP_EXTRA, 0, 0, extra,
				   map->def.type == PF_MAP_BLOOM_FILTER ? HASHES_MAX : 0, pf_map_type_text(map->def.type));
	return allocate(map, (uint32_t)extra, diag);
}

static uint32_t rotate(uint32_t word, uint32_t by) { return word << by | word >> (32 - by); }

/* n <= 12 bytes as three numbers, the first byte lowest, whatever the machine's byte order; added to abc. */
static void absorb(uint32_t abc[3], const uint8_t *bytes, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		abc[i / 4] += (uint32_t)bytes[i] << 8 * (i % 4);
}

static uint32_t lookup3(const uint8_t *bytes, uint32_t size, uint32_t start)
{
	uint32_t abc[3];
	uint32_t *const a = &abc[0], *const b = &abc[1], *const c = &abc[2];

	*a = *b = *c = 0xdeadbeefu + size + start;
	for (; size > 12; size -= 12, bytes += 12) {
		absorb(abc, bytes, 12);
		*a -= *c, *a ^= rotate(*c, 4), *c += *b;
		*b -= *a, *b ^= rotate(*a, 6), *a += *c;
		*c -= *b, *c ^= rotate(*b, 8), *b += *a;
		*a -= *c, *a ^= rotate(*c, 16), *c += *b;
		*b -= *a, *b ^= rotate(*a, 19), *a += *c;
		*c -= *b, *c ^= rotate(*b, 4), *b += *a;
	}
	if (!size)
		return *c;
	absorb(abc, bytes, size);
	*c ^= *b, *c -= rotate(*b, 14);
	*a ^= *c, *a -= rotate(*c, 11);
	*b ^= *a, *b -= rotate(*a, 25);
	*c ^= *b, *c -= rotate(*b, 16);
	*a ^= *c, *a -= rotate(*c, 4);
	*b ^= *a, *b -= rotate(*a, 14);
	*c ^= *b, *c -= rotate(*b, 24);
	return *c;
}

static uint32_t bit_of(const struct pf_map *map, const void *value, uint32_t number)
{
	const struct bloom *b = map->impl;
	return lookup3(value, map->def.value_size, b->seed + number) & b->mask;
}

static enum pf_err bloom_push(struct pf_map *map, const void *value, uint64_t flags)
{
	struct bloom *b = map->impl;

	if (flags != PF_MAP_ANY)
		return PF_EINVAL;
	for (uint32_t i = 0; i < b->hashes; i++) {
		const uint32_t bit = bit_of(map, value, i);
		__atomic_fetch_or(&b->bits[bit / 64], UINT64_C(1) << bit % 64, __ATOMIC_RELAXED);
	}
	__atomic_fetch_add(&b->pushed, 1, __ATOMIC_RELAXED);
	return PF_OK;
}

static enum pf_err bloom_peek(struct pf_map *map, void *value)
{
	const struct bloom *b = map->impl;

	for (uint32_t i = 0; i < b->hashes; i++) {
		const uint32_t bit = bit_of(map, value, i);
		if (!(__atomic_load_n(&b->bits[bit / 64], __ATOMIC_RELAXED) >> bit % 64 & 1))
			return PF_ENOENT;
	}
	return PF_OK;
}

static uint64_t bloom_count(struct pf_map *map)
{
	return __atomic_load_n(&((struct bloom *)map->impl)->pushed, __ATOMIC_RELAXED);
}

static const struct pf_keyless_ops questions = { .push = bloom_push, .peek = bloom_peek };

const struct pf_map_ops pf_bloom_ops = {
	.create = bloom_create,
	.destroy = bloom_destroy,
	.lookup = pf_keyless_lookup,
	.update = pf_keyless_update,
	.remove = pf_keyless_remove,
	.read = pf_keyless_read,
	.next_key = pf_keyless_next_key,
	.count = bloom_count,
	.keyless = &questions,
};
