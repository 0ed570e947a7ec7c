/* test_pace.c - due times against plain arithmetic, and pacing by a clock of the test's own. */
#include "check.h"

#include <stdbool.h>
#include <string.h>

#include "run/pace.h"
#include "run/run.h"

#define SECOND INT64_C(1000000000)
#define MS UINT64_C(1000000)
#define NEVER UINT64_MAX

/* ---- due times ---- */

static struct pf_schedule schedule_of(enum pf_schedule_kind kind, uint64_t rate, uint64_t max_gap_ns)
{
	const struct pf_schedule_options options = {.kind = kind, .rate = rate, .max_gap_ns = max_gap_ns};
	struct pf_schedule s;

	pf_schedule_init(&s, &options);
	return s;
}

static uint64_t due(struct pf_schedule *s, int64_t at, uint32_t len)
{
	const struct pf_desc desc = {.ts_ns = at, .caplen = len, .wire_len = len};

	return pf_schedule_due(s, &desc);
}

static void check_times(uint64_t rate, uint64_t max_gap_ns, unsigned n, const int64_t *at, const uint64_t *want)
{
	struct pf_schedule s = schedule_of(PF_SCHEDULE_TIME, rate, max_gap_ns);

	for (unsigned i = 0; i < n; i++)
		CHECK_EQ(due(&s, at[i], 60), want[i]);
}

#define TIMES(rate, gap, at, want)                                                                                     \
	do {                                                                                                           \
		_Static_assert(sizeof(at) == sizeof(want), "as many due times as times");                              \
		check_times(rate, gap, sizeof(at) / sizeof *(at), at, want);                                           \
	} while (0)

static void test_capture_time(void)
{
	const int64_t at[] = {-3 * SECOND, -3 * SECOND + 1, 0, 0, 7, 5, 6, 8};
	const uint64_t once[] = {0, 1, 3 * SECOND, 3 * SECOND, 3 * SECOND + 7, 3 * SECOND + 7, 3 * SECOND + 7,
				 3 * SECOND + 8};
	const uint64_t twice[] = {0, 0, 3 * SECOND / 2, 3 * SECOND / 2, 3 * SECOND / 2 + 3, 3 * SECOND / 2 + 3,
				  3 * SECOND / 2 + 3, 3 * SECOND / 2 + 4};

	TIMES(PF_SCHEDULE_UNIT, NEVER, at, once);
	TIMES(2 * PF_SCHEDULE_UNIT, NEVER, at, twice);
	TIMES(PF_SCHEDULE_UNIT, 10 * SECOND, at, once);
}

/* S2: however small the gaps, and however odd the factor. */
static void test_nothing_is_lost_by_rounding(void)
{
	struct pf_schedule thrice = schedule_of(PF_SCHEDULE_TIME, 3 * PF_SCHEDULE_UNIT, NEVER);
	struct pf_schedule slow = schedule_of(PF_SCHEDULE_TIME, 200, NEVER); /* 0.0000002x */
	struct pf_schedule packets = schedule_of(PF_SCHEDULE_PACKETS, 3 * PF_SCHEDULE_UNIT, NEVER);
	struct pf_schedule bits = schedule_of(PF_SCHEDULE_MBITS, 7 * PF_SCHEDULE_UNIT / 10, NEVER);
	uint64_t sent = 0;

	for (uint64_t i = 0; i < 100000; i++) {
		uint32_t len = (uint32_t)(60 + i % 1455);

		CHECK_EQ(due(&thrice, (int64_t)i, len), i / 3);
		CHECK_EQ(due(&slow, (int64_t)i * 10000, len), i * 10000 * 5000000);
		CHECK_EQ(due(&packets, 0, len), i * 1000000000 / 3);
		CHECK_EQ(due(&bits, 0, len), sent * 10000 / 7);
		sent += 8 * len;
	}
}

