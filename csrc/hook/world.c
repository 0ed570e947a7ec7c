/* world.c - building and taking apart worlds. */
#include "reach.h"

#include <stdlib.h>

static uint32_t entries_of(const struct pf_datapath *dp)
{
	uint32_t count = 0;
	for (const struct pf_link *link = dp->links; link; link = link->next)
		count += pf_link_view(link) != NULL;
	return count;
}

/* At most half full, and never without an empty slot, which ends a search. */
static uint32_t slots_for(uint32_t maps)
{
	uint32_t size = 1;
	while (size < maps * 2)
		size *= 2;
	return size;
}

/* One block: the world, its chains, all entries, the table of bindings. */
static struct pf_world *allocate(const struct pf_world_plan *plan, uint32_t entries, uint32_t slots,
				 uint32_t engines)
{
	size_t head = sizeof(struct pf_world) + (size_t)plan->hooks * sizeof(struct pf_chain) +
		      (size_t)entries * sizeof(struct pf_chain_entry);
	size_t table = (size_t)slots * sizeof(struct pf_bindings_slot);
	struct pf_world *world = calloc(1, head + table + (size_t)engines * sizeof(struct pf_world_engine));
	if (!world)
		return NULL;
	world->dp = plan->dp;
	world->hooks = plan->hooks;
	world->chains = (struct pf_chain *)(world + 1);
	world->bindings.slots = (struct pf_bindings_slot *)(void *)((char *)world + head);
	world->bindings.mask = slots - 1;
	world->engines = (struct pf_world_engine *)(void *)((char *)world + head + table);
	return world;
}

static void fill_bindings(struct pf_bindings *bindings, const struct pf_reach *reach)
{
	for (uint32_t n = 0; n < reach->maps.count; n++) {
		uint32_t i = pf_bindings_start(bindings, reach->maps.items[n]);
		while (bindings->slots[i].map)
			i = (i + 1) & bindings->mask;
		bindings->slots[i].map = reach->maps.items[n];
		bindings->slots[i].binding = reach->bindings[n];
	}
}

static int any_redirects(const struct pf_reach *reach)
{
	int any = 0;
	for (uint32_t i = 0; i < reach->progs.count; i++)
		any |= ((const struct pf_prog *)reach->progs.items[i])->redirects;
	return any;
}

/* dp->links is sorted by hook, so each chain is a run of it. */
static void fill_chains(struct pf_world *world, const struct pf_datapath *dp, const struct pf_reach *reach)
{
	struct pf_chain_entry *entry = (struct pf_chain_entry *)(world->chains + world->hooks);
	const struct pf_link *link = dp->links;
	const int redirects = any_redirects(reach);
	for (uint32_t hook = 0; hook < world->hooks; hook++) {
		struct pf_chain *chain = &world->chains[hook];
		chain->entries = entry;
		chain->redirects = (uint8_t)redirects;
		for (; link && link->hook == hook; link = link->next) {
			struct pf_prog *prog = pf_link_view(link);
			if (!prog)
				continue;
			pf_prog_get(prog);
			struct pf_trial *trial = pf_link_view_trial(link);
			if (trial)
				pf_ref_get(&trial->ref);
			*entry++ = (struct pf_chain_entry){
				.prog = prog,
				.engine = pf_reach_engine(reach, prog),
				.continue_on = link->continue_on,
				.link_id = link->id,
				.generation = pf_link_view_generation(link),
				.trial = trial,
				.candidate_engine = pf_reach_engine(reach, trial ? trial->prog : prog),
			};
			chain->count++;
			chain->watched |= trial != NULL;
		}
	}
}

static void add_engine(struct pf_world *world, const struct pf_reach *reach, const struct pf_prog *prog)
{
	for (uint32_t i = 0; i < world->engine_count; i++)
		if (world->engines[i].prog == prog)
			return;
	world->engines[world->engine_count++] = (struct pf_world_engine){ prog, pf_reach_engine(reach, prog) };
}

/* There is room for all programs of the reach. */
static void fill_engines(struct pf_world *world, const struct pf_reach *reach)
{
	for (uint32_t n = 0; n < reach->maps.count; n++) {
		const struct pf_binding *binding = reach->bindings[n];
		if (!pf_map_is_port(reach->maps.items[n]))
			continue;
		for (uint32_t i = 0; i < binding->capacity; i++) {
			const struct pf_port_entry *entry = (const struct pf_port_entry *)binding->objects[i];
			if (entry && entry->prog)
				add_engine(world, reach, (const struct pf_prog *)entry->prog);
		}
	}
}

enum pf_err pf_world_build(const struct pf_world_plan *plan, struct pf_world **out, struct pf_diag *diag)
{
	struct pf_reach reach = { 0 };
	enum pf_err err = pf_reach_collect(&reach, plan, diag);
	if (err)
		return err;
	struct pf_world *world = allocate(plan, entries_of(plan->dp), slots_for(reach.maps.count),
					  reach.progs.count);
	if (!world) {
		pf_reach_release(&reach, plan, 0);
		return pf_hook_nomem(diag);
	}
	world->revision = plan->current ? plan->current->revision + 1 : 1;
	world->generation = plan->generation;
	fill_bindings(&world->bindings, &reach);
	fill_chains(world, plan->dp, &reach);
	fill_engines(world, &reach);
	pf_reach_release(&reach, plan, 1);
	*out = world;
	return PF_OK;
}

int pf_world_engines_differ(const struct pf_world *world, const struct pf_reach *reach)
{
	for (uint32_t hook = 0; hook < world->hooks; hook++) {
		const struct pf_chain *chain = &world->chains[hook];
		for (uint32_t i = 0; i < chain->count; i++) {
			const struct pf_chain_entry *entry = &chain->entries[i];
			const struct pf_prog *candidate = entry->trial ? entry->trial->prog : entry->prog;
			if (pf_reach_engine(reach, entry->prog) != entry->engine ||
			    pf_reach_engine(reach, candidate) != entry->candidate_engine)
				return 1;
		}
	}
	for (uint32_t i = 0; i < world->engine_count; i++)
		if (pf_reach_engine(reach, world->engines[i].prog) != world->engines[i].engine)
			return 1;
	return 0;
}

static void put_entry(const struct pf_chain_entry *entry)
{
	pf_prog_put(entry->prog);
	if (entry->trial)
		pf_trial_put(entry->trial);
}

void pf_world_destroy(struct pf_world *world)
{
	for (uint32_t hook = 0; hook < world->hooks; hook++)
		for (uint32_t i = 0; i < world->chains[hook].count; i++)
			put_entry(&world->chains[hook].entries[i]);
	for (uint32_t i = 0; i <= world->bindings.mask; i++)
		if (world->bindings.slots[i].map)
			pf_ref_put(&world->bindings.slots[i].binding->ref);
	free(world);
}

void pf_world_unsubscribe(struct pf_datapath *dp, const struct pf_world *from, const struct pf_world *to)
{
	for (uint32_t i = 0; i <= from->bindings.mask; i++) {
		struct pf_map *map = (struct pf_map *)from->bindings.slots[i].map;
		if (map && !(to && pf_bindings_of(&to->bindings, map)))
			pf_map_unsubscribe(map, dp->subscriber);
	}
}
