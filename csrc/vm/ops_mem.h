/* ops_mem.h - handlers of loads, stores and atomics; inside the loop (loop.h).
 *
 * READABLE and WRITABLE leave the handler when the access is not allowed; the unchecked build has nothing there.
 */

#define LOAD_STEP(bits, type)                                                                                          \
	do {                                                                                                           \
		const uint64_t at = SRC + (uint64_t)(int64_t)pc->off;                                                  \
		READABLE(at, bits / 8);                                                                                \
		DST = (uint64_t)(type)pf_load##bits(at);                                                               \
	} while (0)
/* The load that may be of ctx; with sign extension there is another. */
#define LOAD_STEP_W                                                                                                    \
	do {                                                                                                           \
		const uint64_t at = SRC + (uint64_t)(int64_t)pc->off;                                                  \
		if (CTX_LOADED(at, DST))                                                                                    \
			break;                                                                                         \
		READABLE(at, 4);                                                                                       \
		DST = pf_load32(at);                                                                                   \
	} while (0)
#define STORE_STEP(bits, value)                                                                                        \
	do {                                                                                                           \
		const uint64_t at = DST + (uint64_t)(int64_t)pc->off;                                                  \
		WRITABLE(at, bits / 8);                                                                                \
		pf_store##bits(at, (uint##bits##_t)(value));                                                           \
	} while (0)
#define LOAD(name, bits, type)                                                                                         \
	op_##name : LOAD_STEP(bits, type);                                                                             \
	NEXT;
#define STORE(name, bits)                                                                                              \
	op_ST_##name : STORE_STEP(bits, (int64_t)pc->imm);                                                             \
	NEXT;                                                                                                          \
	op_STX_##name : STORE_STEP(bits, SRC);                                                                         \
	NEXT;                                                                                                          \
	op_LOAD_ACQ_##name : {                                                                                         \
		const uint64_t at = SRC + (uint64_t)(int64_t)pc->off;                                                  \
		READABLE(at, bits / 8);                                                                                \
		ALIGNED(at, bits / 8);                                                                                 \
		DST = pf_load_acquire##bits(at);                                                                       \
		NEXT;                                                                                                  \
	}                                                                                                              \
	op_STORE_REL_##name : {                                                                                        \
		const uint64_t at = DST + (uint64_t)(int64_t)pc->off;                                                  \
		WRITABLE(at, bits / 8);                                                                                \
		ALIGNED(at, bits / 8);                                                                                 \
		pf_store_release##bits(at, (uint##bits##_t)SRC);                                                       \
		NEXT;                                                                                                  \
	}

LOAD(LDX_B, 8, uint8_t)
LOAD(LDX_H, 16, uint16_t)
LOAD(LDX_DW, 64, uint64_t)
LOAD(LDSX_B, 8, int8_t)
LOAD(LDSX_H, 16, int16_t)
STORE(B, 8)
STORE(H, 16)
STORE(W, 32)
STORE(DW, 64)

op_LDX_W:
	LOAD_STEP_W;
	NEXT;

op_LDSX_W: {
	const uint64_t at = SRC + (uint64_t)(int64_t)pc->off;
	if (CTX_LOADED_SIGNED(at, DST))
		NEXT;
	READABLE(at, 4);
	DST = (uint64_t)(int32_t)pf_load32(at);
	NEXT;
}

#define ATOMIC(name, fn, bits)                                                                                         \
	op_ATOMIC##bits##_##name : {                                                                                   \
		const uint64_t at = DST + (uint64_t)(int64_t)pc->off;                                                  \
		WRITABLE(at, bits / 8);                                                                                \
		ALIGNED(at, bits / 8);                                                                                 \
		pf_##fn##bits(at, (uint##bits##_t)SRC);                                                                \
		NEXT;                                                                                                  \
	}
#define ATOMIC_FETCH(name, fn, bits)                                                                                   \
	op_ATOMIC##bits##_##name : {                                                                                   \
		const uint64_t at = DST + (uint64_t)(int64_t)pc->off;                                                  \
		WRITABLE(at, bits / 8);                                                                                \
		ALIGNED(at, bits / 8);                                                                                 \
		SRC = pf_##fn##bits(at, (uint##bits##_t)SRC);                                                          \
		NEXT;                                                                                                  \
	}
#define ATOMICS(bits)                                                                                                  \
	ATOMIC(ADD, add, bits)                                                                                         \
	ATOMIC(OR, or, bits)                                                                                           \
	ATOMIC(AND, and, bits)                                                                                         \
	ATOMIC(XOR, xor, bits)                                                                                         \
	ATOMIC_FETCH(FETCH_ADD, add, bits)                                                                             \
	ATOMIC_FETCH(FETCH_OR, or, bits)                                                                               \
	ATOMIC_FETCH(FETCH_AND, and, bits)                                                                             \
	ATOMIC_FETCH(FETCH_XOR, xor, bits)                                                                             \
	ATOMIC_FETCH(XCHG, xchg, bits)                                                                                 \
	op_ATOMIC##bits##_CMPXCHG : {                                                                                  \
		const uint64_t at = DST + (uint64_t)(int64_t)pc->off;                                                  \
		WRITABLE(at, bits / 8);                                                                                \
		ALIGNED(at, bits / 8);                                                                                 \
		r[0] = pf_cmpxchg##bits(at, (uint##bits##_t)r[0], (uint##bits##_t)SRC);                                \
		NEXT;                                                                                                  \
	}

ATOMICS(64)
ATOMICS(32)

/* Loads that staging knows to be of ctx (enum pf_insn_type). */
#define PF_CTX_FIELD(name, offset, size, kind, access, types)                                                          \
	op_CTX_##name : {                                                                                              \
		DST = PF_CTX_VALUE_##kind((const struct pf_packet *)(uintptr_t)SRC, name);                             \
		NEXT;                                                                                                  \
	}                                                                                                              \
	op_CTX_SIGNED_##name : {                                                                                       \
		DST = (uint64_t)(int32_t)PF_CTX_VALUE_##kind((const struct pf_packet *)(uintptr_t)SRC, name);          \
		NEXT;                                                                                                  \
	}
#include "../tables/ctx_field.def"
#undef PF_CTX_FIELD

#undef LOAD
#undef STORE
#undef ATOMIC
#undef ATOMIC_FETCH
#undef ATOMICS