static void test_rates_of_many_sizes(void)
{
	const uint64_t rates[] = {1, 999, PF_SCHEDULE_UNIT / 3, PF_SCHEDULE_UNIT, 14880952 * PF_SCHEDULE_UNIT, UINT64_MAX};

	for (unsigned r = 0; r < sizeof rates / sizeof *rates; r++) {
		struct pf_schedule s = schedule_of(PF_SCHEDULE_PACKETS, rates[r], NEVER);

		for (uint64_t i = 0; i < 4; i++) {
			unsigned __int128 want = (unsigned __int128)i * 1000000000 * 1000000000 / rates[r];
			CHECK_EQ(due(&s, 0, 60), want > PF_SCHEDULE_END ? PF_SCHEDULE_END : (uint64_t)want);
		}
	}
}

static void test_lengths_that_cannot_be(void)
{
	struct pf_schedule s = schedule_of(PF_SCHEDULE_MBITS, PF_SCHEDULE_UNIT, NEVER);
	const struct pf_desc huge = {.caplen = 60, .wire_len = UINT32_MAX}, shorter = {.caplen = 1000, .wire_len = 10};

	pf_schedule_due(&s, &huge);
	CHECK_EQ(pf_schedule_due(&s, &shorter), PF_SCHEDULE_BYTES * UINT64_C(8000));
	CHECK_EQ(pf_schedule_due(&s, &shorter), PF_SCHEDULE_BYTES * UINT64_C(8000) + 8000000);
}

/* S3 */
static void test_times_that_jump(void)
{
	/* a pause, one damaged time ahead, one back, and a clock that was set back for good */
	const int64_t pause[] = {100, 100 + 50 * SECOND, 101 + 50 * SECOND};
	const uint64_t short_pause[] = {0, 10 * SECOND, 10 * SECOND + 1};
	const int64_t ahead[] = {0, 5, INT64_MAX, 6, 16};
	const uint64_t once_ahead[] = {0, 5, 5 + 10 * SECOND, 5 + 10 * SECOND, 15 + 10 * SECOND};
	const int64_t back[] = {0, 5, INT64_MIN, 6, 16};
	const uint64_t once_back[] = {0, 5, 5, 6, 16};
	const int64_t set_back[] = {0, 5, -3600 * SECOND, -3600 * SECOND + 7, -3600 * SECOND + 8};
	const uint64_t went_on[] = {0, 5, 5, 12, 13};
	const int64_t reordered[] = {0, 9 * SECOND, 1 * SECOND, 10 * SECOND};
	const uint64_t in_order[] = {0, 9 * SECOND, 9 * SECOND, 10 * SECOND};

	TIMES(PF_SCHEDULE_UNIT, 10 * SECOND, pause, short_pause);
	TIMES(PF_SCHEDULE_UNIT, 10 * SECOND, ahead, once_ahead);
	TIMES(PF_SCHEDULE_UNIT, 10 * SECOND, back, once_back);
	TIMES(PF_SCHEDULE_UNIT, 10 * SECOND, set_back, went_on);
	TIMES(PF_SCHEDULE_UNIT, 10 * SECOND, reordered, in_order);

	struct pf_schedule s = schedule_of(PF_SCHEDULE_TIME, PF_SCHEDULE_UNIT, 10 * SECOND);
	for (unsigned i = 0; i < 5; i++)
		due(&s, ahead[i], 60);
	CHECK_EQ(s.shortened, 1);
	CHECK_EQ(s.stepped_back, 0);
	s = schedule_of(PF_SCHEDULE_TIME, PF_SCHEDULE_UNIT, 10 * SECOND);
	for (unsigned i = 0; i < 5; i++)
		due(&s, set_back[i], 60);
	CHECK_EQ(s.shortened, 0);
	CHECK_EQ(s.stepped_back, 1);
}

