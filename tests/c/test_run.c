/* test_run.c - workers, batches, replay steps and test runs (run.h L1-L5, design sections 6 and 7). Ends with the cost of
 * the loop over a program that only passes, which is printed, not judged. */
#include "hook_fixture.h"

#include "hook/clock.h"
#include "run/run.h"

#include <string.h>

#define STX_DW(d, s, o) INSN(0x7b, d, s, o, 0)
#define LEN 64u

/* A source over equal-sized packets in memory; after `fail_at` packets it reports `fail` (once, when it is EINTR). */
struct memory_source {
	struct pf_source source; /* first */
	uint8_t *bytes;
	int64_t *ts;
	uint32_t count, at, most;
	uint32_t fail_at;
	enum pf_err fail;
};

static enum pf_err memory_next(struct pf_source *source, struct pf_batch *batch, struct pf_diag *diag)
{
	struct memory_source *s = (struct memory_source *)source;
	if (s->fail && s->at == s->fail_at) {
		enum pf_err err = s->fail;
		if (err == PF_EINTR)
			s->fail = PF_OK;
		return pf_diag_set(diag, err, PF_DIAG_IO_READ, 0, s->at, 0, 0, "test");
	}
	batch->n = 0;
	while (batch->n < batch->capacity && s->at < s->count && !(s->fail && s->at == s->fail_at)) {
		batch->desc[batch->n++] = (struct pf_desc){ .data = s->bytes + (size_t)s->at * LEN,
							    .caplen = LEN,
							    .wire_len = LEN,
							    .ts_ns = s->ts ? s->ts[s->at] : 0 };
		s->at++;
	}
	s->most = batch->n > s->most ? batch->n : s->most;
	return PF_OK;
}

static struct memory_source source_of(uint8_t *bytes, uint32_t count)
{
	return (struct memory_source){ .source = { .next = memory_next }, .bytes = bytes, .count = count };
}

/* A sink that keeps what it is told; at most 64 packets. */
struct memory_sink {
	struct pf_sink sink; /* first */
	const struct pf_worker *worker;
	uint32_t n, flushes;
	struct pf_verdict verdicts[64];
	uint32_t lengths[64];
	uint8_t framed[64], first_byte[64];
	enum pf_err fail;
};

static void memory_emit(struct pf_sink *sink, const struct pf_source *source, const struct pf_desc *desc,
			const struct pf_packet *packet, const struct pf_verdict *verdict)
{
	struct memory_sink *s = (struct memory_sink *)sink;
	(void)source;
	(void)desc;
	CHECK(s->n < 64);
	CHECK(atomic_load(&s->worker->rcu->counter) != 0); /* online */
	s->verdicts[s->n] = *verdict;
	s->lengths[s->n] = pf_packet_length(packet);
	s->framed[s->n] = packet->framed;
	s->first_byte[s->n] = packet->data[0];
	s->n++;
}

static enum pf_err memory_flush(struct pf_sink *sink, struct pf_diag *diag)
{
	struct memory_sink *s = (struct memory_sink *)sink;
	CHECK_EQ(atomic_load(&s->worker->rcu->counter), 0); /* offline (L1) */
	s->flushes++;
	return s->fail ? pf_diag_set(diag, s->fail, PF_DIAG_IO_WRITE, 0, 0, 0, 0, "test") : PF_OK;
}

static struct memory_sink sink_of(const struct pf_worker *worker)
{
	return (struct memory_sink){ .sink = { .emit = memory_emit, .flush = memory_flush }, .worker = worker };
}

static struct pf_worker *worker_of(struct pf_datapath *dp, uint64_t seed)
{
	struct pf_worker_options options = { .seed = seed };
	struct pf_worker *worker = NULL;
	CHECK_EQ(pf_worker_create(dp, 0, &options, &worker, NULL), PF_OK);
	return worker;
}

/* Returns the packet's first byte. */
static struct pf_prog *first_byte(void)
{
	const struct pf_insn insns[] = { LDX_W(2, 1, 0), LDX_B(0, 2, 0), EXIT() };
	return prog_of(insns, COUNT(insns), NULL, 0, 0);
}

/* Reads past the packet's end when the first byte is 9. */
static struct pf_prog *faulty(void)
{
	const struct pf_insn insns[] = {
		LDX_W(2, 1, 0), LDX_B(0, 2, 0), INSN(0x55, 0, 0, 1, 9), LDX_B(0, 2, LEN), EXIT(),
	};
	return prog_of(insns, COUNT(insns), NULL, 0, 0);
}

