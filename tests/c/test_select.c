/* test_select.c - spans, limits and passes over packets made by hand; raw times in units of every kind. */
#include "check.h"

#include <stdbool.h>
#include <string.h>

#include "io/select.h"

#define SECOND INT64_C(1000000000)
#define MOST 8

struct feed {
	struct pf_source source;
	struct pf_iface iface;
	const int64_t *at; /* in nanoseconds; raw times are the same in units of the interface */
	uint32_t n, given, piece;
	uint32_t asked; /* calls */
};

static enum pf_err feed_next(struct pf_source *source, struct pf_batch *batch, struct pf_diag *diag)
{
	struct feed *f = (struct feed *)source;

	(void)diag;
	f->asked++;
	batch->n = 0;
	while (f->given < f->n && batch->n < batch->capacity && batch->n < f->piece) {
		int64_t raw = f->iface.tsresol == 6 ? f->at[f->given] / 1000 : f->at[f->given];
		batch->desc[batch->n++] = (struct pf_desc){
			.ts_ns = f->at[f->given], .ts_raw = raw, .caplen = f->given, .wire_len = 125};
		f->given++;
	}
	return PF_OK;
}

static const struct pf_iface *feed_iface(const struct pf_source *source, uint32_t index)
{
	return index ? NULL : &((const struct feed *)source)->iface;
}

struct bench {
	struct feed feed;
	struct pf_select *select;
	struct pf_desc desc[MOST];
	struct pf_batch batch;
};

static void set_up(struct bench *b, const struct pf_select_options *options, const int64_t *at, uint32_t n)
{
	memset(b, 0, sizeof *b);
	b->feed = (struct feed){
		.source = {feed_next, feed_iface}, .iface = {.linktype = 1, .tsresol = 9}, .at = at, .n = n, .piece = 3};
	b->batch = (struct pf_batch){.desc = b->desc, .capacity = MOST};
	CHECK_EQ(pf_select_create(options, &b->select, NULL), PF_OK);
	pf_select_attach(b->select, &b->feed.source);
}

static enum pf_err step(struct bench *b)
{
	struct pf_source *source = pf_select_source(b->select);

	return source->next(source, &b->batch, NULL);
}

static const struct pf_select_options everything = {.from_ns = INT64_MIN, .to_ns = INT64_MAX, .limit = UINT64_MAX};

/* The numbers of the packets given, in order; stops at the end. */
static uint32_t numbers(struct bench *b, uint32_t *out)
{
	uint32_t n = 0;

	do {
		enum pf_err err = step(b);
		CHECK(err == PF_OK || err == PF_EINTR);
		CHECK_EQ(b->batch.capacity, MOST);
		for (uint32_t i = 0; i < b->batch.n; i++)
			out[n++] = b->desc[i].caplen;
		if (!err && !b->batch.n)
			return n;
	} while (1);
}

static void check_span(int64_t from, bool from_relative, int64_t to, bool to_relative, uint64_t limit, const char *want)
{
	const int64_t at[] = {50, 10, 60, 20, 70, 30, 80, INT64_MAX, INT64_MIN, 40};
	const struct pf_select_options options = {.from_ns = from, .from_relative = from_relative, .to_ns = to,
						  .to_relative = to_relative, .limit = limit};
	struct bench b;
	uint32_t got[16];

	set_up(&b, &options, at, 10);
	uint32_t n = numbers(&b, got);
	CHECK_EQ(n, strlen(want));
	for (uint32_t i = 0; i < n; i++)
		CHECK_EQ(got[i], want[i] - '0');
	struct pf_select_info info;
	pf_select_info(b.select, &info);
	CHECK_EQ(info.packets, n);
	CHECK_EQ(info.done, n == limit);
	if (!info.done)
		CHECK_EQ(info.left_out, 10 - n);
	pf_select_destroy(b.select);
}

static void test_spans(void)
{
	check_span(INT64_MIN, false, INT64_MAX, false, UINT64_MAX, "0123456789");
	check_span(40, false, 70, false, UINT64_MAX, "029");
	check_span(40, false, INT64_MAX, false, UINT64_MAX, "024679");
	check_span(INT64_MIN, false, 20, false, UINT64_MAX, "18");
	check_span(0, true, 20, true, UINT64_MAX, "02"); /* of 50, the first in the file */
	check_span(-30, true, 60, false, UINT64_MAX, "0359");
	check_span(20, true, INT64_MAX, true, UINT64_MAX, "467"); /* saturates */
	check_span(-SECOND, true, 0, true, UINT64_MAX, "1359");
	check_span(40, false, 70, false, 2, "02");
	check_span(40, false, 70, false, 3, "029");
	check_span(INT64_MIN, false, INT64_MAX, false, 1, "0");
	check_span(70, false, 70, false, UINT64_MAX, "");
}

