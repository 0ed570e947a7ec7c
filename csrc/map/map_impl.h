/* map_impl.h - what the map families share; private to csrc/map.
 *
 * Terms
 *   word     8 aligned bytes of shared memory; the unit of the copies of M3
 *   vlock    a lock and a version in one 32-bit word: bit 0 locked, the rest counts structural removals
 *
 * Invariants
 *   V1 A reader takes the version (acquire), follows links and reads keys (acquire loads), then takes it again; equal
 *      versions mean that nothing it passed was removed from this structure meanwhile, so what it saw was one state.
 *   V2 Whoever removes an element raises the version (release) before the element can be reused; whoever reuses it got
 *      it through an acquire and writes it with release stores. So a reader that saw any new content of a reused
 *      element also sees the raised version. No fence is needed, and ThreadSanitizer sees all of it.
 *   V3 Insertions are one release store of a link to a finished element; they raise nothing.
 */
#ifndef PF_MAP_IMPL_H
#define PF_MAP_IMPL_H

#include <sched.h>
#include <string.h>

#include "map.h"
#include "ring.h"
#include "spin.h"

extern const struct pf_map_ops pf_array_ops;
extern const struct pf_map_ops pf_port_ops;
extern const struct pf_map_ops pf_lpm_ops;
extern const struct pf_map_ops pf_binding_ops;
extern const struct pf_map_ops pf_queue_ops;
extern const struct pf_map_ops pf_stack_ops;
extern const struct pf_map_ops pf_bloom_ops;
extern const struct pf_map_ops pf_events_ops;
extern const struct pf_map_ops pf_ring_ops;

/* binding.c: the box of a map, and a change that `check` allows of the current binding; object NULL: delete. */
enum pf_err pf_binding_create(struct pf_map *map, struct pf_diag *diag);
void pf_binding_destroy(struct pf_map *map);
typedef enum pf_err (*pf_binding_check)(const struct pf_map *map, const struct pf_binding *current, const void *key,
					const struct pf_ref *object, uint64_t flags, struct pf_diag *diag);
enum pf_err pf_binding_change(struct pf_map *map, const void *key, struct pf_ref *object, uint64_t flags,
			      pf_binding_check check, uint32_t *published, struct pf_diag *diag);

/* port.c: user's update and delete of a port map (value: the words of bpf(2)), which call mirror for the arena. */
enum pf_err pf_port_update(struct pf_map *map, const void *key, const void *value, uint64_t flags, uint32_t cpu);
enum pf_err pf_port_remove(struct pf_map *map, const void *key);
/* array.c, hash.c: the entry's two words in the arena; NULL: none. */
void pf_array_mirror(struct pf_map *map, const void *key, const uint32_t *word);
void pf_hash_mirror(struct pf_map *map, const void *key, const uint32_t *word);
const struct pf_map_ops *pf_hash_ops_of(const struct pf_map_def *def); /* specialised by key size */

/* Does a map fit the inner map definition of outer (Linux: type, sizes, flags, lock; plain arrays also max_entries)? Fills
 * in diag. */
enum pf_err pf_map_fits_inner(const struct pf_map *map, const struct pf_map *outer, struct pf_diag *diag);
/* What maps without keys answer to operations with one; nothing they are given is looked at. */
uint8_t *pf_keyless_lookup(struct pf_map *map, const void *key, uint32_t cpu);
enum pf_err pf_keyless_update(struct pf_map *map, const void *key, const void *value, uint64_t flags, uint32_t cpu);
enum pf_err pf_keyless_remove(struct pf_map *map, const void *key);
enum pf_err pf_keyless_read(struct pf_map *map, const void *key, void *value, uint64_t flags);
enum pf_err pf_keyless_next_key(struct pf_map *map, const void *key, void *next);
/* Bytes into a program's or user's memory, which may be shared (M3); zeros from NULL. */
void pf_bytes_give(void *to, const uint8_t *from, uint32_t size);
/* Flags and freezing, as bpf(2) sees them. */
int pf_map_user_writable(struct pf_map *map);
int pf_map_user_readable(const struct pf_map *map);

/* Is this reference a map's? */
int pf_map_is(const struct pf_ref *ref);

/* Zeroed memory, 64-byte aligned (large blocks: page-aligned and committed only when touched). NULL with PF_DIAG_MAP_NOMEM
 * when count * size is more than PF_MAP_ARENA_MAX or the system refuses. */
