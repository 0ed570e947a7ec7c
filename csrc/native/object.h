/* object.h - inside csrc/native: a checked view of an object.
 *
 * Terms: as in native.h. loaded: a section with SHF_ALLOC that goes into the image (unwind tables and notes do not).
 *
 * Invariants
 *   O1 After pf_native_parse, every section with bytes lies inside the object, no two of them overlap, and every loaded
 *      one has its place in the image: `place` is a multiple of its alignment, and places do not overlap.
 *   O2 symbols[i] is the address that symbol i stands for, once pf_native_resolve returned; 0: nothing may refer to it.
 *
 * Threads: an object belongs to the call of pf_native_stage that made it.
 */
#ifndef PF_NATIVE_OBJECT_H
#define PF_NATIVE_OBJECT_H

#include <elf.h>

#include "native.h"

struct pf_native_section {
	Elf64_Shdr header;
	uint64_t place; /* in the image */
	uint8_t loaded;
};

struct pf_native_object {
	const struct pf_prog *prog;
	const uint8_t *bytes;
	uint64_t len;
	uint32_t section_count;
	uint32_t names;         /* section of section names */
	uint32_t table;         /* the symbol table's section */
	uint64_t symbol_count;
	uint64_t *symbols;
	uint64_t text_size, size; /* of the image: executable part (whole pages), all (whole pages) */
	uint8_t low;            /* a relocation wants addresses below 2 GiB */
	uint8_t *image;
	struct pf_native entries;
	struct pf_native_section sections[PF_NATIVE_SECTIONS_MAX];
};

/* Header, sections, places. The object's bytes outlive the view. */
enum pf_err pf_native_parse(struct pf_native_object *o, struct pf_diag *diag);
/* Addresses of all symbols, and the entries; the image exists. */
enum pf_err pf_native_resolve(struct pf_native_object *o, struct pf_diag *diag);

/* A section's name, for diagnostics: "" where the object has none for it. */
const char *pf_native_section_name(const struct pf_native_object *o, uint32_t section);
/* The string at this offset of a string section; NULL: it does not end inside. */
const char *pf_native_string(const struct pf_native_object *o, uint32_t section, uint64_t at);

/* Entry `at` of a table of such entries in a section; at is in range. */
static inline void pf_native_row(const struct pf_native_object *o, uint32_t section, uint64_t at, void *row, size_t size)
{
	__builtin_memcpy(row, o->bytes + o->sections[section].header.sh_offset + at * size, size);
}

static inline enum pf_err pf_native_bad(struct pf_diag *diag, enum pf_diag_code code, uint64_t offset, uint64_t found,
					uint64_t expected, const char *name)
{
	return pf_diag_set(diag, PF_EINVAL, code, 0, offset, found, expected, name);
}

#endif
