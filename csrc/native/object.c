/* object.c - is it an object that this loader takes, and where do its sections go? */
#include "object.h"

#include <string.h>

#define PAGE 4096u
/* Sections of the large code model, which may be anywhere, carry a flag of the psABI. */
#ifndef SHF_X86_64_LARGE
#define SHF_X86_64_LARGE 0x10000000u
#endif
#ifndef SHT_X86_64_UNWIND
#define SHT_X86_64_UNWIND 0x70000001u
#endif

const char *pf_native_string(const struct pf_native_object *o, uint32_t section, uint64_t at)
{
	const Elf64_Shdr *h = &o->sections[section].header;
	if (h->sh_type != SHT_STRTAB || at >= h->sh_size)
		return NULL;
	const char *text = (const char *)o->bytes + h->sh_offset + at;
	return memchr(text, 0, h->sh_size - at) ? text : NULL;
}

const char *pf_native_section_name(const struct pf_native_object *o, uint32_t section)
{
	const char *name = o->names ? pf_native_string(o, o->names, o->sections[section].header.sh_name) : NULL;
	return name ? name : "";
}

static enum pf_err expect(struct pf_diag *diag, const char *field, uint64_t found, uint64_t expected)
{
	return found == expected ? PF_OK : pf_native_bad(diag, PF_DIAG_NATIVE_HEADER, 0, found, expected, field);
}

static enum pf_err read_header(struct pf_native_object *o, Elf64_Ehdr *h, struct pf_diag *diag)
{
	uint32_t magic;
	if (o->len > PF_NATIVE_OBJECT_MAX)
		return pf_native_bad(diag, PF_DIAG_NATIVE_SIZE, 0, o->len, PF_NATIVE_OBJECT_MAX, NULL);
	if (o->len < sizeof(*h))
		return pf_native_bad(diag, PF_DIAG_NATIVE_CUT, 0, o->len, sizeof(*h), "header");
	memcpy(h, o->bytes, sizeof(*h));
	memcpy(&magic, h->e_ident, sizeof(magic));
	uint32_t elf;
	memcpy(&elf, ELFMAG, sizeof(elf));
	enum pf_err err = expect(diag, "magic number", magic, elf);
	err = err ? err : expect(diag, "class", h->e_ident[EI_CLASS], ELFCLASS64);
	err = err ? err : expect(diag, "byte order", h->e_ident[EI_DATA], ELFDATA2LSB);
	err = err ? err : expect(diag, "format version", h->e_ident[EI_VERSION], EV_CURRENT);
	err = err ? err : expect(diag, "type", h->e_type, ET_REL);
	err = err ? err : expect(diag, "machine", h->e_machine, EM_X86_64);
	err = err ? err : expect(diag, "section header size", h->e_shentsize, sizeof(Elf64_Shdr));
	if (err)
		return err;
	if (h->e_shnum < 2 || h->e_shnum > PF_NATIVE_SECTIONS_MAX)
		return pf_native_bad(diag, PF_DIAG_NATIVE_SECTIONS, 0, h->e_shnum, PF_NATIVE_SECTIONS_MAX, NULL);
	if (h->e_shoff > o->len || (o->len - h->e_shoff) / sizeof(Elf64_Shdr) < h->e_shnum)
		return pf_native_bad(diag, PF_DIAG_NATIVE_CUT, h->e_shoff, o->len, 0, "table of sections");
	if (h->e_shstrndx >= h->e_shnum)
		return pf_native_bad(diag, PF_DIAG_NATIVE_HEADER, 0, h->e_shstrndx, h->e_shnum, "section of names");
	return PF_OK;
}

static int has_bytes(const Elf64_Shdr *h)
{
	return h->sh_type != SHT_NULL && h->sh_type != SHT_NOBITS && h->sh_size;
}

/* O1: the bytes of a section are the object's, and its own. */
static enum pf_err check_bounds(const struct pf_native_object *o, uint32_t at, struct pf_diag *diag)
{
	const Elf64_Shdr *h = &o->sections[at].header;
	if (!has_bytes(h))
		return PF_OK;
	if (h->sh_offset > o->len || h->sh_size > o->len - h->sh_offset)
		return pf_native_bad(diag, PF_DIAG_NATIVE_BOUNDS, h->sh_offset, h->sh_size, o->len,
				     pf_native_section_name(o, at));
	for (uint32_t i = 1; i < at; i++) {
		const Elf64_Shdr *other = &o->sections[i].header;
		if (has_bytes(other) && h->sh_offset < other->sh_offset + other->sh_size &&
		    other->sh_offset < h->sh_offset + h->sh_size)
			return pf_native_bad(diag, PF_DIAG_NATIVE_OVERLAP, h->sh_offset, h->sh_size, i,
					     pf_native_section_name(o, at));
	}
	return PF_OK;
}