void *pf_arena_alloc(uint64_t count, uint64_t size, struct pf_diag *diag);
void pf_arena_free(void *arena, uint64_t count, uint64_t size);

typedef uint64_t __attribute__((may_alias)) pf_word;
typedef uint32_t __attribute__((may_alias)) pf_half;

static inline uint64_t pf_round8(uint64_t n) { return (n + 7) & ~UINT64_C(7); }

/* --- copies of shared value bytes (M3) --- */

/* 8 bytes from src, which may be shared as well (a program may pass a map value as a value). */
static inline uint64_t pf_word_gather(const uint8_t *src)
{
	if (((uintptr_t)src & 7) == 0)
		return __atomic_load_n((const pf_word *)src, __ATOMIC_RELAXED);
	uint8_t bytes[8];
	uint64_t word;
	if (((uintptr_t)src & 3) == 0) {
		uint32_t half[2] = {__atomic_load_n((const pf_half *)src, __ATOMIC_RELAXED),
				    __atomic_load_n((const pf_half *)src + 1, __ATOMIC_RELAXED)};
		memcpy(&word, half, 8);
		return word;
	}
	for (int i = 0; i < 8; i++)
		bytes[i] = __atomic_load_n(src + i, __ATOMIC_RELAXED);
	memcpy(&word, bytes, 8);
	return word;
}

/* dst is 8-aligned and has room for round8(size) bytes; the padding is written 0. */
static inline void pf_words_store(uint8_t *dst, const void *src, uint32_t size)
{
	const uint8_t *from = src;
	pf_word *to = (pf_word *)(void *)dst;

	for (; size >= 8; size -= 8, from += 8)
		__atomic_store_n(to++, pf_word_gather(from), __ATOMIC_RELAXED);
	if (size) {
		uint8_t bytes[8] = {0};
		uint64_t word;
		for (uint32_t i = 0; i < size; i++)
			bytes[i] = __atomic_load_n(from + i, __ATOMIC_RELAXED);
		memcpy(&word, bytes, 8);
		__atomic_store_n(to, word, __ATOMIC_RELAXED);
	}
}

static inline void pf_words_load(void *dst, const uint8_t *src, uint32_t size)
{
	const pf_word *from = (const pf_word *)(const void *)src;
	uint8_t *to = dst;

	for (; size; from++) {
		uint64_t word = __atomic_load_n(from, __ATOMIC_RELAXED);
		uint32_t n = size < 8 ? size : 8;
		memcpy(to, &word, n);
		to += n;
		size -= n;
	}
}

static inline void pf_words_zero(uint8_t *dst, uint64_t size)
{
	pf_word *to = (pf_word *)(void *)dst;

	for (uint64_t i = 0; i < size / 8; i++)
		__atomic_store_n(to + i, 0, __ATOMIC_RELAXED);
}

/* A value around its lock (spin.h, S1): the word that holds it is written in halves. */
static inline void pf_value_store_around(const struct pf_map *map, uint8_t *value, const uint8_t *src)
{
	const uint32_t size = map->def.value_size, lock = map->lock.offset, word = lock & ~7u;
	const uint32_t half = lock ^ 4; /* the other half of the word */
	uint8_t bytes[4] = {0};
	pf_half other;

	pf_words_store(value, src, word);
	for (uint32_t i = 0; i < 4 && half + i < size; i++)
		bytes[i] = __atomic_load_n(src + half + i, __ATOMIC_RELAXED);
	memcpy(&other, bytes, 4);
	__atomic_store_n((pf_half *)(void *)(value + half), other, __ATOMIC_RELAXED);
	if (size > word + 8)
		pf_words_store(value + word + 8, src + word + 8, size - word - 8);
}

/* Values of a new or changed element: one CPU's, or all of them from a user's buffer. */
static inline void pf_values_store(const struct pf_map *map, uint8_t *values, const void *src, uint32_t cpu,
				   uint64_t flags)
{
	if (map->lock.present) {
		if (flags & PF_MAP_F_LOCK)
			pf_spin_acquire(values + map->lock.offset);
		pf_value_store_around(map, values, src);
		if (flags & PF_MAP_F_LOCK)
			pf_spin_release(values + map->lock.offset);
	} else if (cpu == PF_MAP_ALL_CPUS) {
		for (uint32_t i = 0; i < map->cpus; i++)
			pf_words_store(values + (uint64_t)i * map->value_step,
				       (const uint8_t *)src + (uint64_t)i * map->value_step,
				       map->percpu ? map->value_step : map->def.value_size);
	} else {
		pf_words_store(values + (uint64_t)cpu * map->cpu_step, src, map->def.value_size);
	}
}

