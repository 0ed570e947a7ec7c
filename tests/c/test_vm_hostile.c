/* What a hostile program may try in a checked run: old stack contents, other programs' frames, values of CPUs that a map
 * does not have, text formats that change or are absurd, addresses that wrap, and helpers that do much for one
 * instruction. */
#include <pthread.h>
#include <stddef.h>
#include <stdatomic.h>
#include <time.h>

#include "vm_fixture.h"

#define STACK_TOP (int32_t)(offsetof(struct pf_exec, stack) + sizeof(x->stack) - offsetof(struct pf_exec, packet))

static uint8_t packet[64];

static void set_packet(void)
{
	pf_packet_init(&x->packet, packet, sizeof(packet), PF_PACKET_LINEAR);
}

static struct pf_map *map_of(enum pf_map_type type, uint32_t value_size, uint32_t entries, uint32_t cpus)
{
	const struct pf_map_def def = { type, 4, value_size, entries, 0 };
	struct pf_map *map;
	CHECK_EQ(pf_map_create(&def, NULL, cpus, "m", 1, &map, NULL), PF_OK);
	return map;
}

static struct pf_prog *load_with(const struct pf_insn *insns, uint32_t count, struct pf_map *map)
{
	const struct pf_prog_map maps[] = { { 1, map } };
	return load(PF_PROG_XDP, insns, count, maps, 1, NULL);
}

static uint64_t run_good(const struct pf_prog *prog)
{
	uint64_t r0 = 99;
	set_packet();
	const enum pf_err err = pf_vm_run(x, prog, PF_ENGINE_CHECKED, (uint64_t)(uintptr_t)&x->packet, 0, &r0);
	if (err)
		fprintf(stderr, "fault: %s, %s\n", pf_diag_text(x->fault.diag.code), x->fault.diag.name);
	CHECK_EQ(err, PF_OK);
	return r0;
}

static void expect_xdp_fault(const struct pf_prog *prog, enum pf_diag_code code, uint32_t insn)
{
	set_packet();
	expect_fault(prog, code, insn, NULL);
}

/* r1 is an address inside the engine's state: a distance from it leads to the stack. */
static void test_stack_without_frame_pointer(void)
{
	memset(x->stack, 0xee, sizeof(x->stack));
	for (int32_t below = 8; below <= 512; below += 8) {
		const struct pf_insn read[] = { ADDI(1, STACK_TOP - below), LDX(SIZE_DW, 0, 1, 0), EXIT };
		const struct pf_insn write[] = { ADDI(1, STACK_TOP - below), I(0x7a, 1, 0, 0, 1), MOVI(0, 0), EXIT };
		struct pf_prog *prog = load(PF_PROG_XDP, read, COUNT(read), NULL, 0, NULL);
		expect_xdp_fault(prog, PF_DIAG_VM_LOAD, 1);
		pf_prog_put(prog);
		prog = load(PF_PROG_XDP, write, COUNT(write), NULL, 0, NULL);
		expect_xdp_fault(prog, PF_DIAG_VM_STORE, 1);
		pf_prog_put(prog);
	}
	/* What the program uses itself it may also reach this way; it is zero, and ends where it ends. */
	const struct pf_insn own[] = { I(0x62, 10, 0, -4, 0), ADDI(1, STACK_TOP - 4), LDX(SIZE_W, 0, 1, 0), EXIT };
	const struct pf_insn beside[] = { I(0x62, 10, 0, -4, 0), ADDI(1, STACK_TOP - 8), LDX(SIZE_DW, 0, 1, 0), EXIT };
	struct pf_prog *prog = load(PF_PROG_XDP, own, COUNT(own), NULL, 0, NULL);
	CHECK_EQ(run_good(prog), 0);
	pf_prog_put(prog);
	prog = load(PF_PROG_XDP, beside, COUNT(beside), NULL, 0, NULL);
	expect_xdp_fault(prog, PF_DIAG_VM_LOAD, 2);
	pf_prog_put(prog);
	/* Helpers look at the same bounds. */
	const struct pf_insn sum[] = { ADDI(1, STACK_TOP - 8), MOVI(2, 8), MOVI(3, 0), MOVI(4, 0), MOVI(5, 0), CALL(28), EXIT };
	prog = load(PF_PROG_XDP, sum, COUNT(sum), NULL, 0, NULL);
	expect_xdp_fault(prog, PF_DIAG_VM_HELPER_ARG, 5);
	pf_prog_put(prog);
}

