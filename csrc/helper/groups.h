/* groups.h - the implementations of helper.def, one file per group; inside csrc/helper only.
 *
 * Every function takes what the program passed, whether or not a checked run has looked at it before: an unchecked run
 * passes what the verifier accepted, so pointers that a row's argument kinds describe may be followed.
 */
#ifndef PF_HELPER_GROUPS_H
#define PF_HELPER_GROUPS_H

#include "exec.h"

#define PF_HELPER_FN(name)                                                                                             \
	uint64_t pf_helper_##name(struct pf_exec *x, uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5)

#define PF_HELPER(name, number, ret, a1, a2, a3, a4, a5, flags) PF_HELPER_FN(name);
#include "../tables/helper.def"
#undef PF_HELPER
#undef PF_HELPER_NAME

#define PF_UNUSED(...) ((void)(uint64_t[]){ __VA_ARGS__ })

/* A map argument. */
static inline struct pf_map *pf_helper_map(uint64_t r)
{
	return (struct pf_map *)(uintptr_t)r;
}

static inline void *pf_helper_lock(uint64_t r)
{
	return (void *)(uintptr_t)r;
}

static inline const void *pf_helper_mem(uint64_t r)
{
	return (const void *)(uintptr_t)r;
}

#endif
