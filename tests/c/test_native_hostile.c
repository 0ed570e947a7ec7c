/* test_native_hostile.c - objects that are not what they should be (native.h, N2, N3): each field of a good one changed by
 * itself with the sentence it must cause, every byte changed, every truncation. Nothing of what loads is run. */
#include "hook_fixture.h"

#include "native/native.h"

#include <elf.h>
#include <stdio.h>
#include <string.h>

static uint8_t good[65536], object[65536];
static size_t len;
static struct pf_prog *prog;

static void read_good(const char *name)
{
	char path[512];
	snprintf(path, sizeof(path), "%s/%s.o", PF_OBJECTS, name);
	FILE *file = fopen(path, "rb");
	CHECK(file);
	len = fread(good, 1, sizeof(good), file);
	CHECK(len > 64 && len < sizeof(good));
	fclose(file);
	memcpy(object, good, len);
}

/* Loads `size` bytes of the object, from a block of exactly that size, into a new program. */
static enum pf_err load(size_t size, struct pf_diag *diag)
{
	struct pf_prog *fresh = prog_of(prog->insns, prog->count, prog->maps, prog->map_count, 1);
	uint8_t *exact = malloc(size ? size : 1);
	CHECK(exact);
	memcpy(exact, object, size);
	memset(diag, 0, sizeof(*diag));
	const enum pf_err err = pf_native_stage(fresh, exact, size, diag);
	CHECK_EQ(!err, pf_prog_code(fresh, PF_ENGINE_JIT) != NULL);
	CHECK(!err || (diag->code && diag->err == err));
	free(exact);
	pf_prog_put(fresh);
	return err;
}

static Elf64_Shdr *section(uint32_t at)
{
	Elf64_Ehdr h;
	memcpy(&h, object, sizeof(h));
	CHECK(at < h.e_shnum && h.e_shoff % 8 == 0);
	return (Elf64_Shdr *)(void *)(object + h.e_shoff) + at;
}

/* The first section of this type whose flags are these. */
static Elf64_Shdr *section_of(uint32_t type, uint64_t flags)
{
	Elf64_Ehdr h;
	memcpy(&h, object, sizeof(h));
	for (uint32_t i = 1; i < h.e_shnum; i++)
		if (section(i)->sh_type == type && section(i)->sh_flags == flags && section(i)->sh_size)
			return section(i);
	CHECK(!"such a section");
	return NULL;
}

static Elf64_Rela *relocation(void)
{
	return (Elf64_Rela *)(void *)(object + section_of(SHT_RELA, SHF_INFO_LINK)->sh_offset);
}

static Elf64_Sym *symbol(const char *name)
{
	const Elf64_Shdr *table = section_of(SHT_SYMTAB, 0);
	Elf64_Sym *syms = (Elf64_Sym *)(void *)(object + table->sh_offset);
	const char *names = (const char *)object + section(table->sh_link)->sh_offset;
	for (uint64_t i = 1; i < table->sh_size / sizeof(*syms); i++)
		if (!strcmp(names + syms[i].st_name, name))
			return &syms[i];
	CHECK(!"such a symbol");
	return NULL;
}

