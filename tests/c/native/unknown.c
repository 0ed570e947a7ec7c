/* Needs what no program may have. */
#include <stdint.h>

extern uint64_t system(const char *command);

uint64_t pf_run(void *x, uint64_t r1, uint64_t r2)
{
	(void)x, (void)r1, (void)r2;
	return system("true");
}
