/* test_native.c - objects of compiled code: loaded, run, sealed, freed with their program (native.h, N1 to N5). The objects are
 * built from native/ beside this file; PF_OBJECTS is where they are. */
#include "hook_fixture.h"

#include "native/native.h"
#include "run/run.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static uint32_t mapped, unmapped, fail_map, fail_protect;

void *__real_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);
int __real_mprotect(void *at, size_t size, int protection);
int __real_munmap(void *at, size_t size);
void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);
int __wrap_mprotect(void *at, size_t size, int protection);
int __wrap_munmap(void *at, size_t size);

/* N1: nothing that the core asks of the system is writable and executable. */
void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
	CHECK((protection & (PROT_WRITE | PROT_EXEC)) != (PROT_WRITE | PROT_EXEC));
	if (fail_map)
		return MAP_FAILED;
	__atomic_fetch_add(&mapped, 1, __ATOMIC_RELAXED);
	return __real_mmap(at, size, protection, flags, fd, offset);
}

int __wrap_mprotect(void *at, size_t size, int protection)
{
	CHECK(!(protection & PROT_WRITE));
	return fail_protect ? -1 : __real_mprotect(at, size, protection);
}

int __wrap_munmap(void *at, size_t size)
{
	__atomic_fetch_add(&unmapped, 1, __ATOMIC_RELAXED);
	return __real_munmap(at, size);
}

static uint8_t object[65536];

static size_t object_of(const char *name)
{
	char path[512];
	snprintf(path, sizeof(path), "%s/%s.o", PF_OBJECTS, name);
	FILE *file = fopen(path, "rb");
	CHECK(file);
	const size_t len = fread(object, 1, sizeof(object), file);
	CHECK(len > 64 && len < sizeof(object));
	fclose(file);
	return len;
}

static void stage(struct pf_prog *prog, const char *name)
{
	struct pf_diag diag = { 0 };
	const enum pf_err err = pf_native_stage(prog, object, object_of(name), &diag);
	if (err)
		fprintf(stderr, "%s: %s (%s, found %" PRIu64 ")\n", name, pf_diag_text(diag.code), diag.name, diag.found);
	CHECK_EQ(err, PF_OK);
	prog->verified = 1;
}

static void refuse(struct pf_prog *prog, size_t len, enum pf_err err, enum pf_diag_code code, const char *name)
{
	struct pf_diag diag = { 0 };
	const uint32_t before = mapped - unmapped;
	CHECK_EQ(pf_native_stage(prog, object, len, &diag), err);
	CHECK_EQ(diag.code, code);
	CHECK(!name || !strcmp(diag.name, name));
	CHECK(!pf_prog_code(prog, PF_ENGINE_JIT));
	CHECK_EQ(mapped - unmapped, before);
}

static struct pf_exec *new_exec(void)
{
	struct pf_exec *x = NULL;
	CHECK_EQ(pf_exec_create(&x), PF_OK);
	return x;
}

/* One packet, and a feed of some: what the program does to bytes, and its values. */
static void test_packets(void)
{
	struct pf_prog *prog = returning(2);
	struct pf_exec *x = new_exec();
	uint8_t bytes[3][4] = { { 0x80 }, { 0x82 }, { 0x05 } };
	struct pf_desc desc[3];
	uint32_t retvals[4] = { 9, 9, 9, 9 };
	uint64_t r0 = 0;
	stage(prog, "xdp");
	for (unsigned i = 0; i < 3; i++)
		desc[i] = (struct pf_desc){ .data = bytes[i], .caplen = i == 1 ? 0 : 4, .wire_len = 4, .ts_ns = 50 - i };
	pf_packet_init(&x->packet, bytes[0], 4, 100);
	CHECK_EQ(pf_vm_run(x, prog, PF_ENGINE_JIT, (uintptr_t)&x->packet, 0, &r0), PF_OK);
	CHECK_EQ(r0, 3);
	CHECK_EQ(bytes[0][0], 0);
	struct pf_vm_feed feed = { .desc = desc, .retvals = retvals, .first = 7, .linear_limit = 100, .n = 3 };
	CHECK_EQ(pf_vm_run_packets(x, prog, PF_ENGINE_JIT, &feed), PF_OK);
	CHECK_EQ(feed.done, 3);
	CHECK_EQ(retvals[0], 3);
	CHECK_EQ(retvals[1], 2);
	CHECK_EQ(retvals[2], 2);
	CHECK_EQ(retvals[3], 9);
	CHECK_EQ(bytes[2][0], 0x85);
	CHECK_EQ(x->time_ns, 50);
	CHECK_EQ(x->packet_index, 9);
	CHECK_EQ(pf_native_stage(prog, NULL, 0, NULL), PF_OK); /* there already */
	pf_exec_destroy(x);
	pf_prog_put(prog);
	CHECK_EQ(mapped, unmapped);
}

