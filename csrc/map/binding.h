/* binding.h - contents of prog arrays and maps of maps: immutable snapshots that worlds hold.
 *
 * Terms
 *   binding   struct pf_binding: keys and the objects they name, at one moment; counted, immutable once shared
 *   box       the current binding of one map, and who must publish a new world when it changes
 *   bindings  struct pf_bindings: the table of one world, from map to binding
 *   object    struct pf_ref of a program, a map or a port entry; the binding holds a reference to each
 *   port map  devmap, devmap_hash, cpumap: keys name port entries; their bytes lie in the arena too, for programs that
 *             look them up
 *
 * Invariants
 *   B1 A binding that anybody but its box holds never changes; a write makes a copy first.
 *   B2 A program reads a binding only through the bindings of the world it runs in: one batch, one contents.
 *   B3 After pf_map_bind returns, every subscriber has been told, and so has published a world with the new binding.
 *   B4 Locks: box->lock is never held while a subscriber is called; subscriber->lock may be held while a datapath's
 *      lock is taken, never the other way round.
 *
 * Threads: any, for what takes a map. pf_bindings_of by workers, online, in the bindings of their world.
 */
#ifndef PF_BINDING_H
#define PF_BINDING_H

#include <pthread.h>

#include "../rcu/ref.h"
#include "../tables/tables.h"

struct pf_map;

struct pf_binding {
	struct pf_ref ref; /* first (F1) */
	uint32_t key_size;
	uint32_t capacity;        /* slots: max_entries for arrays; a power of two for hashes */
	uint32_t count;           /* objects present */
	uint32_t hashed;          /* 0: key is a u32 index */
	struct pf_ref **objects;  /* capacity entries, NULL: empty */
	uint8_t *keys;            /* hashed: capacity * key_size bytes */
};

/* Somebody who must hear of changes: a datapath. Counted, because it outlives whoever it tells. */
struct pf_subscriber {
	struct pf_ref ref; /* first (F1) */
	pthread_mutex_t lock;
	void *target; /* NULL once the target is gone */
	enum pf_err (*changed)(void *target, struct pf_diag *diag); /* publishes; called with lock held */
};

struct pf_subscription {
	struct pf_subscription *next;
	struct pf_subscriber *subscriber;
};

struct pf_binding_box {
	pthread_mutex_t lock;
	pthread_mutex_t writing; /* of port maps: one user's change at a time, taken before every other lock */
	struct pf_binding *current;
	struct pf_subscription *subscriptions;
};

/* User side: sets key to object (its reference is taken), or clears it (object NULL: delete). flags as for maps. The
 * object must be what the map holds: pf_map_bind checks an inner map against map->inner. Then tells subscribers;
 * *published counts them. */
PF_API enum pf_err pf_map_bind(struct pf_map *map, const void *key, struct pf_ref *object, uint64_t flags,
			       uint32_t *published, struct pf_diag *diag);
/* The object at key with a new reference, or NULL. */
PF_API struct pf_ref *pf_map_bound(struct pf_map *map, const void *key);

/* An entry of a port map. Target and program change together, since a world holds both. */
struct pf_port_entry {
	struct pf_ref ref;   /* first (F1) */
	uint32_t first;      /* ifindex, or a cpumap's queue size; not 0 */
	struct pf_ref *prog; /* its secondary program, one reference; NULL: none */
};

/* User side of port maps: as bpf(2) with a program in the value, whose number programs then read there. The caller has
 * checked that the program is one for such entries. prog NULL: none. EINVAL for another map, or for a program where the
 * value has no room to name one; else as an update. */
PF_API enum pf_err pf_map_bind_port(struct pf_map *map, const void *key, uint32_t first, struct pf_ref *prog,
				    uint32_t prog_id, uint64_t flags, uint32_t *published, struct pf_diag *diag);
int pf_map_is_port(const struct pf_map *map);
/* The program at key with a new reference, or NULL. */
PF_API struct pf_ref *pf_map_bound_port(struct pf_map *map, const void *key);

/* A reference to the current binding. */
struct pf_binding *pf_map_binding(struct pf_map *map);
struct pf_ref *pf_binding_find(const struct pf_binding *binding, const void *key);

/* Idempotent. Unsubscribing what is not subscribed is nothing. */
enum pf_err pf_map_subscribe(struct pf_map *map, struct pf_subscriber *subscriber);
void pf_map_unsubscribe(struct pf_map *map, struct pf_subscriber *subscriber);

/* A world's table: open addressing by map pointer, load at most one half. */
struct pf_bindings {
	uint32_t mask;
	struct pf_bindings_slot {
		const struct pf_map *map;
		struct pf_binding *binding; /* one reference */
	} *slots;
};

/* Where the search for map begins; the table's builder and its readers share it. */
static inline uint32_t pf_bindings_start(const struct pf_bindings *bindings, const struct pf_map *map)
{
	return (uint32_t)(((uint64_t)(uintptr_t)map >> 6) * 0x9e3779b97f4a7c15u >> 32) & bindings->mask;
}

static inline struct pf_binding *pf_bindings_of(const struct pf_bindings *bindings, const struct pf_map *map)
{
	for (uint32_t i = pf_bindings_start(bindings, map);; i = (i + 1) & bindings->mask) {
		if (bindings->slots[i].map == map)
			return bindings->slots[i].binding;
		if (!bindings->slots[i].map)
			return NULL;
	}
}

#endif
