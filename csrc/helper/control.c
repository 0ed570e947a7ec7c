/* control.c - helpers that run code or decide where a packet goes: bpf_loop, bpf_redirect, bpf_redirect_map. */
#include "groups.h"

#define LOOP_MAX (1u << 23)            /* Linux: BPF_MAX_LOOPS */
#define REDIRECT_ACTIONS 3u            /* low flag bits of bpf_redirect_map: the action when the key is absent */
#define REDIRECT_BROADCAST (1u << 3)   /* BPF_F_BROADCAST */
#define REDIRECT_EXCLUDE (1u << 4)     /* BPF_F_EXCLUDE_INGRESS */

/* Returns the number of callbacks run; any result but 0 ends the loop. */
PF_HELPER_FN(loop)
{
	PF_UNUSED(r5);
	const uint32_t count = (uint32_t)r1;
	if (r4)
		return (uint64_t)-PF_EINVAL;
	if (count > LOOP_MAX)
		return (uint64_t)-PF_E2BIG;
	for (uint32_t i = 0; i < count; i++) {
		const uint64_t args[5] = { i, r3, 0, 0, 0 };
		uint64_t r0 = 0;
		if (x->call(x, (uint32_t)r2, args, &r0) || r0)
			return i + 1;
	}
	return count;
}

PF_HELPER_FN(redirect)
{
	PF_UNUSED(r3, r4, r5);
	if (r2)
		return PF_XDP_ABORTED;
	x->redirect = PF_REDIRECT_IFINDEX;
	x->redirect_target = (uint32_t)r1;
	x->redirect_flags = 0;
	x->redirect_map = NULL;
	return PF_XDP_REDIRECT;
}

PF_HELPER_FN(redirect_map)
{
	PF_UNUSED(r4, r5);
	struct pf_map *map = pf_helper_map(r1);
	const uint32_t key = (uint32_t)r2;
	const uint64_t multicast = map->def.type == PF_MAP_CPUMAP || map->def.type == PF_MAP_XSKMAP ? 0 : REDIRECT_BROADCAST | REDIRECT_EXCLUDE;
	if (r3 & ~(REDIRECT_ACTIONS | multicast))
		return PF_XDP_ABORTED;
	if (!(r3 & REDIRECT_BROADCAST) && !pf_map_lookup(map, &key, x->cpu)) {
		x->redirect = PF_REDIRECT_NONE;
		return r3 & REDIRECT_ACTIONS;
	}
	x->redirect = PF_REDIRECT_MAP;
	x->redirect_target = key;
	x->redirect_flags = r3 & multicast;
	x->redirect_map = map;
	return PF_XDP_REDIRECT;
}
