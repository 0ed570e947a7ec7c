/* test_pipeline.c - several workers give what one gives (pipeline.h, Q1 to Q9), with updates from another thread, errors of
 * source, sink and memory. Each packet is 64 bytes: MAC addresses that make a few flows, then random bytes. */
#include "hook_fixture.h"

#include "hook/clock.h"
#include "packet/flow_hash.h"
#include "run/pipeline.h"

#include <pthread.h>
#include <string.h>

#define STX_DW(d, s, o) INSN(0x7b, d, s, o, 0)
#define LEN 64u

/* Allocations fail on purpose: the n-th from now of any thread. */
static _Atomic long fail_at = -1;
static int fails(void)
{
	return atomic_load(&fail_at) >= 0 && atomic_fetch_sub(&fail_at, 1) == 0;
}
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void *__wrap_malloc(size_t size) { return fails() ? NULL : __real_malloc(size); }
void *__wrap_calloc(size_t count, size_t size) { return fails() ? NULL : __real_calloc(count, size); }
void *__wrap_realloc(void *old, size_t size) { return fails() ? NULL : __real_realloc(old, size); }
void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
	return fails() ? NULL : __real_aligned_alloc(alignment, size);
}

static uint64_t next_random(uint64_t *state)
{
	*state += UINT64_C(0x9e3779b97f4a7c15);
	return pf_flow_mix(*state);
}

/* Packets in one buffer that the source uses again for each batch, or lends. */
struct feed {
	struct pf_source source; /* first */
	uint64_t seed;
	uint32_t count, at, piece; /* piece: packets a read */
	uint32_t fail_at;
	enum pf_err fail;
	struct pf_chunk chunk;
	uint32_t have, given; /* packets in the chunk */
};

static void make_packet(const struct feed *f, uint32_t i, uint8_t *to)
{
	uint64_t state = f->seed * 1000003 + i;
	for (uint32_t at = 0; at < LEN; at += 8) {
		const uint64_t word = next_random(&state);
		memcpy(to + at, &word, 8);
	}
	memset(to, 0, 12);
	to[0] = (uint8_t)(to[16] % 5); /* what first_byte returns; with it the flow */
	to[6] = (uint8_t)(to[17] % 40);
}

static struct pf_desc describe(const struct feed *f, uint32_t i, uint8_t *data)
{
	uint64_t state = f->seed + i;
	return (struct pf_desc){ .data = data, .caplen = LEN, .wire_len = LEN,
				 .ts_ns = (int64_t)(next_random(&state) % 1000000) };
}

/* Whole packets of the chunk. */
static enum pf_err feed_fill(struct pf_source *source, struct pf_batch *batch, struct pf_diag *diag)
{
	struct feed *f = (struct feed *)source;
	(void)diag;
	batch->n = 0;
	while (batch->n < batch->capacity && f->given < f->have) {
		batch->desc[batch->n++] = describe(f, f->at, f->chunk.memory + (size_t)f->given * LEN);
		f->given++;
		f->at++;
	}
	return PF_OK;
}

static enum pf_err feed_next(struct pf_source *source, struct pf_batch *batch, struct pf_diag *diag)
{
	struct feed *f = (struct feed *)source;
	if (f->given == f->have) {
		if (f->fail && f->at == f->fail_at) {
			const enum pf_err err = f->fail;
			if (err == PF_EINTR)
				f->fail = PF_OK;
			batch->n = 0;
			return pf_diag_set(diag, err, PF_DIAG_IO_READ, 0, f->at, 0, 0, "test");
		}
		const uint32_t end = f->fail ? f->fail_at : f->count;
		f->have = f->piece < end - f->at ? f->piece : end - f->at;
		f->given = 0;
		if (!f->chunk.memory)
			f->chunk.memory = __real_malloc((size_t)f->piece * LEN);
		for (uint32_t i = 0; i < f->have; i++) /* over what the last batch had */
			make_packet(f, f->at + i, f->chunk.memory + (size_t)i * LEN);
	}
	return feed_fill(source, batch, diag);
}

