/* tiers_state.c - saving, restoring and comparing what the maps of a program hold. */
#include "tiers.h"

/* Calls `each` for every piece of memory that holds contents. */
typedef bool visit_fn(void *user, uint32_t map, uint8_t *bytes, size_t size);

static bool visit_map(struct pf_map *map, uint32_t place, visit_fn *each, void *user)
{
	struct pf_map_part parts[PF_WORLD_PARTS];
	const uint32_t n = pf_world_parts(map, parts);
	for (uint32_t i = 0; i < n; i++)
		if (!each(user, place, parts[i].bytes, parts[i].size))
			return false;
	return true;
}

static void visit(const struct pf_world *w, uint32_t named, visit_fn *each, void *user)
{
	bool inner = false;
	for (uint32_t m = 0; m < w->map_count; m++) {
		const enum pf_map_type type = w->maps[m].map->def.type;
		if (!(named >> m & 1))
			continue;
		inner |= type == PF_MAP_ARRAY_OF_MAPS || type == PF_MAP_HASH_OF_MAPS;
		if (!visit_map(w->maps[m].map, m, each, user))
			return;
	}
	if (inner && w->inner)
		(void)visit_map(w->inner, w->map_count, each, user);
}

struct copying {
	uint8_t *to;
	const uint8_t *from;
	size_t at;
	char *text;
	size_t room;
	bool different;
};

static bool measure(void *user, uint32_t map, uint8_t *bytes, size_t size)
{
	(void)map, (void)bytes;
	((struct copying *)user)->at += size;
	return true;
}

static bool save(void *user, uint32_t map, uint8_t *bytes, size_t size)
{
	struct copying *c = user;
	(void)map;
	memcpy(c->to + c->at, bytes, size);
	c->at += size;
	return true;
}

static bool restore(void *user, uint32_t map, uint8_t *bytes, size_t size)
{
	struct copying *c = user;
	(void)map;
	memcpy(bytes, c->from + c->at, size);
	c->at += size;
	return true;
}

static bool compare(void *user, uint32_t map, uint8_t *bytes, size_t size)
{
	struct copying *c = user;
	if (memcmp(bytes, c->from + c->at, size)) {
		size_t at = 0;
		while (bytes[at] == c->from[c->at + at])
			at++;
		snprintf(c->text, c->room, "map %u, byte %zu of %zu: %#x, expected %#x", map, at, size, bytes[at],
			 c->from[c->at + at]);
		c->different = true;
		return false;
	}
	c->at += size;
	return true;
}

size_t pf_tier_state_size(const struct pf_world *w, uint32_t named)
{
	struct copying c = { .at = 0 };
	visit(w, named, measure, &c);
	return c.at;
}

void pf_tier_state_save(const struct pf_world *w, uint32_t named, uint8_t *to)
{
	struct copying c = { .to = to };
	visit(w, named, save, &c);
}

void pf_tier_state_restore(const struct pf_world *w, uint32_t named, const uint8_t *from)
{
	struct copying c = { .from = from };
	visit(w, named, restore, &c);
}

const char *pf_tier_state_differs(const struct pf_world *w, uint32_t named, const uint8_t *saved, char *text, size_t size)
{
	struct copying c = { .from = saved, .text = text, .room = size };
	visit(w, named, compare, &c);
	return c.different ? text : NULL;
}
