/* reach.c - what the chains of a world can come to, and the engine each program can run on. */
#include "reach.h"

#include "../vm/vm.h"

#include <stdlib.h>
#include <string.h>

#define NO_POSITION UINT32_MAX

static int holds_maps(enum pf_map_type type)
{
	return type == PF_MAP_ARRAY_OF_MAPS || type == PF_MAP_HASH_OF_MAPS;
}

/* map_type.def: which types hold programs or maps. */
static int holds_bindings(const struct pf_map *map)
{
	if (pf_map_is_port(map))
		return 1;
	enum { ARRAY, HASH, LPM, BINDING, PORT, QUEUE, BLOOM, EVENTS, RING, NONE };
	switch (map->def.type) {
#define PF_MAP_TYPE(name, number, text, family, percpu, support)                                                       \
	case PF_MAP_##name:                                                                                            \
		return family == BINDING;
#include "../tables/map_type.def"
#undef PF_MAP_TYPE
	}
	return 0;
}

static uint32_t start_of(const struct pf_pointers *set, const void *item)
{
	return (uint32_t)(((uint64_t)(uintptr_t)item >> 4) * 0x9e3779b97f4a7c15u >> 32) & set->mask;
}

static uint32_t position_of(const struct pf_pointers *set, const void *item)
{
	if (!set->index)
		return NO_POSITION;
	for (uint32_t i = start_of(set, item); set->index[i]; i = (i + 1) & set->mask)
		if (set->items[set->index[i] - 1] == item)
			return set->index[i] - 1;
	return NO_POSITION;
}

static void enter(struct pf_pointers *set, uint32_t position)
{
	uint32_t i = start_of(set, set->items[position]);
	while (set->index[i])
		i = (i + 1) & set->mask;
	set->index[i] = position + 1;
}

/* Room for one more; the index is kept at most half full. */
static int grow(struct pf_pointers *set)
{
	if (set->count < set->capacity)
		return 1;
	if (!set->capacity) {
		set->items = set->few;
		set->index = set->few_index;
		set->capacity = PF_REACH_FEW;
		set->mask = PF_REACH_FEW * 2 - 1;
		return 1;
	}
	uint32_t capacity = set->capacity * 2;
	const void **items = malloc(capacity * sizeof(*items));
	uint32_t *index = items ? calloc((size_t)capacity * 2, sizeof(*index)) : NULL;
	if (!index) {
		free(items);
		return 0;
	}
	memcpy(items, set->items, set->count * sizeof(*items));
	if (set->items != set->few) {
		free(set->items);
		free(set->index);
	}
	set->items = items;
	set->index = index;
	set->capacity = capacity;
	set->mask = capacity * 2 - 1;
	for (uint32_t i = 0; i < set->count; i++)
		enter(set, i);
	return 1;
}

static void release(struct pf_pointers *set)
{
	if (set->items == set->few)
		return;
	free(set->items);
	free(set->index);
}

/* Room for as many bindings as maps. */
static int grow_bindings(struct pf_reach *reach)
{
	if (reach->maps.items == reach->maps.few) {
		reach->bindings = reach->few_bindings;
		return 1;
	}
	struct pf_binding **old = reach->bindings == reach->few_bindings ? NULL : reach->bindings;
	struct pf_binding **bindings = realloc(old, reach->maps.capacity * sizeof(*bindings));
	if (!bindings)
		return 0;
	if (!old)
		memcpy(bindings, reach->few_bindings, sizeof(reach->few_bindings));
	reach->bindings = bindings;
	return 1;
}

static enum pf_err add_prog(struct pf_reach *reach, const struct pf_prog *prog, struct pf_diag *diag)
{
	if (position_of(&reach->progs, prog) != NO_POSITION)
		return PF_OK;
	if (!grow(&reach->progs))
		return pf_hook_nomem(diag);
	reach->progs.items[reach->progs.count] = prog;
	enter(&reach->progs, reach->progs.count++);
	return PF_OK;
}

/* Nothing to subscribe: the datapath hears of it already, or there is no plan of a world. */
static int known(const struct pf_world_plan *plan, const struct pf_map *map)
{
	return !plan || (plan->current && pf_bindings_of(&plan->current->bindings, map));
}

static enum pf_err add_object(struct pf_reach *reach, const struct pf_world_plan *plan, const struct pf_map *map,
			      struct pf_ref *object, struct pf_diag *diag);

