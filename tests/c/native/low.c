/* Built for the small code model: a table by its address in 32 bits. */
#include <stdint.h>

static const uint32_t table[16] = { 1, 5, 9, 13, 17, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048 };

uint64_t pf_run(void *x, uint64_t r1, uint64_t r2)
{
	(void)x;
	return table[r2 & 15] + table[*(const uint8_t *)(uintptr_t)r1 & 15];
}