/* A subprogram reads at r10 and above: its caller's frame, of which nothing was zeroed but the top. */
static void test_caller_frame(void)
{
	memset(x->stack, 0xee, sizeof(x->stack));
	for (int16_t above = 0; above < 512; above += 8) {
		const struct pf_insn insns[] = { I(0x62, 10, 0, -4, 0), CALLP(1), EXIT, LDX(SIZE_DW, 0, 10, above), EXIT };
		struct pf_prog *prog = load(PF_PROG_XDP, insns, COUNT(insns), NULL, 0, NULL);
		expect_xdp_fault(prog, PF_DIAG_VM_LOAD, 3);
		pf_prog_put(prog);
	}
}

static struct pf_bindings_slot slots[2];
static struct pf_bindings world = { .mask = 1, .slots = slots };

/* A program that a subprogram tail-calls has frames of its own; those above belong to a program that used less of them
 * than was there. */
static void test_frames_of_another_program(void)
{
	struct pf_map *array = map_of(PF_MAP_PROG_ARRAY, 4, 1, 1);
	const struct pf_insn caller[] = { I(0x62, 10, 0, -4, 0), CALLP(1), EXIT, LDDW(2, 1, 1, 0), MOVI(3, 0), CALL(12), MOVI(0, 0), EXIT };
	const struct pf_insn target[] = { MOV(2, 10), LDX(SIZE_DW, 0, 2, 16), EXIT };
	struct pf_prog *prog = load_with(caller, COUNT(caller), array), *called = load(PF_PROG_XDP, target, COUNT(target), NULL, 0, NULL);
	CHECK_EQ(pf_map_bind(array, &(uint32_t){ 0 }, &called->ref, 0, NULL, NULL), PF_OK);
	slots[pf_bindings_start(&world, array)] = (struct pf_bindings_slot){ array, pf_map_binding(array) };
	x->bindings = &world;
	memset(x->stack, 0xee, sizeof(x->stack));
	expect_xdp_fault(prog, PF_DIAG_VM_LOAD, 1);
	CHECK(x->fault.prog == called);
	x->bindings = NULL;
	pf_ref_put(&slots[pf_bindings_start(&world, array)].binding->ref);
	memset(slots, 0, sizeof(slots));
	CHECK_EQ(pf_map_bind(array, &(uint32_t){ 0 }, NULL, 0, NULL, NULL), PF_OK);
	pf_prog_put(called);
	pf_prog_put(prog);
	pf_map_put(array);
}

#define KEY_0 I(0x62, 10, 0, -4, 0), MOV(2, 10), ADDI(2, -4)