static void test_maps(void)
{
	const struct pf_insn insns[] = { MOV_IMM(0, 0), EXIT() };
	struct pf_map_def array = { .type = PF_MAP_ARRAY, .key_size = 4, .value_size = 8, .max_entries = 2 };
	struct pf_map_def hash = { .type = PF_MAP_HASH, .key_size = 4, .value_size = 8, .max_entries = 8 };
	struct pf_prog_map maps[2] = { { 3, NULL }, { 9, NULL } };
	CHECK_EQ(pf_map_create(&array, NULL, 1, "a", 0, &maps[0].map, NULL), PF_OK);
	CHECK_EQ(pf_map_create(&hash, NULL, 1, "h", 0, &maps[1].map, NULL), PF_OK);
	struct pf_prog_def def = { .type = PF_PROG_MEMORY, .name = "m", .insns = insns, .count = 2, .maps = maps, .map_count = 2 };
	struct pf_prog *prog = NULL, *without = memory_prog();
	struct pf_exec *x = new_exec();
	uint64_t r0 = 0, value = 0;
	uint8_t key[4] = { 1, 2, 3, 4 };
	const uint32_t one = 1;
	CHECK_EQ(pf_prog_create(&def, &prog, NULL), PF_OK);
	stage(prog, "maps");
	for (uint64_t i = 1; i < 4; i++) {
		CHECK_EQ(pf_vm_execute(x, prog, PF_ENGINE_JIT, key, sizeof(key), &r0), PF_OK);
		CHECK_EQ(r0, i);
	}
	CHECK_EQ(pf_map_user_lookup(maps[0].map, &one, &value, 0), PF_OK);
	CHECK_EQ(value, 3);
	CHECK_EQ(pf_map_user_lookup(maps[1].map, key, &value, 0), PF_OK);
	CHECK_EQ(value, 3);
	refuse(without, object_of("maps"), PF_EINVAL, PF_DIAG_NATIVE_SYMBOL, NULL); /* of another program's maps */
	pf_exec_destroy(x);
	pf_prog_put(without);
	pf_prog_put(prog);
	pf_map_put(maps[0].map);
	pf_map_put(maps[1].map);
}

static void test_callback(void)
{
	const struct pf_insn insns[] = {
		INSN(0x18, 2, 4, 0, 4), INSN(0, 0, 0, 0, 0), MOV_IMM(0, 0), EXIT(), MOV_IMM(0, 0), EXIT(), MOV_IMM(0, 0), EXIT(),
	};
	struct pf_prog *prog = prog_of(insns, COUNT(insns), NULL, 0, 0);
	struct pf_prog_def def = { .type = PF_PROG_MEMORY, .name = "m", .insns = insns, .count = COUNT(insns) };
	struct pf_prog *memory = NULL;
	struct pf_exec *x = new_exec();
	uint64_t r0 = 0;
	x->trace = calloc(1, sizeof(*x->trace));
	CHECK(x->trace);
	refuse(prog, object_of("xdp"), PF_EINVAL, PF_DIAG_NATIVE_ENTRY, "pf_call");
	refuse(prog, object_of("callback"), PF_EINVAL, PF_DIAG_NATIVE_ENTRY, "pf_packets");
	CHECK_EQ(pf_prog_create(&def, &memory, NULL), PF_OK);
	stage(memory, "callback");
	CHECK_EQ(pf_vm_execute(x, memory, PF_ENGINE_JIT, NULL, 0, &r0), PF_OK);
	CHECK_EQ(r0, 10 * 1000 + 45);
	CHECK(!strcmp(x->trace->text, "<abc>"));
	free(x->trace);
	x->trace = NULL;
	pf_exec_destroy(x);
	pf_prog_put(memory);
	pf_prog_put(prog);
}

