/* map.c - creation rules, memory, and the user's side of every map type. */
#include "map_impl.h"

#include <stdlib.h>
#include <sys/mman.h>

enum family { FAMILY_NONE, FAMILY_ARRAY, FAMILY_HASH, FAMILY_LPM, FAMILY_BINDING, FAMILY_PORT, FAMILY_QUEUE,
	      FAMILY_BLOOM, FAMILY_EVENTS, FAMILY_RING };

static const struct type_info {
	const char *text; /* NULL: no such number */
	uint8_t family;
	uint8_t percpu;
	uint8_t supported;
} types[] = {
#define PF_MAP_TYPE(name, number, text, family, percpu, support) [number] = {text, FAMILY_##family, percpu, support},
#include "../tables/map_type.def"
#undef PF_MAP_TYPE
};
#define TYPES (sizeof(types) / sizeof(types[0]))

/* Limits of Linux 6.18 where it has them (measured), ours where memory is the only limit there. */
#define KMALLOC_MAX (4u << 20)
#define PERCPU_VALUE_MAX 32768u
#define HASH_OVERHEAD 48u /* key and value share a block of KMALLOC_MAX with this much else */
#define HASH_KEY_MAX (KMALLOC_MAX - HASH_OVERHEAD - 4)
#define HASH_ENTRIES_MAX (1u << 27)
#define LPM_ENTRIES_MAX (1u << 30) /* node numbers, two a prefix, fit 32 bits */
#define BINDING_ENTRIES_MAX (1u << 20) /* a write copies the binding */
#define CPUMAP_ENTRIES_MAX 8192u

#define F_USER (PF_MAP_F_RDONLY | PF_MAP_F_WRONLY)
#define F_PROG (PF_MAP_F_RDONLY_PROG | PF_MAP_F_WRONLY_PROG)
#define F_HASH (PF_MAP_F_NO_PREALLOC | PF_MAP_F_ZERO_SEED | F_USER | F_PROG)
#define F_LRU (PF_MAP_F_NO_COMMON_LRU | PF_MAP_F_ZERO_SEED | F_USER | F_PROG)
#define F_ARRAY (PF_MAP_F_NUMA_NODE | F_USER | F_PROG | PF_MAP_F_MMAPABLE | PF_MAP_F_INNER_MAP)
#define F_QUEUE (PF_MAP_F_NUMA_NODE | F_USER | F_PROG)
#define F_LPM (PF_MAP_F_NO_PREALLOC | PF_MAP_F_NUMA_NODE | F_USER | F_PROG)

static const struct rule {
	uint32_t key_min, key_max, value_min, value_max, entries_max;
	uint32_t flags;
	enum pf_err too_big; /* a key or value above its maximum */
} rules[TYPES] = {
	[PF_MAP_HASH] = {1, HASH_KEY_MAX, 1, KMALLOC_MAX, HASH_ENTRIES_MAX, F_HASH | PF_MAP_F_NUMA_NODE, PF_E2BIG},
	[PF_MAP_PERCPU_HASH] = {1, HASH_KEY_MAX, 1, PERCPU_VALUE_MAX, HASH_ENTRIES_MAX, F_HASH, PF_E2BIG},
	[PF_MAP_LRU_HASH] = {1, HASH_KEY_MAX, 1, KMALLOC_MAX, HASH_ENTRIES_MAX, F_LRU | PF_MAP_F_NUMA_NODE, PF_E2BIG},
	[PF_MAP_LRU_PERCPU_HASH] = {1, HASH_KEY_MAX, 1, PERCPU_VALUE_MAX, HASH_ENTRIES_MAX, F_LRU, PF_E2BIG},
	[PF_MAP_ARRAY] = {4, 4, 1, INT32_MAX, UINT32_MAX, F_ARRAY, PF_E2BIG},
	[PF_MAP_PERCPU_ARRAY] = {4, 4, 1, PERCPU_VALUE_MAX, UINT32_MAX, F_USER | F_PROG, PF_E2BIG},
	[PF_MAP_LPM_TRIE] = {5, 260, 1, KMALLOC_MAX - 512, LPM_ENTRIES_MAX, F_LPM, PF_EINVAL},
	[PF_MAP_PROG_ARRAY] = {4, 4, 4, 4, BINDING_ENTRIES_MAX, PF_MAP_F_NUMA_NODE | F_USER, PF_EINVAL},
	[PF_MAP_ARRAY_OF_MAPS] = {4, 4, 4, 4, BINDING_ENTRIES_MAX, PF_MAP_F_NUMA_NODE | F_USER, PF_EINVAL},
	[PF_MAP_HASH_OF_MAPS] = {1, HASH_KEY_MAX, 4, 4, BINDING_ENTRIES_MAX, F_HASH | PF_MAP_F_NUMA_NODE, PF_E2BIG},
	[PF_MAP_DEVMAP] = {4, 4, 4, 8, UINT32_MAX, PF_MAP_F_NUMA_NODE | F_USER, PF_EINVAL},
	[PF_MAP_DEVMAP_HASH] = {4, 4, 4, 8, HASH_ENTRIES_MAX, PF_MAP_F_NUMA_NODE | F_USER, PF_EINVAL},
	[PF_MAP_CPUMAP] = {4, 4, 4, 8, CPUMAP_ENTRIES_MAX, PF_MAP_F_NUMA_NODE, PF_EINVAL},
	[PF_MAP_XSKMAP] = {4, 4, 4, 4, UINT32_MAX, PF_MAP_F_NUMA_NODE | F_USER, PF_EINVAL},
	[PF_MAP_PERF_EVENT_ARRAY] = {4, 4, 4, 4, UINT32_MAX, PF_MAP_F_NUMA_NODE | F_USER, PF_EINVAL},
	[PF_MAP_RINGBUF] = {0, 0, 0, 0, UINT32_MAX, PF_MAP_F_NUMA_NODE, PF_EINVAL},
	[PF_MAP_QUEUE] = {0, 0, 1, KMALLOC_MAX, UINT32_MAX, F_QUEUE, PF_E2BIG},
	[PF_MAP_STACK] = {0, 0, 1, KMALLOC_MAX, UINT32_MAX, F_QUEUE, PF_E2BIG},
	[PF_MAP_BLOOM_FILTER] = {0, 0, 1, KMALLOC_MAX, UINT32_MAX, F_QUEUE | PF_MAP_F_ZERO_SEED, PF_E2BIG},
};

