/* test_swap_stress.c - atomic replacement under load: every worker runs batches on a hook of its own, one hook a worker,
 * while a writer replaces all programs of all hooks in one transaction after the other, as fast as it can; every fourth
 * one waits. A hook's chain has two links. The program of each writes its generation to the packet and to the hook's map,
 * each link's to a place of its own: four stores a packet, which must agree.
 *
 * Shown: every packet exactly once; a batch is of one world, and of that world whose revision the worker reports, on all
 * hooks (so a transaction shows as a whole or not at all); revisions never go backward on a worker; no batch of an old world
 * runs, or begins, after a waiting update of a newer one returned; in the end the worlds live, the programs alive and the
 * bytes allocated are what they were before the load.
 *
 * Runs until all three are reached: PF_STRESS_SECONDS (default 1), PF_SWAP_UPDATES, PF_SWAP_RUNS (of programs; 0).
 * PF_SWAP_WORKERS (default 2). */
#include "hook_fixture.h"

#include "hook/clock.h"
#include "run/run.h"

#include <malloc.h>
#include <string.h>

#define WORKERS_MAX 8
#define LINKS 2 /* of a hook */
#define PACKETS 64
#define LEN 64
#define WARM 64 /* updates before the load: more than a history keeps */

/* What the core has allocated and not freed. The linker puts these between the core and the allocator. */
static _Atomic int64_t bytes_live;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
int __real_posix_memalign(void **memory, size_t alignment, size_t size);
void __real_free(void *memory);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
int __wrap_posix_memalign(void **memory, size_t alignment, size_t size);
void __wrap_free(void *memory);

/* What was asked for is kept in the last bytes of what the allocator gave: how much that is differs between two requests
 * for the same size. */
static void *counted(void *memory, size_t size)
{
	if (memory) {
		memcpy((char *)memory + malloc_usable_size(memory) - sizeof(size), &size, sizeof(size));
		atomic_fetch_add_explicit(&bytes_live, (int64_t)size, memory_order_relaxed);
	}
	return memory;
}

static void uncounted(void *memory)
{
	size_t size;
	if (!memory)
		return;
	memcpy(&size, (char *)memory + malloc_usable_size(memory) - sizeof(size), sizeof(size));
	atomic_fetch_sub_explicit(&bytes_live, (int64_t)size, memory_order_relaxed);
}

void *__wrap_malloc(size_t size) { return counted(__real_malloc(size + sizeof(size)), size); }

void *__wrap_calloc(size_t count, size_t size)
{
	size_t all;
	if (__builtin_mul_overflow(count, size, &all))
		return NULL;
	return counted(__real_calloc(1, all + sizeof(all)), all);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
	return counted(__real_aligned_alloc(alignment, size + alignment), size);
}

void *__wrap_realloc(void *old, size_t size)
{
	uncounted(old);
	return counted(__real_realloc(old, size + sizeof(size)), size);
}

int __wrap_posix_memalign(void **memory, size_t alignment, size_t size)
{
	int err = __real_posix_memalign(memory, alignment, size + sizeof(size));
	if (!err)
		counted(*memory, size);
	return err;
}

void __wrap_free(void *memory)
{
	uncounted(memory);
	__real_free(memory);
}

/* Programs alive: their destructor is ours, and goes on to the core's. */
static _Atomic int64_t programs_live;
static void (*program_destroy)(struct pf_ref *ref);

static void destroy_counted(struct pf_ref *ref)
{
	atomic_fetch_sub_explicit(&programs_live, 1, memory_order_relaxed);
	program_destroy(ref);
}

struct shared {
	struct pf_datapath *dp;
	unsigned workers;
	struct pf_map *maps[WORKERS_MAX]; /* of a hook: two values of 4 bytes in one */
	struct pf_link *links[WORKERS_MAX][LINKS];
	uint64_t revision_0;    /* the world of stamp s has revision revision_0 + s */
	_Atomic uint32_t floor; /* stamp of the last waiting update that returned */
	_Atomic uint32_t stop;
};

