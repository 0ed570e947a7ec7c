/* A tail call through map 0, to the place that the packet's first byte says; where it is not made, 100 less what the
 * run has made so far. */
#include "helper/exec.h"
#include "vm/vm.h"

extern struct pf_map pf_map_0;
extern void *pf_native_tail(struct pf_exec *x, uint64_t map, uint64_t index);

uint64_t pf_run(struct pf_exec *x, uint64_t r1, uint64_t r2)
{
	const struct pf_packet *p = (const struct pf_packet *)(uintptr_t)r1;
	const struct pf_prog *prog = x->prog;
	(void)r2;
	uint64_t (*target)(struct pf_exec *, uint64_t, uint64_t);
	target = (uint64_t(*)(struct pf_exec *, uint64_t, uint64_t))pf_native_tail(x, (uintptr_t)&pf_map_0, p->data[0]);
	if (!target)
		return 100u - x->tail_calls;
	const uint64_t r0 = target(x, r1, 0);
	x->prog = prog;
	return r0;
}

void pf_packets(struct pf_exec *x, struct pf_vm_feed *feed)
{
	for (; feed->done < feed->n; feed->done++) {
		const struct pf_desc *d = &feed->desc[feed->done];
		pf_packet_init(&x->packet, d->data, d->caplen, feed->linear_limit);
		x->tail_calls = 0;
		feed->retvals[feed->done] = (uint32_t)pf_run(x, (uintptr_t)&x->packet, 0);
	}
}
