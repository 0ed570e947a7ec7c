/* hash_alloc.c - elements of hash maps: fresh, free, and taken from the least recently used. See hash.h, H1 to H4. */
#include "hash.h"

/* Longest walk of the hand past referenced elements: bounds the time of one update (some microseconds). */
#define SCAN_MAX 1024u

static uint32_t pop_free(struct pf_hash *h)
{
	uint64_t head = __atomic_load_n(&h->free, __ATOMIC_ACQUIRE);

	while ((uint32_t)head) {
		/* The element may be popped and reused meanwhile: then the number of pops differs and next is not used. */
		uint32_t next = __atomic_load_n(&pf_hash_element(h, (uint32_t)head)->next, __ATOMIC_RELAXED);
		uint64_t after = ((head >> 32) + 1) << 32 | next;
		if (__atomic_compare_exchange_n(&h->free, &head, after, 1, __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE))
			return (uint32_t)head;
	}
	return 0;
}

static uint32_t take_fresh(struct pf_hash *h)
{
	uint32_t fresh = __atomic_load_n(&h->fresh, __ATOMIC_RELAXED);

	while (fresh < h->max_entries)
		if (__atomic_compare_exchange_n(&h->fresh, &fresh, fresh + 1, 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
			return fresh + 1;
	return 0;
}

uint32_t pf_hash_take(struct pf_hash *h)
{
	uint32_t number = pop_free(h);
	if (!number)
		number = take_fresh(h);
	/* Once nothing is fresh nothing will be, so this pop is the moment of H3. The first one is not: another thread
	 * may have taken the last fresh element after it, and freed one. */
	if (!number)
		number = pop_free(h);
	return number;
}

void pf_hash_give(struct pf_hash *h, uint32_t number)
{
	struct pf_element *e = pf_hash_element(h, number);
	uint64_t head = __atomic_load_n(&h->free, __ATOMIC_RELAXED);

	do
		__atomic_store_n(&e->next, (uint32_t)head, __ATOMIC_RELEASE);
	while (!__atomic_compare_exchange_n(&h->free, &head, (head & ~(uint64_t)UINT32_MAX) | number, 1,
					    __ATOMIC_RELEASE, __ATOMIC_RELAXED));
}

/* Takes the element out of the bucket that it is in, if it is in one. */
static int detach(struct pf_hash *h, uint32_t number)
{
	struct pf_bucket *b = pf_hash_bucket(h, __atomic_load_n(&pf_hash_element(h, number)->hash, __ATOMIC_ACQUIRE));

	struct pf_place place = { b, 0, NULL, number };
	pf_vlock_lock(&b->vlock);
	while (place.slot < PF_HASH_SLOTS && __atomic_load_n(&b->number[place.slot], __ATOMIC_RELAXED) != number)
		place.slot++;
	uint32_t *link = &b->number[PF_HASH_SLOTS], at;
	while (place.slot == PF_HASH_SLOTS && !place.link && (at = __atomic_load_n(link, __ATOMIC_RELAXED)) != 0) {
		if (at == number)
			place.link = link;
		link = &pf_hash_element(h, at)->next;
	}
	if (place.slot == PF_HASH_SLOTS && !place.link) {
		pf_vlock_unlock(&b->vlock);
		return 0;
	}
	pf_hash_unlink(h, &place);
	pf_vlock_unlock_removed(&b->vlock);
	return 1;
}

uint32_t pf_hash_evict(struct pf_hash *h)
{
	for (uint32_t steps = 0;; steps++) {
		uint64_t turn = __atomic_fetch_add(&h->hand, 1, __ATOMIC_RELAXED);
		uint32_t number = (uint32_t)(turn % h->max_entries) + 1;
		uint8_t *ref = &h->referenced[number - 1];

		if (steps < SCAN_MAX && __atomic_load_n(ref, __ATOMIC_RELAXED)) {
			__atomic_store_n(ref, 0, __ATOMIC_RELAXED);
			continue;
		}
		if (detach(h, number))
			return number;
		/* In no bucket: free, or another thread's spare. */
		uint32_t freed = pf_hash_take(h);
		if (freed)
			return freed;
		if (steps > h->max_entries)
			sched_yield();
	}
}