/* adjust_head(by), then `action`. */
static struct pf_prog *head_mover(int32_t by, int32_t action)
{
	const struct pf_insn insns[] = { MOV_IMM(2, by), CALL(44), MOV_IMM(0, action), EXIT() };
	return prog_of(insns, COUNT(insns), NULL, 0, 0);
}

/* Adds 1 to the first byte, then returns `action`. */
static struct pf_prog *adder(int32_t action)
{
	const struct pf_insn insns[] = {
		LDX_W(2, 1, 0), LDX_B(3, 2, 0), ADD_IMM(3, 1), STX_B(2, 3, 0), MOV_IMM(0, action), EXIT(),
	};
	return prog_of(insns, COUNT(insns), NULL, 0, 0);
}

/* Writes the results of two calls of a helper without arguments into the packet at 0 and 8. */
static struct pf_prog *caller_of(int32_t helper)
{
	const struct pf_insn insns[] = {
		LDX_W(6, 1, 0), CALL(helper), STX_DW(6, 0, 0), CALL(helper), STX_DW(6, 0, 8), MOV_IMM(0, 2), EXIT(),
	};
	return prog_of(insns, COUNT(insns), NULL, 0, 0);
}

static uint64_t word_of(const uint8_t *bytes, uint32_t packet, uint32_t offset)
{
	uint64_t value;
	memcpy(&value, bytes + packet * LEN + offset, 8);
	return value;
}

struct stage {
	struct pf_datapath *dp;
	struct pf_worker *worker;
	struct pf_batch *batch;
};

/* One hook with one program, which the stage takes over; NULL: an empty hook. */
static struct stage stage_of(struct pf_prog *prog, uint32_t capacity, uint64_t seed)
{
	struct stage s = { .dp = datapath_of(1), .batch = pf_batch_create(capacity) };
	CHECK(s.batch);
	if (prog) {
		pf_link_put(attached(s.dp, 0, prog, 50, PF_CONTINUE_DEFAULT));
		pf_prog_put(prog);
	}
	s.worker = worker_of(s.dp, seed);
	return s;
}

static void stage_end(struct stage *s)
{
	pf_worker_destroy(s->worker);
	pf_batch_destroy(s->batch);
	pf_datapath_put(s->dp);
}

static enum pf_replay_end step(struct stage *s, struct memory_source *source, struct memory_sink *sink, uint64_t until,
			       uint64_t slice_ns, enum pf_err want)
{
	enum pf_replay_end end;
	struct pf_diag diag;
	CHECK_EQ(pf_replay_step(s->worker, &source->source, s->batch, sink ? &sink->sink : NULL, until, slice_ns, &end,
				&diag),
		 want);
	return end;
}

static void test_statistics(void)
{
	/* action of each packet; 5 and 255 are unknown, so ABORTED */
	static const uint8_t actions[] = { 2, 1, 2, 0, 3, 4, 5, 255, 2, 1 };
	static const uint64_t want[PF_ACTIONS] = { 3, 2, 3, 1, 1 };
	uint8_t bytes[COUNT(actions) * LEN] = { 0 };
	for (int told = 0; told < 2; told++) {
		struct stage s = stage_of(first_byte(), 4, 0);
		struct memory_source source = source_of(bytes, COUNT(actions));
		struct memory_sink sink = sink_of(s.worker);
		for (uint32_t i = 0; i < COUNT(actions); i++)
			bytes[i * LEN] = actions[i];
		CHECK_EQ(step(&s, &source, told ? &sink : NULL, UINT64_MAX, UINT64_MAX, PF_OK), PF_REPLAY_DONE);
		const struct pf_run_stats *stats = &s.worker->stats;
		CHECK_EQ(stats->packets, COUNT(actions));
		CHECK_EQ(stats->bytes, sizeof(bytes));
		CHECK_EQ(stats->batches, 3);
		CHECK_EQ(stats->uncovered + stats->faults, 0);
		CHECK_EQ(stats->engine_packets[PF_ENGINE_CHECKED], COUNT(actions));
		for (unsigned a = 0; a < PF_ACTIONS; a++) {
			CHECK_EQ(stats->actions[a], want[a]);
			CHECK_EQ(stats->action_bytes[a], want[a] * LEN);
		}
		CHECK_EQ(s.worker->batch_generation, 1);
		CHECK_EQ(s.worker->batch_revision, 3);
		for (uint32_t i = 0; told && i < COUNT(actions); i++) {
			CHECK_EQ(sink.verdicts[i].retval, actions[i]);
			CHECK_EQ(sink.verdicts[i].action, actions[i] < PF_ACTIONS ? actions[i] : 0);
			CHECK(sink.verdicts[i].covered && !sink.verdicts[i].faulted);
			CHECK_EQ(sink.verdicts[i].generation, 1);
			CHECK_EQ(sink.verdicts[i].engine, PF_ENGINE_CHECKED);
		}
		CHECK_EQ(sink.flushes, told ? 3 : 0);
		stage_end(&s);
	}
}