struct runner {
	struct pf_sink sink; /* first */
	struct shared *shared;
	unsigned hook;
	struct pf_worker *worker;
	pthread_t thread;
	_Atomic uint64_t runs; /* of programs */
	uint64_t emitted, batches, worlds;
	uint32_t stamp; /* of the running batch, 0: none yet */
};

static uint32_t word_at(const uint8_t *data)
{
	uint32_t value;
	memcpy(&value, data, 4);
	return value;
}

static struct pf_prog *stamp_program(struct pf_map *map, uint32_t stamp, unsigned link)
{
	const int16_t at = (int16_t)(8 * link);
	const struct pf_insn insns[] = {
		LDX_W(2, 1, 0), LDX_W(3, 1, 4), MOV_REG(4, 2), ADD_IMM(4, at + 4), JGT_REG(4, 3, 4),
		ST_W(2, at, (int32_t)stamp),
		INSN(0x18, 5, 2, 0, 7), INSN(0, 0, 0, 0, (int32_t)(4 * link)), /* the address of the map's value */
		ST_W(5, 0, (int32_t)stamp),
		MOV_IMM(0, link + 1 < LINKS ? PF_XDP_PASS : PF_XDP_DROP), EXIT(),
	};
	const struct pf_prog_map maps[] = { { 7, map } };
	struct pf_prog *prog = prog_of(insns, COUNT(insns), maps, 1, stamp);
	const uint8_t types[COUNT(insns)] = { PF_INSN_CTX_LOAD, PF_INSN_CTX_LOAD };
	prog->verified = 1; /* it is right, and short; the verifier has tests of its own */
	CHECK_EQ(pf_vm_stage(prog, PF_ENGINE_INTERP, types, NULL), PF_OK);
	program_destroy = prog->ref.destroy;
	prog->ref.destroy = destroy_counted;
	atomic_fetch_add_explicit(&programs_live, 1, memory_order_relaxed);
	return prog;
}

/* Both links' stores to the packet. */
static void check_packet(const struct runner *r, const uint8_t *data)
{
	for (unsigned link = 0; link < LINKS; link++)
		CHECK_EQ(word_at(data + 8 * link), r->stamp);
}

/* Online, in the middle of the batch: a later floor would mean that the writer came back while the old world ran. */
static void emit(struct pf_sink *sink, const struct pf_source *source, const struct pf_desc *desc,
		 const struct pf_packet *packet, const struct pf_verdict *verdict)
{
	struct runner *r = (struct runner *)sink;
	struct shared *s = r->shared;
	(void)source;
	if (!r->stamp)
		r->stamp = word_at(packet->data);
	CHECK(packet->data == desc->data);
	check_packet(r, packet->data);
	for (unsigned link = 0; link < LINKS; link++)
		CHECK_EQ(word_at(pf_map_direct_value(s->maps[r->hook], 4 * link)), r->stamp);
	CHECK(r->stamp >= atomic_load_explicit(&s->floor, memory_order_acquire));
	CHECK_EQ(verdict->action, PF_XDP_DROP);
	CHECK(verdict->covered && !verdict->faulted);
	CHECK_EQ(verdict->generation, r->stamp + 1); /* of the link: attached with generation 1 and stamp 0 */
	r->emitted++;
}

static enum pf_err flush(struct pf_sink *sink, struct pf_diag *diag)
{
	(void)sink;
	(void)diag;
	return PF_OK;
}

