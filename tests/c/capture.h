/* capture.h - capture files built by hand in memory, and what the reader makes of them; for the C tests. */
#ifndef CAPTURE_H
#define CAPTURE_H

#include "check.h"

#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io/reader.h"

/* ---- building files ---- */

struct file {
	uint8_t bytes[1 << 16];
	size_t len;
	bool big;
};

static inline void put(struct file *f, uint64_t value, unsigned size)
{
	CHECK(f->len + size <= sizeof f->bytes);
	for (unsigned i = 0; i < size; i++) {
		unsigned place = f->big ? size - 1 - i : i;
		f->bytes[f->len++] = place < 8 ? (uint8_t)(value >> 8 * place) : 0;
	}
}

static inline void put_fill(struct file *f, uint32_t len, uint8_t seed)
{
	for (uint32_t i = 0; i < len; i++)
		put(f, (uint8_t)(seed + 7 * i), 1);
}

static inline void pcap_header(struct file *f, bool big, uint32_t magic, unsigned minor, uint32_t snaplen, uint32_t linktype)
{
	f->len = 0;
	f->big = big;
	put(f, magic, 4);
	put(f, 2, 2);
	put(f, minor, 2);
	put(f, 0, 8);
	put(f, snaplen, 4);
	put(f, linktype, 4);
}

static inline void pcap_record(struct file *f, uint32_t sec, uint32_t sub, uint32_t caplen, uint32_t wire_len, uint8_t seed)
{
	put(f, sec, 4);
	put(f, sub, 4);
	put(f, caplen, 4);
	put(f, wire_len, 4);
	put_fill(f, caplen, seed);
}

/* A block's contents are put between begin and end, which writes both lengths. */
static inline size_t begin(struct file *f, uint32_t type)
{
	size_t at = f->len;
	put(f, type, 4);
	put(f, 0, 4);
	return at;
}

static inline void end(struct file *f, size_t at)
{
	size_t after = f->len + 4;
	while (f->len % 4)
		put(f, 0, 1), after = f->len + 4;
	put(f, after - at, 4);
	f->len = at + 4;
	put(f, after - at, 4);
	f->len = after;
}

static inline void section(struct file *f, bool big)
{
	f->big = big;
	size_t at = begin(f, 0x0a0d0d0a);
	put(f, 0x1a2b3c4d, 4);
	put(f, 1, 2);
	put(f, 0, 2);
	put(f, UINT64_MAX, 8);
	end(f, at);
}

static inline void interface(struct file *f, uint16_t linktype, uint32_t snaplen, int tsresol, int64_t tsoffset)
{
	size_t at = begin(f, 1);
	put(f, linktype, 2);
	put(f, 0, 2);
	put(f, snaplen, 4);
	put(f, 2, 2); /* if_name, to be skipped */
	put(f, 3, 2);
	put_fill(f, 4, 'a');
	if (tsresol >= 0) {
		put(f, 9, 2);
		put(f, 1, 2);
		put(f, (uint64_t)tsresol, 1);
		put(f, 0, 3);
	}
	if (tsoffset) {
		put(f, 14, 2);
		put(f, 8, 2);
		put(f, (uint64_t)tsoffset, 8);
	}
	put(f, 0, 4);
	end(f, at);
}

static inline void enhanced(struct file *f, uint32_t iface, uint64_t time, uint32_t caplen, uint32_t wire_len, uint8_t seed)
{
	size_t at = begin(f, 6);
	put(f, iface, 4);
	put(f, time >> 32, 4);
	put(f, time, 4);
	put(f, caplen, 4);
	put(f, wire_len, 4);
	put_fill(f, caplen, seed);
	end(f, at);
}

static inline void simple(struct file *f, uint32_t wire_len, uint32_t present, uint8_t seed)
{
	size_t at = begin(f, 3);
	put(f, wire_len, 4);
	put_fill(f, present, seed);
	end(f, at);
}

static inline void obsolete(struct file *f, uint16_t iface, uint64_t time, uint32_t caplen, uint32_t wire_len, uint8_t seed)
{
	size_t at = begin(f, 2);
	put(f, iface, 2);
	put(f, 5, 2);
	put(f, time >> 32, 4);
	put(f, time, 4);
	put(f, caplen, 4);
	put(f, wire_len, 4);
	put_fill(f, caplen, seed);
	end(f, at);
}