static void test_faults(void)
{
	uint8_t bytes[8 * LEN] = { 0 };
	for (uint32_t i = 0; i < 8; i++)
		bytes[i * LEN] = i == 5 || i == 7 ? 9 : 2;
	struct stage s = stage_of(faulty(), 3, 0);
	struct memory_source source = source_of(bytes, 8);
	struct memory_sink sink = sink_of(s.worker);
	CHECK_EQ(step(&s, &source, &sink, UINT64_MAX, UINT64_MAX, PF_OK), PF_REPLAY_DONE);
	CHECK_EQ(s.worker->stats.faults, 2);
	CHECK_EQ(s.worker->stats.actions[PF_XDP_ABORTED], 2);
	CHECK_EQ(s.worker->stats.actions[PF_XDP_PASS], 6);
	CHECK_EQ(s.worker->first_fault_packet, 5);
	CHECK_EQ(s.worker->first_fault.diag.code, PF_DIAG_VM_LOAD);
	CHECK_EQ(s.worker->first_fault.diag.insn, 3);
	CHECK(!s.worker->first_fault.prog);
	CHECK(!strcmp(s.worker->first_fault_prog, "p"));
	CHECK(sink.verdicts[5].faulted && sink.verdicts[5].covered);
	CHECK_EQ(sink.verdicts[5].action, PF_XDP_ABORTED);
	CHECK(!sink.verdicts[6].faulted);
	stage_end(&s);
}

static void test_uncovered(void)
{
	uint8_t bytes[5 * LEN] = { 0 };
	struct stage s = stage_of(NULL, 2, 0);
	struct memory_source source = source_of(bytes, 5);
	struct memory_sink sink = sink_of(s.worker);
	CHECK_EQ(step(&s, &source, &sink, UINT64_MAX, UINT64_MAX, PF_OK), PF_REPLAY_DONE);
	CHECK_EQ(s.worker->stats.uncovered, 5);
	CHECK_EQ(s.worker->stats.actions[PF_XDP_PASS], 5);
	CHECK_EQ(s.worker->stats.engine_packets[PF_ENGINE_CHECKED], 0);
	CHECK_EQ(sink.n, 5);
	CHECK(!sink.verdicts[4].covered && sink.verdicts[4].generation == 0);
	CHECK_EQ(sink.verdicts[4].action, PF_XDP_PASS);
	stage_end(&s);
}

/* L5: no batch crosses `until`, and the next step carries on with the program of the moment. */
static void test_until(void)
{
	uint8_t bytes[40 * LEN] = { 0 };
	struct stage s = stage_of(NULL, 8, 0);
	struct pf_prog *drop = returning(1), *pass = returning(2);
	struct pf_link *link = attached(s.dp, 0, drop, 0, 0);
	struct memory_source source = source_of(bytes, 40);
	struct memory_sink sink = sink_of(s.worker);
	CHECK_EQ(step(&s, &source, &sink, 0, UINT64_MAX, PF_OK), PF_REPLAY_UNTIL);
	CHECK_EQ(source.at, 0);
	CHECK_EQ(step(&s, &source, &sink, 13, UINT64_MAX, PF_OK), PF_REPLAY_UNTIL);
	CHECK_EQ(source.at, 13);
	CHECK_EQ(s.batch->capacity, 8);
	CHECK_EQ(step(&s, &source, &sink, 13, UINT64_MAX, PF_OK), PF_REPLAY_UNTIL);
	CHECK_EQ(pf_link_update(link, pass, NULL, NULL, NULL), PF_OK);
	CHECK_EQ(step(&s, &source, &sink, 14, UINT64_MAX, PF_OK), PF_REPLAY_UNTIL);
	CHECK_EQ(source.at, 14);
	CHECK_EQ(step(&s, &source, &sink, UINT64_MAX, UINT64_MAX, PF_OK), PF_REPLAY_DONE);
	CHECK_EQ(s.batch->first, 40);
	CHECK_EQ(source.most, 8);
	for (uint32_t i = 0; i < 40; i++) {
		CHECK_EQ(sink.verdicts[i].action, i < 13 ? PF_XDP_DROP : PF_XDP_PASS);
		CHECK_EQ(sink.verdicts[i].generation, i < 13 ? 1 : 2);
	}
	pf_link_put(link);
	pf_prog_put(drop);
	pf_prog_put(pass);
	stage_end(&s);
}

