/* keyless.h - queue, stack and bloom_filter maps: values are pushed, popped and peeked at, there are no keys. Part of map.h.
 *
 * Semantics: kernel Documentation/bpf/map_queue_stack.rst and map_bloom_filter.rst. A full queue or stack is PF_E2BIG, or with
 * PF_MAP_EXIST loses its oldest value; an empty one is PF_ENOENT, and the value zero. A bloom filter's peek is PF_OK for a value
 * that may have been pushed, PF_ENOENT for one that was not; it pops nothing (PF_EOPNOTSUPP).
 *
 * Threads: any.
 */
#ifndef PF_MAP_KEYLESS_H
#define PF_MAP_KEYLESS_H

#include "def.h"

struct pf_map;

struct pf_keyless_ops {
	enum pf_err (*push)(struct pf_map *map, const void *value, uint64_t flags);
	enum pf_err (*pop)(struct pf_map *map, void *value);  /* NULL: nothing is taken out of this type */
	enum pf_err (*peek)(struct pf_map *map, void *value); /* a bloom filter reads the value, and writes nothing */
};

/* map_extra of bpf(2): the number of hash functions of a bloom filter, 0 for the default of 5; by the creator, before anyone
 * else sees the map. EINVAL, ENOMEM. */
PF_API enum pf_err pf_map_set_extra(struct pf_map *map, uint64_t extra, struct pf_diag *diag);

/* Program side. PF_EPERM: read-only for programs. */
enum pf_err pf_map_push(struct pf_map *map, const void *value, uint64_t flags);
enum pf_err pf_map_pop(struct pf_map *map, void *value);
enum pf_err pf_map_peek(struct pf_map *map, void *value);

/* User side: BPF_MAP_UPDATE_ELEM, BPF_MAP_LOOKUP_AND_DELETE_ELEM and BPF_MAP_LOOKUP_ELEM without a key. */
PF_API enum pf_err pf_map_user_push(struct pf_map *map, const void *value, uint64_t flags);
PF_API enum pf_err pf_map_user_pop(struct pf_map *map, void *value, uint64_t flags);
PF_API enum pf_err pf_map_user_peek(struct pf_map *map, void *value, uint64_t flags);

#endif
