/* prog.h - a program: original bytecode, the maps it names, and its executable forms.
 *
 * Terms
 *   staged   complete and immutable: legality checked, maps resolved, code sealed
 *   slot     index of an instruction; the second half of a 64-bit load has one of its own. Every form of the code
 *            uses the same indices (one instruction index serves everywhere)
 *   number   what ld_imm64 src 1/2 carries in imm: the caller's name ("fd") for a map
 *
 * Invariants
 *   P1 After pf_prog_create returned, nothing in the struct changes but the reference count, the run counters, and
 *      `code` entries, which go once from NULL to a finished form (release store; readers acquire).
 *   P2 insns is the caller's bytecode, byte for byte.
 *   P3 A program holds a reference to each of its maps; maps never hold programs except through bindings, and a
 *      binding's owner (map, world) is never owned by a program that stands in it: user code breaks such cycles by
 *      clearing the slot or dropping the datapath.
 *   P4 `verified` and `types` are set by the verifier alone, once, before the program is staged for an engine that needs
 *      them; unchecked code exists only for verified programs (and in C tests).
 *   P5 A family is a head and its members: programs of type pcap that are the same filter, each made for one kind of link
 *      header (PF_LINK_KIND). The head stands in chains and decides nothing itself (its own code gives ABORTED); members are
 *      added at the front of its list, complete and staged, never taken out, and the head holds a reference to each.
 *
 * Threads: a program may be created, staged, read and released by any thread; workers read it online.
 */
#ifndef PF_PROG_H
#define PF_PROG_H

#include "helper_info.h"
#include "../map/map.h"
#include "../rcu/ref.h"

enum pf_engine { PF_ENGINE_CHECKED, PF_ENGINE_INTERP, PF_ENGINE_JIT, PF_ENGINES };

/* One executable instruction, same index as the original. The interpreter jumps to `handler`. */
struct pf_lowered {
	const void *handler;
	uint8_t dst;
	uint8_t src;
	int16_t off;
	int32_t imm;
};
_Static_assert(sizeof(struct pf_lowered) == 16, "four instructions to a cache line");

/* Compiled code (csrc/native): one run; a feed of packets; a subprogram by its slot (NULL: nobody takes its address). */
struct pf_exec;
struct pf_vm_feed;
struct pf_native {
	uint64_t (*run)(struct pf_exec *x, uint64_t r1, uint64_t r2);
	void (*packets)(struct pf_exec *x, struct pf_vm_feed *feed);
	uint64_t (*call)(struct pf_exec *x, uint32_t slot, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
			 uint64_t a5);
	void *memory;
	size_t size;
};

struct pf_code {
	enum pf_engine engine;
	void (*destroy)(struct pf_code *code); /* NULL: free */
	struct pf_native native;   /* PF_ENGINE_JIT, which has no insns */
	uint32_t count;
	uint32_t stack_bytes;      /* below r10, that a frame may read: zeroed on entry (vm.h, V6) */
	struct pf_lowered insns[]; /* count entries and a final trap */
};

struct pf_prog_map {
	uint32_t number;
	struct pf_map *map; /* one reference */
};

struct pf_prog {
	struct pf_ref ref; /* first (F1) */
	enum pf_prog_type type;
	char name[PF_NAME_MAX];
	uint64_t id;
	uint32_t count;
	struct pf_insn *insns;
	uint32_t map_count;
	struct pf_prog_map *maps;
	uint8_t frags;         /* sees multi-buffer packets (xdp.frags) */
	uint8_t moves_packet;  /* calls a helper that moves an edge (own code only) */
	uint8_t tail_calls;
	uint8_t tracks;        /* asks the connection table (own code only) */
	uint8_t redirects;     /* calls bpf_redirect or bpf_redirect_map (own code only) */
	uint8_t verified;
	uint8_t *types;        /* with verified: one enum pf_insn_type (vm.h) a slot */
	uint32_t link;         /* P5: a member's kind; PF_LINK_HEAD; PF_LINK_ANY for a program that is in no family */
	struct pf_prog *_Atomic members; /* of a head: the first; of a member: the next */
	struct pf_code *_Atomic code[PF_ENGINES];
};

struct pf_prog_def {
	enum pf_prog_type type;
	const char *name;
	uint64_t id;
	const struct pf_insn *insns;
	uint32_t count;
	const struct pf_prog_map *maps; /* references are taken, the array is copied */
	uint32_t map_count;
	uint8_t frags;
	uint32_t link; /* other than PF_LINK_ANY: type pcap only */
};

#define PF_LINK_HEAD UINT32_MAX

/* Checks legality, map numbers, helper numbers and direct value offsets; copies; takes references. One reference for
 * the caller. Executable forms are added by pf_vm_stage (vm.h). */
PF_API enum pf_err pf_prog_create(const struct pf_prog_def *def, struct pf_prog **prog, struct pf_diag *diag);

static inline void pf_prog_get(struct pf_prog *prog) { pf_ref_get(&prog->ref); }
static inline void pf_prog_put(struct pf_prog *prog) { pf_ref_put(&prog->ref); }

/* The program's form for an engine (P1), or NULL. */
static inline const struct pf_code *pf_prog_code(const struct pf_prog *prog, enum pf_engine engine)
{
	return atomic_load_explicit(&prog->code[engine], memory_order_acquire);
}

/* Puts a program that is in no list yet into the head's family. PF_EINVAL when they do not fit, or the kind is there. */
PF_API enum pf_err pf_prog_join(struct pf_prog *head, struct pf_prog *member);
/* The member for packets of this kind of link header; NULL: there is none. */
PF_API const struct pf_prog *pf_prog_member(const struct pf_prog *head, uint32_t link);

/* The map with this number, or NULL. */
struct pf_map *pf_prog_map_by_number(const struct pf_prog *prog, uint32_t number);

/* The map that the ld_imm64 at this slot names: by number (src 1, 2) or by place in `maps` (src 5, 6). NULL if none. */
struct pf_map *pf_prog_insn_map(const struct pf_prog *prog, uint32_t at);

#endif
