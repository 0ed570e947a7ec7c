/* generations.c - a new row when the generation changes. */
#include "generations.h"

#include <string.h>

__attribute__((cold)) void pf_generations_begin(struct pf_generations *generations, const struct pf_world *world,
						const struct pf_chain *chain, const struct pf_run_stats *totals)
{
	struct pf_generation_row *row = &generations->rows[generations->count++ % PF_GENERATION_ROWS];

	memset(row, 0, sizeof(*row));
	row->generation = world->generation;
	row->programs = chain->count;
	row->before = *totals;
	if (!chain->count)
		return;
	row->link_generation = chain->entries->generation;
	memcpy(row->program, chain->entries->prog->name, sizeof(row->program) - 1);
}