/* Every other batch runs without a sink, in the interpreter's own loop, and is looked at afterwards. */
static void run_batch(struct runner *r, struct pf_batch *batch, uint8_t *bytes)
{
	struct shared *s = r->shared;
	const uint32_t floor = atomic_load_explicit(&s->floor, memory_order_acquire);
	const int told = (int)(r->batches & 1);
	memset(bytes, 0xff, PACKETS * LEN);
	r->stamp = 0;
	pf_worker_run(r->worker, batch, NULL, NULL, told ? &r->sink : NULL);
	r->stamp = word_at(bytes);
	CHECK(r->stamp >= floor);
	CHECK_EQ(r->worker->batch_revision, s->revision_0 + r->stamp);
	for (unsigned i = 0; i < PACKETS && !told; i++) {
		check_packet(r, bytes + i * LEN);
		r->emitted++;
	}
	r->batches++;
	atomic_store_explicit(&r->runs, r->emitted * LINKS, memory_order_relaxed);
}

static void *work(void *user)
{
	struct runner *r = user;
	struct pf_batch *batch = pf_batch_create(PACKETS);
	uint8_t *bytes = calloc(PACKETS, LEN);
	uint64_t revision = 0;
	CHECK(batch && bytes);
	for (uint32_t i = 0; i < PACKETS; i++)
		batch->desc[i] = (struct pf_desc){ .data = bytes + i * LEN, .caplen = LEN, .wire_len = LEN };
	batch->n = PACKETS;
	while (!atomic_load_explicit(&r->shared->stop, memory_order_relaxed)) {
		run_batch(r, batch, bytes);
		CHECK(r->worker->batch_revision >= revision);
		r->worlds += r->worker->batch_revision != revision;
		revision = r->worker->batch_revision;
		batch->first += batch->n;
	}
	pf_batch_destroy(batch);
	free(bytes);
	return NULL;
}

/* All links of all hooks in one transaction. Returns the token. */
static uint64_t replace(struct shared *s, uint32_t stamp)
{
	struct pf_edit edits[WORKERS_MAX * LINKS];
	struct pf_change change = { 0 };
	uint32_t count = 0;
	for (unsigned hook = 0; hook < s->workers; hook++)
		for (unsigned link = 0; link < LINKS; link++)
			edits[count++] = (struct pf_edit){ .kind = PF_EDIT_UPDATE,
							   .link = s->links[hook][link],
							   .cause = PF_CAUSE_UPDATE,
							   .prog = stamp_program(s->maps[hook], stamp, link) };
	edits[0].change = &change;
	CHECK_EQ(pf_datapath_commit(s->dp, edits, count, NULL), PF_OK);
	CHECK_EQ(change.revision, s->revision_0 + stamp);
	CHECK_EQ(change.generation, stamp + 1u);
	for (uint32_t i = 0; i < count; i++)
		pf_prog_put(edits[i].prog);
	pf_prog_put(change.old);
	return change.token;
}

static void wait_for(struct shared *s, uint64_t token, uint32_t stamp)
{
	CHECK_EQ(pf_datapath_wait(s->dp, token, UINT64_C(60000000000), NULL, NULL), PF_OK);
	atomic_store_explicit(&s->floor, stamp, memory_order_release);
}

static void set_up(struct shared *s, unsigned workers)
{
	*s = (struct shared){ .dp = datapath_of(workers), .workers = workers };
	for (unsigned hook = 0; hook < workers; hook++) {
		struct pf_map_def def = { .type = PF_MAP_ARRAY, .key_size = 4, .value_size = 8, .max_entries = 1 };
		CHECK_EQ(pf_map_create(&def, NULL, 1, "stamps", 0, &s->maps[hook], NULL), PF_OK);
		for (unsigned link = 0; link < LINKS; link++) {
			struct pf_prog *prog = stamp_program(s->maps[hook], 0, link);
			s->links[hook][link] = attached(s->dp, hook, prog, (int32_t)link, PF_CONTINUE_DEFAULT);
			pf_prog_put(prog);
		}
	}
	s->revision_0 = info_of(s->dp).revision;
}

static void start(struct runner *r, struct shared *s, unsigned hook)
{
	struct pf_worker_options options = { .name = "swap" };
	*r = (struct runner){ .sink = { .emit = emit, .flush = flush }, .shared = s, .hook = hook };
	CHECK_EQ(pf_worker_create(s->dp, hook, &options, &r->worker, NULL), PF_OK);
	CHECK_EQ(pthread_create(&r->thread, NULL, work, r), 0);
}