static int is_lru(enum pf_map_type type) { return type == PF_MAP_LRU_HASH || type == PF_MAP_LRU_PERCPU_HASH; }
static int holds_maps(enum pf_map_type type) { return type == PF_MAP_ARRAY_OF_MAPS || type == PF_MAP_HASH_OF_MAPS; }
static int is_device(enum pf_map_type type) { return type == PF_MAP_DEVMAP || type == PF_MAP_DEVMAP_HASH; }

static enum pf_err check_flags(const struct pf_map_def *def, struct pf_diag *diag)
{
	const char *text = pf_map_type_text(def->type);
	uint32_t allowed = rules[def->type].flags;
	enum pf_err err = PF_OK;

	if (def->flags & ~allowed)
		err = is_lru(def->type) && def->flags & PF_MAP_F_NO_PREALLOC ? PF_EOPNOTSUPP : PF_EINVAL;
	else if ((def->flags & F_USER) == F_USER)
		err = PF_EINVAL, allowed &= ~PF_MAP_F_WRONLY;
	else if ((def->flags & F_PROG) == F_PROG)
		err = PF_EINVAL, allowed &= ~PF_MAP_F_WRONLY_PROG;
	if (err)
		return pf_diag_set(diag, err, PF_DIAG_MAP_FLAGS, 0, 0, def->flags, allowed, text);
	if (def->type == PF_MAP_LPM_TRIE && !(def->flags & PF_MAP_F_NO_PREALLOC))
		return pf_diag_set(diag, PF_EINVAL, PF_DIAG_MAP_LPM_PREALLOC, 0, 0, def->flags, allowed, text);
	return PF_OK;
}

static enum pf_err check_def(const struct pf_map_def *def, struct pf_diag *diag)
{
	if ((size_t)def->type >= TYPES || !types[def->type].text)
		return pf_diag_set(diag, PF_EINVAL, PF_DIAG_MAP_TYPE_UNKNOWN, 0, 0, (uint64_t)def->type, 0, NULL);
	const struct type_info *type = &types[def->type];
	const struct rule *rule = &rules[def->type];
	if (!type->supported)
		return pf_diag_set(diag, PF_EOPNOTSUPP, PF_DIAG_MAP_TYPE, 0, 0, (uint64_t)def->type, 0, type->text);