/* A binding map: subscribed first, then read (H3). */
static enum pf_err add_map(struct pf_reach *reach, const struct pf_world_plan *plan, struct pf_map *map,
			   struct pf_diag *diag)
{
	if (position_of(&reach->maps, map) != NO_POSITION)
		return PF_OK;
	if (!grow(&reach->maps) || !grow_bindings(reach))
		return pf_hook_nomem(diag);
	if (!known(plan, map)) {
		enum pf_err err = pf_map_subscribe(map, plan->dp->subscriber);
		if (err)
			return pf_diag_set(diag, err, PF_DIAG_HOOK_NOMEM, 0, 0, 0, 0, NULL);
	}
	uint32_t position = reach->maps.count;
	reach->bindings[position] = pf_map_binding(map);
	reach->maps.items[position] = map;
	enter(&reach->maps, position);
	reach->maps.count++;
	const struct pf_binding *binding = reach->bindings[position];
	enum pf_err err = PF_OK;
	for (uint32_t i = 0; i < binding->capacity && !err; i++)
		if (binding->objects[i])
			err = add_object(reach, plan, map, binding->objects[i], diag);
	return err;
}

static enum pf_err add_object(struct pf_reach *reach, const struct pf_world_plan *plan, const struct pf_map *map,
			      struct pf_ref *object, struct pf_diag *diag)
{
	if (map->def.type == PF_MAP_PROG_ARRAY)
		return add_prog(reach, (const struct pf_prog *)object, diag);
	if (pf_map_is_port(map)) {
		const struct pf_port_entry *entry = (const struct pf_port_entry *)object;
		return entry->prog ? add_prog(reach, (const struct pf_prog *)entry->prog, diag) : PF_OK;
	}
	struct pf_map *inner = (struct pf_map *)object; /* no outer map: those do not nest */
	return pf_map_is_port(inner) ? add_map(reach, plan, inner, diag) : PF_OK;
}

/* Programs arrive in the set by pointers that their owners (links, bindings) keep alive and may change: staging adds a
 * code entry (P1). */
static enum pf_err visit_prog(struct pf_reach *reach, const struct pf_world_plan *plan, struct pf_prog *prog,
			      struct pf_diag *diag)
{
	if (!atomic_load_explicit(&prog->code[PF_ENGINE_CHECKED], memory_order_acquire)) {
		enum pf_err err = pf_vm_stage(prog, PF_ENGINE_CHECKED, NULL, diag);
		if (err)
			return err;
	}
	for (uint32_t i = 0; i < prog->map_count; i++) {
		if (!holds_bindings(prog->maps[i].map))
			continue;
		enum pf_err err = add_map(reach, plan, prog->maps[i].map, diag);
		if (err)
			return err;
	}
	return PF_OK;
}

/* Of a family: what any of its members has. Who runs one falls back on a lower engine where it has not got this one. */
static uint8_t own_engines(const struct pf_prog *prog, enum pf_engine limit)
{
	uint8_t engines = 0;
	if (prog->link == PF_LINK_HEAD)
		for (const struct pf_prog *member = atomic_load_explicit(&prog->members, memory_order_acquire); member;
		     member = atomic_load_explicit(&member->members, memory_order_acquire))
			engines |= own_engines(member, limit);
	for (unsigned e = 0; e < PF_ENGINES && e <= (unsigned)limit; e++)
		if ((e == PF_ENGINE_CHECKED || prog->verified) &&
		    atomic_load_explicit(&prog->code[e], memory_order_acquire))
			engines |= (uint8_t)(1u << e);
	return engines;
}

static uint8_t targets_engines(const struct pf_reach *reach, const struct pf_prog *prog)
{
	uint8_t engines = UINT8_MAX;
	for (uint32_t i = 0; i < prog->map_count; i++) {
		const struct pf_map *map = prog->maps[i].map;
		if (map->def.type != PF_MAP_PROG_ARRAY)
			continue;
		const struct pf_binding *binding = reach->bindings[position_of(&reach->maps, map)];
		for (uint32_t k = 0; k < binding->capacity; k++)
			if (binding->objects[k])
				engines &= reach->engines[position_of(&reach->progs, binding->objects[k])];
	}
	return engines;
}

/* The greatest fixed point of engines(p) = own(p) and engines of every tail-call target: bits only fall, so it ends. */
static enum pf_err settle_engines(struct pf_reach *reach, enum pf_engine limit, struct pf_diag *diag)
{
	reach->engines = reach->progs.count <= PF_REACH_FEW ? reach->few_engines : malloc(reach->progs.count);
	if (!reach->engines)
		return pf_hook_nomem(diag);
	for (uint32_t i = 0; i < reach->progs.count; i++)
		reach->engines[i] = own_engines(reach->progs.items[i], limit);
	for (int changed = 1; changed;) {
		changed = 0;
		for (uint32_t i = 0; i < reach->progs.count; i++) {
			uint8_t engines = reach->engines[i] & targets_engines(reach, reach->progs.items[i]);
			changed |= engines != reach->engines[i];
			reach->engines[i] = engines;
		}
	}
	return PF_OK;
}

