/* def.h - what a map is: type, sizes and flags as bpf(2) takes them, and what the type information (BTF) of its values adds.
 *
 * Threads: plain data.
 */
#ifndef PF_MAP_DEF_H
#define PF_MAP_DEF_H

#include "../tables/tables.h"

/* Flags of bpf(2). */
#define PF_MAP_ANY 0u
#define PF_MAP_NOEXIST 1u
#define PF_MAP_EXIST 2u
#define PF_MAP_F_LOCK 4u /* copy under the value's bpf_spin_lock; PF_EINVAL for maps without */
#define PF_MAP_F_NO_PREALLOC (1u << 0)
#define PF_MAP_F_NO_COMMON_LRU (1u << 1)
#define PF_MAP_F_NUMA_NODE (1u << 2)
#define PF_MAP_F_RDONLY (1u << 3)
#define PF_MAP_F_WRONLY (1u << 4)
#define PF_MAP_F_ZERO_SEED (1u << 6)
#define PF_MAP_F_RDONLY_PROG (1u << 7)
#define PF_MAP_F_WRONLY_PROG (1u << 8)
#define PF_MAP_F_MMAPABLE (1u << 10)
#define PF_MAP_F_INNER_MAP (1u << 12)

/* Most bytes of one map's arena: address space that is committed only as elements are used. */
#define PF_MAP_ARENA_MAX (UINT64_C(1) << 36)

struct pf_map_def {
	enum pf_map_type type;
	uint32_t key_size;
	uint32_t value_size;
	uint32_t max_entries;
	uint32_t flags;
};

/* Where the values of a map have their bpf_spin_lock (spin.h). All zero: they have none. */
struct pf_map_lock {
	uint32_t offset;
	uint8_t present; /* boolean */
};

#endif
