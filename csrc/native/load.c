/* load.c - an object becomes a program's code: mapped, filled in, relocated, sealed, published. */
#include "object.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define INT3 0xcc

#if defined(__x86_64__)
static enum pf_err map_image(struct pf_native_object *o, struct pf_diag *diag)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | (o->low ? MAP_32BIT : 0);
	if (!o->size)
		return pf_native_bad(diag, PF_DIAG_NATIVE_ENTRY, 0, 0, 0, "pf_run");
	void *image = mmap(NULL, o->size, PROT_READ | PROT_WRITE, flags, -1, 0);
	if (image == MAP_FAILED)
		return pf_diag_set(diag, PF_ENOMEM, PF_DIAG_NATIVE_MEMORY, 0, 0, o->size, 0, NULL);
	o->image = image;
	memset(o->image, INT3, o->text_size); /* between functions: nothing to run */
	for (uint32_t i = 1; i < o->section_count; i++) {
		const struct pf_native_section *s = &o->sections[i];
		if (s->loaded && s->header.sh_size)
			memcpy(o->image + s->place, o->bytes + s->header.sh_offset, s->header.sh_size);
	}
	return PF_OK;
}

/* One relocation (psABI table 4.9: S + A, or S + A - P, of 4 or 8 bytes). */
static enum pf_err relocate(const struct pf_native_object *o, uint32_t section, const Elf64_Rela *rela,
			    struct pf_diag *diag)
{
	const struct pf_native_section *s = &o->sections[section];
	const char *name = pf_native_section_name(o, section);
	const uint64_t type = ELF64_R_TYPE(rela->r_info), symbol = ELF64_R_SYM(rela->r_info);
	const int relative = type == R_X86_64_PC32 || type == R_X86_64_PLT32 || type == R_X86_64_PC64;
	const uint64_t size = type == R_X86_64_64 || type == R_X86_64_PC64 ? 8 : 4;
	if (type == R_X86_64_NONE)
		return PF_OK;
	if (!relative && size == 4 && type != R_X86_64_32 && type != R_X86_64_32S)
		return pf_native_bad(diag, PF_DIAG_NATIVE_RELOC, rela->r_offset, type, 0, name);
	if (rela->r_offset > s->header.sh_size || s->header.sh_size - rela->r_offset < size)
		return pf_native_bad(diag, PF_DIAG_NATIVE_RELOC_AT, rela->r_offset, 0, s->header.sh_size, name);
	if (symbol >= o->symbol_count || !o->symbols[symbol])
		return pf_native_bad(diag, PF_DIAG_NATIVE_RELOC_SYMBOL, rela->r_offset, symbol, 0, name);
	uint8_t *at = o->image + s->place + rela->r_offset;
	const uint64_t value =
		o->symbols[symbol] + (uint64_t)rela->r_addend - (relative ? (uint64_t)(uintptr_t)at : 0);
	const uint64_t back = type == R_X86_64_32 ? (uint32_t)value : (uint64_t)(int32_t)value;
	if (size == 4 && back != value)
		return pf_native_bad(diag, PF_DIAG_NATIVE_RELOC_FAR, rela->r_offset, type, 0, name);
	memcpy(at, &value, size); /* little-endian */
	return PF_OK;
}

static enum pf_err relocate_all(const struct pf_native_object *o, struct pf_diag *diag)
{
	for (uint32_t i = 1; i < o->section_count; i++) {
		const Elf64_Shdr *h = &o->sections[i].header;
		if (h->sh_type != SHT_RELA || !o->sections[h->sh_info].loaded)
			continue;
		for (uint64_t n = 0; n < h->sh_size / sizeof(Elf64_Rela); n++) {
			Elf64_Rela rela;
			pf_native_row(o, i, n, &rela, sizeof(rela));
			enum pf_err err = relocate(o, h->sh_info, &rela, diag);
			if (err)
				return err;
		}
	}
	return PF_OK;
}

/* N1. */
static enum pf_err seal(const struct pf_native_object *o, struct pf_diag *diag)
{
	const uint64_t rest = o->size - o->text_size;
	if (mprotect(o->image, o->text_size, PROT_READ | PROT_EXEC) ||
	    (rest && mprotect(o->image + o->text_size, rest, PROT_READ)))
		return pf_diag_set(diag, PF_EPERM, PF_DIAG_NATIVE_SEAL, 0, 0, 0, 0, NULL);
	return PF_OK;
}

static enum pf_err load(struct pf_native_object *o, struct pf_diag *diag)
{
	enum pf_err err = pf_native_parse(o, diag);
	err = err ? err : map_image(o, diag);
	if (err)
		return err;
	o->symbols = calloc(o->symbol_count + 1, sizeof(*o->symbols));
	if (!o->symbols)
		return pf_diag_set(diag, PF_ENOMEM, PF_DIAG_NATIVE_MEMORY, 0, 0, o->symbol_count * 8, 0, NULL);
	err = pf_native_resolve(o, diag);
	err = err ? err : relocate_all(o, diag);
	return err ? err : seal(o, diag);
}
#else
static enum pf_err load(struct pf_native_object *o, struct pf_diag *diag)
{
	(void)o;
	return pf_diag_set(diag, PF_EOPNOTSUPP, PF_DIAG_NATIVE_MACHINE, 0, 0, 0, 0, NULL);
}
#endif

static void code_destroy(struct pf_code *code)
{
	if (code->native.memory)
		(void)munmap(code->native.memory, code->native.size);
	free(code);
}

/* N5. The image goes with the code from here on. */
static enum pf_err publish(struct pf_prog *prog, struct pf_native_object *o, struct pf_diag *diag)
{
	struct pf_code *none = NULL, *code = calloc(1, sizeof(*code));
	if (!code)
		return pf_diag_set(diag, PF_ENOMEM, PF_DIAG_NATIVE_MEMORY, 0, 0, sizeof(*code), 0, NULL);
	code->engine = PF_ENGINE_JIT;
	code->destroy = code_destroy;
	code->native = o->entries;
	code->native.memory = o->image;
	code->native.size = o->size;
	o->image = NULL;
	if (!atomic_compare_exchange_strong_explicit(&prog->code[PF_ENGINE_JIT], &none, code, memory_order_release,
						     memory_order_acquire))
		code_destroy(code); /* another thread was first with the same */
	return PF_OK;
}

enum pf_err pf_native_stage(struct pf_prog *prog, const void *object, size_t len, struct pf_diag *diag)
{
	if (atomic_load_explicit(&prog->code[PF_ENGINE_JIT], memory_order_acquire))
		return PF_OK;
	struct pf_native_object *o = calloc(1, sizeof(*o));
	if (!o)
		return pf_diag_set(diag, PF_ENOMEM, PF_DIAG_NATIVE_MEMORY, 0, 0, sizeof(*o), 0, NULL);
	o->prog = prog;
	o->bytes = object;
	o->len = len;
	enum pf_err err = load(o, diag);
	err = err ? err : publish(prog, o, diag);
	if (o->image)
		(void)munmap(o->image, o->size);
	free(o->symbols);
	free(o);
	return err;
}
