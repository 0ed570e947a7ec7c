/* admit.c - the one way in which a program becomes verified. */
#include "admit.h"

#include <stdlib.h>

enum pf_err pf_verify_program(struct pf_prog *prog, const struct pf_verify_input *options,
			      struct pf_verify_result *result)
{
	struct pf_verify_input input = *options;
	struct pf_verify_map *maps = calloc(prog->map_count ? prog->map_count : 1, sizeof(*maps));
	for (uint32_t i = 0; maps && i < prog->map_count; i++) {
		struct pf_map *map = prog->maps[i].map;
		maps[i].number = prog->maps[i].number;
		maps[i].def = map->def;
		maps[i].inner = map->inner;
		maps[i].lock = map->lock;
		maps[i].inner_lock = map->inner_lock;
		maps[i].contents = pf_map_fixed_contents(map);
	}
	input.type = prog->type;
	input.insns = prog->insns;
	input.count = prog->count;
	input.maps = maps;
	input.map_count = maps ? prog->map_count : 0;
	if (prog->frags)
		input.want |= PF_VERIFY_FRAGS;
	enum pf_err err = pf_verify(&input, result);
	free(maps);
	if (err || !result->ok || prog->verified)
		return err;
	prog->types = result->types; /* the result's owner no longer */
	result->types = NULL;
	prog->verified = 1;
	return PF_OK;
}