static void test_step_ends(void)
{
	uint8_t bytes[20 * LEN] = { 0 };
	struct stage s = stage_of(returning(2), 8, 0);
	struct memory_source source = source_of(bytes, 20);
	CHECK_EQ(step(&s, &source, NULL, UINT64_MAX, 0, PF_OK), PF_REPLAY_MORE); /* one batch a slice */
	CHECK_EQ(source.at, 8);
	source.fail = PF_EINTR;
	source.fail_at = 8;
	CHECK_EQ(step(&s, &source, NULL, UINT64_MAX, UINT64_MAX, PF_OK), PF_REPLAY_MORE);
	CHECK_EQ(source.at, 8);
	source.fail = PF_EBADMSG;
	source.fail_at = 19;
	step(&s, &source, NULL, UINT64_MAX, UINT64_MAX, PF_EBADMSG);
	CHECK_EQ(s.worker->stats.packets, 19); /* everything before the damage (D2) */
	CHECK_EQ(s.batch->first + s.batch->n, 19);
	source.fail = PF_OK; /* the next input's packets are numbered on */
	CHECK_EQ(step(&s, &source, NULL, UINT64_MAX, UINT64_MAX, PF_OK), PF_REPLAY_DONE);
	CHECK_EQ(s.batch->first + s.batch->n, 20);
	struct memory_sink sink = sink_of(s.worker);
	sink.fail = PF_ENOSPC;
	source.at = 0;
	step(&s, &source, &sink, UINT64_MAX, UINT64_MAX, PF_ENOSPC);
	CHECK_EQ(sink.n, 8); /* the first batch ran, then the sink failed */
	CHECK_EQ(sink.flushes, 1);
	stage_end(&s);
}

/* A chain goes on with the packet as the program before left it, frame included, and its last action is the verdict. */
static void test_chain(void)
{
	uint8_t bytes[3 * LEN] = { 0 };
	bytes[0] = 2; /* after the move by 4 its old first byte is no longer the first */
	struct stage s = stage_of(NULL, 2, 0);
	struct pf_prog *progs[] = { head_mover(-4, 2), adder(3), adder(1), adder(2) };
	const uint32_t pass = 1u << PF_XDP_PASS, tx = 1u << PF_XDP_TX;
	struct pf_link *links[] = { attached(s.dp, 0, progs[0], 0, pass), attached(s.dp, 0, progs[1], 1, pass | tx),
				    attached(s.dp, 0, progs[2], 2, pass), attached(s.dp, 0, progs[3], 3, pass) };
	CHECK_EQ(pf_link_update(links[2], progs[1], NULL, NULL, NULL), PF_OK);
	CHECK_EQ(pf_link_update(links[2], progs[2], NULL, NULL, NULL), PF_OK);
	struct memory_source source = source_of(bytes, 3);
	struct memory_sink sink = sink_of(s.worker);
	CHECK_EQ(step(&s, &source, &sink, UINT64_MAX, UINT64_MAX, PF_OK), PF_REPLAY_DONE);
	for (uint32_t i = 0; i < 3; i++) {
		CHECK_EQ(sink.lengths[i], LEN + 4);
		CHECK(sink.framed[i]);
		CHECK_EQ(sink.first_byte[i], 2); /* both adders saw the new room, which was 0 for each packet */
		CHECK_EQ(sink.verdicts[i].action, PF_XDP_DROP);
		CHECK_EQ(sink.verdicts[i].generation, 3);
	}
	CHECK_EQ(bytes[0], 2);
	CHECK_EQ(s.worker->stats.bytes, 3 * LEN); /* as captured */
	CHECK_EQ(s.worker->stats.engine_packets[PF_ENGINE_CHECKED], 3);
	/* Without the third: TX of the second goes on to the fourth. */
	CHECK_EQ(pf_link_detach(links[2], NULL, NULL), PF_OK);
	source.at = 0;
	CHECK_EQ(step(&s, &source, NULL, UINT64_MAX, UINT64_MAX, PF_OK), PF_REPLAY_DONE);
	CHECK_EQ(s.worker->stats.actions[PF_XDP_PASS], 3);
	for (size_t i = 0; i < COUNT(links); i++) {
		pf_link_put(links[i]);
		pf_prog_put(progs[i]);
	}
	stage_end(&s);
}

