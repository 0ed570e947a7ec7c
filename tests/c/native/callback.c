/* bpf_loop (helper 181) over a subprogram at slot 6, and trace_printk (6) of a string on the stack by "%s". */
#include "helper/exec.h"

extern uint64_t pf_helper_181(struct pf_exec *x, uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5);
extern uint64_t pf_helper_6(struct pf_exec *x, uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5);

uint64_t pf_call(struct pf_exec *x, uint32_t slot, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5)
{
	(void)x, (void)a3, (void)a4, (void)a5;
	if (slot == 6)
		*(uint64_t *)(uintptr_t)a2 += a1;
	return a1 == 9;
}

uint64_t pf_run(struct pf_exec *x, uint64_t r1, uint64_t r2)
{
	uint64_t sum = 0;
	char text[4] = "abc", format[] = { '<', '%', 's', '>', 0 };
	(void)r1, (void)r2;
	pf_helper_6(x, (uintptr_t)format, sizeof(format), (uintptr_t)text, 0, 0);
	return pf_helper_181(x, 100, PF_FUNC_TAG | 6, (uintptr_t)&sum, 0, 0) * 1000 + sum;
}