/* A time of any value, in any order: due times rise, and none is later than gaps of at most the limit allow. */
static void test_hostile_times(void)
{
	struct pf_schedule s = schedule_of(PF_SCHEDULE_TIME, PF_SCHEDULE_UNIT, 3 * SECOND);
	uint64_t state = 1, before = 0;

	for (unsigned i = 0; i < 100000; i++) {
		state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		int64_t at = i % 3 ? (int64_t)state : (int64_t)(state >> 30);
		uint64_t now = due(&s, at, 60);
		CHECK(now >= before);
		CHECK(now - before <= 3 * SECOND);
		CHECK(now <= (uint64_t)i * 3 * SECOND);
		before = now;
	}
	CHECK(s.shortened > 1000 && s.stepped_back > 1000);
}

static void test_due_times_end(void)
{
	struct pf_schedule s = schedule_of(PF_SCHEDULE_TIME, 1, NEVER);

	CHECK_EQ(due(&s, INT64_MIN, 60), 0);
	CHECK_EQ(due(&s, INT64_MAX, 60), PF_SCHEDULE_END);
	CHECK_EQ(due(&s, INT64_MAX, 60), PF_SCHEDULE_END);
}

/* S5: passes of 0, 30, 60: the gap of 30 goes on between them, and the times of the second need not fit. */
static void test_passes(void)
{
	struct pf_schedule s = schedule_of(PF_SCHEDULE_TIME, PF_SCHEDULE_UNIT, SECOND);

	for (unsigned pass = 0; pass < 5; pass++) {
		for (unsigned i = 0; i < 3; i++)
			CHECK_EQ(due(&s, (int64_t)(1000 - 300 * pass + 30 * i), 60), 90 * pass + 30 * i);
		pf_schedule_pass(&s);
		pf_schedule_pass(&s); /* an empty pass is none */
	}
	s = schedule_of(PF_SCHEDULE_TIME, PF_SCHEDULE_UNIT, SECOND); /* one packet has no gap */
	for (unsigned pass = 0; pass < 3; pass++) {
		CHECK_EQ(due(&s, 77, 60), 0);
		pf_schedule_pass(&s);
	}
	s = schedule_of(PF_SCHEDULE_PACKETS, PF_SCHEDULE_UNIT, SECOND);
	for (unsigned i = 0; i < 6; i++) {
		CHECK_EQ(due(&s, 0, 60), i * SECOND);
		if (i % 2)
			pf_schedule_pass(&s);
	}
}

/* ---- pacing ---- */

struct clock {
	struct pf_pace_clock clock;
	uint64_t now, overshoot, signal_at; /* signal_at: waits end there */
	unsigned waits;
	uint64_t inexact_until;
};

static uint64_t clock_now(struct pf_pace_clock *clock) { return ((struct clock *)clock)->now; }

static void clock_wait(struct pf_pace_clock *clock, uint64_t until, int exact)
{
	struct clock *c = (struct clock *)clock;

	CHECK(until > c->now);
	c->waits++;
	if (!exact)
		c->inexact_until = until;
	if (c->signal_at > c->now && c->signal_at < until) {
		c->now = c->signal_at;
		return;
	}
	c->now = until + c->overshoot;
}

/* Packets at these times, `piece` a batch, then `end`; fails if it is read while packets are in use. */
struct feed {
	struct pf_source source;
	const int64_t *at;
	uint32_t n, given, piece;
	enum pf_err end;
	struct clock *clock;
	uint64_t read_takes;
};

static enum pf_err feed_next(struct pf_source *source, struct pf_batch *batch, struct pf_diag *diag)
{
	struct feed *f = (struct feed *)source;

	(void)diag;
	batch->n = 0;
	if (f->given == f->n)
		return f->end;
	f->clock->now += f->read_takes;
	while (f->given < f->n && batch->n < batch->capacity && batch->n < f->piece) {
		batch->desc[batch->n++] = (struct pf_desc){
			.ts_ns = f->at[f->given], .ts_raw = f->given, .caplen = 100, .wire_len = 125, .iface = 3};
		f->given++;
	}
	return PF_OK;
}

static const struct pf_iface *feed_iface(const struct pf_source *source, uint32_t index)
{
	static const struct pf_iface iface = {.linktype = 77};

	(void)source;
	return index == 3 ? &iface : NULL;
}