/* What one program of a chain leaves in the worker's state is not the next one's: its redirect, its frags. */
static void test_chain_state(void)
{
	const struct pf_insn redirect[] = { MOV_IMM(1, 3), MOV_IMM(2, 0), CALL(23), EXIT() };
	struct pf_prog_def def = { .type = PF_PROG_XDP, .insns = redirect, .count = COUNT(redirect), .frags = 1 };
	struct pf_prog *first = NULL, *second = returning(2);
	uint8_t bytes[LEN] = { 0 };
	CHECK_EQ(pf_prog_create(&def, &first, NULL), PF_OK);
	struct stage s = stage_of(NULL, 2, 0);
	pf_link_put(attached(s.dp, 0, first, 0, 1u << PF_XDP_REDIRECT));
	struct memory_source source = source_of(bytes, 1);
	CHECK_EQ(step(&s, &source, NULL, UINT64_MAX, UINT64_MAX, PF_OK), PF_REPLAY_DONE);
	CHECK_EQ(s.worker->stats.actions[PF_XDP_REDIRECT], 1);
	CHECK_EQ(s.worker->exec->redirect, PF_REDIRECT_IFINDEX);
	CHECK_EQ(s.worker->exec->redirect_target, 3);
	CHECK(s.worker->exec->packet.frags);
	pf_link_put(attached(s.dp, 0, second, 1, 0));
	source.at = 0;
	CHECK_EQ(step(&s, &source, NULL, UINT64_MAX, UINT64_MAX, PF_OK), PF_REPLAY_DONE);
	CHECK_EQ(s.worker->stats.actions[PF_XDP_PASS], 1);
	CHECK_EQ(s.worker->exec->redirect, PF_REDIRECT_NONE);
	CHECK(!s.worker->exec->packet.frags);
	stage_end(&s);
	pf_prog_put(first);
	pf_prog_put(second);
}

/* E3: the running maximum of capture time, for any batch size. */
static void test_time(void)
{
	static int64_t ts[] = { -5, 100, 50, 100, 2000, INT64_MIN, 1999, 2001 };
	static const uint64_t want[] = { 0, 100, 100, 100, 2000, 2000, 2000, 2001 };
	for (uint32_t capacity = 1; capacity <= 8; capacity++) {
		uint8_t bytes[8 * LEN] = { 0 };
		struct stage s = stage_of(caller_of(5), capacity, 0);
		struct memory_source source = source_of(bytes, 8);
		source.ts = ts;
		CHECK_EQ(step(&s, &source, NULL, UINT64_MAX, UINT64_MAX, PF_OK), PF_REPLAY_DONE);
		CHECK_EQ(s.worker->stats.faults, 0);
		for (uint32_t i = 0; i < 8; i++) {
			CHECK_EQ(word_of(bytes, i, 0), want[i]);
			CHECK_EQ(word_of(bytes, i, 8), want[i]);
		}
		stage_end(&s);
	}
}

/* E4: random numbers depend on seed, packet index and call number alone. */
static void test_random(void)
{
	uint8_t first[16 * LEN] = { 0 };
	for (uint32_t round = 0; round < 4; round++) {
		static const uint32_t capacities[] = { 16, 1, 5, 16 };
		uint8_t bytes[16 * LEN] = { 0 };
		struct stage s = stage_of(caller_of(7), capacities[round], round == 3 ? 43 : 42);
		struct memory_source source = source_of(bytes, 16);
		CHECK_EQ(step(&s, &source, NULL, UINT64_MAX, UINT64_MAX, PF_OK), PF_REPLAY_DONE);
		if (!round)
			memcpy(first, bytes, sizeof(bytes));
		CHECK_EQ(!memcmp(first, bytes, sizeof(bytes)), round != 3);
		stage_end(&s);
	}
	for (uint32_t i = 0; i < 16; i++)
		CHECK(word_of(first, i, 0) != word_of(first, i, 8) && word_of(first, i, 0) != word_of(first, 0, 8));
}