/* A map made for fewer CPUs than the worker's id has no value for it. */
static void test_cpu_that_a_map_has_not(void)
{
	static const enum pf_map_type types[] = { PF_MAP_PERCPU_ARRAY, PF_MAP_PERCPU_HASH, PF_MAP_LRU_PERCPU_HASH };
	for (unsigned i = 0; i < COUNT(types); i++) {
		struct pf_map *map = map_of(types[i], 8, 1, 2);
		const uint64_t values[2] = { 1, 2 };
		uint64_t after[2];
		CHECK_EQ(pf_map_user_update(map, &(uint32_t){ 0 }, values, 0), PF_OK);
		const struct pf_insn lookup[] = { KEY_0, LDDW(1, 1, 1, 0), CALL(1), I(0x15, 0, 0, 1, 0), MOVI(0, 1), EXIT };
		const struct pf_insn update[] = { KEY_0, LDDW(1, 1, 1, 0), MOV(3, 10), ADDI(3, -16), MOVI(4, 0), CALL(2), EXIT };
		const struct pf_insn walk[] = { LDDW(1, 1, 1, 0), LDDW(2, 4, 5, 0), MOVI(3, 0), MOVI(4, 0), CALL(164), EXIT,
						MOVI(0, 0), EXIT };
		struct pf_prog *progs[] = { load_with(lookup, COUNT(lookup), map), load_with(update, COUNT(update), map),
					    load_with(walk, COUNT(walk), map) };
		x->cpu = 1;
		CHECK_EQ(run_good(progs[0]), 1);
		CHECK_EQ(run_good(progs[2]), 1);
		for (x->cpu = 2; x->cpu < 4000; x->cpu *= 3) {
			CHECK_EQ(run_good(progs[0]), 0);
			CHECK_EQ((int64_t)run_good(progs[1]), -PF_EINVAL);
			CHECK_EQ((int64_t)run_good(progs[2]), -PF_EINVAL);
		}
		x->cpu = 0;
		CHECK_EQ(pf_map_user_lookup(map, &(uint32_t){ 0 }, after, 0), PF_OK);
		CHECK_EQ(memcmp(values, after, sizeof(values)), 0);
		for (unsigned p = 0; p < COUNT(progs); p++)
			pf_prog_put(progs[p]);
		pf_map_put(map);
	}
}