#define MOST 64

struct bench {
	struct clock clock;
	struct feed feed;
	struct pf_pace *pace;
	struct pf_desc desc[MOST];
	struct pf_batch batch;
	uint64_t next; /* number of the packet that comes next */
};

static void set_up(struct bench *b, enum pf_schedule_kind kind, uint64_t rate, const int64_t *at, uint32_t n)
{
	memset(b, 0, sizeof *b);
	b->clock = (struct clock){.clock = {clock_now, clock_wait}, .now = 5000 * SECOND};
	b->feed = (struct feed){.source = {feed_next, feed_iface}, .at = at, .n = n, .piece = 5, .clock = &b->clock};
	b->batch = (struct pf_batch){.desc = b->desc, .capacity = MOST};
	const struct pf_pace_options options = {
		.schedule = {.kind = kind, .rate = rate, .max_gap_ns = NEVER}, .batch = 16, .clock = &b->clock.clock};
	CHECK_EQ(pf_pace_create(&options, &b->pace, NULL), PF_OK);
	pf_pace_attach(b->pace, &b->feed.source);
}

static enum pf_err step(struct bench *b)
{
	struct pf_source *source = pf_pace_source(b->pace);
	enum pf_err err = source->next(source, &b->batch, NULL);

	CHECK(b->batch.n <= b->batch.capacity);
	for (uint32_t i = 0; i < b->batch.n; i++)
		CHECK_EQ(b->desc[i].ts_raw, b->next++);
	if (err)
		CHECK_EQ(b->batch.n, 0);
	return err;
}

static void test_packets_come_when_they_are_due(void)
{
	const int64_t at[] = {1000, 1000, 1000 + 3 * (int64_t)MS, 1000 + 4 * (int64_t)MS, 1000 + 4 * (int64_t)MS};
	struct bench b;

	set_up(&b, PF_SCHEDULE_TIME, PF_SCHEDULE_UNIT, at, 5);
	const uint64_t start = b.clock.now;
	CHECK_EQ(step(&b), PF_OK);
	CHECK_EQ(b.batch.n, 2);
	CHECK_EQ(b.clock.now, start);
	CHECK_EQ(step(&b), PF_OK);
	CHECK_EQ(b.batch.n, 1);
	CHECK_EQ(b.clock.now, start + 3 * MS);
	CHECK_EQ(step(&b), PF_OK);
	CHECK_EQ(b.batch.n, 2);
	CHECK_EQ(b.clock.now, start + 4 * MS);
	CHECK_EQ(pf_pace_source(b.pace)->iface(pf_pace_source(b.pace), 3)->linktype, 77);
	CHECK_EQ(step(&b), PF_OK);
	CHECK_EQ(b.batch.n, 0);
	CHECK_EQ(b.clock.waits, 2);

	struct pf_pace_info info;
	pf_pace_info(b.pace, &info);
	CHECK_EQ(info.packets, 5);
	CHECK_EQ(info.bits, 5 * 1000);
	CHECK_EQ(info.last_bits, 1000);
	CHECK_EQ(info.last_ns - info.first_ns, 4 * MS);
	CHECK_EQ(info.due_ns, 4 * MS);
	CHECK_EQ(info.late_max_ns, 0);
	pf_pace_attach(b.pace, NULL);
	CHECK_EQ(step(&b), PF_OK);
	CHECK_EQ(b.batch.n, 0);
	CHECK(!pf_pace_source(b.pace)->iface(pf_pace_source(b.pace), 3));
	pf_pace_destroy(b.pace);
}

