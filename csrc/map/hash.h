/* hash.h - hash maps: layout and element allocation; private to csrc/map.
 *
 * Terms
 *   element  link (u32), hash (u32), key (words, zero-padded), values; numbered from 1, 0 is "none"
 *   bucket   vlock and first element; a power of two of them, at least max_entries
 *   fresh    an element that was never used: handed out in order, so that creation touches no memory
 *   spare    an element that an update holds in its hand, on no chain and not free
 *   hand     of the LRU clock: where the next search for a victim begins
 *
 * Memory: 8 + round8(key_size) + cpus * round8(value_size) bytes an element (one more byte for LRU) and 8 bytes a
 * bucket, all committed when first touched. 10 million entries of 4-byte keys and 8-byte values: 240 MB and 128 MiB.
 *
 * Invariants
 *   H1 Exactly max_entries elements: each is fresh, free, spare, or on one chain. The count of those on chains is
 *      raised after an element was taken and lowered before it is given back, so it never exceeds max_entries (M4).
 *   H2 Chains change only under their bucket's vlock; values of a chained element are written by map code only under
 *      it. Nobody holds two vlocks.
 *   H3 An allocation fails only if at one moment no element was fresh or free (hash_take).
 *   H4 LRU: the reference byte of an element is set by a program's lookup or update, cleared by the passing hand; the
 *      hand takes the first element without it, within SCAN_MAX steps any. One worker: a function of the operations.
 */
#ifndef PF_MAP_HASH_H
#define PF_MAP_HASH_H

#include "map_impl.h"

struct pf_bucket {
	uint32_t vlock;
	uint32_t first;
};

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

/* Under the bucket's vlock: unlinks what *link names. The caller then unlocks with pf_vlock_unlock_removed and only
 * after that gives the element back (V2). */
static inline void pf_hash_unlink(struct pf_hash *h, uint32_t *link)
{
	uint32_t number = __atomic_load_n(link, __ATOMIC_RELAXED);
	uint32_t next = __atomic_load_n(&pf_hash_element(h, number)->next, __ATOMIC_RELAXED);
	__atomic_store_n(link, next, __ATOMIC_RELEASE);
	__atomic_fetch_sub(&h->count, 1, __ATOMIC_RELAXED);
}

#endif
