/* Has data of its own. */
#include <stdint.h>

static volatile uint64_t count = 1;

uint64_t pf_run(void *x, uint64_t r1, uint64_t r2)
{
	(void)x, (void)r1, (void)r2;
	return ++count;
}
