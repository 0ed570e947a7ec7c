/* bpf_spin_lock at run time: what copies of values do with its bytes, that it excludes, what the checked build calls a
 * misuse, and that no run leaves it behind. */
#include <pthread.h>

#include "map_util.h"
#include "map/spin.h"
#include "vm_fixture.h"

#define THREADS 3
#define ROUNDS 3000u

static uint32_t lock_word(struct pf_map *map, const void *key)
{
	return __atomic_load_n((pf_spin *)(void *)(pf_map_lookup(map, key, 0) + map->lock.offset), __ATOMIC_RELAXED);
}

static struct pf_map *locked(enum pf_map_type type, uint32_t value, uint32_t offset)
{
	struct pf_map *map = make(type, 4, value, 2, 0, 1);
	CHECK_EQ(pf_map_set_lock(map, offset, NULL), PF_OK);
	return map;
}

/* --- definitions --- */

static void test_definitions(void)
{
	static const struct { enum pf_map_type type; uint32_t value, flags, offset; enum pf_err err; enum pf_diag_code code; } defs[] = {
		{ PF_MAP_HASH, 4, 0, 0, PF_OK, PF_DIAG_NONE },
		{ PF_MAP_ARRAY, 13, 0, 8, PF_OK, PF_DIAG_NONE },
		{ PF_MAP_HASH, 16, PF_MAP_F_NO_PREALLOC, 12, PF_OK, PF_DIAG_NONE },
		{ PF_MAP_ARRAY, 16, 0, 13, PF_EINVAL, PF_DIAG_MAP_LOCK_PLACE },
		{ PF_MAP_ARRAY, 16, 0, 16, PF_EINVAL, PF_DIAG_MAP_LOCK_PLACE },
		{ PF_MAP_ARRAY, 15, 0, 12, PF_EINVAL, PF_DIAG_MAP_LOCK_PLACE },
		{ PF_MAP_ARRAY, 3, 0, 0, PF_EINVAL, PF_DIAG_MAP_LOCK_PLACE },
		{ PF_MAP_ARRAY, 16, 0, UINT32_MAX - 3, PF_EINVAL, PF_DIAG_MAP_LOCK_PLACE },
		{ PF_MAP_LRU_HASH, 16, 0, 0, PF_EOPNOTSUPP, PF_DIAG_MAP_LOCK_TYPE },
		{ PF_MAP_PERCPU_ARRAY, 16, 0, 0, PF_EOPNOTSUPP, PF_DIAG_MAP_LOCK_TYPE },
		{ PF_MAP_PERCPU_HASH, 16, 0, 0, PF_EOPNOTSUPP, PF_DIAG_MAP_LOCK_TYPE },
		{ PF_MAP_HASH, 16, PF_MAP_F_RDONLY_PROG, 0, PF_EACCES, PF_DIAG_MAP_LOCK_FLAGS },
		{ PF_MAP_ARRAY, 16, PF_MAP_F_WRONLY_PROG, 0, PF_EACCES, PF_DIAG_MAP_LOCK_FLAGS },
	};
	for (size_t i = 0; i < sizeof(defs) / sizeof(defs[0]); i++) {
		struct pf_map *map = make(defs[i].type, 4, defs[i].value, 2, defs[i].flags, 1);
		struct pf_diag diag = { 0 };
		CHECK_EQ(pf_map_set_lock(map, defs[i].offset, &diag), defs[i].err);
		CHECK_EQ(diag.code, defs[i].code);
		CHECK_EQ(map->lock.present, defs[i].err == PF_OK);
		pf_map_put(map);
	}
}

/* An inner map must have its lock where the outer one says. */
static void test_inner(void)
{
	const uint32_t key = 0;
	for (int outer_locked = 0; outer_locked < 2; outer_locked++) {
		for (uint32_t offset = 0; offset < 3; offset++) { /* 2: none */
			struct pf_map *outer = make(PF_MAP_ARRAY_OF_MAPS, 4, 4, 1, 0, 1), *inner = make(PF_MAP_ARRAY, 4, 8, 2, 0, 1);
			struct pf_diag diag = { 0 };
			uint32_t published;
			if (outer_locked)
				CHECK_EQ(pf_map_set_inner_lock(outer, 4, NULL), PF_OK);
			if (offset < 2)
				CHECK_EQ(pf_map_set_lock(inner, offset * 4, NULL), PF_OK);
			CHECK_EQ(pf_map_bind(outer, &key, &inner->ref, ANY, &published, &diag),
				 offset == (outer_locked ? 1u : 2u) ? PF_OK : PF_EINVAL);
			pf_map_put(outer);
			pf_map_put(inner);
		}
	}
}

/* --- copies --- */

