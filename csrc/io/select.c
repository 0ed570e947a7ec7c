/* select.c - leaving packets out, and moving the times of later passes. */
#include "select.h"

#include <stdlib.h>

#include "state.h"

#define ROUNDS 1024u /* batches of which nothing was wanted, before the caller may look at signals */
#define NS_PER_S 1000000000u

__extension__ typedef unsigned __int128 wide;

struct pf_select {
	struct pf_source source;
	struct pf_source *inner;
	struct pf_select_options options;
	uint8_t began; /* the first packet was read, and both ends of the span are absolute */
	struct pf_select_info info;
	int64_t pass_first, pass_last; /* of this pass, not moved: its first packet's time, and the latest */
};

static int64_t clamp_add(int64_t a, int64_t b)
{
	int64_t sum;

	if (__builtin_add_overflow(a, b, &sum))
		return b > 0 ? INT64_MAX : INT64_MIN;
	return sum;
}

static void begin(struct pf_select *s, int64_t first)
{
	s->began = 1;
	if (s->options.from_relative)
		s->options.from_ns = clamp_add(first, s->options.from_ns);
	if (s->options.to_relative)
		s->options.to_ns = clamp_add(first, s->options.to_ns);
}

/* ---- T3 ---- */

/* A time in the interface's units, rounded up, and at most UINT64_MAX. */
static uint64_t units_of(const struct pf_iface *iface, uint64_t ns)
{
	unsigned exponent = iface->tsresol & 0x7f;
	wide units = 0, power = 1;

	if (iface->tsresol & 0x80) {
		if (exponent > 64)
			return UINT64_MAX;
		units = (((wide)ns << exponent) + NS_PER_S - 1) / NS_PER_S;
	} else if (exponent <= 9) {
		for (unsigned i = exponent; i < 9; i++)
			power *= 10;
		units = (ns + power - 1) / power;
	} else {
		if (exponent > 28)
			return UINT64_MAX;
		for (unsigned i = 9; i < exponent; i++)
			power *= 10;
		units = ns * power;
	}
	return units > UINT64_MAX ? UINT64_MAX : (uint64_t)units;
}

static void move(const struct pf_select *s, struct pf_desc *d)
{
	const struct pf_iface *iface = s->inner->iface(s->inner, d->iface);
	uint64_t units, raw;

	if (PF_BUG_ON(!iface))
		return;
	units = units_of(iface, s->info.shift_ns);
	if (__builtin_add_overflow((uint64_t)d->ts_raw, units, &raw))
		raw = UINT64_MAX;
	d->ts_raw = (int64_t)raw;
	d->ts_ns = pf_reader_time(iface, raw);
}

void pf_select_pass(struct pf_select *s)
{
	if (s->info.pass_packets) {
		uint64_t span = (uint64_t)s->pass_last - (uint64_t)s->pass_first;
		uint64_t gaps = s->info.pass_packets - 1, gap = gaps ? span / gaps : 0;

		/* int64_t holds no later time anyway */
		s->info.shift_ns += span < INT64_MAX - s->info.shift_ns ? span : INT64_MAX - s->info.shift_ns;
		s->info.shift_ns += gap < INT64_MAX - s->info.shift_ns ? gap : INT64_MAX - s->info.shift_ns;
	}
	s->info.pass_packets = 0;
}

/* ---- giving ---- */

static int wanted(const struct pf_select *s, int64_t ts_ns)
{
	return ts_ns >= s->options.from_ns && (ts_ns < s->options.to_ns || s->options.to_ns == INT64_MAX);
}

static void note_time(struct pf_select *s, int64_t ts_ns)
{
	if (!s->info.pass_packets++)
		s->pass_first = s->pass_last = ts_ns;
	else if (ts_ns > s->pass_last)
		s->pass_last = ts_ns;
}

