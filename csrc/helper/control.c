/* control.c - helpers that run code or decide where a packet goes: bpf_loop, bpf_redirect, bpf_redirect_map. */
#include "groups.h"

#define LOOP_MAX (1u << 23)            /* Linux: BPF_MAX_LOOPS */
#define REDIRECT_ACTIONS 3u            /* low flag bits of bpf_redirect_map: the action when the key is absent */

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

/* What a port map's entry says: an ifindex or a queue size, 0: no entry. Of the world, as programs of an
 * entry are; by the bytes where no world has the map's entries. */
static uint32_t entry_of(struct pf_exec *x, struct pf_map *map, uint32_t key)
{
	const struct pf_binding *binding = x->bindings ? pf_bindings_of(x->bindings, map) : NULL;
	if (binding) {
		const struct pf_port_entry *entry = (const struct pf_port_entry *)pf_binding_find(binding, &key);
		return entry ? entry->first : 0;
	}
	const uint8_t *value = pf_map_lookup(map, &key, x->cpu);
	return value ? __atomic_load_n((const uint32_t *)(const void *)value, __ATOMIC_RELAXED) : 0;
}

PF_HELPER_FN(redirect_map)
{
	PF_UNUSED(r4, r5);
	struct pf_map *map = pf_helper_map(r1);
	const uint32_t key = (uint32_t)r2;
	const int one = map->def.type == PF_MAP_CPUMAP || map->def.type == PF_MAP_XSKMAP; /* no copies */
	const uint64_t multicast = one ? 0 : PF_REDIRECT_BROADCAST | PF_REDIRECT_EXCLUDE;
	if (r3 & ~(REDIRECT_ACTIONS | multicast))
		return PF_XDP_ABORTED;
	const uint32_t value = r3 & PF_REDIRECT_BROADCAST ? 0 : entry_of(x, map, key);
	if (!(r3 & PF_REDIRECT_BROADCAST) && !value) {
		x->redirect = PF_REDIRECT_NONE;
		return r3 & REDIRECT_ACTIONS;
	}
	x->redirect = PF_REDIRECT_MAP;
	x->redirect_value = value;
	x->redirect_target = key;
	x->redirect_flags = r3 & multicast;
	x->redirect_map = map;
	return PF_XDP_REDIRECT;
}
