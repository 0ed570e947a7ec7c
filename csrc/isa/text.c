/* text.c - instructions as text, from the templates of insn.def. */
#include "isa.h"

#include "../tables/facts.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Invariant: used < size, and out[used] is the NUL. */
struct writer {
	char *out;
	size_t size;
	size_t used;
};

__attribute__((format(printf, 2, 3))) static void put(struct writer *w, const char *format, ...)
{
	size_t room = w->size - w->used;
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(w->out + w->used, room, format, args);
	va_end(args);
	if (n > 0)
		w->used += (size_t)n < room ? (size_t)n : room - 1;
}

/* Names come from object files; one that the assembler could not read back is not shown. */
static int is_plain_name(const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.$";

	return name[0] && !strchr("0123456789", name[0]) && name[strspn(name, allowed)] == '\0';
}

static void put_map(struct writer *w, uint32_t number, const struct pf_isa_names *names)
{
	char name[PF_NAME_MAX];

	name[0] = '\0';
	if (names && names->map && names->map(names->user, number, name, sizeof(name)) && is_plain_name(name))
		put(w, "%s", name);
	else
		put(w, "fd:%u", number);
}

static void put_helper(struct writer *w, int32_t number)
{
	const char *name = number > 0 ? pf_facts_helper_name((uint32_t)number) : NULL;

	if (name)
		put(w, "bpf_%s#%d", name, number);
	else
		put(w, "unknown#%d", number);
}

/* One field of a template; 0 when the letter is none. */
static int put_field(struct writer *w, char letter, struct pf_insn insn, int32_t imm2, const struct pf_isa_names *names)
{
	switch (letter) {
	case 'D':
		put(w, "r%u", insn.dst);
		return 1;
	case 'd':
		put(w, "w%u", insn.dst);
		return 1;
	case 'S':
		put(w, "r%u", insn.src);
		return 1;
	case 's':
		put(w, "w%u", insn.src);
		return 1;
	case 'i':
		put(w, "%d", insn.imm);
		return 1;
	case 'n':
		put(w, "%u", (uint32_t)insn.imm);
		return 1;
	case 'x':
		put(w, "0x%x", (uint32_t)insn.imm);
		return 1;
	case 'q':
		put(w, "0x%llx", (unsigned long long)((uint64_t)(uint32_t)imm2 << 32 | (uint32_t)insn.imm));
		return 1;
	case 'k':
		put(w, "%u", (uint32_t)imm2);
		return 1;
	case 'o':
	case 'J':
		put(w, "%+d", insn.off);
		return 1;
	case 'j':
		put(w, "%+d", insn.imm);
		return 1;
	case 'b':
		if (insn.off)
			put(w, "@%d", insn.off);
		return 1;
	case 'h':
		put_helper(w, insn.imm);
		return 1;
	case 'm':
		put_map(w, (uint32_t)insn.imm, names);
		return 1;
	}
	return 0;
}

size_t pf_isa_text(const struct pf_insn *insn, const struct pf_insn *next, const struct pf_isa_names *names, char *out,
		   size_t size)
{
	struct writer w = { out, size, 0 };
	enum pf_op op = pf_isa_op(*insn);

	if (!size)
		return 0;
	out[0] = '\0';
	if (op == PF_OPS) {
		uint64_t raw;

		memcpy(&raw, insn, sizeof(raw));
		put(&w, "illegal 0x%016llx", (unsigned long long)raw);
		return w.used;
	}
	for (const char *t = pf_isa_info(op)->text; *t; t++) {
		if (*t == '%' && put_field(&w, t[1], *insn, next ? next->imm : 0, names))
			t++;
		else
			put(&w, "%c", *t);
	}
	return w.used;
}
