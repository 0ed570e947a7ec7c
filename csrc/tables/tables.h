/* tables.h - the facts of the .def files beside it as C enums, and the result and diagnostic types every module shares.
 *
 * Terms
 *   fact       something Linux or a file format decides (an opcode, a helper's number); it stands in one .def row
 *   result     enum pf_err: PF_OK or a Linux errno number (positive)
 *   diagnostic struct pf_diag: filled in by the callee, owned by the caller; says what diag.def turns into a sentence
 *
 * Invariants
 *   T1 A function that returns enum pf_err and takes a diag has filled in the diag whenever the result is not PF_OK.
 *   T2 A diag may be NULL: the caller wants the result only.
 *   T3 Nothing here has state; any thread may call anything.
 */
#ifndef PF_TABLES_H
#define PF_TABLES_H

#include <stddef.h>
#include <stdint.h>

enum pf_err {
	PF_OK = 0,
#define PF_ERR(name, value, text) PF_##name = value,
#include "err.def"
#undef PF_ERR
};

enum pf_action {
#define PF_ACTION(name, value, text) PF_XDP_##name = value,
#include "action.def"
#undef PF_ACTION
};
#define PF_ACTIONS 5

/* The verdict of a program that returned this: an unknown value is ABORTED, as in Linux. */
static inline uint32_t pf_action_of(uint32_t retval)
{
	return retval < PF_ACTIONS ? retval : PF_XDP_ABORTED;
}

enum pf_op {
#define PF_INSN(name, opcode, selector, value, form, text, group) PF_OP_##name,
#include "insn.def"
#undef PF_INSN
	PF_OPS
};

enum pf_map_type {
#define PF_MAP_TYPE(name, number, text, family, percpu, support) PF_MAP_##name = number,
#include "map_type.def"
#undef PF_MAP_TYPE
};

enum pf_helper_id {
#define PF_HELPER_NAME(name, number) PF_HELPER_ID_##name = number,
#define PF_HELPER(name, number, ret, a1, a2, a3, a4, a5, flags) PF_HELPER_ID_##name = number,
#include "helper.def"
#undef PF_HELPER
};

enum pf_ctx_field {
#define PF_CTX_FIELD(name, offset, size, kind, access, types) PF_CTX_##name,
#include "ctx_field.def"
#undef PF_CTX_FIELD
	PF_CTX_FIELDS
};

enum pf_diag_code {
	PF_DIAG_NONE,
#define PF_DIAG(name, text, hint) PF_DIAG_##name,
#include "diag.def"
#undef PF_DIAG
	PF_DIAGS
};

/* Program types this engine runs. `memory`: r1 is a memory region, r2 its length. `pcap`: what tcpdump expressions become:
 * r1 is a ctx, the packet is all that was captured, of any link type; no helpers. */
enum pf_prog_type { PF_PROG_XDP, PF_PROG_MEMORY, PF_PROG_PCAP, PF_PROG_TYPES };

static inline int pf_prog_type_has_packet(enum pf_prog_type type) { return type != PF_PROG_MEMORY; }

/* The last column of ctx_field.def: bit n is program type n. */
enum pf_ctx_types {
	PF_CTX_TYPES_XDP = 1 << PF_PROG_XDP,
	PF_CTX_TYPES_PCAP = 1 << PF_PROG_PCAP,
	PF_CTX_TYPES_ALL = PF_CTX_TYPES_XDP | PF_CTX_TYPES_PCAP,
};

/* What a packet's link header is, as one number: 0 any (the program does not depend on it), else a link type's number in
 * capture files and whether the capture has the other byte order. */
#define PF_LINK_KIND(linktype, swapped) (UINT32_C(1) + (uint32_t)(linktype) + ((uint32_t)!!(swapped) << 16))
#define PF_LINK_ANY 0u
#define PF_LINK_ETHERNET PF_LINK_KIND(1, 0)

#define PF_NAME_MAX 64

struct pf_diag {
	enum pf_diag_code code;
	enum pf_err err;
	uint32_t insn;
	uint64_t offset;
	uint64_t found;
	uint64_t expected;
	char name[PF_NAME_MAX]; /* NUL-terminated; a name from a table, a register, an errno text */
};

/* Fills in *diag (when not NULL) and returns err, so that a refusal is one statement. name may be NULL. */
enum pf_err pf_diag_set(struct pf_diag *diag, enum pf_err err, enum pf_diag_code code, uint32_t insn,
			uint64_t offset, uint64_t found, uint64_t expected, const char *name);

/* Text and hint of a diagnostic; "" for PF_DIAG_NONE. */
const char *pf_diag_text(enum pf_diag_code code);
const char *pf_diag_hint(enum pf_diag_code code);
const char *pf_err_text(enum pf_err err);
/* As map_type.def writes it; "" for a number that is none. */
const char *pf_map_type_text(enum pf_map_type type);

/* A program bug of ours, never a user's error: stops a debug build, makes a release build fail closed (the caller
 * returns its error). Use: if (PF_BUG_ON(cond)) return PF_EINVAL; */
#ifdef PF_DEBUG
#define PF_BUG_ON(cond) ((cond) ? (__builtin_trap(), 1) : 0)
#else
#define PF_BUG_ON(cond) __builtin_expect(!!(cond), 0)
#endif

#define PF_LIKELY(x) __builtin_expect(!!(x), 1)
#define PF_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* Symbols of the shared core that others may call; everything else stays inside (-fvisibility=hidden). */
#define PF_API __attribute__((visibility("default")))

#endif
