/* symbols.c - what an object's symbols stand for: the core's functions and maps by name, and its own places. */
#include "object.h"

#include <string.h>
#include <strings.h>

#include "../vm/interp.h"

typedef void any_function(void);

static const struct {
	const char *name;
	any_function *address;
} functions[] = {
	{ "pf_native_tail", (any_function *)pf_native_tail },
	{ "memcpy", (any_function *)memcpy },
	{ "memset", (any_function *)memset },
	{ "memmove", (any_function *)memmove },
	{ "memcmp", (any_function *)memcmp },
	{ "bcmp", (any_function *)bcmp },
};

void *pf_native_tail(struct pf_exec *x, uint64_t map, uint64_t index)
{
	const struct pf_code *code = pf_vm_tail_target(x, map, index, PF_ENGINE_JIT);
	return code ? (void *)(uintptr_t)code->native.run : NULL;
}

static uint64_t address_of(const void *p)
{
	return (uint64_t)(uintptr_t)p;
}

/* A decimal number without leading zeros; returns what follows, NULL where there is none or it is too large. */
static const char *number(const char *text, uint32_t *value)
{
	uint64_t n = 0;
	const char *at = text;
	for (; *at >= '0' && *at <= '9'; at++) {
		n = n * 10 + (uint64_t)(*at - '0');
		if (n > UINT32_MAX || (*text == '0' && at > text))
			return NULL;
	}
	*value = (uint32_t)n;
	return at > text ? at : NULL;
}

static uint64_t map_symbol(const struct pf_prog *prog, const char *text)
{
	uint32_t place;
	const char *part = number(text, &place);
	if (!part || place >= prog->map_count)
		return 0;
	const struct pf_map *map = prog->maps[place].map;
	if (!*part)
		return address_of(map);
	if (!strcmp(part, "_values"))
		return map->arena ? address_of(map->arena + map->value_offset) : 0;
	struct pf_map_inline in;
	if (!strcmp(part, "_buckets"))
		return pf_map_inline_of(map, &in) ? address_of(in.buckets) : 0;
	return strcmp(part, "_lookup") ? 0 : (uint64_t)(uintptr_t)map->ops->lookup;
}

/* 0: not one of the list (N3). */
static uint64_t outside(const struct pf_prog *prog, const char *name)
{
	static const char helper[] = "pf_helper_", map[] = "pf_map_";
	uint32_t id;
	if (!strncmp(name, helper, sizeof(helper) - 1)) {
		const char *end = number(name + sizeof(helper) - 1, &id);
		return end && !*end ? (uint64_t)(uintptr_t)pf_helper_find(id) : 0;
	}
	if (!strncmp(name, map, sizeof(map) - 1))
		return map_symbol(prog, name + sizeof(map) - 1);
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++)
		if (!strcmp(name, functions[i].name))
			return (uint64_t)(uintptr_t)functions[i].address;
	return 0;
}

/* An entry that the object defines: `as` is where its address goes. */
static enum pf_err enter(struct pf_native_object *o, const Elf64_Sym *sym, const char *name, uint64_t address,
			 struct pf_diag *diag)
{
	const struct {
		const char *name;
		void *as;
	} entries[] = {
		{ "pf_run", &o->entries.run },
		{ "pf_packets", &o->entries.packets },
		{ "pf_call", &o->entries.call },
	};
	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
		uint64_t before;
		if (strcmp(name, entries[i].name))
			continue;
		const Elf64_Shdr *h = &o->sections[sym->st_shndx].header;
		memcpy(&before, entries[i].as, sizeof(before));
		if (before || !(h->sh_flags & SHF_EXECINSTR) || sym->st_value >= h->sh_size)
			return pf_native_bad(diag, PF_DIAG_NATIVE_ENTRY, 0, 0, 0, name);
		memcpy(entries[i].as, &address, sizeof(address));
	}
	return PF_OK;
}

static enum pf_err resolve(struct pf_native_object *o, uint64_t at, struct pf_diag *diag)
{
	Elf64_Sym sym;
	pf_native_row(o, o->table, at, &sym, sizeof(sym));
	const char *name = pf_native_string(o, o->sections[o->table].header.sh_link, sym.st_name);
	if (!name)
		return pf_native_bad(diag, PF_DIAG_NATIVE_CUT, at, sym.st_name, 0, "name of a symbol");
	if (sym.st_shndx == SHN_UNDEF) {
		o->symbols[at] = outside(o->prog, name);
		return o->symbols[at] ? PF_OK : pf_native_bad(diag, PF_DIAG_NATIVE_SYMBOL, at, 0, 0, name);
	}
	if (ELF64_ST_TYPE(sym.st_info) == STT_FILE)
		return PF_OK;
	if (sym.st_shndx >= o->section_count || ELF64_ST_TYPE(sym.st_info) > STT_SECTION)
		return pf_native_bad(diag, PF_DIAG_NATIVE_PLACE, at, sym.st_shndx, o->section_count, name);
	const struct pf_native_section *s = &o->sections[sym.st_shndx];
	if (!s->loaded)
		return PF_OK;
	if (sym.st_value > s->header.sh_size)
		return pf_native_bad(diag, PF_DIAG_NATIVE_BEYOND, at, sym.st_value, s->header.sh_size, name);
	o->symbols[at] = address_of(o->image + s->place + sym.st_value);
	return ELF64_ST_BIND(sym.st_info) == STB_GLOBAL ? enter(o, &sym, name, o->symbols[at], diag) : PF_OK;
}

static int takes_functions(const struct pf_prog *prog)
{
	for (uint32_t at = 0; at < prog->count; at++) {
		if (pf_isa_op(prog->insns[at]) == PF_OP_LDDW_FUNC)
			return 1;
		at += prog->insns[at].code == 0x18;
	}
	return 0;
}

enum pf_err pf_native_resolve(struct pf_native_object *o, struct pf_diag *diag)
{
	for (uint64_t at = 1; at < o->symbol_count; at++) {
		enum pf_err err = resolve(o, at, diag);
		if (err)
			return err;
	}
	const char *missing = !o->entries.run						      ? "pf_run"
			      : !o->entries.packets && o->prog->type != PF_PROG_MEMORY ? "pf_packets"
			      : !o->entries.call && takes_functions(o->prog)	      ? "pf_call"
										      : NULL;
	return missing ? pf_native_bad(diag, PF_DIAG_NATIVE_ENTRY, 0, 0, 0, missing) : PF_OK;
}
