/* writer.c - the writer as a sink: the buffer, whole records, failures. */
#include "emit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "system.h"

#define FLUSH_DEFAULT (128u << 10) /* more would push the packets at hand out of the cache */
#define RUN_MIN (8u << 10)         /* bytes; shorter runs are copied, which is cheaper than a part of a writev(2) */

static uint8_t *reserve(struct pf_writer *w, size_t size)
{
	size_t capacity = w->capacity ? w->capacity : 64u << 10;
	uint8_t *buffer;

	if (PF_LIKELY(w->capacity - w->len >= size))
		return w->buffer + w->len;
	while (capacity - w->len < size)
		capacity *= 2;
	buffer = realloc(w->buffer, capacity);
	if (!buffer) {
		pf_diag_set(&w->failed, PF_ENOMEM, PF_DIAG_IO_WRITE, 0, 0, 0, 0, pf_err_text(PF_ENOMEM));
		return NULL;
	}
	w->buffer = buffer;
	w->capacity = capacity;
	return buffer + w->len;
}

/* The run becomes a span, or is copied. */
static void end_run(struct pf_writer *w)
{
	struct pf_span run = w->run;
	uint8_t *to;

	w->run.len = 0;
	if (run.len >= RUN_MIN && w->n_spans < PF_SPANS) {
		w->spans[w->n_spans++] = run;
		w->span_bytes += run.len;
		return;
	}
	to = reserve(w, run.len);
	if (!to) {
		w->buffered -= w->run_packets;
		return;
	}
	memcpy(to, run.bytes, run.len);
	w->len += run.len;
}

uint8_t *pf_writer_reserve(struct pf_writer *w, size_t size)
{
	if (w->run.len) {
		end_run(w);
		if (w->failed.err)
			return NULL;
	}
	return reserve(w, size);
}

void pf_writer_refer(struct pf_writer *w, const uint8_t *record, size_t size)
{
	if (w->run.len && w->run.bytes + w->run.len != record) {
		end_run(w);
		if (w->failed.err)
			return;
	}
	if (!w->run.len) {
		w->run = (struct pf_span){.at = w->len, .bytes = record};
		w->run_packets = 0;
	}
	w->run.len += size;
	w->run_packets++;
	w->buffered++;
}

static void writer_emit(struct pf_sink *sink, const struct pf_source *source, const struct pf_desc *desc,
			const struct pf_packet *packet, const struct pf_verdict *verdict)
{
	struct pf_writer *w = (struct pf_writer *)sink;
	const struct pf_iface *iface;
	struct pf_record record;
	int64_t wire_len;

	if (w->failed.err || !(w->options.actions >> verdict->action & 1))
		return;
	iface = source->iface(source, desc->iface);
	record.linear = (uint32_t)(packet->data_end - packet->data);
	record.caplen = pf_packet_length(packet);
	wire_len = (int64_t)desc->wire_len + record.caplen - desc->caplen;
	if (wire_len < record.caplen)
		wire_len = record.caplen;
	record.wire_len = wire_len > UINT32_MAX ? UINT32_MAX : (uint32_t)wire_len;
	record.desc = desc;
	record.packet = packet;
	record.verdict = verdict;
	if (PF_BUG_ON(!iface)) {
		pf_diag_set(&w->failed, PF_EINVAL, PF_DIAG_IO_WRITE, 0, 0, 0, 0, pf_err_text(PF_EINVAL));
		return;
	}
	if (w->options.format == PF_FORMAT_PCAP)
		pf_pcap_emit(w, source, iface, &record);
	else
		pf_pcapng_emit(w, iface, &record);
}

/* Whole records in the first `size` bytes at p, of which the first is a file header when head is set. */
static size_t whole_records(const struct pf_writer *w, const uint8_t *p, size_t size, bool head, uint64_t *packets)
{
	size_t at = 0;

	if (head && w->options.format == PF_FORMAT_PCAP)
		at = size < PF_PCAP_HEADER ? size + 1 : PF_PCAP_HEADER;
	if (at > size)
		return 0;
	for (;;) {
		size_t length = w->options.format == PF_FORMAT_PCAP ? pf_pcap_record(p + at, size - at)
								     : pf_pcapng_record(p + at, size - at);

		if (!length || length > size - at)
			return at;
		*packets += pf_writer_is_packet(w, p + at);
		at += length;
	}
}

/* Cuts a regular file back to its last whole record. Nothing can be undone in a pipe. */
static void keep_whole(struct pf_writer *w, const struct iovec *parts, int count, size_t reached)
{
	uint64_t packets = 0;
	size_t whole = 0;

	for (int i = 0; i < count && reached; i++) {
		const size_t there = reached < parts[i].iov_len ? reached : parts[i].iov_len;

		whole += whole_records(w, parts[i].iov_base, there, !w->written && !whole, &packets);
		reached -= there;
	}
	if (w->regular) {
		off_t end = w->start + (off_t)(w->written + whole);

		/* Shortening a file needs no space; if it fails all the same the write error is still the one to report. */
		if (!ftruncate(w->fd, end))
			(void)!lseek(w->fd, end, SEEK_SET);
	}
	w->written += whole;
	w->packets += packets;
	w->broken = true;
}

/* Someone else may have made the descriptor non-blocking (a shared terminal): wait, since a flush may. */
static bool writable(int fd)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};

	return poll(&poll_fd, 1, -1) >= 0 || errno == EINTR;
}

