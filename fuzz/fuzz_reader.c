/* fuzz_reader.c - any bytes as a capture: the reader must end, and must not depend on how the bytes arrive.
 *
 * Each input is read with a large and with the smallest chunk and once more with as_ethernet; every packet is
 * overwritten. What was delivered is written as pcapng and read back. Differences abort.
 *
 * With libFuzzer (make) or, built with -DPF_FUZZ_FILES, as a program that runs the files given as arguments.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io/reader.h"
#include "io/writer.h"

#define REQUIRE(cond)                                                                                                  \
	do {                                                                                                           \
		if (!(cond)) {                                                                                         \
			fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #cond);                           \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
	uint64_t packets, sum;
	enum pf_err err;
	struct pf_diag diag;
};

static uint64_t mix(uint64_t sum, uint64_t value) { return (sum ^ value) * 0x9e3779b97f4a7c15u + (sum >> 29); }

static uint64_t packet_sum(uint64_t sum, const struct pf_desc *d, const struct pf_iface *iface)
{
	sum = mix(mix(mix(sum, d->caplen), (uint64_t)d->ts_ns), (uint64_t)d->ts_raw);
	sum = mix(mix(mix(sum, iface->linktype), iface->tsresol), iface->snaplen);
	for (uint32_t i = 0; i < d->caplen; i++)
		sum = mix(sum, d->data[i]);
	return sum;
}

static struct outcome run(int fd, struct pf_reader_options options, uint32_t capacity, struct pf_writer *writer)
{
	static const struct pf_verdict verdict = {.retval = 2, .action = PF_XDP_PASS, .covered = 1};
	struct pf_desc desc[64];
	struct pf_batch batch = {.desc = desc, .capacity = capacity};
	struct outcome out = {0};
	struct pf_reader *reader;

	REQUIRE(lseek(fd, 0, SEEK_SET) == 0);
	REQUIRE(pf_reader_open(fd, &options, &reader, NULL) == PF_OK);
	struct pf_source *source = pf_reader_source(reader);
	while (!(out.err = source->next(source, &batch, &out.diag)) && batch.n) {
		REQUIRE(batch.n <= capacity);
		for (uint32_t i = 0; i < batch.n; i++) {
			const struct pf_iface *iface = source->iface(source, desc[i].iface);
			REQUIRE(iface);
			out.sum = packet_sum(out.sum, &desc[i], iface);
			if (writer) {
				struct pf_packet packet = {0};
				pf_packet_init(&packet, desc[i].data, desc[i].caplen, PF_PACKET_LINEAR);
				pf_writer_sink(writer)->emit(pf_writer_sink(writer), source, &desc[i], &packet, &verdict);
			}
		}
		for (uint32_t i = 0; i < batch.n; i++)
			memset(desc[i].data, 0xff, desc[i].caplen);
		out.packets += batch.n;
	}
	REQUIRE(batch.n == 0);
	REQUIRE(!out.err || (out.diag.code != PF_DIAG_NONE && out.diag.err == out.err));
	pf_reader_close(reader);
	return out;
}

static void same(const struct outcome *a, const struct outcome *b)
{
	REQUIRE(a->packets == b->packets);
	REQUIRE(a->sum == b->sum);
	REQUIRE(a->err == b->err);
	REQUIRE(!a->err || (a->diag.code == b->diag.code && a->diag.offset == b->diag.offset));
}

static int empty_file(void)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	REQUIRE(fd >= 0);
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct pf_reader_options large = {.any_linktype = 1}, small = {.any_linktype = 1, .chunk = 64},
					      wrap = {.as_ethernet = 1}, wrap_small = {.as_ethernet = 1, .chunk = 64};
	static const struct pf_writer_options to_ng = {.format = PF_FORMAT_PCAPNG, .actions = ~0u};
	int in = empty_file(), out = empty_file();
	struct pf_writer *writer;
	struct outcome first, again, back;

	REQUIRE(pwrite(in, data, size, 0) == (ssize_t)size);
	REQUIRE(pf_writer_open(out, &to_ng, &writer, NULL) == PF_OK);
	first = run(in, large, 64, writer);
	again = run(in, small, 3, NULL);
	same(&first, &again);
	REQUIRE(pf_writer_finish(writer, NULL, NULL) == PF_OK);
	REQUIRE(pf_writer_packets(writer) == first.packets);
	pf_writer_close(writer);
	back = run(out, large, 64, NULL);
	REQUIRE(back.err == PF_OK);
	REQUIRE(back.packets == first.packets);
	REQUIRE(back.sum == first.sum);
	first = run(in, wrap, 64, NULL);
	again = run(in, wrap_small, 1, NULL);
	same(&first, &again);
	close(in);
	close(out);
	return 0;
}

#ifdef PF_FUZZ_FILES
int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		int fd = open(argv[i], O_RDONLY);
		off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
		uint8_t *data = size < 0 ? NULL : malloc((size_t)size + 1);

		if (!data || pread(fd, data, (size_t)size, 0) != size) {
			fprintf(stderr, "cannot read %s\n", argv[i]);
			return 1;
		}
		LLVMFuzzerTestOneInput(data, (size_t)size);
		free(data);
		close(fd);
	}
	return 0;
}
#endif