/* 33 tail calls and no more; a target without compiled code keeps the whole chain out of it. */
static void test_tail(void)
{
	struct pf_map *array = map_of(PF_MAP_PROG_ARRAY, 4, NULL);
	struct pf_prog *caller = tail_caller(array, 0, 1), *target = returning(3);
	uint8_t packet[64] = { 1 };
	struct pf_test_run run = { .data = packet, .len = sizeof(packet), .engine = PF_ENGINE_JIT };
	stage(caller, "tail");
	CHECK_EQ(bind_at(array, 1, &target->ref, NULL), PF_OK);
	CHECK_EQ(pf_prog_test_run(caller, &run, NULL), PF_OK);
	CHECK_EQ(run.ran, PF_ENGINE_CHECKED);
	free(run.out);
	stage(target, "xdp");
	CHECK_EQ(pf_prog_test_run(caller, &run, NULL), PF_OK);
	CHECK_EQ(run.ran, PF_ENGINE_JIT);
	CHECK_EQ(run.retval, 1);
	CHECK_EQ(run.out[0], 0x81);
	free(run.out);
	packet[0] = 2; /* nothing there */
	CHECK_EQ(pf_prog_test_run(caller, &run, NULL), PF_OK);
	CHECK_EQ(run.retval, 100);
	free(run.out);
	CHECK_EQ(bind_at(array, 2, &caller->ref, NULL), PF_OK);
	CHECK_EQ(pf_prog_test_run(caller, &run, NULL), PF_OK);
	CHECK_EQ(run.retval, 100 - 33);
	free(run.out);
	const uint32_t key = 2;
	CHECK_EQ(pf_map_user_delete(array, &key), PF_OK);
	pf_prog_put(caller);
	pf_prog_put(target);
	pf_map_put(array);
	CHECK_EQ(mapped, unmapped);
}

/* What /proc/self/maps says of the page at this address: "r-xp". */
static void permissions_of(const void *address, char out[5])
{
	char line[512];
	FILE *maps = fopen("/proc/self/maps", "r");
	CHECK(maps);
	memcpy(out, "none", 5);
	while (fgets(line, sizeof(line), maps)) {
		unsigned long start = 0, end = 0;
		char flags[5] = "";
		CHECK_EQ(sscanf(line, "%lx-%lx %4s", &start, &end, flags), 3);
		CHECK(!(flags[1] == 'w' && flags[2] == 'x'));
		if ((uintptr_t)address >= start && (uintptr_t)address < end)
			memcpy(out, flags, 5);
	}
	fclose(maps);
}

/* N1, N4: sealed; unmapped after the grace period of the last world that holds the program. */
static void test_life(void)
{
	struct pf_datapath *dp = datapath_of(1);
	struct pf_rcu_worker *worker = pf_rcu_register(pf_datapath_rcu(dp), "w");
	struct pf_prog *prog = returning(2);
	char flags[5];
	CHECK(worker);
	stage(prog, "xdp");
	const struct pf_native native = pf_prog_code(prog, PF_ENGINE_JIT)->native;
	CHECK_EQ(native.size, 8192); /* a page of code, a page of data */
	permissions_of(native.memory, flags);
	CHECK(!strcmp(flags, "r-xp"));
	permissions_of((const char *)native.memory + 4096, flags);
	CHECK(!strcmp(flags, "r--p"));

	struct pf_link *link = attached(dp, 0, prog, 50, PF_CONTINUE_DEFAULT);
	pf_prog_put(prog);
	pf_rcu_online(worker);
	CHECK_EQ(pf_datapath_world(dp)->chains[0].entries[0].engine, PF_ENGINE_JIT);
	CHECK_EQ(pf_link_detach(link, NULL, NULL), PF_OK);
	pf_link_put(link);
	pf_rcu_reclaim(pf_datapath_rcu(dp));
	permissions_of(native.memory, flags);
	CHECK(!strcmp(flags, "r-xp")); /* the worker may be in it */
	CHECK_EQ(mapped - unmapped, 1);
	pf_rcu_offline(worker);
	CHECK_EQ(pf_rcu_reclaim(pf_datapath_rcu(dp)), 0);
	CHECK_EQ(mapped, unmapped);
	pf_rcu_unregister(worker);
	pf_datapath_put(dp);
}

