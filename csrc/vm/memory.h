/* memory.h - inside csrc/vm: loads, stores and atomics at addresses that bytecode made.
 *
 * Map values are shared with other workers. A relaxed access of any alignment is what is wanted; C has none for
 * addresses that may be unaligned, so plain moves are written as volatile accesses through an unaligned, may_alias type,
 * which compilers keep as one move where the machine has one. Under ThreadSanitizer aligned ones are relaxed atomics.
 */
#ifndef PF_VM_MEMORY_H
#define PF_VM_MEMORY_H

#include <stdint.h>
#include <string.h>

#define PF_MEM_TYPES(bits)                                                                                             \
	typedef uint##bits##_t __attribute__((may_alias, aligned(1))) pf_u##bits##_any;                                \
	typedef uint##bits##_t __attribute__((may_alias)) pf_u##bits##_shared;

#ifdef __SANITIZE_THREAD__
#define PF_MEM_RELAXED(at, bits) ((at) % (bits / 8) == 0)
#else
#define PF_MEM_RELAXED(at, bits) 0
#endif

#define PF_MEM_MOVES(bits)                                                                                             \
	PF_MEM_TYPES(bits)                                                                                             \
	static inline uint##bits##_t pf_load##bits(uint64_t at)                                                        \
	{                                                                                                              \
		if (PF_MEM_RELAXED(at, bits))                                                                          \
			return __atomic_load_n((const pf_u##bits##_shared *)(uintptr_t)at, __ATOMIC_RELAXED);          \
		return *(const volatile pf_u##bits##_any *)(uintptr_t)at;                                              \
	}                                                                                                              \
	static inline void pf_store##bits(uint64_t at, uint##bits##_t value)                                           \
	{                                                                                                              \
		if (PF_MEM_RELAXED(at, bits))                                                                          \
			__atomic_store_n((pf_u##bits##_shared *)(uintptr_t)at, value, __ATOMIC_RELAXED);               \
		else                                                                                                   \
			*(volatile pf_u##bits##_any *)(uintptr_t)at = value;                                           \
	}                                                                                                              \
	static inline uint##bits##_t pf_load_acquire##bits(uint64_t at)                                                \
	{                                                                                                              \
		if (at % (bits / 8) == 0)                                                                              \
			return __atomic_load_n((const pf_u##bits##_shared *)(uintptr_t)at, __ATOMIC_ACQUIRE);          \
		return pf_load##bits(at);                                                                              \
	}                                                                                                              \
	static inline void pf_store_release##bits(uint64_t at, uint##bits##_t value)                                   \
	{                                                                                                              \
		if (at % (bits / 8) == 0)                                                                              \
			__atomic_store_n((pf_u##bits##_shared *)(uintptr_t)at, value, __ATOMIC_RELEASE);               \
		else                                                                                                   \
			pf_store##bits(at, value);                                                                     \
	}

PF_MEM_MOVES(8)
PF_MEM_MOVES(16)
PF_MEM_MOVES(32)
PF_MEM_MOVES(64)

/* Read-modify-write: returns the value before. An unaligned address is done in plain steps (vm.h, V7). */
#define PF_MEM_RMW(name, bits, atomic, expr)                                                                           \
	static inline uint##bits##_t pf_##name##bits(uint64_t at, uint##bits##_t value)                                \
	{                                                                                                              \
		if (PF_LIKELY(at % (bits / 8) == 0))                                                                   \
			return atomic((pf_u##bits##_shared *)(uintptr_t)at, value, __ATOMIC_SEQ_CST);                  \
		const uint##bits##_t old = pf_load##bits(at);                                                          \
		pf_store##bits(at, expr);                                                                              \
		return old;                                                                                            \
	}

#define PF_MEM_RMWS(bits)                                                                                              \
	PF_MEM_RMW(add, bits, __atomic_fetch_add, old + value)                                                         \
	PF_MEM_RMW(or, bits, __atomic_fetch_or, old | value)                                                           \
	PF_MEM_RMW(and, bits, __atomic_fetch_and, old &value)                                                          \
	PF_MEM_RMW(xor, bits, __atomic_fetch_xor, old ^ value)                                                         \
	PF_MEM_RMW(xchg, bits, __atomic_exchange_n, value)                                                             \
	static inline uint##bits##_t pf_cmpxchg##bits(uint64_t at, uint##bits##_t expected, uint##bits##_t value)      \
	{                                                                                                              \
		if (PF_LIKELY(at % (bits / 8) == 0)) {                                                                 \
			__atomic_compare_exchange_n((pf_u##bits##_shared *)(uintptr_t)at, &expected, value, 0,         \
						    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                               \
			return expected;                                                                               \
		}                                                                                                      \
		const uint##bits##_t old = pf_load##bits(at);                                                          \
		if (old == expected)                                                                                   \
			pf_store##bits(at, value);                                                                     \
		return old;                                                                                            \
	}

PF_MEM_RMWS(32)
PF_MEM_RMWS(64)

#endif