	if (def->key_size < rule->key_min)
		return pf_diag_set(diag, PF_EINVAL, PF_DIAG_MAP_KEY_SIZE, 0, 0, def->key_size, rule->key_min, type->text);
	if (def->key_size > rule->key_max)
		return pf_diag_set(diag, rule->key_min == rule->key_max ? PF_EINVAL : rule->too_big, PF_DIAG_MAP_KEY_SIZE,
				   0, 0, def->key_size, rule->key_max, type->text);
	if (def->value_size < rule->value_min)
		return pf_diag_set(diag, PF_EINVAL, PF_DIAG_MAP_VALUE_SIZE, 0, 0, def->value_size, rule->value_min,
				   type->text);
	uint32_t value_max = rule->value_max;
	if (type->family == FAMILY_HASH && value_max == KMALLOC_MAX)
		value_max -= HASH_OVERHEAD + def->key_size;
	if (def->value_size > value_max || ((type->family == FAMILY_PORT || is_device(def->type)) &&
					    def->value_size % 4))
		return pf_diag_set(diag, rule->too_big, PF_DIAG_MAP_VALUE_SIZE, 0, 0, def->value_size, value_max,
				   type->text);
	if (!def->max_entries || def->max_entries > rule->entries_max)
		return pf_diag_set(diag, def->max_entries ? PF_E2BIG : PF_EINVAL, PF_DIAG_MAP_MAX_ENTRIES, 0, 0,
				   def->max_entries, rule->entries_max, type->text);
	return check_flags(def, diag);
}

static enum pf_err check_inner(const struct pf_map_def *def, const struct pf_map_def *inner, struct pf_diag *diag)
{
	const char *text = pf_map_type_text(def->type);

	if (!holds_maps(def->type))
		return PF_OK; /* ignored, as in Linux */
	if (!inner)
		return pf_diag_set(diag, PF_EINVAL, PF_DIAG_MAP_INNER, 0, 0, 0, 0, text);
	enum pf_err err = check_def(inner, diag);
	if (err)
		return err;
	if (types[inner->type].family == FAMILY_BINDING)
		return pf_diag_set(diag, holds_maps(inner->type) ? PF_EINVAL : PF_EOPNOTSUPP, PF_DIAG_MAP_INNER_TYPE, 0, 0,
				   (uint64_t)inner->type, 0, pf_map_type_text(inner->type));
	return PF_OK;
}

/* Programs cannot write device maps: Linux adds the flag itself. Nor can they write a socket in an xskmap. */
static struct pf_map_def stored_def(const struct pf_map_def *def)
{
	struct pf_map_def stored = *def;
	if (is_device(def->type) || def->type == PF_MAP_XSKMAP)
		stored.flags |= PF_MAP_F_RDONLY_PROG;
	return stored;
}

static void map_destroy(struct pf_ref *ref)
{
	struct pf_map *map = (struct pf_map *)(void *)ref;
	map->ops->destroy(map);
	if (pf_map_is_port(map))
		pf_binding_destroy(map);
	free(map);
}

int pf_map_is(const struct pf_ref *ref)
{
	return ref->destroy == map_destroy;
}

enum pf_err pf_map_create(const struct pf_map_def *def, const struct pf_map_def *inner, uint32_t cpus,
			  const char *name, uint64_t id, struct pf_map **out, struct pf_diag *diag)
{
	*out = NULL;
	enum pf_err err = check_def(def, diag);
	if (!err)
		err = check_inner(def, inner, diag);
	if (err)
		return err;
	struct pf_map *map = calloc(1, sizeof(*map));
	if (!map)
		return pf_diag_set(diag, PF_ENOMEM, PF_DIAG_MAP_NOMEM, 0, 0, sizeof(*map), 0, NULL);
	pf_ref_init(&map->ref, map_destroy);
	map->def = stored_def(def);
	map->id = id;
	size_t n = name ? strnlen(name, PF_NAME_MAX - 1) : 0;
	if (n)
		memcpy(map->name, name, n);
	map->percpu = types[def->type].percpu;
	map->cpus = map->percpu && cpus ? cpus : 1;
	map->value_step = (uint32_t)pf_round8(def->value_size);
	map->cpu_step = map->percpu ? map->value_step : 0;
	atomic_init(&map->frozen, 0);
	if (holds_maps(def->type))
		map->inner = stored_def(inner);
	switch ((enum family)types[def->type].family) {
	case FAMILY_ARRAY: map->ops = &pf_array_ops; break;
	case FAMILY_HASH: map->ops = pf_hash_ops_of(def); break;
	case FAMILY_LPM: map->ops = &pf_lpm_ops; break;
	case FAMILY_BINDING: map->ops = &pf_binding_ops; break;
	case FAMILY_PORT: map->ops = &pf_port_ops; break;
	case FAMILY_QUEUE: map->ops = def->type == PF_MAP_QUEUE ? &pf_queue_ops : &pf_stack_ops; break;
	case FAMILY_BLOOM: map->ops = &pf_bloom_ops; break;
	case FAMILY_EVENTS: map->ops = &pf_events_ops; break;
	case FAMILY_RING: map->ops = &pf_ring_ops; break;
	case FAMILY_NONE: break;
	}
	if (PF_BUG_ON(!map->ops)) {
		free(map);
		return pf_diag_set(diag, PF_EOPNOTSUPP, PF_DIAG_MAP_TYPE, 0, 0, 0, 0, pf_map_type_text(def->type));
	}
	if (pf_map_is_port(map))
		err = pf_binding_create(map, diag); /* of its entries, beside their bytes */
	if (!err)
		err = map->ops->create(map, diag);
	if (err)
		map_destroy(&map->ref);
	else
		*out = map;
	return err;
}

