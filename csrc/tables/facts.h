/* facts.h - the tables of the .def files as rows, for readers that derive from them at run time (the Python side).
 *
 * Terms
 *   row   one line of a .def file; the rows of insn.def are in isa.h
 *
 * Invariants
 *   R1 Rows are constant, in the order of their .def file, and live as long as the program.
 *   R2 Nothing here has state; any thread may call anything.
 */
#ifndef PF_FACTS_H
#define PF_FACTS_H

#include "tables.h"

struct pf_fact_helper {
	const char *name; /* without the bpf_ prefix */
	const char *args[5]; /* argument kinds as written in helper.def; NONE behind the last, all of them of a name only */
	const char *flags; /* the flags column as written in helper.def */
	uint32_t number;
	uint32_t supported; /* boolean */
};

struct pf_fact_map_type {
	const char *name;
	const char *family;
	uint32_t number;
	uint32_t percpu; /* boolean */
	uint32_t supported; /* boolean */
};

struct pf_fact_action {
	const char *name;
	const char *text;
	uint32_t value;
};

struct pf_fact_ctx_field {
	const char *name;
	const char *kind;
	const char *access;
	const char *types; /* of programs that have it, as written in ctx_field.def */
	uint32_t offset; /* bytes */
	uint32_t size; /* bytes */
};

struct pf_fact_diag {
	const char *name;
	const char *text;
	const char *hint;
};

struct pf_fact_err {
	const char *name;
	const char *text;
	uint32_t value;
};

/* Each gives the number of rows and points *rows at the first. Row i of the diagnostics has code i + 1. */
PF_API size_t pf_facts_helpers(const struct pf_fact_helper **rows);
PF_API size_t pf_facts_map_types(const struct pf_fact_map_type **rows);
PF_API size_t pf_facts_actions(const struct pf_fact_action **rows);
PF_API size_t pf_facts_ctx_fields(const struct pf_fact_ctx_field **rows);
PF_API size_t pf_facts_diags(const struct pf_fact_diag **rows);
PF_API size_t pf_facts_errs(const struct pf_fact_err **rows);

/* The name of a helper, without the bpf_ prefix; NULL when no row has this number. */
PF_API const char *pf_facts_helper_name(uint32_t number);

#endif