#define PARTS (2 * PF_SPANS + 1)

static void add_part(struct iovec *parts, int *count, const uint8_t *base, size_t at, size_t len)
{
	if (len)
		parts[(*count)++] = (struct iovec){.iov_base = (void *)(uintptr_t)(base + at), .iov_len = len};
}

/* The buffer with the spans where they belong. */
static int parts_of(const struct pf_writer *w, struct iovec *parts)
{
	size_t at = 0;
	int count = 0;

	for (uint32_t i = 0; i < w->n_spans; i++) {
		add_part(parts, &count, w->buffer, at, w->spans[i].at - at);
		add_part(parts, &count, w->spans[i].bytes, 0, w->spans[i].len);
		at = w->spans[i].at;
	}
	add_part(parts, &count, w->buffer, at, w->len - at);
	return count;
}

/* What is left of them after n bytes. */
static void advance(struct iovec **left, int *count, size_t n)
{
	while (*count && n >= (*left)->iov_len) {
		n -= (*left)->iov_len;
		(*left)++;
		(*count)--;
	}
	if (n) {
		(*left)->iov_base = (uint8_t *)(*left)->iov_base + n;
		(*left)->iov_len -= n;
	}
}

/* Everything that was emitted. false: `failed` says why. */
static bool write_parts(struct pf_writer *w)
{
	struct iovec parts[PARTS], rest[PARTS], *left = rest;
	struct pf_diag write_failed;
	char text[PF_NAME_MAX];
	size_t at = 0;
	int count = parts_of(w, parts), all = count;

	memcpy(rest, parts, sizeof *parts * (size_t)count);
	while (count) {
		ssize_t n = writev(w->fd, left, count);

		if (n > 0) {
			at += (size_t)n;
			advance(&left, &count, (size_t)n);
			continue;
		}
		if (!n)
			errno = EIO;
		if (errno == EINTR || (errno == EAGAIN && writable(w->fd)))
			continue;
		pf_system_text(errno, text);
		pf_diag_set(&write_failed, pf_system_err(errno), PF_DIAG_IO_WRITE, 0, w->written + at, 0, 0, text);
		keep_whole(w, parts, all, at);
		/* A refusal found while emitting came later in the data: the failed write is what ends the file. */
		w->failed = write_failed;
		return false;
	}
	w->written += at;
	w->packets += w->buffered;
	return true;
}

static void write_out(struct pf_writer *w)
{
	(void)write_parts(w);
	w->buffered = 0;
	w->len = 0;
	w->n_spans = 0;
	w->span_bytes = 0;
}

static enum pf_err report(const struct pf_writer *w, struct pf_diag *diag)
{
	if (diag && w->failed.err)
		*diag = w->failed;
	return w->failed.err;
}

static enum pf_err writer_flush(struct pf_sink *sink, struct pf_diag *diag)
{
	struct pf_writer *w = (struct pf_writer *)sink;

	if (w->run.len)
		end_run(w);
	if (!w->broken && (w->n_spans || w->len >= w->options.buffer_flush || w->failed.err))
		write_out(w);
	return report(w, diag);
}

enum pf_err pf_writer_finish(struct pf_writer *writer, const struct pf_iface *iface, struct pf_diag *diag)
{
	static const struct pf_iface ethernet = {.linktype = 1, .snaplen = 262144, .tsresol = 6};

	if (!writer->header && !writer->failed.err) {
		if (!iface)
			iface = &ethernet;
		if (writer->options.format == PF_FORMAT_PCAP)
			pf_pcap_header(writer, iface, iface->snaplen, pf_needs_nano(iface));
		else
			pf_pcapng_header(writer, iface);
	}
	if (writer->run.len)
		end_run(writer);
	if (!writer->broken)
		write_out(writer);
	return report(writer, diag);
}

enum pf_err pf_writer_open(int fd, const struct pf_writer_options *options, struct pf_writer **writer,
			   struct pf_diag *diag)
{
	struct pf_writer *w = calloc(1, sizeof *w);
	struct stat stat;
	int flags;

	*writer = NULL;
	if (!w)
		return pf_diag_set(diag, PF_ENOMEM, PF_DIAG_IO_WRITE, 0, 0, 0, 0, pf_err_text(PF_ENOMEM));
	w->sink.emit = writer_emit;
	w->sink.flush = writer_flush;
	w->sink.actions = options->actions;
	w->fd = fd;
	w->options = *options;
	if (!w->options.buffer_flush)
		w->options.buffer_flush = FLUSH_DEFAULT;
	w->regular = !fstat(fd, &stat) && S_ISREG(stat.st_mode);
	if (w->regular) {
		flags = fcntl(fd, F_GETFL);
		w->start = flags >= 0 && flags & O_APPEND ? stat.st_size : lseek(fd, 0, SEEK_CUR);
		w->regular = w->start >= 0;
	}
	*writer = w;
	return PF_OK;
}

void pf_writer_close(struct pf_writer *writer)
{
	if (!writer)
		return;
	free(writer->buffer);
	free(writer->ifaces);
	free(writer->by_index);
	free(writer);
}

uint64_t pf_writer_packets(const struct pf_writer *writer) { return writer->packets; }

uint64_t pf_writer_bytes(const struct pf_writer *writer) { return writer->written + writer->len + writer->span_bytes + writer->run.len; }
