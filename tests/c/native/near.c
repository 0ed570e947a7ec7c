/* Wants the address of a helper in 32 bits, where it is not. */
#include <stdint.h>

uint64_t pf_run(void *x, uint64_t r1, uint64_t r2)
{
	uint32_t address;
	(void)x, (void)r1, (void)r2;
	__asm__("movl $pf_helper_7, %0" : "=r"(address));
	return address;
}