static void check_copies(enum pf_map_type type, uint32_t size, uint32_t offset)
{
	struct pf_map *map = locked(type, size, offset);
	const uint32_t key = 1;
	uint8_t in[40], out[41], *value;

	for (uint64_t flags = 0; flags <= PF_MAP_F_LOCK; flags += PF_MAP_F_LOCK) {
		for (int from_program = 0; from_program < 2; from_program++) {
			for (uint32_t i = 0; i < size; i++)
				in[i] = (uint8_t)(rnd(255) + 1);
			CHECK_EQ(from_program ? pf_map_update(map, &key, in, flags, 0) : pf_map_user_update(map, &key, in, flags), PF_OK);
			value = pf_map_lookup(map, &key, 0);
			CHECK_EQ(lock_word(map, &key), 0);
			if (flags == 0) { /* held: stays held, and is not shown */
				pf_spin_acquire(value + offset);
				CHECK_EQ(pf_map_user_update(map, &key, in, 0), PF_OK);
				CHECK_EQ(lock_word(map, &key), 1);
			}
			memset(out, 0xee, sizeof(out));
			CHECK_EQ(pf_map_user_lookup(map, &key, out, flags), PF_OK);
			if (flags == 0)
				pf_spin_release(value + offset);
			for (uint32_t i = 0; i < size; i++)
				CHECK_EQ(out[i], i - offset < PF_SPIN_BYTES ? 0 : in[i]);
			CHECK_EQ(out[size], 0xee);
			for (uint32_t i = size; i < map->value_step; i++)
				CHECK_EQ(value[i], 0);
		}
	}
	pf_map_put(map);
}

static void test_copies(void)
{
	for (uint32_t size = 4; size <= 40; size++) {
		for (uint32_t offset = 0; offset + 4 <= size; offset += 4) {
			check_copies(PF_MAP_ARRAY, size, offset);
			check_copies(PF_MAP_HASH, size, offset);
		}
	}
}

/* BPF_F_LOCK: with the other flags, and where there is no lock. */
static void test_flag(void)
{
	static const enum pf_map_type types[] = { PF_MAP_ARRAY, PF_MAP_HASH, PF_MAP_LRU_HASH, PF_MAP_PERCPU_ARRAY, PF_MAP_LPM_TRIE };
	const uint32_t key[2] = { 1, 0 }, absent = 7;
	uint8_t value[64] = { 0 };

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		struct pf_map *map = make(types[i], types[i] == PF_MAP_LPM_TRIE ? 8 : 4, 8, 2,
					  types[i] == PF_MAP_LPM_TRIE ? PF_MAP_F_NO_PREALLOC : 0, 1);
		CHECK_EQ(pf_map_user_update(map, key, value, ANY), PF_OK);
		CHECK_EQ(pf_map_user_update(map, key, value, PF_MAP_F_LOCK), PF_EINVAL);
		CHECK_EQ(pf_map_update(map, key, value, PF_MAP_F_LOCK, 0), PF_EINVAL);
		CHECK_EQ(pf_map_user_lookup(map, key, value, PF_MAP_F_LOCK), PF_EINVAL);
		CHECK_EQ(pf_map_user_lookup(map, key, value, 1), PF_EINVAL);
		pf_map_put(map);
	}
	struct pf_map *map = locked(PF_MAP_HASH, 16, 0);
	CHECK_EQ(pf_map_user_update(map, key, value, PF_MAP_F_LOCK | EXIST), PF_ENOENT);
	CHECK_EQ(pf_map_user_update(map, key, value, PF_MAP_F_LOCK | NOEXIST), PF_OK);
	CHECK_EQ(pf_map_user_update(map, key, value, PF_MAP_F_LOCK | NOEXIST), PF_EEXIST);
	CHECK_EQ(pf_map_user_update(map, key, value, PF_MAP_F_LOCK | EXIST), PF_OK);
	CHECK_EQ(pf_map_user_update(map, key, value, PF_MAP_F_LOCK | 3), PF_EINVAL);
	CHECK_EQ(pf_map_user_update(map, key, value, 8), PF_EINVAL);
	CHECK_EQ(pf_map_user_lookup(map, &absent, value, PF_MAP_F_LOCK), PF_ENOENT);
	pf_map_put(map);
	map = locked(PF_MAP_ARRAY, 16, 0);
	CHECK_EQ(pf_map_user_update(map, key, value, PF_MAP_F_LOCK | NOEXIST), PF_EEXIST);
	CHECK_EQ(pf_map_user_update(map, key, value, PF_MAP_F_LOCK | EXIST), PF_OK);
	CHECK_EQ(pf_map_user_update(map, &absent, value, PF_MAP_F_LOCK), PF_E2BIG);
	pf_map_put(map);
}

