/* find.c - from helper number to implementation. */
#include "groups.h"

/* tail_call is an instruction of the interpreter: it replaces the code that runs. */
#define pf_helper_tail_call NULL

static const pf_helper_fn functions[] = {
#define PF_HELPER_NAME(name, number)
#define PF_HELPER(name, number, ret, a1, a2, a3, a4, a5, flags) [number] = pf_helper_##name,
#include "../tables/helper.def"
#undef PF_HELPER
#undef PF_HELPER_NAME
};

pf_helper_fn pf_helper_find(uint32_t number)
{
	return number < sizeof(functions) / sizeof(functions[0]) ? functions[number] : NULL;
}
