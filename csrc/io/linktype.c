/* linktype.c - link types by number. */
#include "state.h"

const char *pf_linktype_name(uint16_t linktype)
{
	switch (linktype) {
#define PF_LINKTYPE(number, name, wrap)                                                                                \
	case number:                                                                                                   \
		return name;
#include "linktype.def"
#undef PF_LINKTYPE
	}
	return "unknown";
}

enum pf_wrap pf_linktype_wrap(uint16_t linktype)
{
	switch (linktype) {
#define PF_LINKTYPE(number, name, wrap)                                                                                \
	case number:                                                                                                   \
		return PF_WRAP_##wrap;
#include "linktype.def"
#undef PF_LINKTYPE
	}
	return PF_WRAP_NONE;
}
