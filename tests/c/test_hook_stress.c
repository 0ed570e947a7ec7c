/* test_hook_stress.c - replacement under load: two workers run synthetic batches while a writer replaces the two programs
 * of a chain as fast as it can, both in one commit. Each program stamps its number at two places of every packet. In front
 * of them stands a program that tail-calls into a prog array, which a third thread fills, nests and empties; it goes on
 * while the datapath is torn down.
 *
 * Shown: every packet exactly once; a batch is of one world (four equal stamps in all its packets); revisions never go
 * backward on a worker; while a worker is online it never runs a world older than the last waiting update that returned;
 * afterwards one world is live and nothing is retired. Seconds: PF_STRESS_SECONDS (default 2). */
#include "hook_fixture.h"

#include "hook/clock.h"
#include "run/run.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WORKERS 2
#define PACKETS 64
#define LEN 64
#define STAMPS 4

struct shared {
	struct pf_datapath *dp;
	_Atomic uint32_t stop, stop_binding;
	struct pf_map *array;
	_Atomic uint32_t floor; /* stamp of the last waiting update that returned */
};

struct runner {
	struct pf_sink sink; /* first */
	struct shared *shared;
	struct pf_worker *worker;
	pthread_t thread;
	uint64_t emitted, batches, worlds;
	uint32_t stamp; /* of the running batch; 0: none yet */
};

static uint32_t stamp_at(const uint8_t *data, unsigned i)
{
	uint32_t value;
	memcpy(&value, data + i * 4, 4);
	return value;
}

/* Runs online, in the middle of the batch: a later floor would mean that the writer came back while the old world ran. */
static void emit(struct pf_sink *sink, const struct pf_source *source, const struct pf_desc *desc,
		 const struct pf_packet *packet, const struct pf_verdict *verdict)
{
	struct runner *r = (struct runner *)sink;
	(void)source;
	uint32_t stamp = stamp_at(packet->data, 0);
	CHECK(packet->data == desc->data);
	for (unsigned i = 1; i < STAMPS; i++)
		CHECK_EQ(stamp_at(packet->data, i), stamp);
	if (!r->stamp)
		r->stamp = stamp;
	CHECK_EQ(stamp, r->stamp);
	CHECK(stamp >= atomic_load_explicit(&r->shared->floor, memory_order_acquire));
	CHECK_EQ(verdict->action, PF_XDP_DROP);
	CHECK(verdict->covered && !verdict->faulted);
	r->emitted++;
}

static enum pf_err flush(struct pf_sink *sink, struct pf_diag *diag)
{
	(void)sink;
	(void)diag;
	return PF_OK;
}

static void *work(void *user)
{
	struct runner *r = user;
	struct pf_batch *batch = pf_batch_create(PACKETS);
	uint8_t *bytes = calloc(PACKETS, LEN);
	CHECK(batch && bytes);
	uint64_t revision = 0;
	uint32_t last = 0;
	for (uint32_t i = 0; i < PACKETS; i++)
		batch->desc[i] = (struct pf_desc){ .data = bytes + i * LEN, .caplen = LEN, .wire_len = LEN };
	batch->n = PACKETS;
	while (!atomic_load_explicit(&r->shared->stop, memory_order_relaxed)) {
		memset(bytes, 0, PACKETS * LEN);
		r->stamp = 0;
		pf_worker_run(r->worker, batch, NULL, NULL, &r->sink);
		CHECK(r->worker->batch_revision >= revision);
		CHECK(r->stamp >= last);
		CHECK(r->stamp == last || r->worker->batch_revision != revision);
		r->worlds += r->worker->batch_revision != revision;
		revision = r->worker->batch_revision;
		last = r->stamp;
		batch->first += batch->n;
		r->batches++;
	}
	pf_batch_destroy(batch);
	free(bytes);
	return NULL;
}

/* The array's entry is a program that reaches another array, which is thus subscribed and left again in every round. */
static void *rebind(void *user)
{
	struct shared *s = user;
	const struct timespec pause = { .tv_nsec = 20000 };
	struct pf_map *second = map_of(PF_MAP_PROG_ARRAY, 2, NULL);
	struct pf_prog *nested = tail_caller(second, 0, PF_XDP_PASS), *leaf = returning(PF_XDP_PASS);
	uint64_t rounds = 0;
	for (; !atomic_load_explicit(&s->stop_binding, memory_order_relaxed); rounds++) {
		CHECK_EQ(bind_at(s->array, 0, &nested->ref, NULL), PF_OK);
		CHECK_EQ(bind_at(second, 0, &leaf->ref, NULL), PF_OK);
		CHECK_EQ(bind_at(s->array, 0, &leaf->ref, NULL), PF_OK);
		CHECK_EQ(bind_at(second, 0, NULL, NULL), PF_OK);
		nanosleep(&pause, NULL);
	}
	CHECK_EQ(bind_at(s->array, 0, NULL, NULL), PF_OK);
	CHECK_EQ(nested->ref.count, 1);
	CHECK_EQ(leaf->ref.count, 1);
	pf_prog_put(nested);
	pf_prog_put(leaf);
	CHECK_EQ(second->ref.count, 1);
	pf_map_put(second);
	printf("  binder: %" PRIu64 " rounds of 4 changes\n", rounds);
	return NULL;
}

