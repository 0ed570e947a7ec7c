/* hash.h - hash maps: layout and element allocation; private to csrc/map.
 *
 * Terms
 *   element  link (u32), hash (u32), key (words, zero-padded), values; numbered from 1, 0 is "none"
 *   bucket   one cache line (bucket.h); a power of two of them, one for 2 to 4 elements
 *   chain    elements of a bucket that found no slot free, linked; one bucket of twenty has one in a full map
 *   fresh    an element that was never used: handed out in order, so that creation touches no memory
 *   spare    an element that an update holds in its hand, on no chain and not free
 *   hand     of the LRU clock: where the next search for a victim begins
 *
 * Memory: 8 + round8(key_size) + cpus * round8(value_size) bytes an element (one more byte for LRU) and 64 bytes a
 * bucket, all committed when first touched. 10 million entries of 4-byte keys and 8-byte values: 240 MB and 256 MiB.
 *
 * Why slots: a lookup of a flow that may or may not be there must not depend on a branch that nobody can foretell, and
 * should touch one line before the value.
 *
 * The hash is a function of the map's name and size alone, so that a replay can be repeated: whoever knows them and sends
 * the keys can put many into one bucket, and lookups then walk a long chain.
 *
 * Invariants
 *   H1 Exactly max_entries elements: each is fresh, free, spare, or in one bucket (in one slot or on its chain). The count
 *      of those in buckets is raised after an element was taken and lowered before it is given back, so it never exceeds
 *      max_entries (M4).
 *   H2 Slots and chains change only under their bucket's vlock; values of an element in a bucket are written by map code
 *      only under it. Nobody holds two vlocks. An element stays where it was put until it is removed.
 *   H3 An allocation fails only if at one moment no element was fresh or free (hash_take).
 *   H4 LRU: the reference byte of an element is set by a program's lookup or update, cleared by the passing hand; the
 *      hand takes the first element without it, within SCAN_MAX steps any. One worker: a function of the operations.
 *   H5 Two elements with one hash are told apart by their keys, but for keys of 4 bytes, of which no two have one.
 */
#ifndef PF_MAP_HASH_H
#define PF_MAP_HASH_H

#include "bucket.h"
#include "map_impl.h"

struct pf_element {
	uint32_t next;
	uint32_t hash;
	uint64_t key[];
};

struct pf_hash {
	struct pf_bucket *buckets;
	uint8_t *elements;
	uint64_t stride;
	uint64_t seed;
	uint32_t add; /* to keys of 4 bytes */
	uint32_t mask;
	uint32_t key_size;
	uint32_t key_words;
	uint32_t max_entries;
	uint8_t *referenced; /* LRU: one byte an element; else NULL */
	/* Hot words of writers, away from what readers read. */
	_Alignas(64) uint64_t free; /* low half: first free element; high half: number of pops, against ABA */
	uint32_t fresh;             /* elements handed out for the first time so far */
	uint32_t count;
	uint64_t hand;
};

static inline struct pf_element *pf_hash_element(const struct pf_hash *h, uint32_t number)
{
	return (struct pf_element *)(void *)(h->elements + (uint64_t)(number - 1) * h->stride);
}

/* The hash of a key; a permutation of the keys of 4 bytes (H5). */
static inline __attribute__((always_inline)) uint32_t pf_hash_of(const struct pf_hash *h, const uint8_t *key,
								  uint32_t size)
{
	return size == 4 ? pf_hash_word(pf_index_of(key) + h->add) : pf_hash_key(key, size, h->seed);
}

static inline struct pf_bucket *pf_hash_bucket(const struct pf_hash *h, uint32_t hash)
{
	return &h->buckets[hash & h->mask];
}

/* A fresh or free element as a spare, or 0 (H3); and back. */
uint32_t pf_hash_take(struct pf_hash *h);
void pf_hash_give(struct pf_hash *h, uint32_t number);

/* LRU: takes an element from its chain; never fails, waits while all elements are other threads' spares. No vlock may be
 * held. */
uint32_t pf_hash_evict(struct pf_hash *h);

/* Where a bucket names an element: in a slot, or (PF_HASH_SLOTS) by a link of the chain. number 0: nowhere. */
struct pf_place {
	struct pf_bucket *bucket;
	uint32_t slot;
	uint32_t *link;
	uint32_t number;
};

/* Under the bucket's vlock: takes the element out. The caller then unlocks with pf_vlock_unlock_removed and only after that
 * gives the element back (V2). */
static inline void pf_hash_unlink(struct pf_hash *h, const struct pf_place *place)
{
	if (place->slot < PF_HASH_SLOTS) {
		__atomic_store_n(&place->bucket->number[place->slot], 0, __ATOMIC_RELEASE);
		__atomic_store_n(&place->bucket->hash[place->slot], 0, __ATOMIC_RELEASE);
	} else {
		__atomic_store_n(place->link,
				 __atomic_load_n(&pf_hash_element(h, place->number)->next, __ATOMIC_RELAXED),
				 __ATOMIC_RELEASE);
	}
	__atomic_fetch_sub(&h->count, 1, __ATOMIC_RELAXED);
}

/* Under the bucket's vlock: the element in the first slot from `slot` on, or the first of the chain; 0: neither. */
static inline uint32_t pf_bucket_from(const struct pf_bucket *b, uint32_t slot)
{
	for (; slot < PF_HASH_SLOTS; slot++) {
		const uint32_t number = __atomic_load_n(&b->number[slot], __ATOMIC_RELAXED);
		if (number)
			return number;
	}
	return __atomic_load_n(&b->number[PF_HASH_SLOTS], __ATOMIC_RELAXED);
}

#endif
