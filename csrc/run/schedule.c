/* schedule.c - due times without a clock. */
#include "schedule.h"

#include <string.h>

__extension__ typedef unsigned __int128 wide;

void pf_schedule_init(struct pf_schedule *s, const struct pf_schedule_options *options)
{
	memset(s, 0, sizeof(*s));
	s->options = *options;
	if (PF_BUG_ON(!s->options.rate))
		s->options.rate = PF_SCHEDULE_UNIT;
}

/* Moves the line by amount/rate nanoseconds (S2). */
static void move(struct pf_line *line, wide amount, uint64_t rate)
{
	wide sum = amount + line->part, whole = sum / rate;
	if (whole > PF_SCHEDULE_END - line->due) {
		line->due = PF_SCHEDULE_END;
		line->part = 0;
		return;
	}
	line->due += (uint64_t)whole;
	line->part = (uint64_t)(sum % rate);
}

static uint64_t distance(int64_t a, int64_t b)
{
	return a > b ? (uint64_t)a - (uint64_t)b : (uint64_t)b - (uint64_t)a;
}

static int near(const struct pf_schedule *s, const struct pf_line *line, int64_t at)
{
	return distance(line->at, at) <= s->options.max_gap_ns;
}

static void go_on(struct pf_schedule *s, int64_t at)
{
	struct pf_line *line = &s->line;
	if (at <= line->at)
		return;
	move(line, (wide)distance(at, line->at) * PF_SCHEDULE_UNIT, s->options.rate);
	line->at = at;
}

/* Back to the line before; what has been due meanwhile stays due (S1). */
static void return_to_before(struct pf_schedule *s, int64_t at)
{
	const struct pf_line left = s->line;
	s->line = s->before;
	s->before = left;
	go_on(s, at);
	if (s->line.due < left.due) {
		s->line = left;
		s->line.at = at;
	}
}

static void begin_line(struct pf_schedule *s, int64_t at)
{
	s->before = s->line;
	s->has_before = 1;
	if (at > s->line.at) {
		move(&s->line, (wide)s->options.max_gap_ns * PF_SCHEDULE_UNIT, s->options.rate);
		s->shortened++;
	} else {
		s->stepped_back++;
	}
	s->line.at = at;
}

static void begin_pass(struct pf_schedule *s, int64_t at)
{
	uint64_t gaps = s->pass_packets > 1 ? s->pass_packets - 1 : 0;
	if (gaps) { /* S5 */
		uint64_t span = s->line.due - s->pass_due, rate = s->options.rate;
		move(&s->line, (wide)(span / gaps) * rate + (wide)(span % gaps) * rate / gaps, rate);
	}
	s->line.at = at;
	s->has_before = 0;
}

static void follow_time(struct pf_schedule *s, int64_t at)
{
	if (near(s, &s->line, at))
		go_on(s, at);
	else if (s->has_before && near(s, &s->before, at))
		return_to_before(s, at);
	else
		begin_line(s, at);
}

static void follow(struct pf_schedule *s, const struct pf_desc *desc)
{
	switch (s->options.kind) {
	case PF_SCHEDULE_TIME:
		if (s->new_pass)
			begin_pass(s, desc->ts_ns);
		else
			follow_time(s, desc->ts_ns);
		return;
	case PF_SCHEDULE_PACKETS:
		move(&s->line, (wide)1000000000 * PF_SCHEDULE_UNIT, s->options.rate);
		return;
	case PF_SCHEDULE_MBITS: /* a bit takes 1000 ns at 1 Mbit/s */
		move(&s->line, (wide)s->bits * 1000 * PF_SCHEDULE_UNIT, s->options.rate);
		return;
	}
}

uint64_t pf_schedule_due(struct pf_schedule *s, const struct pf_desc *desc)
{
	if (s->pass_packets || s->new_pass)
		follow(s, desc);
	else
		s->line.at = desc->ts_ns; /* the very first: due at 0 */
	if (!s->pass_packets || s->new_pass) {
		s->pass_due = s->line.due;
		s->pass_packets = 0;
	}
	s->new_pass = 0;
	s->pass_packets++;
	s->bits = pf_schedule_bits(desc);
	return s->line.due;
}

void pf_schedule_pass(struct pf_schedule *s)
{
	if (s->pass_packets)
		s->new_pass = 1;
}
