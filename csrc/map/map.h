/* map.h - BPF maps: element storage shared by programs (many workers) and users (any thread).
 *
 * Semantics: bpf(2), kernel Documentation/bpf/map_*.rst. Results are Linux errno numbers.
 *
 * Terms
 *   arena    the map's one preallocated block of elements; value pointers point into it
 *   cpu      a CPU id leased to a worker, 0 <= cpu < cpus; per-CPU maps hold one value per id, 8-byte stride
 *   binding  (binding.h) the contents of a prog array or map of maps: immutable, part of a world
 *
 * Invariants
 *   M1 The arena is allocated at creation, at its final size, and freed only with the map: a value pointer stays
 *      valid memory as long as somebody holds the map. A deleted element may be reused at once, as in a
 *      preallocated Linux map: the pointer then shows another key's value, never foreign memory.
 *   M2 Lookups take no lock. A lookup that runs beside an update or delete of another key finds its own key if and only
 *      if it was present throughout; beside one of the same key it finds the state before or after.
 *   M3 Shared value bytes are read and written with relaxed atomics by the map code (copies may tear between words,
 *      never inside an aligned 8-byte word, but for the one that holds a bpf_spin_lock: it is two halves).
 *   M4 len() never exceeds max_entries; hash maps hold exactly max_entries before E2BIG.
 *   M5 Binding maps are never changed by programs; user writes go through pf_map_bind.
 *
 * Threads: every function may be called by any thread. The caller holds a reference.
 */
#ifndef PF_MAP_H
#define PF_MAP_H

#include "../rcu/ref.h"
#include "binding.h"
#include "def.h"
#include "keyless.h"

struct pf_map;

/* In place of a CPU id: the value buffer holds one value per CPU, cpus * value_step bytes. */
#define PF_MAP_ALL_CPUS UINT32_MAX

/* bpf_for_each_map_elem's callback. key is a private copy, readable for key_size bytes during the call. */
typedef uint64_t (*pf_map_visit)(void *user, struct pf_map *map, void *key, uint8_t *value);

/* What a family (map_type.def) implements. Keys and values are key_size and value_size bytes. */
struct pf_map_ops {
	enum pf_err (*create)(struct pf_map *map, struct pf_diag *diag); /* allocates impl and arena */
	void (*destroy)(struct pf_map *map);                             /* also after a create that failed */
	uint8_t *(*lookup)(struct pf_map *map, const void *key, uint32_t cpu); /* value, or NULL */
	/* cpu may be PF_MAP_ALL_CPUS. */
	enum pf_err (*update)(struct pf_map *map, const void *key, const void *value, uint64_t flags, uint32_t cpu);
	enum pf_err (*remove)(struct pf_map *map, const void *key);
	/* Copies the value (all CPUs') of this key, never of another that reused the element. PF_ENOENT when absent.
	 * flags: 0 or PF_MAP_F_LOCK. */
	enum pf_err (*read)(struct pf_map *map, const void *key, void *value, uint64_t flags);
	/* Key after *key in iteration order (first when key is NULL or absent); PF_ENOENT at the end. */
	enum pf_err (*next_key)(struct pf_map *map, const void *key, void *next);
	uint64_t (*count)(struct pf_map *map);
	/* NULL: not for this family. */
	enum pf_err (*for_each)(struct pf_map *map, uint32_t cpu, pf_map_visit visit, void *user, uint64_t *visited);
	const struct pf_keyless_ops *keyless; /* NULL: the map has keys */
};

struct pf_map {
	struct pf_ref ref; /* first (F1) */
	struct pf_map_def def;
	const struct pf_map_ops *ops;
	char name[PF_NAME_MAX];
	uint64_t id;        /* unique in the process, given by the creator */
	uint32_t cpus;      /* values per element of a per-CPU map; 1 otherwise */
	uint32_t percpu;    /* boolean */
	_Atomic uint32_t frozen; /* user writes refused (BPF_MAP_FREEZE) */
	/* Arena geometry, for M1 and for run-time checks: element i has its values at arena + i * stride + value_offset,
	 * per-CPU values at value_step apart. */
	uint8_t *arena;
	uint64_t elements, stride, memory; /* memory: bytes of all that is allocated for contents (pf_map_memory) */
	uint32_t value_offset, value_step; /* value_step: value_size rounded up to 8 */
	uint32_t cpu_step;   /* value_step of a per-CPU map, else 0: a cpu's value is at cpu * cpu_step */
	void *impl;
	struct pf_map_lock lock;      /* of its values */
	struct pf_map_def inner;      /* map of maps: the definition inner maps must have, and their values' lock */
	struct pf_map_lock inner_lock;
	struct pf_binding_box box;    /* BINDING family: current contents and subscribers */
};

/* A new map with one reference. inner: for maps of maps, else NULL. cpus >= 1. EINVAL, E2BIG, ENOMEM, EOPNOTSUPP. */
PF_API enum pf_err pf_map_create(const struct pf_map_def *def, const struct pf_map_def *inner, uint32_t cpus,
				 const char *name, uint64_t id, struct pf_map **map, struct pf_diag *diag);