static enum pf_err check_lock(const struct pf_map_def *def, uint32_t offset, struct pf_diag *diag)
{
	const char *text = pf_map_type_text(def->type);

	if (def->type != PF_MAP_HASH && def->type != PF_MAP_ARRAY)
		return pf_diag_set(diag, PF_EOPNOTSUPP, PF_DIAG_MAP_LOCK_TYPE, 0, 0, (uint64_t)def->type, 0, text);
	if (offset % PF_SPIN_BYTES || def->value_size < PF_SPIN_BYTES || offset > def->value_size - PF_SPIN_BYTES)
		return pf_diag_set(diag, PF_EINVAL, PF_DIAG_MAP_LOCK_PLACE, 0, 0, offset, def->value_size, text);
	if (def->flags & F_PROG)
		return pf_diag_set(diag, PF_EACCES, PF_DIAG_MAP_LOCK_FLAGS, 0, 0, def->flags, 0, text);
	return PF_OK;
}

enum pf_err pf_map_set_lock(struct pf_map *map, uint32_t offset, struct pf_diag *diag)
{
	const enum pf_err err = check_lock(&map->def, offset, diag);
	if (!err)
		map->lock = (struct pf_map_lock){ .offset = offset, .present = 1 };
	return err;
}

enum pf_err pf_map_set_inner_lock(struct pf_map *map, uint32_t offset, struct pf_diag *diag)
{
	const enum pf_err err = check_lock(&map->inner, offset, diag);
	if (!err)
		map->inner_lock = (struct pf_map_lock){ .offset = offset, .present = 1 };
	return err;
}

enum pf_err pf_map_fits_inner(const struct pf_map *map, const struct pf_map *outer, struct pf_diag *diag)
{
	const struct pf_map_def *def = &map->def, *inner = &outer->inner;
	struct { const char *what; uint64_t found, expected; } same[] = {
		{"the type number", (uint64_t)def->type, (uint64_t)inner->type},
		{"key_size", def->key_size, inner->key_size},
		{"value_size", def->value_size, inner->value_size},
		{"flags", def->flags, inner->flags},
		{"the presence of a bpf_spin_lock", map->lock.present, outer->inner_lock.present},
		{"the place of the bpf_spin_lock", map->lock.offset, outer->inner_lock.offset},
		{"max_entries", def->max_entries, inner->max_entries},
	};
	/* Programs may have the size of a plain array compiled in, unless BPF_F_INNER_MAP says that they do not. */
	size_t count = inner->type == PF_MAP_ARRAY && !(inner->flags & PF_MAP_F_INNER_MAP) ? 7 : 6;

	for (size_t i = 0; i < count; i++)
		if (same[i].found != same[i].expected)
			return pf_diag_set(diag, PF_EINVAL, PF_DIAG_MAP_INNER_MISMATCH, 0, 0, same[i].found,
					   same[i].expected, same[i].what);
	return PF_OK;
}

/* --- memory --- */

/* Small arenas come from malloc, so that AddressSanitizer guards their ends. */
#define MMAP_FROM 65536u
/* A hash map of millions is read at random places: with pages of 4 KiB each would miss the translation cache as well. Smaller
 * arenas would commit far more than they use. */
#define HUGE_FROM (UINT64_C(16) << 20)

void *pf_arena_alloc(uint64_t count, uint64_t size, struct pf_diag *diag)
{
	uint64_t bytes;
	void *arena = NULL;

	if (__builtin_mul_overflow(count, size, &bytes)) {
		bytes = UINT64_MAX;
	} else if (bytes <= MMAP_FROM) {
		if (posix_memalign(&arena, 64, bytes ? bytes : 1))
			arena = NULL;
		else
			memset(arena, 0, bytes);
	} else if (bytes <= PF_MAP_ARENA_MAX) {
		arena = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (arena == MAP_FAILED)
			arena = NULL;
		else if (bytes >= HUGE_FROM)
			(void)madvise(arena, bytes, MADV_HUGEPAGE); /* advice: without it the same, slower */
	}
	if (!arena)
		pf_diag_set(diag, PF_ENOMEM, PF_DIAG_MAP_NOMEM, 0, 0, bytes, PF_MAP_ARENA_MAX, NULL);
	return arena;
}