/* Sets a field, expects the refusal, puts the object back. */
#define BAD(field, value, wanted)                                                                                      \
	do {                                                                                                           \
		struct pf_diag diag;                                                                                   \
		(field) = (value);                                                                                     \
		CHECK_EQ(load(len, &diag), PF_EINVAL);                                                                 \
		CHECK_EQ(diag.code, PF_DIAG_NATIVE_##wanted);                                                          \
		memcpy(object, good, len);                                                                             \
		CHECK_EQ(load(len, &diag), PF_OK);                                                                     \
	} while (0)

static void test_header(void)
{
	Elf64_Ehdr *h = (Elf64_Ehdr *)(void *)object;
	BAD(h->e_ident[0], 0, HEADER);
	BAD(h->e_ident[EI_CLASS], ELFCLASS32, HEADER);
	BAD(h->e_ident[EI_DATA], ELFDATA2MSB, HEADER);
	BAD(h->e_ident[EI_VERSION], 2, HEADER);
	BAD(h->e_type, ET_DYN, HEADER);
	BAD(h->e_machine, EM_BPF, HEADER);
	BAD(h->e_shentsize, 63, HEADER);
	BAD(h->e_shnum, 0, SECTIONS);
	BAD(h->e_shnum, PF_NATIVE_SECTIONS_MAX + 1, SECTIONS);
	BAD(h->e_shnum, PF_NATIVE_SECTIONS_MAX, CUT);
	BAD(h->e_shoff, UINT64_MAX, CUT);
	BAD(h->e_shoff, len - 64, CUT);
	BAD(h->e_shstrndx, h->e_shnum, HEADER);
	BAD(h->e_shstrndx, SHN_XINDEX, HEADER);
}

#define TEXT section_of(SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR)
#define TABLE section_of(SHT_SYMTAB, 0)
#define RELA section_of(SHT_RELA, SHF_INFO_LINK)

static void test_sections(void)
{
	BAD(TEXT->sh_offset, len, BOUNDS);
	BAD(TEXT->sh_offset, UINT64_MAX - 8, BOUNDS);
	BAD(TEXT->sh_size, UINT64_MAX, BOUNDS);
	BAD(TEXT->sh_size, len, BOUNDS);
	BAD(TEXT->sh_size, len - TEXT->sh_offset, OVERLAP);
	BAD(TEXT->sh_flags, SHF_ALLOC | SHF_EXECINSTR | SHF_WRITE, WRITABLE);
	BAD(TEXT->sh_flags, SHF_ALLOC | SHF_EXECINSTR | SHF_TLS, FLAGS);
	BAD(TEXT->sh_flags, SHF_ALLOC | SHF_EXECINSTR | SHF_COMPRESSED, FLAGS);
	BAD(TEXT->sh_flags, SHF_ALLOC, ENTRY);
	BAD(TEXT->sh_flags, 0, ENTRY);
	BAD(TEXT->sh_type, SHT_INIT_ARRAY, TYPE);
	BAD(TEXT->sh_type, SHT_NOBITS, TYPE);
	BAD(TEXT->sh_addralign, 48, ALIGN);
	BAD(TEXT->sh_addralign, UINT64_C(1) << 63, ALIGN);
	BAD(TABLE->sh_entsize, 16, TABLE);
	BAD(TABLE->sh_size, TABLE->sh_size - 1, TABLE);
	BAD(TABLE->sh_link, UINT32_MAX, TABLE);
	/* Section 0 is none, whatever its header says. */
	section(0)->sh_type = SHT_STRTAB;
	section(0)->sh_offset = UINT64_C(0x7f0000000000);
	section(0)->sh_size = UINT64_C(1) << 40;
	BAD(TABLE->sh_link, 0, TABLE);
	BAD(TABLE->sh_link, 1, TABLE);
	BAD(TABLE->sh_type, SHT_DYNSYM, TABLE); /* what refers to it no longer does */
	BAD(RELA->sh_entsize, 16, TABLE);
	BAD(RELA->sh_size, RELA->sh_size - 1, TABLE);
	BAD(RELA->sh_link, 1, TABLE);
	BAD(RELA->sh_info, UINT32_MAX, TABLE);
	BAD(RELA->sh_type, SHT_REL, TYPE);
}

static void test_symbols(void)
{
	BAD(symbol("pf_run")->st_name, UINT32_MAX, CUT);
	BAD(symbol("pf_run")->st_name, 0, ENTRY);
	BAD(symbol("pf_run")->st_value, TEXT->sh_size, ENTRY);
	BAD(symbol("pf_run")->st_value, UINT64_MAX, BEYOND);
	BAD(symbol("pf_run")->st_shndx, SHN_COMMON, PLACE);
	BAD(symbol("pf_run")->st_shndx, SHN_XINDEX, PLACE);
	BAD(symbol("pf_run")->st_shndx, SHN_UNDEF, SYMBOL);
	BAD(symbol("pf_run")->st_info, ELF64_ST_INFO(STB_LOCAL, STT_FUNC), ENTRY);
	BAD(symbol("pf_run")->st_info, ELF64_ST_INFO(STB_GLOBAL, STT_TLS), PLACE);
	BAD(symbol("pf_run")->st_info, ELF64_ST_INFO(STB_GLOBAL, STT_GNU_IFUNC), PLACE);
	BAD(symbol("memcpy")->st_name, symbol("pf_run")->st_name, SYMBOL);
}

static void test_relocations(void)
{
	const uint64_t any = ELF64_R_SYM(relocation()->r_info);
	BAD(relocation()->r_offset, TEXT->sh_size - 7, RELOC_AT);
	BAD(relocation()->r_offset, UINT64_MAX, RELOC_AT);
	BAD(relocation()->r_info, ELF64_R_INFO(UINT32_MAX, R_X86_64_64), RELOC_SYMBOL);
	BAD(relocation()->r_info, ELF64_R_INFO(0, R_X86_64_64), RELOC_SYMBOL);
	BAD(relocation()->r_info, ELF64_R_INFO(any, R_X86_64_GOTPCREL), RELOC);
	BAD(relocation()->r_info, ELF64_R_INFO(any, R_X86_64_TPOFF64), RELOC);
	BAD(relocation()->r_info, ELF64_R_INFO(any, UINT32_MAX), RELOC);
	BAD(relocation()->r_info, ELF64_R_INFO(any, R_X86_64_32S), RELOC_FAR);
	relocation()->r_addend = INT64_MIN;
	BAD(relocation()->r_info, ELF64_R_INFO(any, R_X86_64_PC32), RELOC_FAR);
}

/* Whatever the bytes are, loading ends, with the program's code or with a reason. */
static void test_any(const char *name)
{
	static const uint8_t changes[] = { 0x01, 0x80, 0xff, 0x40 };
	struct pf_diag diag;
	uint32_t refused = 0;
	read_good(name);
	for (size_t size = 0; size < len; size++)
		refused += load(size, &diag) != PF_OK;
	CHECK(refused > len / 2);
	for (size_t at = 0; at < len; at++) {
		for (unsigned i = 0; i < sizeof(changes); i++) {
			object[at] ^= changes[i];
			refused += load(len, &diag) != PF_OK;
			object[at] = good[at];
		}
	}
	CHECK(refused > len);
}

int main(void)
{
	struct pf_map_def array = { .type = PF_MAP_ARRAY, .key_size = 4, .value_size = 8, .max_entries = 2 };
	struct pf_map_def hash = { .type = PF_MAP_HASH, .key_size = 4, .value_size = 8, .max_entries = 8 };
	struct pf_prog_map maps[2] = { { 3, NULL }, { 9, NULL } };
	CHECK_EQ(pf_map_create(&array, NULL, 1, "a", 0, &maps[0].map, NULL), PF_OK);
	CHECK_EQ(pf_map_create(&hash, NULL, 1, "h", 0, &maps[1].map, NULL), PF_OK);
	const struct pf_insn insns[] = { MOV_IMM(0, 0), EXIT() };
	prog = prog_of(insns, COUNT(insns), maps, 2, 1);
	read_good("hostile");
	test_header();
	test_sections();
	test_symbols();
	test_relocations();
	test_any("hostile");
	test_any("xdp");
	test_any("low");
	pf_prog_put(prog);
	pf_map_put(maps[0].map);
	pf_map_put(maps[1].map);
	return 0;
}
