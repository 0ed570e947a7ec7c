/* ring.c - ringbuf: its memory, reservations, and the reader. */
#include "map_impl.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define HEAD 8u
#define BUSY (UINT32_C(1) << 31)
#define DISCARDED (UINT32_C(1) << 30)
#define RECORD_MAX (UINT32_MAX / 4) /* Linux: RINGBUF_MAX_RECORD_SZ */

/* At the beginning of a page of its own in front of the data, so that a record's head leads to it. */
struct ring {
	struct pf_map *map;
	uint64_t size;
	uint32_t lock, reader_lock; /* vlocks, of which only the lock is used */
	_Alignas(64) uint64_t producer;
	uint64_t lost;
	_Alignas(64) uint64_t consumer;
};

/* The head of a record: program memory begins behind it. */
struct head {
	uint32_t size;  /* with BUSY and DISCARDED; written by the producer, then read by the reader: release, acquire */
	uint32_t place; /* (position modulo size) / 8 */
};

static uint64_t page(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint8_t *data_of(const struct ring *r)
{
	return (uint8_t *)(uintptr_t)r + page();
}

static struct head *head_at(const struct ring *r, uint64_t position)
{
	return (struct head *)(void *)(data_of(r) + (position & (r->size - 1)));
}

static uint64_t load(const uint64_t *position)
{
	return __atomic_load_n(position, __ATOMIC_ACQUIRE);
}

/* G2: the data's pages at both places of the range that `at` begins. */
static int map_twice(uint8_t *at, uint64_t size)
{
	const int fd = memfd_create("ringbuf", MFD_CLOEXEC);
	int ok = fd >= 0 && !ftruncate(fd, (off_t)size);

	for (uint64_t half = 0; ok && half < 2; half++)
		ok = mmap(at + half * size, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd, 0) !=
		     MAP_FAILED;
	if (fd >= 0)
		close(fd);
	return ok;
}

static enum pf_err ring_create(struct pf_map *map, struct pf_diag *diag)
{
	const uint64_t size = map->def.max_entries, bytes = page() + 2 * size;

	if (size & (size - 1) || size % page())
		return pf_diag_set(diag, PF_EINVAL, PF_DIAG_MAP_RING_SIZE, 0, 0, size, page(), NULL);
	uint8_t *start = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (start == MAP_FAILED)
		return pf_diag_set(diag, PF_ENOMEM, PF_DIAG_MAP_NOMEM, 0, 0, bytes, PF_MAP_ARENA_MAX, NULL);
	if (mprotect(start, page(), PROT_READ | PROT_WRITE) || !map_twice(start + page(), size)) {
		munmap(start, bytes);
		return pf_diag_set(diag, PF_ENOMEM, PF_DIAG_MAP_NOMEM, 0, 0, bytes, PF_MAP_ARENA_MAX, NULL);
	}
	struct ring *r = (struct ring *)(void *)start;
	r->map = map;
	r->size = size;
	map->impl = r;
	map->memory = page() + size;
	return PF_OK;
}

static void ring_destroy(struct pf_map *map)
{
	if (map->impl)
		munmap(map->impl, page() + 2 * (uint64_t)map->def.max_entries);
}

static struct ring *ring_of(const struct pf_map *map)
{
	return map->impl;
}

uint8_t *pf_ring_reserve(struct pf_map *map, uint64_t size)
{
	struct ring *r = ring_of(map);
	const uint64_t bytes = pf_round8(size + HEAD);
	struct head *head = NULL;

	if (size <= RECORD_MAX && bytes <= r->size) {
		pf_vlock_lock(&r->lock);
		const uint64_t at = r->producer;
		if (at + bytes - load(&r->consumer) < r->size) {
			head = head_at(r, at);
			__atomic_store_n(&head->size, (uint32_t)size | BUSY, __ATOMIC_RELAXED);
			head->place = (uint32_t)((at & (r->size - 1)) / 8);
			__atomic_store_n(&r->producer, at + bytes, __ATOMIC_RELEASE);
		}
		pf_vlock_unlock(&r->lock);
	}
	if (head)
		return (uint8_t *)(head + 1);
	__atomic_fetch_add(&r->lost, 1, __ATOMIC_RELAXED);
	return NULL;
}

struct pf_map *pf_ring_commit(uint8_t *record, int discard)
{
	struct head *head = (struct head *)(void *)(record - HEAD);
	const struct ring *r = (const void *)((uint8_t *)head - (uint64_t)head->place * 8 - page());
	const uint32_t size = head->size & ~BUSY;

	__atomic_store_n(&head->size, discard ? size | DISCARDED : size, __ATOMIC_RELEASE);
	return r->map;
}

uint64_t pf_ring_ask(const struct pf_map *map, uint64_t what)
{
	const struct ring *r = ring_of(map);

	switch (what) {
	case PF_RING_AVAIL_DATA: {
		const uint64_t consumer = load(&r->consumer);
		return load(&r->producer) - consumer;
	}
	case PF_RING_SIZE:
		return r->size;
	case PF_RING_CONS_POS:
		return load(&r->consumer);
	case PF_RING_PROD_POS:
		return load(&r->producer);
	}
	return 0;
}

int pf_ring_contains(const struct pf_map *map, uint64_t address, uint64_t size)
{
	const struct ring *r = ring_of(map);
	const uint64_t at = address - (uint64_t)(uintptr_t)data_of(r);

	return size <= 2 * r->size && at <= 2 * r->size - size;
}

/* The first record that is neither busy nor discarded; NULL: none. Frees discarded ones in front of it. Under reader_lock. */
static const struct head *first(struct ring *r, uint32_t *size)
{
	while (r->consumer < load(&r->producer)) {
		const struct head *head = head_at(r, r->consumer);
		*size = __atomic_load_n(&head->size, __ATOMIC_ACQUIRE);
		if (*size & BUSY)
			return NULL;
		if (!(*size & DISCARDED))
			return head;
		__atomic_store_n(&r->consumer, r->consumer + pf_round8((*size & ~DISCARDED) + HEAD), __ATOMIC_RELEASE);
	}
	return NULL;
}

static void advance(struct ring *r, uint32_t size)
{
	__atomic_store_n(&r->consumer, r->consumer + pf_round8((uint64_t)size + HEAD), __ATOMIC_RELEASE);
}

void pf_ring_drain(struct pf_map *map, pf_ring_visit visit, void *user)
{
	struct ring *r = ring_of(map);
	const struct head *head;
	uint32_t size;

	pf_vlock_lock(&r->reader_lock);
	while ((head = first(r, &size))) {
		visit(user, (const uint8_t *)(head + 1), size);
		advance(r, size);
	}
	pf_vlock_unlock(&r->reader_lock);
}

enum pf_err pf_ring_next_size(struct pf_map *map, uint32_t *size)
{
	struct ring *r = ring_of(map);

	if (!pf_map_user_readable(map))
		return PF_EPERM;
	pf_vlock_lock(&r->reader_lock);
	const enum pf_err err = first(r, size) ? PF_OK : PF_ENODATA;
	pf_vlock_unlock(&r->reader_lock);
	return err;
}

enum pf_err pf_ring_take(struct pf_map *map, void *data, uint32_t size)
{
	struct ring *r = ring_of(map);
	uint32_t there;

	if (!pf_map_user_readable(map))
		return PF_EPERM;
	pf_vlock_lock(&r->reader_lock);
	const struct head *head = first(r, &there);
	const int same = head && there == size;
	if (same) {
		memcpy(data, head + 1, size);
		advance(r, size);
	}
	pf_vlock_unlock(&r->reader_lock);
	return same ? PF_OK : PF_EAGAIN;
}

uint64_t pf_ring_lost(const struct pf_map *map)
{
	return __atomic_load_n(&ring_of(map)->lost, __ATOMIC_RELAXED);
}

/* --- operations with keys: there are none, as in Linux --- */

static enum pf_err ring_update(struct pf_map *map, const void *key, const void *value, uint64_t flags, uint32_t cpu)
{
	(void)map, (void)key, (void)value, (void)flags, (void)cpu;
	return PF_EOPNOTSUPP;
}

static enum pf_err ring_remove(struct pf_map *map, const void *key)
{
	(void)map, (void)key;
	return PF_EOPNOTSUPP;
}

static enum pf_err ring_read(struct pf_map *map, const void *key, void *value, uint64_t flags)
{
	(void)map, (void)key, (void)value, (void)flags;
	return PF_EOPNOTSUPP;
}

static enum pf_err ring_next_key(struct pf_map *map, const void *key, void *next)
{
	(void)map, (void)key, (void)next;
	return PF_EOPNOTSUPP;
}

/* Records that wait for the reader. */
static uint64_t ring_count(struct pf_map *map)
{
	struct ring *r = ring_of(map);
	uint64_t count = 0;

	pf_vlock_lock(&r->reader_lock);
	const uint64_t end = load(&r->producer);
	for (uint64_t at = r->consumer; at < end;) {
		const uint32_t size = __atomic_load_n(&head_at(r, at)->size, __ATOMIC_ACQUIRE);
		count += !(size & (BUSY | DISCARDED));
		at += pf_round8((size & ~(BUSY | DISCARDED)) + (uint64_t)HEAD);
	}
	pf_vlock_unlock(&r->reader_lock);
	return count;
}

const struct pf_map_ops pf_ring_ops = {
	.create = ring_create,
	.destroy = ring_destroy,
	.lookup = pf_keyless_lookup,
	.update = ring_update,
	.remove = ring_remove,
	.read = ring_read,
	.next_key = ring_next_key,
	.count = ring_count,
};