/* T2: behind the limit nothing is read, and a limit within a batch takes no more than that. */
static void test_limits_stop_reading(void)
{
	const int64_t at[] = {1, 2, 3, 4, 5, 6};
	struct pf_select_options options = everything;
	struct bench b;
	uint32_t got[16];

	options.limit = 4;
	set_up(&b, &options, at, 6);
	CHECK_EQ(numbers(&b, got), 4);
	CHECK_EQ(b.feed.given, 4);
	uint32_t asked = b.feed.asked;
	CHECK_EQ(step(&b), PF_OK);
	CHECK_EQ(b.batch.n, 0);
	CHECK_EQ(b.feed.asked, asked);
	pf_select_destroy(b.select);
	options.limit = 0;
	set_up(&b, &options, at, 6);
	CHECK_EQ(numbers(&b, got), 0);
	CHECK_EQ(b.feed.asked, 0);
	pf_select_destroy(b.select);
}

/* Where nothing is wanted for long, the caller gets a turn. */
static void test_nothing_wanted(void)
{
	static int64_t at[10000];
	struct pf_select_options options = everything;
	struct bench b;
	uint32_t got[16];

	options.from_ns = 1;
	set_up(&b, &options, at, 10000);
	CHECK_EQ(step(&b), PF_EINTR);
	CHECK_EQ(b.feed.given, 3 * 1024);
	CHECK_EQ(numbers(&b, got), 0);
	CHECK_EQ(b.feed.given, 10000);
	pf_select_destroy(b.select);
}

/* T5: what is in memory is sifted by the same rules, and an exchange of memory goes through. */
static enum pf_err feed_renew(struct pf_source *source, struct pf_chunk *chunk, struct pf_diag *diag)
{
	(void)source;
	(void)diag;
	chunk->capacity = 77;
	return PF_OK;
}

static void test_lending(void)
{
	const int64_t at[] = {9, 1, 1, 1, 1, 1, 1, 8, 7, 6};
	struct pf_select_options options = everything;
	struct bench b;
	struct pf_chunk chunk = {NULL, 0};

	options.from_ns = 5;
	options.limit = 3;
	set_up(&b, &options, at, 10);
	struct pf_source *source = pf_select_source(b.select);
	CHECK(!source->fill && !source->renew);
	b.feed.source.fill = feed_next;
	b.feed.source.renew = feed_renew;
	b.feed.source.prompt = 1;
	pf_select_attach(b.select, &b.feed.source);
	CHECK(source->fill && source->renew && source->prompt);
	CHECK_EQ(source->next(source, &b.batch, NULL), PF_OK);
	CHECK_EQ(b.batch.n, 1);
	CHECK_EQ(b.desc[0].ts_ns, 9);
	b.feed.piece = 1;
	CHECK_EQ(source->fill(source, &b.batch, NULL), PF_OK); /* over what is not wanted */
	CHECK_EQ(b.batch.n, 1);
	CHECK_EQ(b.desc[0].ts_ns, 8);
	CHECK_EQ(source->fill(source, &b.batch, NULL), PF_OK);
	CHECK_EQ(b.desc[0].ts_ns, 7);
	CHECK_EQ(source->fill(source, &b.batch, NULL), PF_OK); /* the limit */
	CHECK_EQ(b.batch.n, 0);
	CHECK_EQ(b.feed.given, 9);
	CHECK_EQ(source->renew(source, &chunk, NULL), PF_OK);
	CHECK_EQ(chunk.capacity, 77);
	pf_select_attach(b.select, NULL);
	CHECK(!source->fill && !source->renew);
	pf_select_destroy(b.select);
}