uint64_t pf_reach_cpus(const struct pf_datapath *dp)
{
	uint64_t cpus = 0;
	for (const struct pf_datapath_cpu *cpu = dp->present; cpu; cpu = cpu->next)
		cpus = cpu->id >= cpus ? (uint64_t)cpu->id + 1 : cpus;
	return cpus;
}

static enum pf_err has_cpus(const struct pf_map *map, uint64_t cpus, struct pf_diag *diag)
{
	return !map->percpu || map->cpus >= cpus
		       ? PF_OK
		       : pf_diag_set(diag, PF_EINVAL, PF_DIAG_RUN_CPU, 0, 0, map->cpus, cpus, map->name);
}

enum pf_err pf_reach_has_cpus(const struct pf_reach *reach, uint64_t cpus, struct pf_diag *diag)
{
	enum pf_err err = PF_OK;
	for (uint32_t n = 0; n < reach->progs.count && !err; n++) {
		const struct pf_prog *prog = reach->progs.items[n];
		for (uint32_t i = 0; i < prog->map_count && !err; i++)
			err = has_cpus(prog->maps[i].map, cpus, diag);
	}
	for (uint32_t n = 0; n < reach->maps.count && !err; n++) {
		const struct pf_map *map = reach->maps.items[n];
		const struct pf_binding *binding = reach->bindings[n];
		for (uint32_t i = 0; i < binding->capacity && holds_maps(map->def.type) && !err; i++)
			if (binding->objects[i])
				err = has_cpus((const struct pf_map *)binding->objects[i], cpus, diag);
	}
	return err;
}

enum pf_err pf_reach_collect(struct pf_reach *reach, const struct pf_world_plan *plan, struct pf_diag *diag)
{
	enum pf_err err = PF_OK;
	for (const struct pf_link *link = plan->dp->links; link && !err; link = link->next)
		if (pf_link_view(link))
			err = add_prog(reach, pf_link_view(link), diag);
	for (const struct pf_link *link = plan->dp->links; link && !err; link = link->next)
		if (pf_link_view_trial(link))
			err = add_prog(reach, pf_link_view_trial(link)->prog, diag);
	for (uint32_t i = 0; i < reach->progs.count && !err; i++)
		err = visit_prog(reach, plan, (struct pf_prog *)reach->progs.items[i], diag);
	if (!err)
		err = pf_reach_has_cpus(reach, pf_reach_cpus(plan->dp), diag);
	if (!err)
		err = settle_engines(reach, plan->limit, diag);
	if (err)
		pf_reach_release(reach, plan, 0);
	return err;
}

static enum pf_err add_written(struct pf_pointers *written, const struct pf_map *map, struct pf_diag *diag)
{
	if (!pf_map_prog_writable(map) || position_of(written, map) != NO_POSITION)
		return PF_OK;
	if (!grow(written))
		return pf_hook_nomem(diag);
	written->items[written->count] = map;
	enter(written, written->count++);
	return PF_OK;
}

/* Maps of the program itself (those that hold bindings too: what will stand in them is not known), of what it can
 * tail-call, and in its maps of maps. */
static enum pf_err collect_written(struct pf_reach *reach, struct pf_pointers *written, const struct pf_prog *prog,
				   struct pf_diag *diag)
{
	enum pf_err err = add_prog(reach, prog, diag);
	for (uint32_t n = 0; n < reach->progs.count && !err; n++) {
		struct pf_prog *p = (struct pf_prog *)reach->progs.items[n];
		err = visit_prog(reach, NULL, p, diag);
		for (uint32_t i = 0; i < p->map_count && !err; i++)
			if (!n || !holds_bindings(p->maps[i].map))
				err = add_written(written, p->maps[i].map, diag);
	}
	for (uint32_t n = 0; n < reach->maps.count && !err; n++) {
		const struct pf_binding *binding = reach->bindings[n];
		if (!holds_maps(((const struct pf_map *)reach->maps.items[n])->def.type))
			continue;
		for (uint32_t i = 0; i < binding->capacity && !err; i++)
			if (binding->objects[i])
				err = add_written(written, (const struct pf_map *)binding->objects[i], diag);
	}
	return err;
}