static enum pf_err feed_renew(struct pf_source *source, struct pf_chunk *chunk, struct pf_diag *diag)
{
	struct feed *f = (struct feed *)source;
	const struct pf_chunk mine = f->chunk;
	(void)diag;
	if (!chunk->memory)
		*chunk = (struct pf_chunk){ .memory = __real_malloc((size_t)f->piece * LEN), .capacity = (size_t)f->piece * LEN };
	memcpy(chunk->memory + (size_t)f->given * LEN, mine.memory + (size_t)f->given * LEN,
	       (size_t)(f->have - f->given) * LEN);
	f->chunk = *chunk;
	*chunk = (struct pf_chunk){ .memory = mine.memory, .capacity = (size_t)f->piece * LEN };
	return PF_OK;
}

static struct feed feed_of(uint64_t seed, uint32_t count, uint32_t piece, int lends)
{
	return (struct feed){
		.source = { .next = feed_next, .fill = lends ? feed_fill : NULL, .renew = lends ? feed_renew : NULL,
			    .prompt = seed & 1 },
		.seed = seed, .count = count, .piece = piece,
	};
}

/* A digest of all that the sink is told, in order; and one that does not depend on the order. */
struct record {
	struct pf_sink sink; /* first */
	uint64_t ordered, any_order, packets;
	uint64_t fail_at;   /* flush fails once as many packets were told */
};

static uint64_t digest(const struct pf_desc *desc, const struct pf_packet *packet, const struct pf_verdict *v)
{
	uint64_t x = pf_flow_mix(v->retval + 31u * v->action + 1009u * v->covered + 7919u * v->faulted);
	x = pf_flow_mix(x ^ v->generation ^ (uint64_t)desc->ts_ns << 20 ^ pf_packet_length(packet));
	for (const uint8_t *p = packet->data; p < packet->data_end; p++)
		x = (x ^ *p) * UINT64_C(0x100000001b3);
	for (const char *p = v->program; p && *p; p++)
		x = (x ^ (uint8_t)*p) * UINT64_C(0x100000001b3);
	return pf_flow_mix(x);
}

static void record_emit(struct pf_sink *sink, const struct pf_source *source, const struct pf_desc *desc,
			const struct pf_packet *packet, const struct pf_verdict *verdict)
{
	struct record *r = (struct record *)sink;
	const uint64_t x = digest(desc, packet, verdict);
	(void)source;
	r->ordered = pf_flow_mix(r->ordered ^ x);
	r->any_order += x;
	r->packets++;
}

static enum pf_err record_flush(struct pf_sink *sink, struct pf_diag *diag)
{
	const struct record *r = (const struct record *)sink;
	return r->fail_at && r->packets >= r->fail_at ? pf_diag_set(diag, PF_ENOSPC, PF_DIAG_IO_WRITE, 0, 0, 0, 0, "test")
						       : PF_OK;
}

static struct record record_of(void)
{
	return (struct record){ .sink = { .emit = record_emit, .flush = record_flush } };
}

/* Random number and clock into the packet, a header of 40 bytes more, and the packet's own byte as action. */
static struct pf_prog *busy(const char *name)
{
	const struct pf_insn insns[] = {
		INSN(0xbf, 6, 1, 0, 0), LDX_W(7, 1, 0), CALL(7), STX_DW(7, 0, 16), CALL(5), STX_DW(7, 0, 24), LDX_B(8, 7, 0),
		MOV_REG(1, 6), MOV_IMM(2, -40), CALL(44), LDX_W(7, 6, 0), STX_B(7, 8, 3), MOV_REG(0, 8), EXIT(),
	};
	struct pf_prog_def def = { .type = PF_PROG_XDP, .name = name, .id = 77, .insns = insns, .count = COUNT(insns) };
	struct pf_prog *prog = NULL;
	CHECK_EQ(pf_prog_create(&def, &prog, NULL), PF_OK);
	return prog;
}

struct crew {
	struct pf_datapath *dp;
	struct pf_link *link;
	struct pf_worker *workers[PF_PIPELINE_WORKERS];
	uint32_t count;
	struct pf_pipeline *pipeline;
};

