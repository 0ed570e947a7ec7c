/* tables.c - texts of the tables. */
#include "tables.h"

#include <string.h>

static const char *const diag_texts[] = {
	"",
#define PF_DIAG(name, text, hint) text,
#include "diag.def"
#undef PF_DIAG
};
static const char *const diag_hints[] = {
	"",
#define PF_DIAG(name, text, hint) hint,
#include "diag.def"
#undef PF_DIAG
};
_Static_assert(sizeof(diag_texts) / sizeof(diag_texts[0]) == PF_DIAGS, "one text for each diagnostic");

enum pf_err pf_diag_set(struct pf_diag *diag, enum pf_err err, enum pf_diag_code code, uint32_t insn,
			uint64_t offset, uint64_t found, uint64_t expected, const char *name)
{
	if (!diag)
		return err;
	diag->code = code;
	diag->err = err;
	diag->insn = insn;
	diag->offset = offset;
	diag->found = found;
	diag->expected = expected;
	diag->name[0] = '\0';
	if (name) {
		size_t n = strnlen(name, PF_NAME_MAX - 1);
		memcpy(diag->name, name, n);
		diag->name[n] = '\0';
	}
	return err;
}

const char *pf_diag_text(enum pf_diag_code code)
{
	return (unsigned)code < PF_DIAGS ? diag_texts[code] : "";
}

const char *pf_diag_hint(enum pf_diag_code code)
{
	return (unsigned)code < PF_DIAGS ? diag_hints[code] : "";
}

const char *pf_err_text(enum pf_err err)
{
	switch (err) {
	case PF_OK:
		return "success";
#define PF_ERR(name, value, text)                                                                                      \
	case PF_##name:                                                                                                \
		return text;
#include "err.def"
#undef PF_ERR
	}
	return "unknown error";
}

const char *pf_map_type_text(enum pf_map_type type)
{
	switch (type) {
#define PF_MAP_TYPE(name, number, text, family, percpu, support)                                                       \
	case PF_MAP_##name:                                                                                            \
		return text;
#include "map_type.def"
#undef PF_MAP_TYPE
	}
	return "";
}