void pf_arena_free(void *arena, uint64_t count, uint64_t size)
{
	if (arena && count * size > MMAP_FROM)
		munmap(arena, count * size);
	else
		free(arena);
}

int pf_map_contains(const struct pf_map *map, const void *address, uint64_t size)
{
	uint64_t at = (uint64_t)(uintptr_t)address - (uint64_t)(uintptr_t)map->arena;

	if (!map->arena || (uintptr_t)address < (uintptr_t)map->arena || at >= map->elements * map->stride)
		return 0;
	at %= map->stride;
	if (at < map->value_offset)
		return 0;
	at -= map->value_offset;
	if (at >= (uint64_t)map->cpus * map->value_step)
		return 0;
	at %= map->value_step;
	return at <= map->def.value_size && size <= map->def.value_size - at;
}

uint8_t *pf_map_direct_value(struct pf_map *map, uint32_t offset)
{
	if (map->def.type != PF_MAP_ARRAY || map->def.max_entries != 1 || offset >= map->def.value_size)
		return NULL;
	return map->arena + offset;
}

const uint8_t *pf_map_fixed_contents(struct pf_map *map)
{
	if (!(map->def.flags & PF_MAP_F_RDONLY_PROG) || !atomic_load_explicit(&map->frozen, memory_order_acquire))
		return NULL;
	return pf_map_direct_value(map, 0);
}

/* --- program side --- */

enum pf_err pf_map_update(struct pf_map *map, const void *key, const void *value, uint64_t flags, uint32_t cpu)
{
	return pf_map_prog_writable(map) ? map->ops->update(map, key, value, flags, cpu) : PF_EPERM;
}

enum pf_err pf_map_delete(struct pf_map *map, const void *key)
{
	if (!pf_map_prog_writable(map) || map->ops == &pf_port_ops)
		return PF_EPERM;
	return map->ops->remove(map, key);
}

enum pf_err pf_map_for_each(struct pf_map *map, uint32_t cpu, pf_map_visit visit, void *user, uint64_t *visited)
{
	uint64_t calls = 0;
	enum pf_err err = map->ops->for_each ? map->ops->for_each(map, cpu, visit, user, &calls) : PF_EINVAL;
	if (visited)
		*visited = calls;
	return err;
}

/* --- user side --- */

int pf_map_user_writable(struct pf_map *map)
{
	return !(map->def.flags & PF_MAP_F_RDONLY) && !atomic_load_explicit(&map->frozen, memory_order_acquire);
}

int pf_map_user_readable(const struct pf_map *map) { return !(map->def.flags & PF_MAP_F_WRONLY); }

size_t pf_map_user_value_size(const struct pf_map *map)
{
	return map->percpu ? (size_t)map->cpus * map->value_step : map->def.value_size;
}

enum pf_err pf_map_user_lookup(struct pf_map *map, const void *key, void *value, uint64_t flags)
{
	if (!pf_map_user_readable(map))
		return PF_EPERM;
	if (flags & ~(uint64_t)PF_MAP_F_LOCK || !pf_lock_flag_fits(map, flags))
		return PF_EINVAL;
	return map->ops->read(map, key, value, flags);
}

enum pf_err pf_map_user_update(struct pf_map *map, const void *key, const void *value, uint64_t flags)
{
	if (!pf_map_user_writable(map))
		return PF_EPERM;
	return pf_lock_flag_fits(map, flags) ? map->ops->update(map, key, value, flags, PF_MAP_ALL_CPUS) : PF_EINVAL;
}

enum pf_err pf_map_user_delete(struct pf_map *map, const void *key)
{
	if (!pf_map_user_writable(map))
		return PF_EPERM;
	if (types[map->def.type].family == FAMILY_BINDING)
		return pf_map_bind(map, key, NULL, PF_MAP_ANY, NULL, NULL);
	return map->ops->remove(map, key);
}

enum pf_err pf_map_user_next_key(struct pf_map *map, const void *key, void *next)
{
	return pf_map_user_readable(map) ? map->ops->next_key(map, key, next) : PF_EPERM;
}

uint64_t pf_map_count(struct pf_map *map)
{
	return map->ops->count(map);
}

uint64_t pf_map_memory(const struct pf_map *map)
{
	return map->memory ? map->memory : map->elements * map->stride;
}

void pf_map_freeze(struct pf_map *map)
{
	atomic_store_explicit(&map->frozen, 1, memory_order_release);
}