static struct crew crew_of(struct pf_prog *prog, uint32_t count, uint32_t batch, uint32_t blocks, int unordered)
{
	struct crew c = { .dp = datapath_of(1), .count = count };
	c.link = attached(c.dp, 0, prog, 50, PF_CONTINUE_DEFAULT);
	for (uint32_t k = 0; k < count; k++) {
		struct pf_worker_options options = { .cpu = k, .seed = 9, .trace = 1 };
		CHECK_EQ(pf_worker_create(c.dp, 0, &options, &c.workers[k], NULL), PF_OK);
	}
	const struct pf_pipeline_config config = { .workers = c.workers, .count = count, .batch = batch, .blocks = blocks,
						   .unordered = (uint8_t)unordered };
	CHECK_EQ(pf_pipeline_create(&config, &c.pipeline, NULL), PF_OK);
	return c;
}

static void crew_end(struct crew *c)
{
	pf_pipeline_destroy(c->pipeline);
	for (uint32_t k = 0; k < c->count; k++)
		pf_worker_destroy(c->workers[k]);
	pf_link_put(c->link);
	pf_datapath_put(c->dp);
}

static uint64_t sum_packets(const struct crew *c)
{
	uint64_t sum = 0;
	for (uint32_t k = 0; k < c->count; k++)
		sum += c->workers[k]->stats.packets;
	return sum;
}

/* What one worker in the caller's thread gives. */
static struct record reference(struct feed feed, struct pf_prog *prog)
{
	struct pf_datapath *dp = datapath_of(1);
	struct pf_link *link = attached(dp, 0, prog, 50, PF_CONTINUE_DEFAULT);
	struct pf_worker_options options = { .seed = 9 };
	struct pf_worker *worker = NULL;
	struct pf_batch *batch = pf_batch_create(100);
	struct record record = record_of();
	enum pf_replay_end end;
	CHECK_EQ(pf_worker_create(dp, 0, &options, &worker, NULL), PF_OK);
	CHECK_EQ(pf_replay_step(worker, &feed.source, batch, &record.sink, UINT64_MAX, UINT64_MAX, &end, NULL), PF_OK);
	CHECK_EQ(end, PF_REPLAY_DONE);
	CHECK_EQ(record.packets, feed.count);
	free(feed.chunk.memory);
	pf_batch_destroy(batch);
	pf_worker_destroy(worker);
	pf_link_put(link);
	pf_datapath_put(dp);
	return record;
}

static void test_same_as_one(void)
{
	static const uint32_t workers[] = { 1, 2, 3, 8 }, batches[] = { 1, 7, 256, 65536 }, pieces[] = { 1, 100, 5000 };
	struct pf_prog *prog = busy("busy");
	uint64_t seed = 1;
	for (uint32_t w = 0; w < COUNT(workers); w++) {
		for (uint32_t i = 0; i < COUNT(pieces) * 2; i++, seed++) {
			struct feed feed = feed_of(seed, 6000, pieces[i / 2], i & 1);
			struct record want = reference(feed_of(seed, 6000, 1000, 0), prog), got = record_of();
			struct crew c = crew_of(prog, workers[w], batches[seed % 4], seed % 3 ? 0 : 2, 0);
			enum pf_replay_end end = PF_REPLAY_MORE;
			while (end != PF_REPLAY_DONE)
				CHECK_EQ(pf_pipeline_step(c.pipeline, &feed.source, &got.sink, UINT64_MAX,
							  seed % 2 ? UINT64_MAX : 100000, &end, NULL),
					 PF_OK);
			CHECK_EQ(got.packets, 6000);
			CHECK_EQ(got.ordered, want.ordered);
			CHECK_EQ(sum_packets(&c), 6000);
			CHECK_EQ(pf_pipeline_next_packet(c.pipeline), 6000);
			crew_end(&c);
			free(feed.chunk.memory);
		}
	}
	pf_prog_put(prog);
}