static inline void other(struct file *f, uint32_t type, uint32_t len)
{
	size_t at = begin(f, type);
	put_fill(f, len, 1);
	end(f, at);
}

/* ---- reading them ---- */

#define MOST 256
struct seen {
	struct pf_desc desc[MOST];
	struct pf_iface iface[MOST];
	uint8_t data[MOST][2048];
	uint32_t n;
	enum pf_err err;
	struct pf_diag diag;
	struct pf_reader_info info;
};

static inline void read_fd(int fd, const struct pf_reader_options *options, uint32_t capacity, struct seen *s)
{
	struct pf_desc desc[MOST];
	struct pf_batch batch = {.desc = desc, .capacity = capacity};
	struct pf_reader *r;

	memset(s, 0, sizeof *s);
	CHECK_EQ(pf_reader_open(fd, options, &r, &s->diag), PF_OK);
	struct pf_source *source = pf_reader_source(r);
	while (!(s->err = source->next(source, &batch, &s->diag)) && batch.n) {
		for (uint32_t i = 0; i < batch.n; i++, s->n++) {
			CHECK(s->n < MOST);
			CHECK(desc[i].caplen <= sizeof s->data[0]);
			CHECK(source->iface(source, desc[i].iface) != NULL);
			s->iface[s->n] = *source->iface(source, desc[i].iface);
			memcpy(s->data[s->n], desc[i].data, desc[i].caplen);
			memset(desc[i].data, 0xee, desc[i].caplen); /* D1: it is ours */
			s->desc[s->n] = desc[i];
			s->desc[s->n].data = NULL;
		}
	}
	CHECK_EQ(batch.n, 0);
	if (s->err) { /* found again */
		struct pf_diag again;
		CHECK_EQ(source->next(source, &batch, &again), s->err);
		CHECK_EQ(again.code, s->diag.code);
		CHECK_EQ(again.offset, s->diag.offset);
	}
	pf_reader_info(r, &s->info);
	CHECK_EQ(s->info.packets, s->n);
	pf_reader_close(r);
}

static inline int memory_file(const uint8_t *bytes, size_t len)
{
	int fd = memfd_create("capture", MFD_CLOEXEC);
	CHECK(fd >= 0);
	CHECK_EQ(write(fd, bytes, len), len);
	CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

static inline struct seen *read_bytes(const uint8_t *bytes, size_t len, struct pf_reader_options options, uint32_t capacity)
{
	struct seen *s = malloc(sizeof *s);
	int fd = memory_file(bytes, len);
	CHECK(s != NULL);
	read_fd(fd, &options, capacity, s);
	close(fd);
	return s;
}

static inline struct seen *read_file(const struct file *f, struct pf_reader_options options)
{
	return read_bytes(f->bytes, f->len, options, MOST);
}

static inline void same_packets(const struct seen *a, const struct seen *b, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		CHECK_EQ(a->desc[i].caplen, b->desc[i].caplen);
		CHECK_EQ(a->desc[i].wire_len, b->desc[i].wire_len);
		CHECK_EQ(a->desc[i].ts_ns, b->desc[i].ts_ns);
		CHECK_EQ(a->desc[i].ts_raw, b->desc[i].ts_raw);
		CHECK_EQ(a->desc[i].iface, b->desc[i].iface);
		CHECK_EQ(a->iface[i].linktype, b->iface[i].linktype);
		CHECK_EQ(memcmp(a->data[i], b->data[i], a->desc[i].caplen), 0);
	}
}

static inline void expect_error(const struct file *f, struct pf_reader_options options, uint32_t n, enum pf_err err,
			 enum pf_diag_code code, uint64_t offset)
{
	struct seen *s = read_file(f, options);
	CHECK_EQ(s->n, n);
	CHECK_EQ(s->diag.code, code);
	CHECK_EQ(s->err, err);
	CHECK_EQ(s->diag.err, err);
	CHECK_EQ(s->diag.offset, offset);
	free(s);
}

#endif