/* What a section with SHF_ALLOC may be. Unwind tables and notes say nothing that a call needs. */
static enum pf_err choose(struct pf_native_object *o, uint32_t at, struct pf_diag *diag)
{
	struct pf_native_section *s = &o->sections[at];
	const Elf64_Shdr *h = &s->header;
	const char *name = pf_native_section_name(o, at);
	const uint64_t known = SHF_ALLOC | SHF_EXECINSTR | SHF_MERGE | SHF_STRINGS | SHF_X86_64_LARGE;
	if (!(h->sh_flags & SHF_ALLOC) || h->sh_type == SHT_X86_64_UNWIND || h->sh_type == SHT_NOTE ||
	    !strcmp(name, ".eh_frame"))
		return PF_OK;
	if (!h->sh_size && !(h->sh_flags & ~(known | SHF_WRITE)))
		return PF_OK;
	if (h->sh_flags & SHF_WRITE)
		return pf_native_bad(diag, PF_DIAG_NATIVE_WRITABLE, 0, h->sh_size, 0, name);
	if (h->sh_flags & ~known)
		return pf_native_bad(diag, PF_DIAG_NATIVE_FLAGS, 0, h->sh_flags, known, name);
	if (h->sh_type != SHT_PROGBITS)
		return pf_native_bad(diag, PF_DIAG_NATIVE_TYPE, 0, h->sh_type, SHT_PROGBITS, name);
	if (h->sh_addralign > PAGE || (h->sh_addralign & (h->sh_addralign - 1)))
		return pf_native_bad(diag, PF_DIAG_NATIVE_ALIGN, 0, h->sh_addralign, PAGE, name);
	s->loaded = 1;
	return PF_OK;
}

static uint64_t round_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

/* Executable sections, then, from a page's start, the others. Sizes are bounded by the object's (O1). */
static void place(struct pf_native_object *o)
{
	for (int text = 1; text >= 0; text--) {
		for (uint32_t i = 1; i < o->section_count; i++) {
			struct pf_native_section *s = &o->sections[i];
			if (!s->loaded || !!(s->header.sh_flags & SHF_EXECINSTR) != text)
				continue;
			s->place = round_up(o->size, s->header.sh_addralign ? s->header.sh_addralign : 1);
			o->size = s->place + s->header.sh_size;
		}
		o->size = round_up(o->size, PAGE);
		if (text)
			o->text_size = o->size;
	}
}

/* The only symbol table, and the relocations of loaded sections, which must be by it. */
static enum pf_err find_tables(struct pf_native_object *o, struct pf_diag *diag)
{
	for (uint32_t i = 1; i < o->section_count; i++) {
		const Elf64_Shdr *h = &o->sections[i].header;
		const char *name = pf_native_section_name(o, i);
		if (h->sh_type == SHT_SYMTAB) {
			if (o->table || h->sh_entsize != sizeof(Elf64_Sym) || h->sh_size % sizeof(Elf64_Sym) ||
			    !h->sh_link || h->sh_link >= o->section_count || o->sections[h->sh_link].header.sh_type != SHT_STRTAB)
				return pf_native_bad(diag, PF_DIAG_NATIVE_TABLE, 0, 0, 0, name);
			o->table = i;
			o->symbol_count = h->sh_size / sizeof(Elf64_Sym);
		}
		if (h->sh_type == SHT_REL)
			return pf_native_bad(diag, PF_DIAG_NATIVE_TYPE, 0, h->sh_type, SHT_RELA, name);
	}
	for (uint32_t i = 1; i < o->section_count; i++) {
		const Elf64_Shdr *h = &o->sections[i].header;
		if (h->sh_type == SHT_RELA &&
		    (h->sh_info >= o->section_count || h->sh_link != o->table || h->sh_entsize != sizeof(Elf64_Rela) ||
		     h->sh_size % sizeof(Elf64_Rela)))
			return pf_native_bad(diag, PF_DIAG_NATIVE_TABLE, 0, 0, 0, pf_native_section_name(o, i));
	}
	return o->table ? PF_OK : pf_native_bad(diag, PF_DIAG_NATIVE_CUT, 0, 0, 0, "table of symbols");
}

/* Does a relocation of loaded code want absolute addresses of 32 bits? */
static void look_for_low(struct pf_native_object *o)
{
	for (uint32_t i = 1; i < o->section_count; i++) {
		const Elf64_Shdr *h = &o->sections[i].header;
		if (h->sh_type != SHT_RELA || !o->sections[h->sh_info].loaded)
			continue;
		for (uint64_t n = 0; n < h->sh_size / sizeof(Elf64_Rela); n++) {
			Elf64_Rela rela;
			pf_native_row(o, i, n, &rela, sizeof(rela));
			const uint64_t type = ELF64_R_TYPE(rela.r_info);
			o->low |= type == R_X86_64_32 || type == R_X86_64_32S;
		}
	}
}

enum pf_err pf_native_parse(struct pf_native_object *o, struct pf_diag *diag)
{
	Elf64_Ehdr header;
	enum pf_err err = read_header(o, &header, diag);
	if (err)
		return err;
	o->section_count = header.e_shnum;
	for (uint32_t i = 0; i < o->section_count; i++)
		memcpy(&o->sections[i].header, o->bytes + header.e_shoff + i * sizeof(Elf64_Shdr), sizeof(Elf64_Shdr));
	for (uint32_t i = 1; i < o->section_count && !err; i++)
		err = check_bounds(o, i, diag);
	o->names = err ? 0 : header.e_shstrndx;
	for (uint32_t i = 1; i < o->section_count && !err; i++)
		err = choose(o, i, diag);
	err = err ? err : find_tables(o, diag);
	if (err)
		return err;
	place(o);
	look_for_low(o);
	return PF_OK;
}
