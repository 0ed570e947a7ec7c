/* trace.c - bpf_trace_printk: Linux's restricted printf into the worker's ring.
 *
 * Accepted: bytes that are no control characters, and white space; %% %c %s %p (px, pK; no width), and [0 +-][width]
 * with d i u x X after none, l or ll; at most three conversions. Everything else is -EINVAL (of Linux's further %p forms
 * too). Addresses are shown as they are; a string that is not in memory the program may read is empty, as Linux shows a
 * string it cannot read.
 */
#include "groups.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#define LINE_MAX_BYTES 1024u /* Linux: BPF_TRACE_PRINTK_SIZE */
#define ARGS_MAX 3u
#define FLAGS_MAX 14u
#define FORMAT_MAX (LINE_MAX_BYTES * 4)

struct line {
	struct pf_exec *x;
	const char *fmt, *end; /* end: the NUL */
	const uint64_t *args;
	uint32_t used_args;
	size_t length; /* of the whole text, even where it did not fit */
	char text[LINE_MAX_BYTES];
};

/* One conversion, "%" to the letter before the length, for snprintf. A width beyond the line only counts: `hidden` bytes
 * of padding are not made. */
struct conversion {
	char spec[32];
	size_t n;
	size_t hidden;
};

static int put(struct line *l, const struct conversion *c, const char *tail, uint64_t value, const char *string)
{
	char fmt[sizeof(c->spec) + 8];
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
	l->length += (size_t)n + c->hidden;
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
		copy[n] = __atomic_load_n((const char *)(uintptr_t)(address + n), __ATOMIC_RELAXED);
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

/* Flags and width; moves *p behind them. 0: not accepted. */
static int begin_conversion(struct conversion *c, const char **p)
{
	const char *at = *p;
	uint64_t width = 0;
	while (*at == '0' || *at == '+' || *at == '-' || *at == ' ')
		at++;
	const size_t flags = (size_t)(at - *p);
	for (; is_digit(*at) && width <= INT_MAX; at++)
		width = width * 10 + (uint64_t)(*at - '0');
	if (flags > FLAGS_MAX || width > INT_MAX)
		return 0;
	const unsigned shown = width < LINE_MAX_BYTES ? (unsigned)width : LINE_MAX_BYTES;
	c->spec[0] = '%';
	memcpy(c->spec + 1, *p, flags);
	c->n = 1 + flags;
	c->hidden = width - shown;
	if (shown)
		c->n += (size_t)snprintf(c->spec + c->n, sizeof(c->spec) - c->n, "%u", shown);
	*p = at;
	return 1;
}

/* fmt stands after '%'; moves it behind the conversion. 0: not accepted. */
static int convert(struct line *l)
{
	struct conversion c;
	const char *p = l->fmt;
	if (!begin_conversion(&c, &p) || l->used_args == ARGS_MAX)
		return 0;
	const uint64_t value = l->args[l->used_args++];
	if (*p == 'c' || *p == 's') {
		l->fmt = p + 1;
		return *p == 'c' ? put(l, &c, "c", value, NULL) : put_string(l, &c, value);
	}
	if (*p == 'p') {
		p += p[1] == 'x' || p[1] == 'K' ? 2 : 1;
		l->fmt = p;
		c.n = 1;
		c.hidden = 0;
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

/* Returns the length of the text. The format is copied first: in a map's value others may change it at any time. */
PF_HELPER_FN(trace_printk)
{
	const char *from = pf_helper_mem(r1);
	const uint32_t size = (uint32_t)r2;
	const uint64_t args[ARGS_MAX] = { r3, r4, r5 };
	char fmt[FORMAT_MAX];
	if (!size || size > FORMAT_MAX)
		return (uint64_t)-PF_EINVAL;
	for (uint32_t i = 0; i < size; i++)
		fmt[i] = __atomic_load_n(from + i, __ATOMIC_RELAXED);
	if (fmt[size - 1])
		return (uint64_t)-PF_EINVAL;
	const char *end = memchr(fmt, 0, size);
	struct line l = { .x = x, .fmt = fmt, .end = end, .args = args };
	if (!render(&l))
		return (uint64_t)-PF_EINVAL;
	keep(x, &l);
	return l.length;
}