/* Says where the values (of a map of maps: of the inner maps) have a bpf_spin_lock; by the creator, before anyone else
 * sees the map. As in Linux for hash and array alone (EOPNOTSUPP), aligned and inside the value (EINVAL), and not where
 * BPF_F_RDONLY_PROG or BPF_F_WRONLY_PROG is set (EACCES). */
PF_API enum pf_err pf_map_set_lock(struct pf_map *map, uint32_t offset, struct pf_diag *diag);
PF_API enum pf_err pf_map_set_inner_lock(struct pf_map *map, uint32_t offset, struct pf_diag *diag);

static inline void pf_map_get(struct pf_map *map) { pf_ref_get(&map->ref); }
static inline void pf_map_put(struct pf_map *map) { pf_ref_put(&map->ref); }

/* Has the map a value for this CPU id? A per-CPU map made for fewer has none, and every engine's lookup says NULL. */
static inline int pf_map_has_cpu(const struct pf_map *map, uint32_t cpu)
{
	return PF_LIKELY(!map->percpu || cpu < map->cpus);
}

/* What compiled code has to know to look a key up by itself (bucket.h). 0: it cannot; only hash and per-CPU hash maps with keys
 * of 4 bytes are like that. Constant while the map lives. */
struct pf_map_inline {
	const void *buckets;
	uint32_t add, mask;
};
PF_API int pf_map_inline_of(const struct pf_map *map, struct pf_map_inline *out);

/* Program side: no copies, no freeze check. pf_map_lookup of a BINDING map returns NULL: programs read those through
 * the world (pf_bindings_find). For PORT maps it returns NULL for an empty slot. */
static inline uint8_t *pf_map_lookup(struct pf_map *map, const void *key, uint32_t cpu)
{
	return map->ops->lookup(map, key, cpu);
}

/* update and delete with the errors a program sees (BPF_F_RDONLY_PROG and frozen are the verifier's business; the
 * checked interpreter asks pf_map_prog_writable first). */
enum pf_err pf_map_update(struct pf_map *map, const void *key, const void *value, uint64_t flags, uint32_t cpu);
enum pf_err pf_map_delete(struct pf_map *map, const void *key);

/* May programs write (read) this map's values? Device maps carry BPF_F_RDONLY_PROG from creation on, as in Linux. */
static inline int pf_map_prog_writable(const struct pf_map *map) { return !(map->def.flags & PF_MAP_F_RDONLY_PROG); }
static inline int pf_map_prog_readable(const struct pf_map *map) { return !(map->def.flags & PF_MAP_F_WRONLY_PROG); }

/* User side, as bpf(2): per-CPU values are cpus * value_step bytes in one buffer. Frozen maps and BPF_F_RDONLY give
 * PF_EPERM on writing, BPF_F_WRONLY on reading. BINDING maps: next_key, count and delete work here; lookup and update
 * are PF_EOPNOTSUPP, since objects have no bytes (pf_map_bind, pf_map_bound). A lookup's flags are 0 or PF_MAP_F_LOCK.
 * count is the number of keys that a lookup finds: all of an array, the occupied slots of a PORT or BINDING array. */
PF_API size_t pf_map_user_value_size(const struct pf_map *map);
PF_API enum pf_err pf_map_user_lookup(struct pf_map *map, const void *key, void *value, uint64_t flags);
PF_API enum pf_err pf_map_user_update(struct pf_map *map, const void *key, const void *value, uint64_t flags);
PF_API enum pf_err pf_map_user_delete(struct pf_map *map, const void *key);
PF_API enum pf_err pf_map_user_next_key(struct pf_map *map, const void *key, void *next);
PF_API uint64_t pf_map_count(struct pf_map *map), pf_map_memory(const struct pf_map *map);
PF_API void pf_map_freeze(struct pf_map *map);

/* Is [address, address + size) inside one value of this map? For the checked interpreter. */
int pf_map_contains(const struct pf_map *map, const void *address, uint64_t size);

/* Address of value byte `offset` of the only element of an array with max_entries 1, for ld_imm64 src=2 (Linux refuses
 * other arrays); NULL when the map has no such element or the offset is outside. */
uint8_t *pf_map_direct_value(struct pf_map *map, uint32_t offset);

/* value_size bytes of the only element, where neither programs nor users can change them any more; else NULL. */
PF_API const uint8_t *pf_map_fixed_contents(struct pf_map *map);

/* bpf_for_each_map_elem: calls visit(user, map, key, value) for each element, stops when it returns non-zero. The
 * callback may change the map: an element it deletes before its turn is not visited, one it adds may be. Array, per-CPU
 * array, hash, LRU, per-CPU hash; others PF_EINVAL. visited (may be NULL) counts the calls. */
enum pf_err pf_map_for_each(struct pf_map *map, uint32_t cpu, pf_map_visit visit, void *user, uint64_t *visited);

#endif
