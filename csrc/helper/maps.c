/* maps.c - map helpers: lookup, update, delete, bpf_for_each_map_elem, bpf_spin_lock (bpf-helpers(7)). */
#include "groups.h"

#include "../map/spin.h"

static int is_outer(const struct pf_map *map)
{
	return map->def.type == PF_MAP_ARRAY_OF_MAPS || map->def.type == PF_MAP_HASH_OF_MAPS;
}

/* A map of maps is read through the world (B2); what it gives is the inner map itself. */
static uint64_t lookup_outer(struct pf_exec *x, struct pf_map *map, const void *key)
{
	struct pf_binding *binding = x->bindings ? pf_bindings_of(x->bindings, map) : NULL;
	struct pf_ref *inner = binding ? pf_binding_find(binding, key) : NULL;
	if (!inner)
		return 0;
	if (pf_exec_grant(x, (struct pf_map *)inner))
		return 0;
	return (uint64_t)(uintptr_t)inner;
}

PF_HELPER_FN(map_lookup_elem)
{
	PF_UNUSED(r3, r4, r5);
	struct pf_map *map = pf_helper_map(r1);
	if (PF_UNLIKELY(is_outer(map)))
		return lookup_outer(x, map, pf_helper_mem(r2));
	return (uint64_t)(uintptr_t)pf_map_lookup(map, pf_helper_mem(r2), x->cpu);
}

PF_HELPER_FN(map_lookup_percpu_elem)
{
	PF_UNUSED(r4, r5);
	(void)x;
	struct pf_map *map = pf_helper_map(r1);
	const uint32_t cpu = (uint32_t)r3;
	return cpu < map->cpus ? (uint64_t)(uintptr_t)pf_map_lookup(map, pf_helper_mem(r2), cpu) : 0;
}

PF_HELPER_FN(map_update_elem)
{
	PF_UNUSED(r5);
	struct pf_map *map = pf_helper_map(r1);
	if (!pf_map_has_cpu(map, x->cpu))
		return (uint64_t)-PF_EINVAL;
	return (uint64_t) - (int64_t)pf_map_update(map, pf_helper_mem(r2), pf_helper_mem(r3), r4, x->cpu);
}

PF_HELPER_FN(map_delete_elem)
{
	PF_UNUSED(r3, r4, r5);
	(void)x;
	return (uint64_t) - (int64_t)pf_map_delete(pf_helper_map(r1), pf_helper_mem(r2));
}

struct visit {
	struct pf_exec *x;
	uint32_t pc;
	uint64_t ctx;
};

static uint64_t visit_element(void *user, struct pf_map *map, void *key, uint8_t *value)
{
	const struct visit *v = user;
	struct pf_exec *x = v->x;
	const struct pf_visiting here = { x->visiting, key, map->def.key_size };
	const uint64_t args[5] = { (uint64_t)(uintptr_t)map, (uint64_t)(uintptr_t)key, (uint64_t)(uintptr_t)value, v->ctx, 0 };
	uint64_t r0 = 0;
	x->visiting = &here;
	enum pf_err err = x->call(x, v->pc, args, &r0);
	x->visiting = here.outer;
	x->window_len = 0; /* it may show the key, which dies now */
	return err ? 1 : r0;
}

PF_HELPER_FN(for_each_map_elem)
{
	PF_UNUSED(r5);
	if (r4 || !pf_map_has_cpu(pf_helper_map(r1), x->cpu))
		return (uint64_t)-PF_EINVAL;
	struct visit visit = { x, (uint32_t)r2, r3 };
	uint64_t visited = 0;
	enum pf_err err = pf_map_for_each(pf_helper_map(r1), x->cpu, visit_element, &visit, &visited);
	return err ? (uint64_t) - (int64_t)err : visited;
}

/* The verifier (or check.c) has seen to it that r1 is a lock, and what holds it here waits for nothing (spin.h, S3). */
PF_HELPER_FN(spin_lock)
{
	PF_UNUSED(r2, r3, r4, r5);
	pf_spin_acquire(pf_helper_lock(r1));
	if (x->checked)
		x->lock = pf_helper_lock(r1);
	return 0;
}

PF_HELPER_FN(spin_unlock)
{
	PF_UNUSED(r2, r3, r4, r5);
	if (x->checked)
		x->lock = NULL;
	pf_spin_release(pf_helper_lock(r1));
	return 0;
}