/* A deleted element keeps its lock: who holds it gives it back later (spin.h, S2). */
static void test_reuse(void)
{
	struct pf_map *map = make(PF_MAP_HASH, 4, 8, 1, 0, 1);
	const uint32_t first = 1, second = 2;
	const uint8_t value[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	CHECK_EQ(pf_map_set_lock(map, 4, NULL), PF_OK);
	CHECK_EQ(pf_map_update(map, &first, value, ANY, 0), PF_OK);
	uint8_t *held = pf_map_lookup(map, &first, 0) + 4;
	pf_spin_acquire(held);
	CHECK_EQ(pf_map_delete(map, &first), PF_OK);
	CHECK_EQ(pf_map_update(map, &second, value, ANY, 0), PF_OK);
	CHECK(pf_map_lookup(map, &second, 0) + 4 == held && lock_word(map, &second) == 1);
	pf_spin_release(held);
	CHECK_EQ(lock_word(map, &second), 0);
	pf_map_put(map);
}

/* --- programs --- */

#define LOCK CALL(93)
#define UNLOCK CALL(94)
#define VALUE(d, o) LDDW(d, 2, 1, o)

static struct pf_prog *load_on(struct pf_map *map, const struct pf_insn *insns, uint32_t count)
{
	const struct pf_prog_map maps[] = { { 1, map } };
	return load(PF_PROG_MEMORY, insns, count, maps, 1, NULL);
}

/* The program faults so, and the lock is free afterwards. */
static void misuse(struct pf_map *map, const struct pf_insn *insns, uint32_t count, enum pf_diag_code code, uint32_t insn)
{
	const uint32_t key = 0;
	struct pf_prog *prog = load_on(map, insns, count);
	for (int again = 0; again < 2; again++) {
		expect_fault(prog, code, insn, NULL);
		CHECK_EQ(lock_word(map, &key), 0);
		CHECK(!x->lock);
	}
	pf_prog_put(prog);
}

#define MISUSE(code, insn, ...)                                                                                        \
	do {                                                                                                           \
		const struct pf_insn insns[] = { __VA_ARGS__ };                                                        \
		misuse(map, insns, COUNT(insns), PF_DIAG_##code, insn);                                                \
	} while (0)

static void test_misuse(void)
{
	struct pf_map *map = make(PF_MAP_ARRAY, 4, 32, 1, 0, 1);
	CHECK_EQ(pf_map_set_lock(map, 8, NULL), PF_OK);
	MISUSE(VM_LOCK_LEFT, 4, VALUE(1, 8), LOCK, MOVI(0, 0), EXIT);
	MISUSE(VM_LOCK_CALL, 5, VALUE(1, 8), LOCK, VALUE(1, 8), LOCK, MOVI(0, 0), EXIT);
	MISUSE(VM_LOCK_CALL, 3, VALUE(1, 8), LOCK, CALL(5), MOVI(0, 0), EXIT);
	MISUSE(VM_LOCK_NOT_HELD, 2, VALUE(1, 8), UNLOCK, MOVI(0, 0), EXIT);
	MISUSE(VM_LOCK_NOT_HELD, 6, VALUE(6, 8), MOV(1, 6), LOCK, MOV(1, 6), ADDI(1, 4), UNLOCK, MOVI(0, 0), EXIT);
	MISUSE(VM_HELPER_ARG, 2, VALUE(1, 12), LOCK, MOVI(0, 0), EXIT);
	MISUSE(VM_HELPER_ARG, 2, MOV(1, 10), ADDI(1, -8), LOCK, MOVI(0, 0), EXIT);
	MISUSE(VM_HELPER_ARG, 1, MOVI(1, 0), LOCK, MOVI(0, 0), EXIT);
	/* A fault of another kind, and the budget, while it is held. */
	MISUSE(VM_LOAD, 4, VALUE(1, 8), LOCK, MOVI(2, 0), LDX(SIZE_W, 0, 2, 0), EXIT);
	MISUSE(VM_BUDGET, 3, VALUE(1, 8), LOCK, I(0x05, 0, 0, -1, 0), EXIT);
	/* A callback that ends with it. */
	MISUSE(VM_LOCK_LEFT, 12, MOVI(1, 1), LDDW(2, 4, 6, 0), MOVI(3, 0), MOVI(4, 0), CALL(181), MOVI(0, 0), EXIT, VALUE(1, 8), LOCK,
	       MOVI(0, 0), EXIT);
	/* Its bytes are nobody's. */
	MISUSE(VM_LOAD, 2, VALUE(1, 8), LDX(SIZE_W, 0, 1, 0), EXIT);
	MISUSE(VM_LOAD, 2, VALUE(1, 4), LDX(SIZE_DW, 0, 1, 0), EXIT);
	MISUSE(VM_LOAD, 2, VALUE(1, 11), LDX(SIZE_B, 0, 1, 0), EXIT);
	MISUSE(VM_STORE, 2, VALUE(1, 8), I(0x62, 1, 0, 0, 0), MOVI(0, 0), EXIT);
	MISUSE(VM_STORE, 3, VALUE(1, 0), MOVI(2, 1), I(0xc3, 1, 2, 8, 0), MOVI(0, 0), EXIT);
	MISUSE(VM_LOAD, 3, VALUE(1, 0), LDX(SIZE_DW, 2, 1, 0), LDX(SIZE_B, 0, 1, 9), EXIT); /* with a window in front of it */
	MISUSE(VM_LOAD, 3, VALUE(1, 0), LDX(SIZE_DW, 2, 1, 16), LDX(SIZE_B, 0, 1, 9), EXIT); /* and behind it */
	MISUSE(VM_HELPER_ARG, 6, VALUE(1, 0), MOVI(2, 16), MOVI(3, 0), MOVI(4, 0), MOVI(5, 0), CALL(28), EXIT);
	const struct pf_insn beside[] = { VALUE(1, 0), LDX(SIZE_DW, 0, 1, 0), LDX(SIZE_W, 2, 1, 12), I(0x0f, 0, 2, 0, 0),
					  LDX(SIZE_DW, 2, 1, 24), I(0x0f, 0, 2, 0, 0), I(0x7a, 1, 0, 16, 5), EXIT };
	struct pf_prog *prog = load_on(map, beside, COUNT(beside));
	CHECK_EQ(run_both(prog, (uint8_t[8]){ 0 }, 8), 0);
	pf_prog_put(prog);
	pf_map_put(map);
}

/* --- exclusion --- */

struct worker {
	pthread_t thread;
	struct pf_prog *prog;
	struct pf_map *map;
	enum pf_engine engine;
};

/* Both halves of the value change together under the lock, and count every run. */
static void *work(void *user)
{
	struct worker *w = user;
	struct pf_exec *exec;
	uint64_t r0;
	CHECK_EQ(pf_exec_create(&exec), PF_OK);
	for (uint32_t i = 0; i < ROUNDS; i++)
		CHECK_EQ(pf_vm_execute(exec, w->prog, w->engine, NULL, 0, &r0), PF_OK);
	pf_exec_destroy(exec);
	return NULL;
}

static void *watch(void *user)
{
	struct worker *w = user;
	const uint32_t key = 0;
	uint64_t value[3];
	for (uint32_t i = 0; i < ROUNDS; i++) {
		CHECK_EQ(pf_map_user_lookup(w->map, &key, value, PF_MAP_F_LOCK), PF_OK);
		CHECK_EQ(value[0], value[2]);
		CHECK_EQ((uint32_t)value[1], 0);
	}
	return NULL;
}

static void test_exclusion(void)
{
	/* value: u64 a; lock; u32; u64 b */
	const struct pf_insn insns[] = {
		VALUE(6, 0), MOV(1, 6), ADDI(1, 8), LOCK, LDX(SIZE_DW, 2, 6, 0), ADDI(2, 1), STX(SIZE_DW, 6, 2, 0),
		LDX(SIZE_DW, 3, 6, 16), ADDI(3, 1), STX(SIZE_DW, 6, 3, 16), MOV(1, 6), ADDI(1, 8), UNLOCK, MOVI(0, 0), EXIT,
	};
	struct pf_map *map = make(PF_MAP_ARRAY, 4, 24, 1, 0, 1);
	CHECK_EQ(pf_map_set_lock(map, 8, NULL), PF_OK);
	struct pf_prog *prog = load_on(map, insns, COUNT(insns));
	struct worker w[THREADS + 1];
	for (int i = 0; i <= THREADS; i++) {
		w[i] = (struct worker){ .prog = prog, .map = map, .engine = i % 2 ? PF_ENGINE_CHECKED : PF_ENGINE_INTERP };
		CHECK_EQ(pthread_create(&w[i].thread, NULL, i < THREADS ? work : watch, &w[i]), 0);
	}
	for (int i = 0; i <= THREADS; i++)
		pthread_join(w[i].thread, NULL);
	const uint32_t key = 0;
	uint64_t value[3];
	CHECK_EQ(pf_map_user_lookup(map, &key, value, 0), PF_OK);
	CHECK_EQ(value[0], THREADS * ROUNDS);
	CHECK_EQ(value[2], THREADS * ROUNDS);
	pf_prog_put(prog);
	pf_map_put(map);
}

int main(void)
{
	new_exec();
	test_definitions();
	test_inner();
	test_copies();
	test_flag();
	test_reuse();
	test_misuse();
	test_exclusion();
	pf_exec_destroy(x);
	return 0;
}
