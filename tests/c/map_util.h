/* map_util.h - what the map tests share: a repeatable generator and a short way to make a map. */
#ifndef MAP_UTIL_H
#define MAP_UTIL_H

#include <string.h>

#include "check.h"
#include "map/map.h"

#define ANY PF_MAP_ANY
#define NOEXIST PF_MAP_NOEXIST
#define EXIST PF_MAP_EXIST

static uint64_t random_state = 88172645463325252u;
static inline uint64_t rnd(uint64_t below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % below;
}

static inline struct pf_map *make(enum pf_map_type type, uint32_t key, uint32_t value, uint32_t entries, uint32_t flags,
			   uint32_t cpus)
{
	struct pf_map_def def = {type, key, value, entries, flags};
	struct pf_map_def inner = {PF_MAP_ARRAY, 4, 8, 2, 0};
	struct pf_map *map;
	struct pf_diag diag;
	CHECK_EQ(pf_map_create(&def, &inner, cpus, "m", 1, &map, &diag), PF_OK);
	return map;
}

#endif