static void replace(struct shared *s, struct pf_link *first, struct pf_link *second, uint32_t stamp, int wait)
{
	struct pf_prog *a = stamper((int32_t)stamp, 0, 4, PF_XDP_PASS);
	struct pf_prog *b = stamper((int32_t)stamp, 8, 12, PF_XDP_DROP);
	struct pf_change change = { 0 };
	struct pf_edit edits[] = {
		{ .kind = PF_EDIT_UPDATE, .link = first, .prog = a, .change = &change },
		{ .kind = PF_EDIT_UPDATE, .link = second, .prog = b },
	};
	CHECK_EQ(pf_datapath_commit(s->dp, edits, 2, NULL), PF_OK);
	pf_prog_put(change.old);
	pf_prog_put(a);
	pf_prog_put(b);
	if (!wait)
		return;
	CHECK_EQ(pf_datapath_wait(s->dp, change.token, UINT64_C(60000000000), NULL, NULL), PF_OK);
	atomic_store_explicit(&s->floor, stamp, memory_order_release);
}

static void start(struct runner *r, struct shared *s)
{
	struct pf_worker_options options = { .name = "stress" };
	*r = (struct runner){ .sink = { .emit = emit, .flush = flush }, .shared = s };
	CHECK_EQ(pf_worker_create(s->dp, 0, &options, &r->worker, NULL), PF_OK);
	CHECK_EQ(pthread_create(&r->thread, NULL, work, r), 0);
}

static void finish(struct runner *r)
{
	CHECK_EQ(pthread_join(r->thread, NULL), 0);
	CHECK_EQ(r->emitted, r->batches * PACKETS);
	CHECK_EQ(r->worker->stats.packets, r->emitted);
	CHECK_EQ(r->worker->stats.actions[PF_XDP_DROP], r->emitted);
	CHECK_EQ(r->worker->stats.uncovered + r->worker->stats.faults, 0);
	printf("  worker: %" PRIu64 " batches, %" PRIu64 " packets, %" PRIu64 " worlds seen\n", r->batches, r->emitted,
	       r->worlds);
	pf_worker_destroy(r->worker);
}

int main(void)
{
	const char *text = getenv("PF_STRESS_SECONDS");
	uint64_t end = pf_clock_ns() + (uint64_t)((text ? atof(text) : 2.0) * 1e9);
	struct shared s = { .dp = datapath_of(1), .array = map_of(PF_MAP_PROG_ARRAY, 1, NULL) };
	struct pf_prog *a = stamper(1, 0, 4, PF_XDP_PASS), *b = stamper(1, 8, 12, PF_XDP_DROP);
	struct pf_link *first = attached(s.dp, 0, a, 0, PF_CONTINUE_DEFAULT);
	struct pf_link *second = attached(s.dp, 0, b, 1, PF_CONTINUE_DEFAULT);
	pf_prog_put(a);
	pf_prog_put(b);
	struct pf_prog *caller = tail_caller(s.array, 0, PF_XDP_PASS);
	pf_link_put(attached(s.dp, 0, caller, -1, PF_CONTINUE_DEFAULT));
	pf_prog_put(caller);
	pthread_t binder;
	CHECK_EQ(pthread_create(&binder, NULL, rebind, &s), 0);
	struct runner runners[WORKERS];
	for (unsigned i = 0; i < WORKERS; i++)
		start(&runners[i], &s);
	uint32_t stamp = 1, waits = 0;
	uint64_t most = 0;
	while (pf_clock_ns() < end) {
		int wait = ++stamp % 4 == 0;
		replace(&s, first, second, stamp, wait);
		waits += (uint32_t)wait;
		uint64_t live = info_of(s.dp).worlds_live;
		most = live > most ? live : most;
	}
	atomic_store(&s.stop, 1);
	for (unsigned i = 0; i < WORKERS; i++)
		finish(&runners[i]);
	CHECK_EQ(pf_datapath_wait(s.dp, info_of(s.dp).token, UINT64_MAX, NULL, NULL), PF_OK);
	CHECK_EQ(info_of(s.dp).worlds_live, 1);
	CHECK_EQ(info_of(s.dp).generation, stamp + 2u); /* three links, then the updates; bindings do not count */
	printf("  writer: %u updates, %u waited for, at most %" PRIu64 " worlds live\n", stamp - 1, waits, most);
	pf_link_put(first);
	pf_link_put(second);
	pf_datapath_put(s.dp);
	atomic_store(&s.stop_binding, 1);
	CHECK_EQ(pthread_join(binder, NULL), 0);
	CHECK_EQ(s.array->ref.count, 1);
	pf_map_put(s.array);
	return 0;
}
