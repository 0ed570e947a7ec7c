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

/* Takes the element off the chain that it is on, if it is on one. */
static int detach(struct pf_hash *h, uint32_t number)
{
	struct pf_bucket *b = pf_hash_bucket(h, __atomic_load_n(&pf_hash_element(h, number)->hash, __ATOMIC_ACQUIRE));

	pf_vlock_lock(&b->vlock);
	for (uint32_t *link = &b->first;;) {
		uint32_t at = __atomic_load_n(link, __ATOMIC_RELAXED);
		if (!at)
			break;
		if (at == number) {
			pf_hash_unlink(h, link);
			pf_vlock_unlock_removed(&b->vlock);
			return 1;
		}
		link = &pf_hash_element(h, at)->next;
	}
	pf_vlock_unlock(&b->vlock);
	return 0;
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
		/* Not on a chain: free, or another thread's spare. */
		uint32_t freed = pf_hash_take(h);
		if (freed)
			return freed;
		if (steps > h->max_entries)
			sched_yield();
	}
}