static void test_refusals(void)
{
	struct pf_prog *prog = returning(2), *memory = memory_prog();
	refuse(memory, object_of("unknown"), PF_EINVAL, PF_DIAG_NATIVE_SYMBOL, "system");
	refuse(memory, object_of("writable"), PF_EINVAL, PF_DIAG_NATIVE_WRITABLE, ".data");
	refuse(memory, object_of("near"), PF_EINVAL, PF_DIAG_NATIVE_RELOC_FAR, ".text");
	uint8_t bytes[4] = { 3 };
	uint64_t r0 = 0;
	struct pf_exec *x = new_exec();
	stage(memory, "low");
	CHECK((uintptr_t)pf_prog_code(memory, PF_ENGINE_JIT)->native.memory < UINT32_MAX / 2);
	CHECK_EQ(pf_vm_execute(x, memory, PF_ENGINE_JIT, bytes, 4, &r0), PF_OK);
	CHECK_EQ(r0, 17 + 13);
	pf_exec_destroy(x);
	refuse(prog, 0, PF_EINVAL, PF_DIAG_NATIVE_CUT, "header");
	const size_t len = object_of("xdp");
	fail_map = 1;
	refuse(prog, len, PF_ENOMEM, PF_DIAG_NATIVE_MEMORY, NULL);
	fail_map = 0;
	fail_protect = 1;
	refuse(prog, len, PF_EPERM, PF_DIAG_NATIVE_SEAL, NULL);
	fail_protect = 0;
	pf_prog_put(prog);
	pf_prog_put(memory);
}

struct crowd {
	struct pf_prog *prog;
	const uint8_t *object;
	size_t len;
	_Atomic uint32_t ran;
};

static void *stager(void *user)
{
	struct crowd *c = user;
	CHECK_EQ(pf_native_stage(c->prog, c->object, c->len, NULL), PF_OK);
	return NULL;
}

/* Runs the program from the moment that its code is there. */
static void *runner(void *user)
{
	struct crowd *c = user;
	struct pf_exec *x = new_exec();
	uint8_t byte[4] = { 0x80 };
	uint64_t r0 = 0;
	while (!pf_prog_code(c->prog, PF_ENGINE_JIT))
		;
	pf_packet_init(&x->packet, byte, 4, 100);
	CHECK_EQ(pf_vm_run(x, c->prog, PF_ENGINE_JIT, (uintptr_t)&x->packet, 0, &r0), PF_OK);
	CHECK_EQ(r0, 3);
	pf_exec_destroy(x);
	return NULL;
}

/* N5, and two that stage at once make one form. */
static void test_publication(void)
{
	const size_t len = object_of("xdp");
	for (unsigned round = 0; round < 50; round++) {
		struct crowd c = { returning(2), object, len, 0 };
		pthread_t threads[4];
		for (unsigned i = 0; i < 4; i++)
			CHECK_EQ(pthread_create(&threads[i], NULL, i % 2 ? runner : stager, &c), 0);
		for (unsigned i = 0; i < 4; i++)
			CHECK_EQ(pthread_join(threads[i], NULL), 0);
		pf_prog_put(c.prog);
	}
	CHECK_EQ(mapped, unmapped);
}

static void test_layout(void)
{
	uint32_t found = 0;
	for (uint32_t i = 0; i < pf_native_layout_count; i++) {
		const struct pf_native_layout *row = &pf_native_layouts[i];
		found += !strcmp(row->name, "exec.packet.data") && row->value == offsetof(struct pf_exec, packet.data);
		found += !strcmp(row->name, "sizeof.desc") && row->value == sizeof(struct pf_desc);
		found += !strcmp(row->name, "stamp.time_ns") && row->value == offsetof(struct pf_stamp, time_ns);
	}
	CHECK_EQ(found, 3);
}

int main(void)
{
	test_packets();
	test_maps();
	test_callback();
	test_tail();
	test_life();
	test_refusals();
	test_publication();
	test_layout();
	return 0;
}