/* Packets under 14 bytes, even empty ones, run in a batch. */
static void test_tiny_packets(void)
{
	uint8_t byte = 3;
	struct stage s = stage_of(first_byte(), 2, 0);
	struct pf_verdict verdicts[2];
	s.batch->desc[0] = (struct pf_desc){ .data = &byte, .caplen = 1, .wire_len = 60 };
	s.batch->desc[1] = (struct pf_desc){ .data = &byte, .caplen = 0, .wire_len = 60 };
	s.batch->n = 2;
	pf_worker_run(s.worker, s.batch, verdicts, NULL, NULL);
	CHECK_EQ(verdicts[0].action, PF_XDP_TX);
	CHECK(!verdicts[0].faulted && verdicts[1].faulted);
	CHECK_EQ(s.worker->stats.bytes, 1);
	stage_end(&s);
}

static void test_worker_refusals(void)
{
	struct pf_datapath *dp = datapath_of(1);
	struct pf_worker *workers[PF_RCU_WORKERS + 1];
	struct pf_worker_options options = { 0 };
	struct pf_diag diag;
	CHECK_EQ(pf_worker_create(dp, 1, &options, &workers[0], &diag), PF_EINVAL);
	CHECK_EQ(diag.code, PF_DIAG_HOOK_NUMBER);
	for (uint32_t i = 0; i < PF_RCU_WORKERS; i++)
		CHECK_EQ(pf_worker_create(dp, 0, &options, &workers[i], &diag), PF_OK);
	CHECK_EQ(pf_worker_create(dp, 0, &options, &workers[PF_RCU_WORKERS], &diag), PF_EBUSY);
	CHECK_EQ(diag.code, PF_DIAG_HOOK_WORKERS);
	pf_datapath_put(dp); /* the workers keep it */
	for (uint32_t i = 0; i < PF_RCU_WORKERS; i++)
		pf_worker_destroy(workers[i]);
}

static struct pf_test_run test_once(struct pf_prog *prog, struct pf_test_run run, enum pf_err want)
{
	struct pf_diag diag;
	run.engine = PF_ENGINE_JIT;
	CHECK_EQ(pf_prog_test_run(prog, &run, &diag), want);
	CHECK_EQ(want ? diag.err : PF_OK, want);
	CHECK(want ? !run.out : run.out != NULL);
	return run;
}

static void end_run(struct pf_test_run *run, struct pf_prog *prog)
{
	free(run->out);
	if (prog)
		pf_prog_put(prog);
}

static void test_test_run(void)
{
	uint8_t packet[20], meta[PF_PACKET_HEADROOM] = { 1, 2, 3, 4 };
	for (unsigned i = 0; i < sizeof(packet); i++)
		packet[i] = (uint8_t)i;
	struct pf_test_run in = { .data = packet, .len = sizeof(packet) };
	struct pf_prog *prog = adder(2);
	struct pf_test_run run = test_once(prog, in, PF_OK);
	CHECK_EQ(run.retval, 2);
	CHECK_EQ(run.ran, PF_ENGINE_CHECKED);
	CHECK_EQ(run.out_len, sizeof(packet));
	CHECK_EQ(run.meta_out_len, 0);
	CHECK(run.out[0] == 1 && !memcmp(run.out + 1, packet + 1, sizeof(packet) - 1));
	CHECK_EQ(packet[0], 0); /* the caller's bytes stay */
	end_run(&run, NULL);
	in.repeat = 3; /* each run goes on where the last ended, as in Linux */
	run = test_once(prog, in, PF_OK);
	CHECK_EQ(run.out[0], 3);
	end_run(&run, NULL);
	in.repeat = 1;
	struct pf_prog *verified = returning(77);
	make_interp(verified);
	run = test_once(verified, in, PF_OK);
	CHECK_EQ(run.ran, PF_ENGINE_INTERP);
	CHECK_EQ(run.retval, 77);
	end_run(&run, verified);
	in.meta = meta;
	for (uint32_t len = 0; len <= PF_PACKET_HEADROOM + 4; len += 2) {
		in.meta_len = len;
		enum pf_err want = len % 4 || len > PF_PACKET_HEADROOM ? PF_EINVAL : PF_OK;
		run = test_once(prog, in, want);
		CHECK_EQ(run.meta_out_len, want ? 0 : len);
		CHECK(want || len < 4 || !memcmp(run.out, meta, len));
		CHECK(want || run.out[len] == 1);
		end_run(&run, NULL);
	}
	in.meta_len = 0;
	for (uint32_t len = 0; len <= 14; len++) {
		in.len = len;
		run = test_once(prog, in, len < 14 ? PF_EINVAL : PF_OK);
		end_run(&run, NULL);
	}
	pf_prog_put(prog);
}

