/* One of everything that an object may have: what the hostile tests change. */
#include "vm/vm.h"

extern struct pf_map pf_map_0;
extern uint64_t pf_map_0_values[];
extern uint64_t pf_helper_7(struct pf_exec *x, uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5);
extern void *memcpy(void *to, const void *from, size_t n);
extern void *pf_native_tail(struct pf_exec *x, uint64_t map, uint64_t index);

static const uint8_t table[8] = { 3, 1, 4, 1, 0, 2, 2, 1 };

uint64_t pf_call(struct pf_exec *x, uint32_t slot, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5)
{
	return pf_helper_7(x, slot, a1, a2, a3, a4) + a5;
}

uint64_t pf_run(struct pf_exec *x, uint64_t r1, uint64_t r2)
{
	memcpy(pf_map_0_values, (const void *)(uintptr_t)r1, r2);
	return table[r2 & 7] + (pf_native_tail(x, (uintptr_t)&pf_map_0, r2) != NULL) + pf_call(x, 0, 0, 0, 0, 0, 0);
}

void pf_packets(struct pf_exec *x, struct pf_vm_feed *feed)
{
	for (; feed->done < feed->n; feed->done++)
		feed->retvals[feed->done] = (uint32_t)pf_run(x, 0, 0);
}
