/* trace.c - bpf_trace_printk: Linux's restricted printf into the worker's ring.
 *
 * Accepted: bytes that are no control characters, and white space; %% %c %s %p (px, pK; no width), and [0 +-][width]
 * with d i u x X after none, l or ll; at most three conversions. Everything else is -EINVAL (of Linux's further %p forms
 * too). Addresses are shown as they are; a string that is not in memory the program may read is empty, as Linux shows a
 * string it cannot read.
 */
#include "groups.h"

#include <stdio.h>
#include <string.h>

#define LINE_MAX_BYTES 1024u /* Linux: BPF_TRACE_PRINTK_SIZE */
#define ARGS_MAX 3u

struct line {
	struct pf_exec *x;
	const char *fmt, *end; /* end: the NUL */
	const uint64_t *args;
	uint32_t used_args;
	size_t length; /* of the whole text, even where it did not fit */
	char text[LINE_MAX_BYTES];
};

/* One conversion, "%" to the letter before the length, for snprintf. */
struct conversion {
	char spec[16];
	size_t n;
};

static int put(struct line *l, const struct conversion *c, const char *tail, uint64_t value, const char *string)
{
	char fmt[24];
	const size_t at = l->length < sizeof(l->text) ? l->length : sizeof(l->text) - 1;
	const size_t room = sizeof(l->text) - at;
	memcpy(fmt, c->spec, c->n);
	memcpy(fmt + c->n, tail, strlen(tail) + 1);
	int n;
	if (string)
		n = snprintf(l->text + at, room, fmt, string);
	else if (*tail == 'c')
		n = snprintf(l->text + at, room, fmt, (int)(uint8_t)value);
	else
		n = snprintf(l->text + at, room, fmt, (unsigned long long)value);
	if (n < 0)
		return 0;
	l->length += (size_t)n;
	return 1;
}

static void put_char(struct line *l, char c)
{
	if (l->length < sizeof(l->text) - 1) {
		l->text[l->length] = c;
		l->text[l->length + 1] = '\0';
	}
	l->length++;
}

static int put_string(struct line *l, const struct conversion *c, uint64_t address)
{
	char copy[LINE_MAX_BYTES];
	size_t n = 0;
	while (n < sizeof(copy) - 1 && pf_exec_readable(l->x, address + n, 1)) {
		copy[n] = *(const char *)(uintptr_t)(address + n);
		if (!copy[n])
			break;
		n++;
	}
	if (n < sizeof(copy) - 1 && !pf_exec_readable(l->x, address + n, 1))
		n = 0;
	copy[n] = '\0';
	return put(l, c, "s", 0, copy);
}

static int put_integer(struct line *l, struct conversion *c, int longs, char letter, uint64_t value)
{
	const char tail[4] = { 'l', 'l', letter, 0 };
	if (!longs && (letter == 'd' || letter == 'i'))
		value = (uint64_t)(int64_t)(int32_t)value;
	else if (!longs)
		value = (uint32_t)value;
	return put(l, c, tail, value, NULL);
}

static int is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* fmt stands after '%'; moves it behind the conversion. 0: not accepted. */
static int convert(struct line *l)
{
	struct conversion c = { "%", 1 };
	const char *p = l->fmt;
	while (*p == '0' || *p == '+' || *p == '-' || *p == ' ')
		p++;
	while (is_digit(*p))
		p++;
	if ((size_t)(p - l->fmt) > sizeof(c.spec) - 2 || l->used_args == ARGS_MAX)
		return 0;
	memcpy(c.spec + 1, l->fmt, (size_t)(p - l->fmt));
	c.n += (size_t)(p - l->fmt);
	const uint64_t value = l->args[l->used_args++];
	if (*p == 'c' || *p == 's') {
		l->fmt = p + 1;
		return *p == 'c' ? put(l, &c, "c", value, NULL) : put_string(l, &c, value);
	}
	if (*p == 'p') {
		p += p[1] == 'x' || p[1] == 'K' ? 2 : 1;
		l->fmt = p;
		c.n = 1;
		return (*p < 'a' || *p > 'z') && (*p < 'A' || *p > 'Z') && !is_digit(*p) && put(l, &c, "016llx", value, NULL);
	}
	int longs = 0;
	while (*p == 'l' && longs < 2)
		p++, longs++;
	if (*p != 'd' && *p != 'i' && *p != 'u' && *p != 'x' && *p != 'X')
		return 0;
	l->fmt = p + 1;
	return put_integer(l, &c, longs, *p, value);
}

static int render(struct line *l)
{
	while (l->fmt < l->end) {
		const char ch = *l->fmt++;
		if (ch == 0x7f || ((unsigned char)ch < ' ' && !(ch >= '\t' && ch <= '\r')))
			return 0;
		if (ch != '%') {
			put_char(l, ch);
		} else if (*l->fmt == '%') {
			put_char(l, '%');
			l->fmt++;
		} else if (!convert(l)) {
			return 0;
		}
	}
	return 1;
}

static void keep(struct pf_exec *x, const struct line *l)
{
	struct pf_trace *trace = x->trace;
	if (!trace)
		return;
	const uint32_t n = (uint32_t)strlen(l->text) + 1;
	if (n > PF_TRACE_RING - trace->used) {
		trace->lost++;
		return;
	}
	memcpy(trace->text + trace->used, l->text, n);
	trace->used += n;
}

/* Returns the length of the text. */
PF_HELPER_FN(trace_printk)
{
	const char *fmt = pf_helper_mem(r1);
	const uint64_t args[ARGS_MAX] = { r3, r4, r5 };
	if (!(uint32_t)r2 || (uint32_t)r2 > LINE_MAX_BYTES * 4)
		return (uint64_t)-PF_EINVAL;
	const char *end = memchr(fmt, 0, (uint32_t)r2);
	if (!end || fmt[(uint32_t)r2 - 1])
		return (uint64_t)-PF_EINVAL;
	struct line l = { .x = x, .fmt = fmt, .end = end, .args = args };
	if (!render(&l))
		return (uint64_t)-PF_EINVAL;
	keep(x, &l);
	return l.length;
}
