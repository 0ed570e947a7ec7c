/* queues.c - helpers of maps without keys: push, pop, peek (bpf-helpers(7)). */
#include "groups.h"

PF_HELPER_FN(map_push_elem)
{
	PF_UNUSED(r4, r5);
	(void)x;
	return (uint64_t) - (int64_t)pf_map_push(pf_helper_map(r1), pf_helper_mem(r2), r3);
}

PF_HELPER_FN(map_pop_elem)
{
	PF_UNUSED(r3, r4, r5);
	(void)x;
	return (uint64_t) - (int64_t)pf_map_pop(pf_helper_map(r1), (void *)(uintptr_t)r2);
}

PF_HELPER_FN(map_peek_elem)
{
	PF_UNUSED(r3, r4, r5);
	(void)x;
	return (uint64_t) - (int64_t)pf_map_peek(pf_helper_map(r1), (void *)(uintptr_t)r2);
}