enum pf_err pf_reach_shared(const struct pf_prog *a, const struct pf_prog *b, char *name, int *found, struct pf_diag *diag)
{
	struct pf_reach reach[2] = { { .bindings = NULL } };
	struct pf_pointers written[2] = { { .items = NULL } };
	enum pf_err err = collect_written(&reach[0], &written[0], a, diag);
	if (!err)
		err = collect_written(&reach[1], &written[1], b, diag);
	*found = 0;
	for (uint32_t i = 0; i < written[0].count && !err && !*found; i++) {
		const struct pf_map *map = written[0].items[i];
		*found = position_of(&written[1], map) != NO_POSITION;
		memcpy(name, map->name, PF_NAME_MAX); /* the bindings that keep it alive are put below */
	}
	for (unsigned i = 0; i < 2; i++) {
		release(&written[i]);
		pf_reach_release(&reach[i], NULL, 0);
	}
	return err;
}

enum pf_err pf_reach_look(struct pf_reach *reach, struct pf_datapath *dp, struct pf_prog *prog, enum pf_engine limit,
			  struct pf_diag *diag)
{
	enum pf_err err = prog ? add_prog(reach, prog, diag) : PF_OK;
	for (const struct pf_link *link = dp ? dp->links : NULL; link && !err; link = link->next) {
		err = add_prog(reach, pf_link_view(link), diag);
		if (!err && pf_link_view_trial(link))
			err = add_prog(reach, pf_link_view_trial(link)->prog, diag);
	}
	for (uint32_t i = 0; i < reach->progs.count && !err; i++)
		err = visit_prog(reach, NULL, (struct pf_prog *)reach->progs.items[i], diag);
	return err ? err : settle_engines(reach, limit, diag);
}

static enum pf_err add_members(struct pf_reach *reach, const struct pf_prog *prog, struct pf_diag *diag)
{
	if (prog->link != PF_LINK_HEAD)
		return PF_OK;
	enum pf_err err = PF_OK;
	for (const struct pf_prog *member = atomic_load_explicit(&prog->members, memory_order_acquire); member && !err;
	     member = atomic_load_explicit(&member->members, memory_order_acquire))
		err = add_prog(reach, member, diag);
	return err;
}

enum pf_err pf_hook_programs(struct pf_datapath *dp, struct pf_prog *prog, struct pf_prog ***out, uint32_t *count,
			     struct pf_diag *diag)
{
	struct pf_reach reach = { 0 };
	*out = NULL;
	*count = 0;
	if (dp)
		pthread_mutex_lock(&dp->lock);
	enum pf_err err = pf_reach_look(&reach, dp, prog, PF_ENGINE_CHECKED, diag);
	for (uint32_t i = 0, n = reach.progs.count; i < n && !err; i++)
		err = add_members(&reach, (const struct pf_prog *)reach.progs.items[i], diag);
	struct pf_prog **progs = err ? NULL : malloc((reach.progs.count + 1) * sizeof(*progs));
	if (!err && !progs)
		err = pf_hook_nomem(diag);
	for (uint32_t i = 0; i < reach.progs.count && !err; i++) {
		struct pf_prog *found = (struct pf_prog *)reach.progs.items[i];
		if (found->link == PF_LINK_HEAD)
			continue; /* its members run */
		pf_prog_get(found);
		progs[(*count)++] = found;
	}
	if (dp)
		pthread_mutex_unlock(&dp->lock);
	*out = progs;
	pf_reach_release(&reach, NULL, 0);
	return err;
}

void pf_reach_release(struct pf_reach *reach, const struct pf_world_plan *plan, int keep)
{
	for (uint32_t i = 0; i < reach->maps.count && !keep; i++) {
		struct pf_map *map = (struct pf_map *)reach->maps.items[i];
		pf_ref_put(&reach->bindings[i]->ref);
		if (!known(plan, map))
			pf_map_unsubscribe(map, plan->dp->subscriber);
	}
	release(&reach->progs);
	release(&reach->maps);
	if (reach->bindings != reach->few_bindings)
		free(reach->bindings);
	if (reach->engines != reach->few_engines)
		free(reach->engines);
}

enum pf_engine pf_reach_engine(const struct pf_reach *reach, const struct pf_prog *prog)
{
	const uint32_t position = position_of(&reach->progs, prog);
	const uint8_t engines = position == NO_POSITION ? 0 : reach->engines[position];
	enum pf_engine best = PF_ENGINE_CHECKED;
	for (unsigned e = 0; e < PF_ENGINES; e++)
		if (engines & 1u << e)
			best = (enum pf_engine)e;
	return best;
}