/* P2: every wait ends too late, and the last packet is no later than the first. Batches stay within the capacity. */
static void test_lateness_does_not_add_up(void)
{
	static int64_t at[1000];
	struct bench b;
	struct pf_pace_info info;

	for (unsigned capacity = 1; capacity <= 3; capacity++) {
		set_up(&b, PF_SCHEDULE_PACKETS, 1000 * PF_SCHEDULE_UNIT, at, 1000); /* one a millisecond */
		b.clock.overshoot = 70000;
		b.batch.capacity = capacity;
		const uint64_t start = b.clock.now;
		while (b.next < 1000)
			CHECK_EQ(step(&b), PF_OK);
		CHECK_EQ(b.clock.now, start + 999 * MS + 70000);
		pf_pace_info(b.pace, &info);
		CHECK_EQ(info.late_max_ns, 70000);
		CHECK(info.late_median_ns >= 70000 && info.late_median_ns < 70000 + 70000 / 32);
		CHECK_EQ(info.stalls, 0);
		CHECK_EQ(info.last_ns - info.first_ns, 999 * MS + 70000);
		pf_pace_destroy(b.pace);
	}
}

/* P2: up to PF_PACE_LAG_NS is caught up, more is not. */
static void test_stalls(void)
{
	static int64_t at[1000];
	struct bench b;
	struct pf_pace_info info;

	set_up(&b, PF_SCHEDULE_PACKETS, 1000 * PF_SCHEDULE_UNIT, at, 1000);
	b.feed.piece = 1000;
	CHECK_EQ(step(&b), PF_OK);
	b.clock.now += 8 * MS; /* packets 1 to 8 are due */
	CHECK_EQ(step(&b), PF_OK);
	CHECK_EQ(b.next, 9);
	b.clock.now += 1 + 99 * MS; /* packet 9 is 98 ms late, and 16 are read ahead */
	const uint64_t late = b.clock.now;
	while (b.next < 9 + 99)
		CHECK_EQ(step(&b), PF_OK);
	CHECK_EQ(b.clock.now, late);
	pf_pace_info(b.pace, &info);
	CHECK_EQ(info.stalls, 0);
	b.clock.now += 3 * SECOND;
	const uint64_t resumed = b.clock.now;
	CHECK_EQ(step(&b), PF_OK);
	CHECK_EQ(b.batch.n, 1);
	const uint64_t next = b.next;
	for (unsigned i = 1; i < 100; i++) {
		CHECK_EQ(step(&b), PF_OK);
		CHECK_EQ(b.batch.n, 1);
		CHECK_EQ(b.clock.now, resumed + i * MS);
	}
	CHECK_EQ(b.next, next + 99);
	pf_pace_info(b.pace, &info);
	CHECK_EQ(info.stalls, 1);
	CHECK_EQ(info.stalled_ns, info.late_max_ns);
	CHECK(info.stalled_ns > 2 * SECOND && info.stalled_ns <= 3 * SECOND);
	pf_pace_destroy(b.pace);
}

