/* port.c - devmap, devmap_hash, cpumap, xskmap: entries with their secondary programs, as objects of a binding (binding.h), and
 * their bytes in the arena (array.c, hash.c), where programs look them up.
 *
 * The binding changes first: it is what redirects follow. The arena cannot fail any more then. `writing` keeps both in
 * the same order for two users.
 */
#include "map_impl.h"

#include <stdlib.h>

/* A queue longer than this is EOVERFLOW in Linux. */
#define CPUMAP_QUEUE_MAX 16384u

static int is_hash(const struct pf_map *map) { return map->def.type == PF_MAP_DEVMAP_HASH; }

int pf_map_is_port(const struct pf_map *map) { return map->ops->update == pf_port_update; }

static uint32_t first_of(const struct pf_ref *ref) { return ((const struct pf_port_entry *)(const void *)ref)->first; }

static void entry_destroy(struct pf_ref *ref)
{
	struct pf_port_entry *entry = (struct pf_port_entry *)(void *)ref;

	if (entry->prog)
		pf_ref_put(entry->prog);
	free(entry);
}

static struct pf_port_entry *entry_new(uint32_t first, struct pf_ref *prog)
{
	struct pf_port_entry *entry = malloc(sizeof(*entry));

	if (!entry)
		return NULL;
	if (prog)
		pf_ref_get(prog);
	*entry = (struct pf_port_entry){.first = first, .prog = prog};
	pf_ref_init(&entry->ref, entry_destroy);
	return entry;
}

/* An xskmap tells empty slots from others, where devmap and cpumap say that every key is there. What Linux has of a socket
 * by its descriptor is here its number: any but 0. */
static enum pf_err admit_socket(const struct pf_map *map, const struct pf_binding *current, const void *key,
				const struct pf_ref *object, uint64_t flags)
{
	if (pf_index_of(key) >= map->def.max_entries)
		return PF_E2BIG;
	if (!object)
		return PF_EINVAL;
	const struct pf_ref *old = pf_binding_find(current, key);
	if (old && flags & PF_MAP_NOEXIST && first_of(old) != first_of(object))
		return PF_EEXIST;
	return !old && flags & PF_MAP_EXIST ? PF_ENOENT : PF_OK;
}

/* What Linux answers, in its order (measured): devmap_hash inserts with BPF_EXIST too; an array has every index. */
static enum pf_err admit(const struct pf_map *map, const struct pf_binding *current, const void *key,
			 const struct pf_ref *object, uint64_t flags)
{
	if (flags > PF_MAP_EXIST)
		return PF_EINVAL;
	if (map->def.type == PF_MAP_XSKMAP)
		return admit_socket(map, current, key, object, flags);
	if (!is_hash(map)) {
		if (pf_index_of(key) >= map->def.max_entries)
			return PF_E2BIG;
		return flags & PF_MAP_NOEXIST ? PF_EEXIST : PF_OK;
	}
	if (pf_binding_find(current, key))
		return flags & PF_MAP_NOEXIST ? PF_EEXIST : PF_OK;
	return current->count >= map->def.max_entries ? PF_E2BIG : PF_OK;
}

static enum pf_err check_update(const struct pf_map *map, const struct pf_binding *current, const void *key,
				const struct pf_ref *object, uint64_t flags, struct pf_diag *diag)
{
	const enum pf_err err = admit(map, current, key, object, flags);
	return err ? pf_diag_set(diag, err, PF_DIAG_MAP_BIND, 0, 0, err, 0, pf_err_text(err)) : PF_OK;
}

static enum pf_err check_remove(const struct pf_map *map, const struct pf_binding *current, const void *key,
				const struct pf_ref *object, uint64_t flags, struct pf_diag *diag)
{
	(void)object, (void)flags, (void)diag;
	if (!is_hash(map) && pf_index_of(key) >= map->def.max_entries)
		return PF_EINVAL;
	return is_hash(map) && !pf_binding_find(current, key) ? PF_ENOENT : PF_OK;
}

static enum pf_err change(struct pf_map *map, const void *key, struct pf_port_entry *entry, uint32_t prog_id,
			  uint64_t flags, pf_binding_check check, uint32_t *published, struct pf_diag *diag)
{
	const uint32_t word[2] = {entry ? entry->first : 0, prog_id};

	pthread_mutex_lock(&map->box.writing);
	enum pf_err err = pf_binding_change(map, key, entry ? &entry->ref : NULL, flags, check, published, diag);
	if (!err)
		(is_hash(map) ? pf_hash_mirror : pf_array_mirror)(map, key, entry ? word : NULL);
	pthread_mutex_unlock(&map->box.writing);
	return err;
}

/* first 0 empties an index. */
static enum pf_err set(struct pf_map *map, const void *key, uint32_t first, struct pf_ref *prog, uint32_t prog_id,
		       uint64_t flags, uint32_t *published, struct pf_diag *diag)
{
	struct pf_port_entry *entry = NULL;

	if (!first && is_hash(map))
		return PF_EINVAL;
	if (map->def.type == PF_MAP_CPUMAP && first > CPUMAP_QUEUE_MAX)
		return pf_index_of(key) >= map->def.max_entries ? PF_E2BIG : PF_EOVERFLOW;
	if (first) {
		entry = entry_new(first, prog);
		if (!entry)
			return PF_ENOMEM;
	}
	enum pf_err err = change(map, key, entry, entry && prog ? prog_id : 0, flags, check_update, published, diag);
	if (entry)
		pf_ref_put(&entry->ref);
	return err;
}

/* The second word of a user's value names a program by descriptor; there are none here, so only "none" fits. */
enum pf_err pf_port_update(struct pf_map *map, const void *key, const void *value, uint64_t flags, uint32_t cpu)
{
	uint32_t word[2] = {0, 0};

	if (cpu != PF_MAP_ALL_CPUS)
		return PF_EPERM; /* a program */
	memcpy(word, value, map->def.value_size);
	if ((word[0] || is_hash(map)) && (int32_t)word[1] > 0)
		return PF_EINVAL;
	return set(map, key, word[0], NULL, 0, flags, NULL, NULL);
}

enum pf_err pf_port_remove(struct pf_map *map, const void *key)
{
	return change(map, key, NULL, 0, 0, check_remove, NULL, NULL);
}

enum pf_err pf_map_bind_port(struct pf_map *map, const void *key, uint32_t first, struct pf_ref *prog, uint32_t prog_id,
			     uint64_t flags, uint32_t *published, struct pf_diag *diag)
{
	if (!pf_map_is_port(map) || (prog && map->def.value_size < 8))
		return PF_EINVAL;
	return set(map, key, first, prog, prog_id, flags, published, diag);
}

struct pf_ref *pf_map_bound_port(struct pf_map *map, const void *key)
{
	struct pf_ref *prog = NULL;

	if (!pf_map_is_port(map))
		return NULL;
	pthread_mutex_lock(&map->box.lock);
	struct pf_ref *object = pf_binding_find(map->box.current, key);
	if (object)
		prog = ((struct pf_port_entry *)(void *)object)->prog;
	if (prog)
		pf_ref_get(prog);
	pthread_mutex_unlock(&map->box.lock);
	return prog;
}