static inline void pf_values_load(const struct pf_map *map, void *dst, uint8_t *values, uint64_t flags)
{
	if (flags & PF_MAP_F_LOCK)
		pf_spin_acquire(values + map->lock.offset);
	for (uint32_t i = 0; i < map->cpus; i++)
		pf_words_load((uint8_t *)dst + (uint64_t)i * map->value_step, values + (uint64_t)i * map->value_step,
			      map->percpu ? map->value_step : map->def.value_size);
	if (flags & PF_MAP_F_LOCK)
		pf_spin_release(values + map->lock.offset);
	if (map->lock.present)
		memset((uint8_t *)dst + map->lock.offset, 0, PF_SPIN_BYTES);
}

/* May these flags of an update ask for the lock? */
static inline int pf_lock_flag_fits(const struct pf_map *map, uint64_t flags)
{
	return !(flags & PF_MAP_F_LOCK) || map->lock.present;
}

static inline uint32_t pf_index_of(const void *key)
{
	uint32_t index;
	memcpy(&index, key, 4);
	return index;
}

/* --- vlock --- */

static inline uint32_t pf_vlock_begin(const uint32_t *vlock) { return __atomic_load_n(vlock, __ATOMIC_ACQUIRE) & ~1u; }
static inline int pf_vlock_same(const uint32_t *vlock, uint32_t begin)
{
	return (__atomic_load_n(vlock, __ATOMIC_RELAXED) & ~1u) == begin;
}

static inline void pf_vlock_lock(uint32_t *vlock)
{
	for (uint32_t tries = 0;; tries++) {
		uint32_t word = __atomic_load_n(vlock, __ATOMIC_RELAXED);
		if (!(word & 1) &&
		    __atomic_compare_exchange_n(vlock, &word, word | 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return;
		if (tries > 64)
			sched_yield(); /* the holder was preempted */
	}
}

static inline void pf_vlock_unlock(uint32_t *vlock)
{
	__atomic_store_n(vlock, __atomic_load_n(vlock, __ATOMIC_RELAXED) & ~1u, __ATOMIC_RELEASE);
}

/* After a removal (V2). */
static inline void pf_vlock_unlock_removed(uint32_t *vlock)
{
	__atomic_store_n(vlock, __atomic_load_n(vlock, __ATOMIC_RELAXED) + 1, __ATOMIC_RELEASE);
}

/* --- keys --- */

/* Word i of a key, zero-padded behind its end. */
static inline uint64_t pf_key_word(const uint8_t *key, uint32_t size, uint32_t i)
{
	uint64_t word = 0;
	uint32_t left = size - 8 * i;

	if (left >= 8) {
		memcpy(&word, key + 8 * i, 8);
	} else if (left == 4) {
		uint32_t half;
		memcpy(&half, key + 8 * i, 4);
		word = half;
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
		word <<= 32;
#endif
	} else {
		uint8_t bytes[8] = {0};
		for (uint32_t n = 0; n < left; n++)
			bytes[n] = key[8 * i + n];
		memcpy(&word, bytes, 8);
	}
	return word;
}

static inline uint64_t pf_mix(uint64_t a, uint64_t b)
{
	__extension__ typedef unsigned __int128 wide;
	wide product = (wide)a * b;
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* One step per 8 bytes of key, then a finish: every input bit reaches the low bits, which choose the bucket. */
static inline uint64_t pf_hash_step(uint64_t hash, uint64_t word)
{
	return pf_mix(hash ^ word, 0x9fb21c651e98df25u) + 0x2545f4914f6cdd1du;
}
static inline uint32_t pf_hash_end(uint64_t hash) { return (uint32_t)(hash ^ hash >> 32); }

static inline uint32_t pf_hash_key(const uint8_t *key, uint32_t size, uint64_t seed)
{
	uint64_t hash = seed;
	for (uint32_t i = 0; i * 8 < size; i++)
		hash = pf_hash_step(hash, pf_key_word(key, size, i));
	return pf_hash_end(hash);
}

#endif