/* Keeps what is wanted, in order. */
static void sift(struct pf_select *s, struct pf_batch *batch)
{
	uint32_t kept = 0;

	if (batch->n && !s->began)
		begin(s, batch->desc[0].ts_ns);
	for (uint32_t i = 0; i < batch->n; i++) {
		struct pf_desc *d = &batch->desc[i];

		if (!wanted(s, d->ts_ns))
			continue;
		note_time(s, d->ts_ns);
		if (s->info.shift_ns)
			move(s, d);
		if (kept != i)
			batch->desc[kept] = *d;
		kept++;
	}
	s->info.left_out += batch->n - kept;
	s->info.packets += kept;
	batch->n = kept;
}

/* What the inner source's next or fill gives and is wanted. `more`: something was left out, and nothing is given. */
static enum pf_err take(struct pf_select *s, struct pf_batch *batch, struct pf_diag *diag,
			enum pf_err (*get)(struct pf_source *, struct pf_batch *, struct pf_diag *), int *more)
{
	const uint32_t capacity = batch->capacity;
	const uint64_t left = s->options.limit - s->info.packets;
	enum pf_err err = PF_OK;

	batch->n = 0;
	*more = 0;
	if (s->inner && left) {
		if (left < capacity)
			batch->capacity = (uint32_t)left; /* T2: of the inner source nothing else is taken */
		err = get(s->inner, batch, diag);
		batch->capacity = capacity;
		if (!err && batch->n) {
			sift(s, batch);
			*more = !batch->n;
		}
	}
	s->info.done = s->info.packets == s->options.limit;
	return err;
}

static enum pf_err select_next(struct pf_source *source, struct pf_batch *batch, struct pf_diag *diag)
{
	struct pf_select *s = (struct pf_select *)source;

	for (unsigned round = 0; round < ROUNDS; round++) {
		int more;
		enum pf_err err = take(s, batch, diag, s->inner ? s->inner->next : NULL, &more);

		if (err || !more)
			return err;
	}
	return PF_EINTR;
}

static enum pf_err select_fill(struct pf_source *source, struct pf_batch *batch, struct pf_diag *diag)
{
	struct pf_select *s = (struct pf_select *)source;
	int more;
	enum pf_err err;

	do
		err = take(s, batch, diag, s->inner ? s->inner->fill : NULL, &more);
	while (!err && more); /* it ends: memory does */
	return err;
}

static enum pf_err select_renew(struct pf_source *source, struct pf_chunk *chunk, struct pf_diag *diag)
{
	struct pf_select *s = (struct pf_select *)source;

	return s->inner ? s->inner->renew(s->inner, chunk, diag) : PF_OK;
}

static const struct pf_iface *select_iface(const struct pf_source *source, uint32_t index)
{
	const struct pf_select *s = (const struct pf_select *)source;

	return s->inner ? s->inner->iface(s->inner, index) : NULL;
}

/* ---- beginning and end ---- */

enum pf_err pf_select_create(const struct pf_select_options *options, struct pf_select **out, struct pf_diag *diag)
{
	struct pf_select *s = calloc(1, sizeof *s);

	*out = NULL;
	if (!s)
		return pf_diag_set(diag, PF_ENOMEM, PF_DIAG_IO_OPEN, 0, 0, 0, 0, pf_err_text(PF_ENOMEM));
	s->source.next = select_next;
	s->source.iface = select_iface;
	s->options = *options;
	s->info.done = !options->limit;
	*out = s;
	return PF_OK;
}

void pf_select_destroy(struct pf_select *s) { free(s); }

void pf_select_attach(struct pf_select *s, struct pf_source *inner)
{
	const int lends = inner && inner->fill && inner->renew;

	s->inner = inner;
	s->source.fill = lends ? select_fill : NULL;
	s->source.renew = lends ? select_renew : NULL;
	s->source.prompt = inner && inner->prompt;
}

void pf_select_info(const struct pf_select *s, struct pf_select_info *info) { *info = s->info; }
