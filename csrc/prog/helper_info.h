/* helper_info.h - rows of helper.def by number, and which of them an instruction calls. Immutable; any thread. */
#ifndef PF_HELPER_INFO_H
#define PF_HELPER_INFO_H

#include "../isa/isa.h"

/* Helper row by number; NULL when the number has no row. supported: a PF_HELPER row. */
struct pf_helper_info {
	const char *name;
	uint32_t number;
	uint8_t supported;
	uint8_t flags;
	uint8_t ret;
	uint8_t args[5];
};
#define PF_HELPER_GPL 1
#define PF_HELPER_MOVES_PACKET 2
#define PF_HELPER_WRITES_PACKET 4
#define PF_HELPER_ACQUIRES 8
#define PF_HELPER_RELEASES 16
#define PF_HELPER_TIMED 32
#define PF_HELPER_INDEXED 64
enum pf_helper_ret { PF_RET_INTEGER, PF_RET_VOID, PF_RET_MAP_VALUE_OR_NULL, PF_RET_SOCKET_OR_NULL, PF_RET_SOCK_COMMON_OR_NULL,
		     PF_RET_RECORD_OR_NULL, PF_RET_SLICE_OR_NULL, PF_RET_CONN_OR_NULL, PF_RET_CONN_INIT_OR_NULL };
enum pf_helper_arg {
	PF_ARG_NONE, PF_ARG_ANYTHING, PF_ARG_CTX, PF_ARG_MAP, PF_ARG_PROG_ARRAY, PF_ARG_PORT_MAP, PF_ARG_MAP_KEY,
	PF_ARG_MAP_VALUE, PF_ARG_MEM_READ, PF_ARG_MEM_READ_OR_NULL, PF_ARG_MEM_WRITE, PF_ARG_SIZE, PF_ARG_SIZE_OR_ZERO,
	PF_ARG_FUNC, PF_ARG_CALLBACK_CTX, PF_ARG_SPIN_LOCK, PF_ARG_OUT_16, PF_ARG_OUT_32, PF_ARG_OUT_64,
	PF_ARG_MAP_VALUE_OUT, PF_ARG_MEM_UPDATE, PF_ARG_MEM_UPDATE_4, PF_ARG_MEM_READ_20, PF_ARG_MEM_READ_40, PF_ARG_SOCKET,
	PF_ARG_RECORD, PF_ARG_CONST_SIZE, PF_ARG_DYNPTR, PF_ARG_DYNPTR_NEW_XDP, PF_ARG_DYNPTR_NEW_LOCAL,
	PF_ARG_DYNPTR_NEW_CLONE, PF_ARG_SLICE_BUFFER, PF_ARG_MEM_UPDATE_OR_NULL, PF_ARG_CONN, PF_ARG_CONN_INIT
};
#define PF_KFUNC_FIRST 256u /* rows from this number on are kernel functions */
/* Does the instruction call what helper.def describes, a helper or a kernel function? imm is the row's number. */
static inline int pf_prog_calls_row(enum pf_op op)
{
	return op == PF_OP_CALL_HELPER || op == PF_OP_CALL_KFUNC;
}
/* Bytes of an argument whose kind says how many; else 0. */
uint32_t pf_helper_arg_bytes(enum pf_helper_arg kind);
PF_API const struct pf_helper_info *pf_helper_info(uint32_t number);

/* Does the helper take maps of this type? Others Linux refuses at load. */
int pf_helper_takes_map(uint32_t helper, enum pf_map_type type);

/* The row that a call names; NULL where its number is not one of its kind. */
static inline const struct pf_helper_info *pf_prog_call_row(enum pf_op op, struct pf_insn insn)
{
	const uint32_t number = (uint32_t)insn.imm;
	return (number >= PF_KFUNC_FIRST) == (op == PF_OP_CALL_KFUNC) && !insn.off ? pf_helper_info(number) : NULL;
}

#endif