static void finish(struct runner *r)
{
	CHECK_EQ(pthread_join(r->thread, NULL), 0);
	CHECK_EQ(r->emitted, r->batches * PACKETS);
	CHECK_EQ(r->worker->stats.packets, r->emitted);
	CHECK_EQ(r->worker->stats.actions[PF_XDP_DROP], r->emitted);
	CHECK_EQ(r->worker->stats.uncovered + r->worker->stats.faults, 0);
	printf("  worker %u: %" PRIu64 " batches, %" PRIu64 " packets, %" PRIu64 " program runs, %" PRIu64
	       " worlds seen\n",
	       r->hook, r->batches, r->emitted, r->emitted * LINKS, r->worlds);
	pf_worker_destroy(r->worker);
}

static double number(const char *name, double otherwise)
{
	const char *text = getenv(name);
	return text ? atof(text) : otherwise;
}

static int enough(const struct runner *runners, unsigned count, uint32_t updates, uint64_t end)
{
	uint64_t runs = 0;
	for (unsigned i = 0; i < count; i++)
		runs += atomic_load_explicit(&runners[i].runs, memory_order_relaxed);
	return pf_clock_ns() >= end && updates >= number("PF_SWAP_UPDATES", 0) && (double)runs >= number("PF_SWAP_RUNS", 0);
}

int main(void)
{
	const unsigned workers = (unsigned)number("PF_SWAP_WORKERS", 2);
	struct runner runners[WORKERS_MAX];
	struct shared s;
	CHECK(workers >= 1 && workers <= WORKERS_MAX);
	set_up(&s, workers);
	uint32_t stamp = 0, waits = 0;
	uint64_t most = 0;
	while (stamp < WARM) {
		++stamp;
		wait_for(&s, replace(&s, stamp), stamp);
	}
	const int64_t programs = programs_live, bytes = bytes_live;
	CHECK_EQ(info_of(s.dp).worlds_live, 1);

	const uint64_t begin = pf_clock_ns(), end = begin + (uint64_t)(number("PF_STRESS_SECONDS", 1.0) * 1e9);
	for (unsigned i = 0; i < workers; i++)
		start(&runners[i], &s, i);
	do {
		const uint64_t token = replace(&s, ++stamp);
		if (stamp % 4 == 0) {
			wait_for(&s, token, stamp);
			waits++;
		}
		const uint64_t live = info_of(s.dp).worlds_live;
		most = live > most ? live : most;
	} while (stamp % 16 || !enough(runners, workers, stamp - WARM, end));
	atomic_store(&s.stop, 1);
	const double seconds = (double)(pf_clock_ns() - begin) / 1e9;
	for (unsigned i = 0; i < workers; i++)
		finish(&runners[i]);
	wait_for(&s, info_of(s.dp).token, stamp);
	CHECK_EQ(info_of(s.dp).worlds_live, 1);
	CHECK_EQ(programs_live, programs);
	CHECK_EQ(bytes_live, bytes);
	printf("  writer: %u updates of %u links, %u waited for, in %.1f s; at most %" PRIu64 " worlds live\n",
	       stamp - WARM, workers * LINKS, waits, seconds, most);
	printf("  afterwards as before: 1 world, %" PRId64 " programs, %" PRId64 " bytes\n", programs, bytes);

	for (unsigned hook = 0; hook < workers; hook++)
		for (unsigned link = 0; link < LINKS; link++)
			pf_link_put(s.links[hook][link]);
	pf_datapath_put(s.dp);
	for (unsigned hook = 0; hook < workers; hook++)
		pf_map_put(s.maps[hook]);
	CHECK_EQ(programs_live, 0);
	CHECK_EQ(bytes_live, 0);
	return 0;
}