static void test_unordered(void)
{
	struct pf_prog *prog = busy("busy");
	struct feed feed = feed_of(5, 50000, 700, 1);
	struct record want = reference(feed_of(5, 50000, 1000, 0), prog), got = record_of();
	struct crew c = crew_of(prog, 4, 16, 0, 1);
	enum pf_replay_end end;
	CHECK_EQ(pf_pipeline_step(c.pipeline, &feed.source, &got.sink, UINT64_MAX, UINT64_MAX, &end, NULL), PF_OK);
	CHECK_EQ(got.packets, 50000);
	CHECK_EQ(got.any_order, want.any_order);
	crew_end(&c);
	free(feed.chunk.memory);
	pf_prog_put(prog);
}

/* Q6: at `until` no worker has run a later packet, and the next program runs all of those. */
static void test_barrier(void)
{
	struct pf_prog *progs[] = { returning(1), returning(3) };
	struct feed feed = feed_of(2, 20000, 333, 1);
	struct crew c = crew_of(progs[0], 4, 8, 0, 0);
	for (uint64_t until = 0; until <= 20000; until += 1237) {
		enum pf_replay_end end = PF_REPLAY_MORE;
		while (end == PF_REPLAY_MORE)
			CHECK_EQ(pf_pipeline_step(c.pipeline, &feed.source, NULL, until, 1000, &end, NULL), PF_OK);
		CHECK_EQ(end, PF_REPLAY_UNTIL);
		CHECK_EQ(pf_pipeline_next_packet(c.pipeline), until);
		CHECK_EQ(sum_packets(&c), until);
		uint64_t one = 0, three = 0, want_one = 0;
		for (uint32_t k = 0; k < 4; k++) {
			one += c.workers[k]->stats.actions[1];
			three += c.workers[k]->stats.actions[3];
		}
		for (uint64_t at = 0, n = 0; at < until; at += 1237, n++)
			want_one += n % 2 ? 1237 : 0;
		CHECK_EQ(one, want_one);
		CHECK_EQ(three, until - want_one);
		CHECK_EQ(pf_link_update(c.link, progs[until / 1237 % 2 ? 0 : 1], NULL, NULL, NULL), PF_OK);
	}
	crew_end(&c);
	free(feed.chunk.memory);
	pf_prog_put(progs[0]);
	pf_prog_put(progs[1]);
}

struct updates {
	struct crew *crew;
	struct pf_prog *progs[2];
	_Atomic uint32_t stop;
	uint64_t count;
};

static void *update_again(void *arg)
{
	struct updates *u = arg;
	const struct timespec nap = { .tv_nsec = 50000 };
	for (; !atomic_load(&u->stop); u->count++) {
		struct pf_change change;
		CHECK_EQ(pf_link_update(u->crew->link, u->progs[u->count % 2], NULL, &change, NULL), PF_OK);
		CHECK_EQ(pf_datapath_wait(u->crew->dp, change.token, UINT64_MAX, NULL, NULL), PF_OK);
		pf_prog_put(change.old);
		nanosleep(&nap, NULL);
	}
	return NULL;
}

/* Every packet is run by one of the programs, once, and told with what that one returned. */
static void test_updates_beside(void)
{
	struct pf_prog *old = returning(1);
	struct crew c = crew_of(old, 3, 16, 0, 0);
	struct updates u = { .crew = &c, .progs = { returning(3), old } };
	struct feed feed = feed_of(3, 200000, 2000, 1);
	struct record got = record_of();
	enum pf_replay_end end = PF_REPLAY_MORE;
	pthread_t thread;
	CHECK_EQ(pthread_create(&thread, NULL, update_again, &u), 0);
	while (end != PF_REPLAY_DONE)
		CHECK_EQ(pf_pipeline_step(c.pipeline, &feed.source, &got.sink, UINT64_MAX, 1000000, &end, NULL), PF_OK);
	atomic_store(&u.stop, 1);
	pthread_join(thread, NULL);
	uint64_t covered = 0;
	for (uint32_t k = 0; k < 3; k++) {
		const struct pf_run_stats *s = &c.workers[k]->stats;
		covered += s->actions[1] + s->actions[3];
		CHECK_EQ(s->uncovered, 0);
	}
	CHECK_EQ(covered, 200000);
	CHECK_EQ(got.packets, 200000);
	CHECK(u.count > 0);
	crew_end(&c);
	free(feed.chunk.memory);
	pf_prog_put(u.progs[0]);
	pf_prog_put(old);
}

