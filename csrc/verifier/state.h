/* state.h - what the verifier knows on one path.
 *
 * Terms
 *   reg      struct pf_vreg: the abstract value of a register or of a spilled register
 *   slot     8 aligned bytes of a stack frame; slot i covers r10 - 8 * (i + 1) .. r10 - 8 * i
 *   frame    registers and stack of one function activation
 *   node     provenance of a scalar (precision.h)
 *
 * Invariants
 *   Q1 The concrete value of a pointer is base + off + x for an x in gamma(s), where base is the start of what it points
 *      into. For stack pointers the base is r10 of `frame`.
 *   Q2 A packet pointer with `range` n: its base + x, and the n bytes behind it, lie within the packet (x as in Q1).
 *      Pointers with equal kind and id have the same x.
 *   Q3 Scalars with equal id other than 0 have values that differ by the difference of their `off`.
 *   Q4 Stack bytes that are neither SPILL nor ZERO hold anything: uninitialised stack may be read (Linux with
 *      CAP_PERFMON), and holds no pointer that can be used.
 *   Q5 SPILL bytes are the first n of a slot, n is 8 for pointers; they hold the low n bytes of slot->reg.
 *   Q6 A pointer that is `acquired` carries the id of its reference for as long as that is held (refs.h).
 */
#ifndef PF_VERIFIER_STATE_H
#define PF_VERIFIER_STATE_H

#include <stdbool.h>
#include <string.h>

#include "verifier.h"

#define PF_V_FRAMES 8u
#define PF_V_SLOTS 64u
#define PF_V_REGS 11u
#define PF_V_NO_MAP UINT16_MAX
#define PF_V_MAX_OFF (1 << 29)     /* Linux: BPF_MAX_VAR_OFF */
#define PF_V_PACKET_MAX 0xffff     /* Linux: MAX_PACKET_OFF */

enum pf_vkind {
	PF_V_NONE, /* never written, or dead */
	PF_V_SCALAR,
	PF_V_CTX,
	PF_V_PACKET,
	PF_V_META,
	PF_V_END,
	PF_V_STACK,
	PF_V_MAP,   /* a map itself */
	PF_V_VALUE, /* into a map's value */
	PF_V_KEY,   /* into a map's key, within a callback */
	PF_V_FUNC,
	PF_V_MEM,   /* memory of a known size: a global function's argument; a record of a ring buffer, acquired; a slice (dynptr.h) */
	PF_V_SOCK,  /* a full socket: struct bpf_sock */
	PF_V_SOCK_COMMON, /* a socket of any state */
	PF_V_DYNPTR, /* in slots alone (dynptr.h) */
	PF_V_CONN,  /* a connection: struct nf_conn */
	PF_V_CONN_INIT, /* one that is not in the table yet */
	PF_V_KINDS
};

enum pf_vedge { PF_V_INSIDE, PF_V_AT_END, PF_V_BEYOND_END };

struct pf_vreg {
	struct pf_scalar s;
	uint32_t node;     /* scalars: of the value; PACKET, META: of range, 0 when it is there on every path */
	uint32_t id;
	int32_t off;       /* pointers: fixed distance; scalars with an id: distance from the others */
	uint32_t size;     /* KEY, MEM: bytes; FUNC: subprogram; SCALAR: 0, or 1 + instruction whose call made a packet pointer it */
	uint16_t map;      /* MAP, VALUE, KEY: place in input->maps; MEM: of a slice's dynptr; DYNPTR: its type */
	uint16_t range;    /* PACKET, META */
	uint8_t kind;      /* enum pf_vkind */
	uint8_t null;      /* MAP, VALUE, MEM, SOCK, SOCK_COMMON: may be 0 */
	uint8_t frame;     /* STACK; MEM: of a slice's buffer, plus 1 */
	uint8_t inner : 1; /* MAP, VALUE, KEY: of the inner map of `map`; MEM: in the packet */
	uint8_t read_only : 1; /* MEM */
	uint8_t slice : 1;     /* MEM: of bpf_dynptr_slice or _rdwr */
	uint8_t acquired : 1; /* id is a reference's */
	uint8_t length : 1; /* SCALAR: r2 of program type memory, plus off */
	uint8_t edge : 2;  /* PACKET, META: enum pf_vedge, known from a comparison with the end */
};

enum pf_vbyte { PF_V_MISC, PF_V_ZERO, PF_V_SPILL, PF_V_DYNPTR_BYTE };

struct pf_vslot {
	struct pf_vreg reg;
	uint8_t byte[8];
};

enum pf_vcallback { PF_V_CALL, PF_V_LOOP, PF_V_EACH };

struct pf_vframe {
	uint32_t call_at;  /* call instruction in the frame below; 0 in the first */
	uint32_t subprog;
	uint32_t rounds;   /* callbacks this frame's current call instruction has made */
	uint8_t callback;  /* enum pf_vcallback: how this frame was entered */
	uint32_t slots;    /* slots from here on were never written */
	uint64_t buffers;  /* set of slots (dynptr.h, N4) */
	struct pf_vreg regs[PF_V_REGS];
	struct pf_vslot stack[PF_V_SLOTS];
};

/* The bpf_spin_lock that is held (lock.h). */
struct pf_vlock {
	uint32_t id; /* of the value; 0 for the only element of an array that is named by its address */
	uint32_t taken_at;
	uint16_t map;
	uint8_t inner, held;
};

/* What was acquired and is to be released (refs.h), in the order of acquisition. */
#define PF_V_REFS 64u
struct pf_vref {
	uint32_t id, at; /* at: the call */
};

struct pf_vstate {
	uint32_t at;         /* instruction to process next */
	uint32_t depth;      /* index of the running frame */
	uint32_t checkpoint; /* last saved state on the path */
	uint32_t path;       /* last decision */
	uint32_t jumps, steps; /* since that checkpoint */
	struct pf_vlock lock;
	uint32_t ref_count;
	struct pf_vref refs[PF_V_REFS];
	struct pf_vframe frames[PF_V_FRAMES];
};

/* A state packed: live registers and slots that hold something, nothing else. */
struct pf_packed {
	uint32_t at, depth, checkpoint, path;
	uint32_t size; /* bytes, this header included */
	uint32_t pending; /* boolean: stands at a conditional jump that is to be taken */
	struct pf_vlock lock;
	uint32_t ref_count;
	_Alignas(8) uint8_t data[]; /* references, then frames */
};
struct pf_packed_frame {
	uint32_t call_at, subprog, rounds;
	uint8_t callback;
	uint8_t slots; /* packed ones */
	uint16_t regs; /* set of registers */
	uint64_t buffers;
};
struct pf_packed_slot {
	struct pf_vreg reg; /* kind NONE when only bytes are known */
	uint8_t byte[8];
	uint32_t index, zero;
};

#endif
