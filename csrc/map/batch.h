/* batch.h - many keys of one map in one call, as BPF_MAP_UPDATE_BATCH and its kin of bpf(2).
 *
 * Terms
 *   done  keys for which the operation took place; after an error, the index of the key that it is about
 *
 * Keys lie side by side, key_size bytes each, and values likewise, pf_map_user_value_size bytes each (map.h). Every key is an
 * operation of its own: others may change the map in between, and what was done before an error stays done.
 *
 * Threads: every function may be called by any thread. The caller holds a reference, and its buffers alone.
 */
#ifndef PF_BATCH_MAP_H
#define PF_BATCH_MAP_H

#include "map.h"

PF_API enum pf_err pf_map_user_update_batch(struct pf_map *map, const uint8_t *keys, const uint8_t *values, uint64_t count,
					    uint64_t flags, uint64_t *done);
PF_API enum pf_err pf_map_user_delete_batch(struct pf_map *map, const uint8_t *keys, uint64_t count, uint64_t *done);

/* found[i] is 1 where key i is there and its value was copied, 0 where it is not. */
PF_API enum pf_err pf_map_user_lookup_batch(struct pf_map *map, const uint8_t *keys, uint8_t *values, uint8_t *found,
					    uint64_t count, uint64_t flags, uint64_t *done);

/* Takes at most `count` steps of an iteration and copies what it comes to. *last is the key to go on after (the first step
 * when !*started), and is moved on. Keys that are deleted while one looks are left out, so that *got may be less than
 * the steps. PF_ENOENT: that was the end; *got entries were copied all the same. */
PF_API enum pf_err pf_map_user_walk(struct pf_map *map, uint8_t *last, int *started, uint8_t *keys, uint8_t *values,
				    uint64_t count, uint64_t *got);

#endif