/* D2, Q7: what came before an error of the source is told; an interruption loses nothing. */
static void test_source_errors(void)
{
	static const enum pf_err errors[] = { PF_EBADMSG, PF_EINTR };
	struct pf_prog *prog = busy("busy");
	for (uint32_t i = 0; i < COUNT(errors); i++) {
		struct record want = reference(feed_of(8, i ? 9000 : 5000, 1000, 0), prog), got = record_of();
		struct feed feed = feed_of(8, 9000, 800, 1);
		struct crew c = crew_of(prog, 4, 32, 0, 0);
		struct pf_diag diag;
		enum pf_replay_end end;
		feed.fail = errors[i];
		feed.fail_at = 5000;
		enum pf_err err = pf_pipeline_step(c.pipeline, &feed.source, &got.sink, UINT64_MAX, UINT64_MAX, &end, &diag);
		CHECK_EQ(err, i ? PF_OK : PF_EBADMSG);
		CHECK_EQ(end, PF_REPLAY_MORE);
		if (i) {
			CHECK_EQ(pf_pipeline_drain(c.pipeline, &feed.source, &got.sink, NULL), PF_OK);
			CHECK_EQ(got.packets, 5000);
			CHECK_EQ(pf_pipeline_step(c.pipeline, &feed.source, &got.sink, UINT64_MAX, UINT64_MAX, &end, &diag), PF_OK);
			CHECK_EQ(end, PF_REPLAY_DONE);
		} else {
			CHECK_EQ(diag.offset, 5000);
		}
		CHECK_EQ(got.packets, want.packets);
		CHECK_EQ(got.ordered, want.ordered);
		crew_end(&c);
		free(feed.chunk.memory);
	}
	pf_prog_put(prog);
}

/* Q7: after an error of the sink nothing is told; what was read is run; the error stays. */
static void test_sink_errors(void)
{
	struct pf_prog *prog = busy("busy");
	for (int unordered = 0; unordered < 2; unordered++) {
		struct feed feed = feed_of(4, 100000, 500, 1);
		struct record got = record_of();
		struct crew c = crew_of(prog, 3, 32, 0, unordered);
		struct pf_diag diag;
		enum pf_replay_end end;
		got.fail_at = 20000;
		CHECK_EQ(pf_pipeline_step(c.pipeline, &feed.source, &got.sink, UINT64_MAX, UINT64_MAX, &end, &diag), PF_ENOSPC);
		CHECK_EQ(diag.code, PF_DIAG_IO_WRITE);
		CHECK_EQ(sum_packets(&c), pf_pipeline_next_packet(c.pipeline));
		CHECK(got.packets >= 20000 && got.packets < 90000);
		const uint64_t told = got.packets;
		CHECK_EQ(pf_pipeline_step(c.pipeline, &feed.source, &got.sink, UINT64_MAX, UINT64_MAX, &end, &diag), PF_ENOSPC);
		CHECK_EQ(pf_pipeline_drain(c.pipeline, &feed.source, &got.sink, &diag), PF_ENOSPC);
		CHECK_EQ(got.packets, told);
		crew_end(&c);
		free(feed.chunk.memory);
	}
	pf_prog_put(prog);
}

/* Grows the tail, then PASS. */
static struct pf_prog *grower(int32_t by)
{
	const struct pf_insn insns[] = { MOV_IMM(2, by), CALL(65), MOV_IMM(0, 2), EXIT() };
	return prog_of(insns, COUNT(insns), NULL, 0, 0);
}

