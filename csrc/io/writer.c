/* writer.c - the writer as a sink: the buffer, whole records, failures. */
#include "emit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "system.h"

#define FLUSH_DEFAULT (1u << 20)

uint8_t *pf_writer_reserve(struct pf_writer *w, size_t size)
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

/* Whole records in the first `size` bytes of the buffer, which starts at a record (or the file header). */
static size_t whole_records(const struct pf_writer *w, size_t size, uint64_t *packets)
{
	size_t at = 0;

	*packets = 0;
	if (w->options.format == PF_FORMAT_PCAP && !w->written)
		at = size < PF_PCAP_HEADER ? size + 1 : PF_PCAP_HEADER;
	if (at > size)
		return 0;
	for (;;) {
		size_t length = w->options.format == PF_FORMAT_PCAP ? pf_pcap_record(w->buffer + at, size - at)
								     : pf_pcapng_record(w->buffer + at, size - at);

		if (!length || length > size - at)
			return at;
		*packets += pf_writer_is_packet(w, w->buffer + at);
		at += length;
	}
}

/* Cuts a regular file back to its last whole record. Nothing can be undone in a pipe. */
static void keep_whole(struct pf_writer *w, size_t reached)
{
	uint64_t packets, whole = whole_records(w, reached, &packets);

	if (w->regular) {
		off_t end = w->start + (off_t)(w->written + whole);

		/* Shortening a file needs no space; if it fails all the same the write error is still the one to report. */
		if (!ftruncate(w->fd, end))
			(void)!lseek(w->fd, end, SEEK_SET);
	}
	w->written += whole;
	w->packets += packets;
	w->len = 0;
	w->broken = true;
}

/* Someone else may have made the descriptor non-blocking (a shared terminal): wait, since a flush may. */
static bool writable(int fd)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};

	return poll(&poll_fd, 1, -1) >= 0 || errno == EINTR;
}

static void write_out(struct pf_writer *w)
{
	struct pf_diag write_failed;
	char text[PF_NAME_MAX];
	size_t at = 0;

	while (at < w->len) {
		ssize_t n = write(w->fd, w->buffer + at, w->len - at);

		if (n > 0) {
			at += (size_t)n;
			continue;
		}
		if (!n)
			errno = EIO;
		if (errno == EINTR || (errno == EAGAIN && writable(w->fd)))
			continue;
		pf_system_text(errno, text);
		pf_diag_set(&write_failed, pf_system_err(errno), PF_DIAG_IO_WRITE, 0, w->written + at, 0, 0, text);
		keep_whole(w, at);
		/* A refusal found while emitting came later in the data: the failed write is what ends the file. */
		w->failed = write_failed;
		return;
	}
	w->written += w->len;
	w->packets += w->buffered;
	w->buffered = 0;
	w->len = 0;
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

	if (!w->broken && (w->len >= w->options.buffer_flush || w->failed.err))
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

uint64_t pf_writer_bytes(const struct pf_writer *writer) { return writer->written + writer->len; }
