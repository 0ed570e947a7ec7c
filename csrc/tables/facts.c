/* facts.c - the rows of the tables. */
#include "facts.h"

static const struct pf_fact_helper helpers[] = {
#define NO_ARGS { "NONE", "NONE", "NONE", "NONE", "NONE" }
#define PF_HELPER_NAME(name, number) { #name, NO_ARGS, "0", number, 0 },
#define PF_HELPER(name, number, ret, a1, a2, a3, a4, a5, flags)                                                        \
	{ #name, { #a1, #a2, #a3, #a4, #a5 }, #flags, number, 1 },
#include "helper.def"
#undef PF_HELPER
#undef NO_ARGS
};

static const struct pf_fact_map_type map_types[] = {
#define PF_MAP_TYPE(name, number, text, family, percpu, support) { text, #family, number, percpu, support },
#include "map_type.def"
#undef PF_MAP_TYPE
};

static const struct pf_fact_action actions[] = {
#define PF_ACTION(name, value, text) { #name, text, value },
#include "action.def"
#undef PF_ACTION
};
_Static_assert(sizeof(actions) / sizeof(actions[0]) == PF_ACTIONS, "one row for each action");

static const struct pf_fact_ctx_field ctx_fields[] = {
#define PF_CTX_FIELD(name, offset, size, kind, access, types) { #name, #kind, #access, #types, offset, size },
#include "ctx_field.def"
#undef PF_CTX_FIELD
};

static const struct pf_fact_diag diags[] = {
#define PF_DIAG(name, text, hint) { #name, text, hint },
#include "diag.def"
#undef PF_DIAG
};
_Static_assert(sizeof(diags) / sizeof(diags[0]) == PF_DIAGS - 1, "row i has code i + 1");

static const struct pf_fact_err errs[] = {
#define PF_ERR(name, value, text) { #name, text, value },
#include "err.def"
#undef PF_ERR
};

#define ROWS(type, table)                                                                                              \
	size_t pf_facts_##table(const struct pf_fact_##type **rows)                                                    \
	{                                                                                                              \
		*rows = table;                                                                                         \
		return sizeof(table) / sizeof(table[0]);                                                               \
	}
ROWS(helper, helpers)
ROWS(map_type, map_types)
ROWS(action, actions)
ROWS(ctx_field, ctx_fields)
ROWS(diag, diags)
ROWS(err, errs)

const char *pf_facts_helper_name(uint32_t number)
{
	switch (number) {
#define PF_HELPER_NAME(name, number)                                                                                   \
	case number:                                                                                                   \
		return #name;
#define PF_HELPER(name, number, ret, a1, a2, a3, a4, a5, flags)                                                        \
	case number:                                                                                                   \
		return #name;
#include "helper.def"
#undef PF_HELPER
	}
	return NULL;
}
