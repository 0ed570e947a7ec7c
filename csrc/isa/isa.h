/* isa.h - the instruction set: encoding, legality, disassembly.
 *
 * Terms
 *   encoding  struct pf_insn: the 8 bytes of RFC 9669 section 3, little-endian field order
 *   op        enum pf_op: one row of insn.def; an opcode plus the field that selects the variant
 *   form      which fields an op uses (enum pf_form); all others are reserved and zero
 *   selector  the field whose value, with the opcode, decides the op
 *
 * Invariants
 *   A1 pf_isa_op(insn) is PF_OPS exactly when no row of insn.def has this opcode and selector value.
 *   A2 A program accepted by pf_isa_check has only known ops, zero reserved fields, registers r0..r10, no write to
 *      r10, jumps and local calls that land on the first half of an instruction inside the program, and an exit,
 *      goto or gotol as its last instruction.
 *   A3 Nothing here has state; any thread may call anything.
 */
#ifndef PF_ISA_H
#define PF_ISA_H

#include "../tables/tables.h"

struct pf_insn {
	uint8_t code;
	uint8_t dst : 4;
	uint8_t src : 4;
	int16_t off;
	int32_t imm;
};
_Static_assert(sizeof(struct pf_insn) == 8, "an instruction is 8 bytes");

enum pf_form {
	PF_FORM_ALU_IMM,    /* dst imm; off selects */
	PF_FORM_ALU_REG,    /* dst src; off selects */
	PF_FORM_UNARY,      /* dst */
	PF_FORM_SWAP,       /* dst; imm selects */
	PF_FORM_LDDW,       /* dst imm + imm of the second half; src selects */
	PF_FORM_LDX,        /* dst src off */
	PF_FORM_ST,         /* dst off imm */
	PF_FORM_STX,        /* dst src off */
	PF_FORM_ATOMIC,     /* dst src off; imm selects */
	PF_FORM_LOAD_ACQ,   /* dst src off; imm selects */
	PF_FORM_STORE_REL,  /* dst src off; imm selects */
	PF_FORM_JA,         /* off */
	PF_FORM_JA32,       /* imm */
	PF_FORM_JMP_IMM,    /* dst imm off */
	PF_FORM_JMP_REG,    /* dst src off */
	PF_FORM_CALL,       /* imm; src selects */
	PF_FORM_CALL_KFUNC, /* imm off (BTF fd index); src selects */
	PF_FORM_EXIT,
	PF_FORMS
};

enum pf_selector { PF_SELECT_NONE, PF_SELECT_OFF, PF_SELECT_IMM, PF_SELECT_SRC };

/* Fields that carry operands. IMM2 is the imm of the second half of a 64-bit immediate load. */
enum pf_field {
	PF_FIELD_DST = 1,
	PF_FIELD_SRC = 2,
	PF_FIELD_OFF = 4,
	PF_FIELD_IMM = 8,
	PF_FIELD_IMM2 = 16,
};

/* One row of insn.def. */
struct pf_op_info {
	const char *name; /* "ADD64_IMM" */
	const char *text; /* syntax template, see insn.def */
	const char *group;
	uint8_t opcode;
	enum pf_selector selector;
	int32_t value;
	enum pf_form form;
};

#define PF_MAX_INSNS 1000000 /* Linux: BPF_COMPLEXITY_LIMIT_INSNS, the limit with CAP_BPF */

PF_API const struct pf_op_info *pf_isa_info(enum pf_op op);

/* The operand fields of an op, a set of enum pf_field; the selector is not among them. */
PF_API unsigned pf_isa_fields(enum pf_op op);

/* "ALU_IMM" for PF_FORM_ALU_IMM. */
PF_API const char *pf_isa_form_name(enum pf_form form);

/* The op of one encoded instruction by opcode and selector alone; PF_OPS if there is none. */
PF_API enum pf_op pf_isa_op(struct pf_insn insn);

/* Legality of a whole program (A2): PF_OK or PF_EINVAL with a diagnostic at the first illegal instruction.
 * Shifts by an immediate outside the register's width and division by an immediate 0 are legal encodings with
 * defined results (RFC 9669 section 4.1); Linux refuses them, and so does the verifier (`strict`). */
PF_API enum pf_err pf_isa_check(const struct pf_insn *insns, uint32_t count, int strict, struct pf_diag *diag);

/* Names that only the caller knows, for disassembly. Each may be NULL; each writes text into out (NUL-terminated). */
struct pf_isa_names {
	void *user;
	int (*map)(void *user, uint32_t number, char *out, size_t size); /* 0: unknown */
};

#define PF_ISA_TEXT_MAX 160 /* enough for the longest text, the NUL included */

/* One instruction as text in the syntax of the Linux verifier log; next is the second half of a 64-bit immediate
 * load (or NULL). An instruction that has no op is shown as "illegal" and its 8 bytes as a number. Returns the length written, without the NUL; always terminates. */
PF_API size_t pf_isa_text(const struct pf_insn *insn, const struct pf_insn *next, const struct pf_isa_names *names,
			  char *out, size_t size);

#endif
