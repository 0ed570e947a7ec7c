/* helper_info.c - helper.def as an array indexed by helper number. */
#include "prog.h"

enum {
#define PF_HELPER_NAME(name, number) LAST_##name = number,
#define PF_HELPER(name, number, ret, a1, a2, a3, a4, a5, flags) LAST_##name = number,
#include "../tables/helper.def"
#undef PF_HELPER
#undef PF_HELPER_NAME
	HELPER_NUMBERS /* one more than the last row's */
};

static const struct pf_helper_info helpers[] = {
#define PF_HELPER_NAME(name_, number_) [number_] = { .name = #name_, .number = number_ },
#define PF_HELPER(name_, number_, ret_, a1, a2, a3, a4, a5, flags_)                                                    \
	[number_] = { .name = #name_,                                                                                  \
		      .number = number_,                                                                               \
		      .supported = 1,                                                                                  \
		      .flags = flags_,                                                                                 \
		      .ret = PF_RET_##ret_,                                                                            \
		      .args = { PF_ARG_##a1, PF_ARG_##a2, PF_ARG_##a3, PF_ARG_##a4, PF_ARG_##a5 } },
#include "../tables/helper.def"
#undef PF_HELPER
#undef PF_HELPER_NAME
};
_Static_assert(sizeof(helpers) / sizeof(helpers[0]) == HELPER_NUMBERS, "rows of helper.def are in order");

const struct pf_helper_info *pf_helper_info(uint32_t number)
{
	return number < HELPER_NUMBERS && helpers[number].name ? &helpers[number] : NULL;
}

uint32_t pf_helper_arg_bytes(enum pf_helper_arg kind)
{
	static const uint8_t bytes[] = {
		[PF_ARG_MEM_UPDATE_4] = 4, [PF_ARG_MEM_READ_20] = 20, [PF_ARG_MEM_READ_40] = 40,
		[PF_ARG_OUT_16] = 2,	   [PF_ARG_OUT_32] = 4,	      [PF_ARG_OUT_64] = 8,
	};
	return (size_t)kind < sizeof(bytes) ? bytes[kind] : 0;
}