static double cpu_seconds(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* trace_printk of the text in the map's value. */
static struct pf_prog *printer(struct pf_map *map, int32_t size)
{
	const struct pf_insn insns[] = { LDDW(1, 2, 1, 0), MOVI(2, size), MOVI(3, 7), MOVI(4, 0), MOVI(5, 0), CALL(6), EXIT };
	return load_with(insns, COUNT(insns), map);
}

/* The width of a conversion counts, but padding that nobody will see is not made. */
static void test_trace_width(void)
{
	static const struct { const char *text; int64_t result; } cases[] = {
		{ "%2147483647d", 2147483647 }, { "%-2147483640lldx", 2147483641 }, { "%02000000000x", 2000000000 },
		{ "%2000000000c", 2000000000 }, { "%2000000000s", 2000000000 },    { "%1023d|", 1024 },
		{ "%1024d|", 1025 },		{ "%1025d|", 1026 },		   { "%2147483648d", -PF_EINVAL },
		{ "%99999999999999d", -PF_EINVAL },
	};
	struct pf_map *map = map_of(PF_MAP_ARRAY, 32, 1, 1);
	struct pf_trace *trace = calloc(1, sizeof(*trace));
	CHECK(trace);
	const double start = cpu_seconds();
	x->trace = trace;
	for (unsigned i = 0; i < COUNT(cases); i++) {
		const int32_t size = (int32_t)strlen(cases[i].text) + 1;
		memcpy(map->arena, cases[i].text, (size_t)size);
		struct pf_prog *prog = printer(map, size);
		for (unsigned n = 0; n < 20; n++) {
			trace->used = 0;
			CHECK_EQ(run_good(prog), cases[i].result);
			CHECK(cases[i].result < 0 || trace->used == 1024);
		}
		pf_prog_put(prog);
	}
	CHECK(cpu_seconds() - start < 5); /* the padding would be 200 billion bytes */
	x->trace = NULL;
	free(trace);
	pf_map_put(map);
}

struct writer {
	uint8_t *at;
	_Atomic int stop;
};

static void *flip(void *arg)
{
	struct writer *w = arg;
	for (uint8_t value = 0; !atomic_load_explicit(&w->stop, memory_order_relaxed); value ^= '0')
		__atomic_store_n(w->at, value, __ATOMIC_RELAXED);
	return NULL;
}

/* Another worker changes the text, which fills its map's memory, between the look for its end and its use. */
static void test_trace_changing_text(void)
{
	struct pf_map *map = map_of(PF_MAP_ARRAY, 4096, 1, 1);
	struct writer w = { .at = map->arena + 4095 };
	pthread_t thread;
	memset(map->arena, '0', 4095);
	map->arena[4000] = '%';
	struct pf_prog *prog = printer(map, 4096);
	CHECK_EQ(pthread_create(&thread, NULL, flip, &w), 0);
	for (unsigned i = 0; i < 3000; i++)
		CHECK_EQ((int64_t)run_good(prog), -PF_EINVAL);
	atomic_store(&w.stop, 1);
	pthread_join(thread, NULL);
	pf_prog_put(prog);
	pf_map_put(map);
}

/* The place in words is found for any address. */
static void test_far_addresses(void)
{
	for (unsigned shift = 20; shift < 64; shift++) {
		const int32_t lo = shift < 32 ? (int32_t)(1u << shift) : 0, hi = shift < 32 ? 0 : (int32_t)(1u << (shift - 32));
		const struct pf_insn insns[] = { LDDW(2, 0, lo, hi), I(0x0f, 2, 10, 0, 0), LDX(SIZE_W, 0, 2, 0), EXIT };
		const struct pf_insn packet_insns[] = { LDX(SIZE_W, 3, 1, 0), LDDW(2, 0, lo, hi), I(0x0f, 2, 3, 0, 0), LDX(SIZE_W, 0, 2, 0), EXIT };
		struct pf_prog *prog = load(PF_PROG_XDP, insns, COUNT(insns), NULL, 0, NULL);
		expect_xdp_fault(prog, PF_DIAG_VM_LOAD, 3);
		pf_prog_put(prog);
		prog = load(PF_PROG_XDP, packet_insns, COUNT(packet_insns), NULL, 0, NULL);
		expect_xdp_fault(prog, PF_DIAG_VM_LOAD, 4);
		pf_prog_put(prog);
	}
}

/* What a helper does for one instruction counts, so that the budget bounds time and not only instructions. */
static void test_helper_work(void)
{
	struct pf_map *large = map_of(PF_MAP_ARRAY, 1u << 20, 1, 1), *wide = map_of(PF_MAP_HASH, 8, 1u << 20, 1);
	const struct pf_insn sum[] = { LDDW(6, 2, 1, 0), MOVI(7, 1000), MOVI(1, 0), MOVI(2, 0), MOV(3, 6), MOVI(4, 1 << 20), MOVI(5, 0),
				       CALL(28), ADDI(7, -1), I(0x55, 7, 0, -8, 0), MOVI(0, 0), EXIT };
	const struct pf_insn walk[] = { MOVI(7, 1000), LDDW(1, 1, 1, 0), LDDW(2, 4, 8, 0), MOVI(3, 0), MOVI(4, 0), CALL(164),
					ADDI(7, -1), I(0x55, 7, 0, -9, 0), MOVI(0, 0), EXIT, MOVI(0, 0), EXIT };
	const struct pf_insn copy[] = { LDDW(6, 2, 1, 0), MOVI(7, 1000), I(0x62, 10, 0, -4, 0), LDDW(1, 1, 1, 0), MOV(2, 10), ADDI(2, -4),
					MOV(3, 6), MOVI(4, 0), CALL(2), ADDI(7, -1), I(0x55, 7, 0, -9, 0), MOVI(0, 0), EXIT };
	struct pf_prog *progs[] = { load_with(sum, COUNT(sum), large), load_with(walk, COUNT(walk), wide),
				    load_with(copy, COUNT(copy), large) };
	for (unsigned i = 0; i < COUNT(progs); i++) {
		uint64_t r0;
		set_packet();
		CHECK_EQ(pf_vm_run(x, progs[i], PF_ENGINE_CHECKED, (uint64_t)(uintptr_t)&x->packet, 0, &r0), PF_EFAULT);
		CHECK_EQ(x->fault.diag.code, PF_DIAG_VM_BUDGET);
		pf_prog_put(progs[i]);
	}
	pf_map_put(large);
	pf_map_put(wide);
}

int main(void)
{
	new_exec();
	test_stack_without_frame_pointer();
	test_caller_frame();
	test_frames_of_another_program();
	test_cpu_that_a_map_has_not();
	test_trace_width();
	test_trace_changing_text();
	test_far_addresses();
	test_helper_work();
	pf_exec_destroy(x);
	return 0;
}