static void test_test_run_cpu(void)
{
	uint8_t packet[20] = { 0 };
	struct pf_map *map = map_of(PF_MAP_PERCPU_ARRAY, 1, NULL); /* for one CPU */
	const struct pf_insn insns[] = {
		ST_W(10, -4, 0), MOV_REG(2, 10), ADD_IMM(2, -4), LD_MAP(1, 7), CALL(1), INSN(0x15, 0, 0, 1, 0), MOV_IMM(0, 1), EXIT(),
	};
	const struct pf_prog_map maps[] = { { 7, map } };
	struct pf_prog *prog = prog_of(insns, COUNT(insns), maps, 1, 0);
	struct pf_test_run run = { .data = packet, .len = sizeof(packet), .engine = PF_ENGINE_JIT, .cpu = 1 };
	struct pf_diag diag;
	CHECK_EQ(pf_prog_test_run(prog, &run, &diag), PF_EINVAL);
	CHECK_EQ(diag.code, PF_DIAG_RUN_CPU);
	CHECK(diag.found == 1 && diag.expected == 2);
	run.cpu = UINT32_MAX;
	CHECK_EQ(pf_prog_test_run(prog, &run, &diag), PF_EINVAL);
	CHECK_EQ(diag.expected, UINT64_C(1) << 32);
	run.cpu = 0;
	CHECK_EQ(pf_prog_test_run(prog, &run, &diag), PF_OK);
	CHECK_EQ(run.retval, 1);
	end_run(&run, prog);
	pf_map_put(map);
}

static void test_test_run_more(void)
{
	uint8_t packet[5000] = { 9 };
	struct pf_test_run in = { .data = packet, .len = 64, .time_ns = 77, .seed = 1 };
	struct pf_prog *prog = head_mover(-8, 2);
	struct pf_test_run run = test_once(prog, in, PF_OK);
	CHECK_EQ(run.out_len, 72);
	CHECK(run.out[8] == 9 && run.out[0] == 0);
	end_run(&run, prog);

	prog = caller_of(5);
	run = test_once(prog, in, PF_OK);
	CHECK_EQ(word_of(run.out, 0, 0), 77);
	end_run(&run, prog);

	prog = faulty();
	run = test_once(prog, in, PF_EFAULT);
	end_run(&run, prog);

	prog = memory_prog();
	run = test_once(prog, in, PF_EINVAL);
	end_run(&run, prog);

	/* data_end - data of a long packet: the linear part; all bytes come out. */
	const struct pf_insn length[] = { LDX_W(0, 1, 4), LDX_W(2, 1, 0), INSN(0x1f, 0, 2, 0, 0), EXIT() };
	prog = prog_of(length, COUNT(length), NULL, 0, 0);
	in.len = sizeof(packet);
	packet[4999] = 7;
	run = test_once(prog, in, PF_OK);
	CHECK_EQ(run.retval, PF_PACKET_LINEAR);
	CHECK_EQ(run.out_len, sizeof(packet));
	CHECK_EQ(run.out[4999], 7);
	end_run(&run, NULL);
	in.linear_limit = UINT32_MAX;
	run = test_once(prog, in, PF_OK);
	CHECK_EQ(run.retval, sizeof(packet));
	end_run(&run, prog);

	/* A redirect, behind a tail call. */
	const struct pf_insn redirect[] = { MOV_IMM(1, 3), MOV_IMM(2, 0), CALL(23), EXIT() };
	struct pf_prog *target = prog_of(redirect, COUNT(redirect), NULL, 0, 0);
	struct pf_map *array = map_of(PF_MAP_PROG_ARRAY, 2, NULL);
	prog = tail_caller(array, 1, 1);
	in.len = 64;
	run = test_once(prog, in, PF_OK);
	CHECK_EQ(run.retval, PF_XDP_DROP); /* empty slot */
	CHECK_EQ(run.redirected.kind, PF_REDIRECT_NONE);
	end_run(&run, NULL);
	CHECK_EQ(bind_at(array, 1, &target->ref, NULL), PF_OK);
	run = test_once(prog, in, PF_OK);
	CHECK_EQ(run.retval, PF_XDP_REDIRECT);
	CHECK_EQ(run.redirected.kind, PF_REDIRECT_IFINDEX);
	CHECK_EQ(run.redirected.target, 3);
	end_run(&run, prog);
	CHECK_EQ(array->ref.count, 1); /* nothing of the private datapath stays */
	pf_prog_put(target);
	pf_map_put(array);
}