/* T3: passes of 100, 160, 130, 220: 120 long, a mean gap of 40. */
static void test_passes(void)
{
	const int64_t at[] = {100, 160, 130, 220};
	struct bench b;
	struct pf_select_info info;

	set_up(&b, &everything, at, 4);
	b.feed.piece = MOST;
	for (unsigned pass = 0; pass < 4; pass++) {
		b.feed.given = 0;
		pf_select_attach(b.select, &b.feed.source);
		CHECK_EQ(step(&b), PF_OK);
		CHECK_EQ(b.batch.n, 4);
		for (unsigned i = 0; i < 4; i++) {
			CHECK_EQ(b.desc[i].ts_ns, at[i] + 160 * pass);
			CHECK_EQ(b.desc[i].ts_raw, at[i] + 160 * pass);
		}
		pf_select_info(b.select, &info);
		CHECK_EQ(info.pass_packets, 4);
		CHECK_EQ(info.shift_ns, 160 * pass);
		pf_select_pass(b.select);
		pf_select_pass(b.select); /* an empty pass takes no time */
	}
	pf_select_attach(b.select, NULL);
	CHECK_EQ(step(&b), PF_OK);
	CHECK_EQ(b.batch.n, 0);
	CHECK(!pf_select_source(b.select)->iface(pf_select_source(b.select), 0));
	pf_select_destroy(b.select);
}

/* One packet, then the same in a second pass whose times lie `shift` later, in units of `tsresol`. */
static struct pf_desc moved(uint8_t tsresol, int64_t tsoffset, int64_t shift)
{
	const int64_t at[] = {0, shift / 2};
	struct bench b;

	set_up(&b, &everything, at, 2);
	b.feed.iface.tsresol = tsresol;
	b.feed.iface.tsoffset = tsoffset;
	CHECK_EQ(step(&b), PF_OK);
	pf_select_pass(b.select);
	struct pf_select_info info;
	pf_select_info(b.select, &info);
	CHECK_EQ(info.shift_ns, shift);
	b.feed.given = 0;
	CHECK_EQ(step(&b), PF_OK);
	pf_select_destroy(b.select);
	return b.desc[0];
}

static void test_units(void)
{
	const int64_t odd = 2 * INT64_C(1234567891);
	const struct { uint8_t tsresol; int64_t raw, ns; } rows[] = {
		{9, odd, odd},
		{6, 2469136, 2469136000}, /* up to whole microseconds */
		{3, 2470, 2470000000},
		{0, 3, 3 * SECOND},
		{12, odd * 1000, odd},
		{0x80, 3, 3 * SECOND},
		{0x80 | 10, 2529, INT64_C(2529) * SECOND / 1024},
		{0x80 | 30, INT64_C(2651214359), odd}, /* up to 2^-30 s, and down to nanoseconds */
	};
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct pf_desc d = moved(rows[i].tsresol, 0, odd);
		CHECK_EQ(d.ts_raw, rows[i].raw);
		CHECK_EQ(d.ts_ns, rows[i].ns);
	}
	CHECK_EQ(moved(9, 7, odd).ts_ns, odd + 7 * SECOND);
	/* units too small for the field to hold so long a time */
	CHECK_EQ(moved(19, 0, 20 * SECOND).ts_raw, UINT64_MAX);
	CHECK_EQ(moved(29, 0, odd).ts_raw, UINT64_MAX);
	CHECK_EQ(moved(0x80 | 64, 0, 2 * SECOND).ts_raw, UINT64_MAX);
	CHECK_EQ(moved(0x80 | 65, 0, odd).ts_raw, UINT64_MAX);
	CHECK_EQ(moved(0xff, 0, odd).ts_raw, UINT64_MAX);
}

/* Times as far apart as times can be. */
static void test_passes_that_take_all_time(void)
{
	const int64_t at[] = {INT64_MIN, INT64_MAX};
	struct bench b;

	set_up(&b, &everything, at, 2);
	for (unsigned pass = 0; pass < 3; pass++) {
		b.feed.given = 0;
		CHECK_EQ(step(&b), PF_OK);
		CHECK_EQ(b.batch.n, 2);
		if (pass)
			CHECK_EQ(b.desc[1].ts_ns, INT64_MAX);
		pf_select_pass(b.select);
	}
	pf_select_destroy(b.select);
}

int main(void)
{
	test_spans();
	test_limits_stop_reading();
	test_nothing_wanted();
	test_lending();
	test_passes();
	test_units();
	test_passes_that_take_all_time();
	puts("select: ok");
	return 0;
}