/* Q5: copies of 3,500 bytes a packet, many times what may be held at once. */
static void test_copies_are_bounded(void)
{
	struct pf_prog *prog = grower(3400);
	struct feed feed = feed_of(6, 60000, 4000, 1);
	struct record want = reference(feed_of(6, 60000, 1000, 0), prog), got = record_of();
	struct crew c = crew_of(prog, 4, 256, 0, 0);
	enum pf_replay_end end;
	CHECK_EQ(pf_pipeline_step(c.pipeline, &feed.source, &got.sink, UINT64_MAX, UINT64_MAX, &end, NULL), PF_OK);
	CHECK_EQ(got.ordered, want.ordered);
	crew_end(&c);
	free(feed.chunk.memory);
	pf_prog_put(prog);
}

/* Whatever allocation fails: an error, or none; what was told is the front of what there is; nothing leaks. */
static void test_failing_allocations(void)
{
	struct pf_prog *prog = grower(900);
	for (long n = 0; n < 60; n++) {
		struct feed feed = feed_of(6, 4000, 500, n & 1);
		struct record got = record_of();
		struct crew c = { .dp = datapath_of(1), .count = 2 };
		struct pf_diag diag = { .err = PF_OK };
		enum pf_replay_end end;
		c.link = attached(c.dp, 0, prog, 50, PF_CONTINUE_DEFAULT);
		for (uint32_t k = 0; k < 2; k++) {
			struct pf_worker_options options = { .cpu = k, .seed = 9 };
			CHECK_EQ(pf_worker_create(c.dp, 0, &options, &c.workers[k], NULL), PF_OK);
		}
		const struct pf_pipeline_config config = { .workers = c.workers, .count = 2, .batch = 64 };
		atomic_store(&fail_at, n);
		enum pf_err err = pf_pipeline_create(&config, &c.pipeline, &diag);
		if (!err)
			err = pf_pipeline_step(c.pipeline, &feed.source, &got.sink, UINT64_MAX, UINT64_MAX, &end, &diag);
		atomic_store(&fail_at, -1);
		CHECK(err == PF_OK || err == PF_ENOMEM || err == PF_EAGAIN);
		if (err)
			CHECK_EQ(diag.err, err);
		else
			CHECK_EQ(got.packets, 4000);
		struct record want = got.packets ? reference(feed_of(6, (uint32_t)got.packets, 1000, 0), prog) : record_of();
		CHECK_EQ(got.ordered, want.ordered);
		if (c.pipeline)
			CHECK_EQ(sum_packets(&c), pf_pipeline_next_packet(c.pipeline));
		crew_end(&c);
		free(feed.chunk.memory);
	}
	pf_prog_put(prog);
}

static void test_bad_crews(void)
{
	struct pf_pipeline *p = NULL;
	struct pf_diag diag;
	const struct pf_pipeline_config none = { .batch = 1 }, many = { .batch = 1, .count = 65 }, idle = { .count = 1 };
	CHECK_EQ(pf_pipeline_create(&none, &p, &diag), PF_EINVAL);
	CHECK_EQ(pf_pipeline_create(&many, &p, &diag), PF_EINVAL);
	CHECK_EQ(pf_pipeline_create(&idle, &p, &diag), PF_EINVAL);
	CHECK_EQ(diag.code, PF_DIAG_RUN_CREW);
	pf_pipeline_destroy(NULL);
}

/* A crew that is given up in the middle ends. */
static void test_destroyed_in_flight(void)
{
	struct pf_prog *prog = busy("busy");
	for (uint32_t i = 0; i < 20; i++) {
		struct feed feed = feed_of(i, 1000000, 1000, 1);
		struct record got = record_of();
		struct crew c = crew_of(prog, 3, 16, 0, 0);
		enum pf_replay_end end;
		CHECK_EQ(pf_pipeline_step(c.pipeline, &feed.source, &got.sink, UINT64_MAX, 20000 * i, &end, NULL), PF_OK);
		CHECK_EQ(end, PF_REPLAY_MORE);
		crew_end(&c);
		free(feed.chunk.memory);
	}
	pf_prog_put(prog);
}

int main(void)
{
	test_bad_crews();
	test_same_as_one();
	test_unordered();
	test_barrier();
	test_updates_beside();
	test_source_errors();
	test_sink_errors();
	test_copies_are_bounded();
	test_failing_allocations();
	test_destroyed_in_flight();
	printf("pipeline: ok\n");
	return 0;
}