/* An input that is slow to read is a stall as any other. */
static void test_a_slow_input(void)
{
	const int64_t at[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
	struct bench b;

	set_up(&b, PF_SCHEDULE_TIME, PF_SCHEDULE_UNIT, at, 10);
	b.feed.read_takes = SECOND;
	while (b.next < 10)
		CHECK_EQ(step(&b), PF_OK);
	CHECK_EQ(b.clock.now, 5002 * SECOND + 8);
	pf_pace_destroy(b.pace);
}

/* P3 */
static void test_waits_are_cut(void)
{
	const int64_t at[] = {0, SECOND};
	struct bench b;
	unsigned interrupted = 0;

	set_up(&b, PF_SCHEDULE_TIME, PF_SCHEDULE_UNIT, at, 2);
	const uint64_t start = b.clock.now;
	CHECK_EQ(step(&b), PF_OK);
	b.clock.signal_at = start + 7 * MS;
	CHECK_EQ(step(&b), PF_EINTR);
	CHECK_EQ(b.clock.now, start + 7 * MS);
	for (enum pf_err err = PF_EINTR; err == PF_EINTR; interrupted++) {
		uint64_t before = b.clock.now;

		err = step(&b);
		CHECK(b.clock.now - before <= PF_PACE_SLICE_NS);
	}
	CHECK_EQ(b.next, 2);
	CHECK_EQ(b.clock.now, start + SECOND);
	CHECK_EQ(interrupted, 20);
	CHECK(b.clock.inexact_until < start + SECOND); /* the last part of the wait is exact */
	pf_pace_destroy(b.pace);
}

/* P4 */
static void test_errors_come_after_packets(void)
{
	const int64_t at[] = {0, (int64_t)MS, 2 * (int64_t)MS};
	struct bench b;

	set_up(&b, PF_SCHEDULE_TIME, PF_SCHEDULE_UNIT, at, 3);
	b.feed.end = PF_EBADMSG;
	for (unsigned i = 0; i < 3; i++)
		CHECK_EQ(step(&b), PF_OK);
	CHECK_EQ(step(&b), PF_EBADMSG);
	CHECK_EQ(step(&b), PF_EBADMSG);
	b.feed.end = PF_EINTR; /* goes through as it is */
	CHECK_EQ(step(&b), PF_EINTR);
	b.feed.end = PF_OK;
	CHECK_EQ(step(&b), PF_OK);
	pf_pace_destroy(b.pace);
}

/* The schedule goes on over inputs, and over passes. */
static void test_inputs_and_passes(void)
{
	const int64_t at[] = {0, (int64_t)MS, 2 * (int64_t)MS};
	struct bench b;

	set_up(&b, PF_SCHEDULE_TIME, PF_SCHEDULE_UNIT, at, 3);
	const uint64_t start = b.clock.now;
	struct feed second = b.feed;
	const int64_t later[] = {3 * (int64_t)MS, 4 * (int64_t)MS};
	second.at = later;
	second.n = 2;
	for (unsigned pass = 0; pass < 3; pass++) {
		b.feed.given = second.given = 0;
		pf_pace_attach(b.pace, &b.feed.source);
		for (unsigned i = 0; i < 5; i++) {
			if (i == 3)
				pf_pace_attach(b.pace, &second.source);
			b.next = i < 3 ? i : i - 3;
			CHECK_EQ(step(&b), PF_OK);
			CHECK_EQ(b.batch.n, 1);
			CHECK_EQ(b.clock.now, start + (5 * pass + i) * MS);
		}
		pf_pace_pass(b.pace);
	}
	pf_pace_destroy(b.pace);
}

/* The machine's clock: nothing before it is due. How close to it is bench/'s business. */
static void test_the_machines_clock(void)
{
	static int64_t at[200];
	struct bench b;
	const struct pf_pace_options options = {
		.schedule = {.kind = PF_SCHEDULE_PACKETS, .rate = 20000 * PF_SCHEDULE_UNIT, .max_gap_ns = NEVER}};
	struct pf_pace_info info;

	set_up(&b, PF_SCHEDULE_PACKETS, PF_SCHEDULE_UNIT, at, 200);
	pf_pace_destroy(b.pace);
	CHECK_EQ(pf_pace_create(&options, &b.pace, NULL), PF_OK);
	pf_pace_attach(b.pace, &b.feed.source);
	while (b.next < 200) {
		enum pf_err err = step(&b);
		CHECK(err == PF_OK || err == PF_EINTR);
	}
	pf_pace_info(b.pace, &info);
	CHECK(info.last_ns - info.first_ns >= info.due_ns);
	CHECK_EQ(info.due_ns, 199 * 50000);
	pf_pace_destroy(b.pace);
}

int main(void)
{
	test_capture_time();
	test_nothing_is_lost_by_rounding();
	test_rates_of_many_sizes();
	test_lengths_that_cannot_be();
	test_times_that_jump();
	test_hostile_times();
	test_due_times_end();
	test_passes();
	test_packets_come_when_they_are_due();
	test_lateness_does_not_add_up();
	test_stalls();
	test_a_slow_input();
	test_waits_are_cut();
	test_errors_come_after_packets();
	test_inputs_and_passes();
	test_the_machines_clock();
	puts("pace: ok");
	return 0;
}
