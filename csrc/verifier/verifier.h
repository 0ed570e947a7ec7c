/* verifier.h - proves that a program is safe, or says why it cannot be proved.
 *
 * Terms
 *   state      what is known at an instruction on one path: registers and stack of every frame
 *   budget     instructions the exploration may process, over all paths
 *   fact       what is known at an instruction over all paths: a join of all incoming states
 *   path       the branch decisions that lead to the refused instruction
 *
 * Invariants
 *   Y1 An accepted program, run on any packet (memory region) and any map contents, touches only its ctx, packet, stack,
 *      and map values, gives helpers what their rows ask for, and ends.
 *   Y2 The verdict is a function of the input alone. Memory never exceeds memory_limit by more than one state.
 *   Y3 A fact holds for every concrete run: it is a join over all paths, and a scalar that pruning may have ignored
 *      (never needed exactly by any proof) is unknown.
 *   Y4 Every refusal carries a diagnostic.
 *
 * Program type memory: r1 is the start of a region whose length is r2. r1 + r2 is its end, like data_end; a comparison of
 * r2 with a number proves that many bytes, as does a comparison of a pointer into the region with its end.
 * At most 65,535 bytes can be proved that way, as in a packet.
 *
 * Threads: no state outside the arguments; any thread may call anything.
 */
#ifndef PF_VERIFIER_H
#define PF_VERIFIER_H

#include "../isa/isa.h"
#include "../map/map.h"
#include "../prog/prog.h"
#include "scalar.h"

struct pf_verify_map {
	uint32_t number; /* what ld_imm64 src 1/2 carries; src 5/6 carry the place in the array */
	struct pf_map_def def;
	struct pf_map_def inner;  /* maps of maps: definition of the inner maps */
	struct pf_map_lock lock, inner_lock; /* of the values of both */
	const uint8_t *contents;  /* value_size bytes of element 0 that nobody can change any more; NULL otherwise */
};

/* What a global function takes (from BTF). */
enum pf_verify_arg_kind { PF_VERIFY_ARG_SCALAR, PF_VERIFY_ARG_CTX, PF_VERIFY_ARG_MEM };
struct pf_verify_arg {
	enum pf_verify_arg_kind kind;
	uint32_t size;    /* MEM: bytes */
	uint8_t nonnull;  /* MEM: boolean */
};
struct pf_verify_func {
	uint32_t insn; /* first instruction */
	uint32_t args; /* 0 to 5 */
	struct pf_verify_arg arg[5];
};

enum pf_verify_want {
	PF_VERIFY_FACTS = 1, /* a second pass over the same paths */
	PF_VERIFY_FRAGS = 2, /* the program sees packets in several parts */
	PF_VERIFY_EGRESS = 4, /* attached to a device map entry: may read egress_ifindex */
};

typedef void (*pf_verify_log)(void *user, const char *line, size_t length);

struct pf_verify_input {
	enum pf_prog_type type;
	const struct pf_insn *insns;
	uint32_t count;
	const struct pf_verify_map *maps;
	uint32_t map_count;
	const struct pf_verify_func *funcs; /* global functions; all others are verified at every call */
	uint32_t func_count;
	uint8_t gpl_compatible;             /* boolean: the license allows GPL-only helpers */
	uint32_t cpus;                      /* CPU ids are below this; 0: nothing is known */
	uint64_t memory_min, memory_max;    /* type memory: bounds of r2; 0, 0 means nothing is known */
	uint32_t budget;                    /* 0: PF_VERIFY_BUDGET */
	size_t memory_limit;                /* bytes; 0: PF_VERIFY_MEMORY */
	unsigned want;                      /* set of enum pf_verify_want */
	pf_verify_log log;                  /* NULL: no log of states */
	void *user;
};
#define PF_VERIFY_BUDGET 1000000u
#define PF_VERIFY_MEMORY ((size_t)512 << 20)

enum pf_fact_kind {
	PF_FACT_UNREACHED, /* no path comes here */
	PF_FACT_ANY,       /* nothing is known */
	PF_FACT_SCALAR,    /* value in `range` */
	PF_FACT_CTX, PF_FACT_PACKET, PF_FACT_PACKET_META, PF_FACT_PACKET_END, PF_FACT_STACK, PF_FACT_MAP,
	PF_FACT_MAP_VALUE, PF_FACT_MAP_KEY, PF_FACT_FUNC, PF_FACT_MEMORY,
};

/* Of one register before one instruction. Pointers: range is the distance from the start of what they point into. */
struct pf_fact {
	uint8_t kind;      /* enum pf_fact_kind */
	uint8_t maybe_null;
	uint16_t map;      /* MAP, MAP_VALUE: place in the input's maps, when the same everywhere; else UINT16_MAX */
	uint32_t proved;   /* PACKET: bytes behind this pointer that exist on every path */
	struct pf_scalar range;
};

#define PF_VERIFY_PATH 16
#define PF_VERIFY_TEXT 160

struct pf_verify_step {
	uint32_t insn;
	uint8_t taken; /* the jump was made */
};

struct pf_verify_register {
	uint8_t number;
	char text[PF_VERIFY_TEXT];
};

struct pf_verify_result {
	int ok;
	struct pf_diag diag;                    /* VER_* or ISA_*; code 0 when ok */
	char help[PF_VERIFY_TEXT];              /* what to do; empty when there is nothing better than the table's hint */
	uint32_t path_count;
	struct pf_verify_step path[PF_VERIFY_PATH]; /* oldest first */
	uint32_t path_dropped;                  /* decisions that matter, older than those */
	uint32_t register_count;
	struct pf_verify_register registers[11];
	uint32_t insns_processed;
	uint32_t states_total, states_peak;
	size_t memory_peak;                     /* bytes */
	uint32_t stack_depth;                   /* bytes of the deepest call chain */
	uint8_t *types;                         /* enum pf_verify_insn, one per slot; NULL when refused before exploration */
	struct pf_fact *facts;                  /* 11 per slot, with PF_VERIFY_FACTS and ok */
};

/* Values of enum pf_insn_type (vm.h), which the verifier may not include. */
enum pf_verify_insn { PF_VERIFY_PLAIN, PF_VERIFY_CTX_LOAD };

/* Verifies. PF_OK: *result says yes. PF_EINVAL, PF_EACCES, PF_E2BIG, PF_ENOMEM: refused, with result->diag filled in.
 * The caller frees the result in any case. */
PF_API enum pf_err pf_verify(const struct pf_verify_input *input, struct pf_verify_result *result);
PF_API void pf_verify_free(struct pf_verify_result *result);

#endif
