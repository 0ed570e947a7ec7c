/* Maps by symbol: values of an array, a lookup of a hash map, a helper that updates it, and the C library. */
#include "helper/exec.h"

extern struct pf_map pf_map_0, pf_map_1;
extern uint64_t pf_map_0_values[];
extern uint8_t *pf_map_1_lookup(struct pf_map *map, const void *key, uint32_t cpu);
extern uint64_t pf_helper_2(struct pf_exec *x, uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5);
extern void *memcpy(void *to, const void *from, size_t n);

uint64_t pf_run(struct pf_exec *x, uint64_t r1, uint64_t r2)
{
	uint8_t key[256];
	uint64_t one = 1;
	if (r2 < 4 || r2 > sizeof(key) || (uintptr_t)&pf_map_0 == (uintptr_t)&pf_map_1)
		return 0;
	memcpy(key, (const void *)(uintptr_t)r1, r2);
	pf_map_0_values[1]++;
	uint64_t *value = (uint64_t *)(void *)pf_map_1_lookup(&pf_map_1, key, x->cpu);
	if (value)
		return ++*value;
	pf_helper_2(x, (uintptr_t)&pf_map_1, (uintptr_t)key, (uintptr_t)&one, 0, 0);
	return 1;
}