/* Text of trace_printk is kept for the owner, of a worker and of a test run. */
static void test_trace(void)
{
	const struct pf_insn insns[] = {
		ST_W(10, -4, 'h' | 'i' << 8), MOV_REG(1, 10), ADD_IMM(1, -4), MOV_IMM(2, 3), CALL(6), MOV_IMM(0, 2), EXIT(),
	};
	uint8_t bytes[2 * LEN] = { 0 };
	struct pf_prog *prog = prog_of(insns, COUNT(insns), NULL, 0, 0);
	struct pf_trace *trace = calloc(1, sizeof(*trace));
	CHECK(trace);
	struct pf_test_run in = { .data = bytes, .len = LEN, .trace = trace };
	struct pf_test_run run = test_once(prog, in, PF_OK);
	CHECK(trace->used >= 2 && !strcmp(trace->text, "hi"));
	end_run(&run, NULL);
	free(trace);
	struct stage s = stage_of(prog, 2, 0);
	pf_worker_destroy(s.worker);
	struct pf_worker_options options = { .trace = 1 };
	CHECK_EQ(pf_worker_create(s.dp, 0, &options, &s.worker, NULL), PF_OK);
	struct memory_source source = source_of(bytes, 2);
	CHECK_EQ(step(&s, &source, NULL, UINT64_MAX, UINT64_MAX, PF_OK), PF_REPLAY_DONE);
	trace = s.worker->exec->trace;
	CHECK(!strcmp(trace->text, "hi") && !strcmp(trace->text + 3, "hi"));
	CHECK_EQ(s.worker->stats.trace_lost, 0);
	trace->used = PF_TRACE_RING;
	source.at = 0;
	CHECK_EQ(step(&s, &source, NULL, UINT64_MAX, UINT64_MAX, PF_OK), PF_REPLAY_DONE);
	CHECK_EQ(s.worker->stats.trace_lost, 2);
	stage_end(&s);
}

/* Printed for the record: ns/packet of a program that only passes, 60-byte packets, batches of 256. */
static void show_cost(void)
{
	enum { N = 256, SIZE = 60, ROUNDS = 4000 };
	for (int interp = 0; interp < 2; interp++) {
		struct pf_prog *pass = returning(2);
		if (interp)
			make_interp(pass);
		pf_prog_get(pass);
		struct stage s = stage_of(pass, N, 0);
		uint8_t *bytes = calloc(N, SIZE);
		CHECK(bytes);
		for (uint32_t i = 0; i < N; i++)
			s.batch->desc[i] = (struct pf_desc){ .data = bytes + i * SIZE, .caplen = SIZE, .ts_ns = i };
		s.batch->n = N;
		uint64_t best = UINT64_MAX, bare = UINT64_MAX;
		for (int round = 0; round < ROUNDS; round++) {
			uint64_t start = pf_clock_ns();
			pf_worker_run(s.worker, s.batch, NULL, NULL, NULL);
			uint64_t ns = pf_clock_ns() - start;
			best = ns < best ? ns : best;
			uint64_t r0;
			start = pf_clock_ns();
			for (uint32_t i = 0; i < N; i++)
				(void)pf_vm_run(s.worker->exec, pass, interp ? PF_ENGINE_INTERP : PF_ENGINE_CHECKED,
						(uintptr_t)&s.worker->exec->packet, 0, &r0);
			ns = pf_clock_ns() - start;
			bare = ns < bare ? ns : bare;
		}
		CHECK_EQ(s.worker->stats.actions[PF_XDP_PASS], (uint64_t)N * ROUNDS);
		printf("  PASS only, %s: pf_worker_run %.2f ns/packet, pf_vm_run alone %.2f (best of %d)\n",
		       interp ? "interp" : "checked", (double)best / N, (double)bare / N, ROUNDS);
		free(bytes);
		pf_prog_put(pass);
		stage_end(&s);
	}
}

int main(void)
{
	test_statistics();
	test_faults();
	test_uncovered();
	test_until();
	test_step_ends();
	test_chain();
	test_chain_state();
	test_time();
	test_random();
	test_tiny_packets();
	test_worker_refusals();
	test_test_run();
	test_test_run_cpu();
	test_test_run_more();
	test_trace();
	show_cost();
	return 0;
}
