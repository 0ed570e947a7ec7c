/* test_io_write.c - the capture writer: round trips through the reader, link types, and every way in which writing
 * fails. */
#include "capture.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "io/writer.h"

#define ALL 0x1fu
#define LET_THROUGH (1u << PF_XDP_PASS | 1u << PF_XDP_TX)

/* A program's verdict on packet i of a file. */
typedef struct pf_verdict verdict_of(uint32_t i);

static struct pf_verdict passed(uint32_t i)
{
	(void)i;
	return (struct pf_verdict){.retval = PF_XDP_PASS, .action = PF_XDP_PASS, .covered = 1, .generation = 3};
}

static struct pf_verdict mixed(uint32_t i)
{
	return (struct pf_verdict){.retval = i % 5, .action = (uint8_t)(i % 5), .covered = i != 7, .generation = i};
}

/* Reads the file and emits every packet, changed by `change` bytes at its tail (fewer) or head (more). */
static enum pf_err copy(const struct file *f, struct pf_reader_options read_options, struct pf_writer *w, uint32_t limit,
			int change, verdict_of *verdict, struct pf_diag *diag)
{
	int fd[2]; /* a pipe: file size limits are no matter of the input's */
	struct pf_desc desc[4];
	struct pf_batch batch = {.desc = desc, .capacity = 4};
	struct pf_sink *sink = pf_writer_sink(w);
	struct pf_reader *r;
	enum pf_err err = PF_OK;
	uint32_t n = 0;

	CHECK_EQ(pipe(fd), 0);
	CHECK_EQ(write(fd[1], f->bytes, f->len), f->len);
	close(fd[1]);
	CHECK_EQ(pf_reader_open(fd[0], &read_options, &r, NULL), PF_OK);
	struct pf_source *source = pf_reader_source(r);
	while (!err && source->next(source, &batch, NULL) == PF_OK && batch.n) {
		for (uint32_t i = 0; i < batch.n; i++, n++) {
			struct pf_packet packet = {0};
			struct pf_verdict v = verdict(n);
			uint8_t grown[4096] = {0};
			pf_packet_init(&packet, desc[i].data, desc[i].caplen, limit);
			if (change > 0) {
				memcpy(grown + change, packet.data, (size_t)(packet.data_end - packet.data));
				packet.data_end = grown + change + (packet.data_end - packet.data);
				packet.data = grown;
			} else if (-change <= packet.data_end - packet.data) {
				packet.data_end += change;
			}
			sink->emit(sink, source, &desc[i], &packet, &v);
			memset(grown, 0x99, sizeof grown); /* emit has copied what is not where it came */
		}
		err = sink->flush(sink, diag);
		for (uint32_t i = 0; i < batch.n; i++)
			memset(desc[i].data, 0x99, desc[i].caplen); /* flush leaves no pointer into it (O1) */
	}
	pf_reader_close(r);
	close(fd[0]);
	return err;
}

static struct pf_writer *writer(int fd, enum pf_format format, uint32_t actions)
{
	struct pf_writer_options options = {.format = format, .actions = actions, .buffer_flush = 300};
	struct pf_writer *w;

	CHECK_EQ(pf_writer_open(fd, &options, &w, NULL), PF_OK);
	return w;
}

static struct seen *read_back(int fd)
{
	static const struct pf_reader_options any = {.any_linktype = 1};
	struct seen *s = malloc(sizeof *s);

	CHECK(s != NULL);
	CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
	read_fd(fd, &any, 16, s);
	return s;
}

static int output(void)
{
	int fd = memfd_create("output", MFD_CLOEXEC);
	CHECK(fd >= 0);
	return fd;
}

static void sample(struct file *f, bool big, bool nano)
{
	pcap_header(f, big, nano ? 0xa1b23c4d : 0xa1b2c3d4, 4, 100, 0x54000001);
	for (uint32_t i = 0; i < 20; i++)
		pcap_record(f, 4000000000 + i, 99 * i, 20 + 13 * i, 30 + 13 * i, (uint8_t)i);
}

static void sample_ng(struct file *f)
{
	f->len = 0;
	section(f, true);
	interface(f, 1, 0, -1, 0);
	interface(f, 1, 60, 9, 17);
	interface(f, 1, 0, -1, 0); /* as the first one, and still another */
	for (uint32_t i = 0; i < 9; i++)
		enhanced(f, i % 3, 1600000000000000000 + i, 20 + i, 99 + i, (uint8_t)i);
	section(f, false);
	interface(f, 101, 60, 0x8a, -5);
	enhanced(f, 0, UINT64_MAX - 3, 33, 99, 100);
}

/* Classic pcap to classic pcap and to pcapng: identical packets and timestamps; header kept. */
static void test_pcap_round_trip(void)
{
	for (int variant = 0; variant < 8; variant++) {
		bool nano = variant & 1, ng = variant & 4;
		struct file f;
		sample(&f, variant & 2, nano);
		int fd = output();
		struct pf_writer *w = writer(fd, ng ? PF_FORMAT_PCAPNG : PF_FORMAT_PCAP, ALL);
		/* the second limit leaves bytes in `extra` */
		CHECK_EQ(copy(&f, (struct pf_reader_options){0}, w, variant & 2 ? 40 : UINT32_MAX, 0, passed, NULL), PF_OK);
		CHECK_EQ(pf_writer_finish(w, NULL, NULL), PF_OK);
		CHECK_EQ(pf_writer_packets(w), 20);
		pf_writer_close(w);
		struct seen *in = read_bytes(f.bytes, f.len, (struct pf_reader_options){0}, 16), *out = read_back(fd);
		CHECK_EQ(out->err, PF_OK);
		CHECK_EQ(out->n, 20);
		CHECK_EQ(out->info.format, ng ? PF_FORMAT_PCAPNG : PF_FORMAT_PCAP);
		same_packets(in, out, 20);
		CHECK_EQ(out->iface[0].snaplen, 100);
		CHECK_EQ(out->iface[0].tsresol, nano ? 9 : 6);
		if (!ng)
			CHECK_EQ(out->iface[0].linktype_high, 0x5400);
		free(in);
		free(out);
		close(fd);
	}
}

static void test_pcapng_round_trip(void)
{
	static const uint32_t iface[] = {0, 1, 2, 0, 1, 2, 0, 1, 2, 3};
	static const struct pf_reader_options any = {.any_linktype = 1};
	struct file f;

	sample_ng(&f);
	int fd = output();
	struct pf_writer *w = writer(fd, PF_FORMAT_PCAPNG, ALL);
	CHECK_EQ(copy(&f, any, w, UINT32_MAX, 0, passed, NULL), PF_OK);
	/* a second input with the same interfaces adds none */
	CHECK_EQ(copy(&f, any, w, UINT32_MAX, 0, passed, NULL), PF_OK);
	CHECK_EQ(pf_writer_finish(w, NULL, NULL), PF_OK);
	pf_writer_close(w);
	struct seen *in = read_bytes(f.bytes, f.len, any, 16), *out = read_back(fd);
	CHECK_EQ(out->err, PF_OK);
	CHECK_EQ(out->n, 20);
	CHECK_EQ(out->info.ifaces, 4);
	for (uint32_t i = 0; i < 20; i++) {
		uint32_t k = i % 10;
		CHECK_EQ(out->desc[i].iface, iface[k]);
		CHECK_EQ(out->desc[i].ts_raw, in->desc[k].ts_raw);
		CHECK_EQ(out->desc[i].ts_ns, in->desc[k].ts_ns);
		CHECK_EQ(out->desc[i].wire_len, in->desc[k].wire_len);
		CHECK_EQ(out->desc[i].caplen, in->desc[k].caplen);
		CHECK_EQ(memcmp(out->data[i], in->data[k], in->desc[k].caplen), 0);
		in->iface[k].swapped = 0; /* what we write is in this machine's order */
		CHECK_EQ(memcmp(&out->iface[i], &in->iface[k], sizeof in->iface[k]), 0);
	}
	free(in);
	free(out);
	close(fd);
}

/* Which actions are written, and what a program's change of length does to the original length. */
static void test_actions_and_lengths(void)
{
	static const int changes[] = {0, 12, -6, -20};
	struct file f;

	sample(&f, false, true);
	for (size_t c = 0; c < sizeof changes / sizeof changes[0]; c++) {
		int fd = output();
		struct pf_writer *w = writer(fd, PF_FORMAT_PCAP, LET_THROUGH);
		CHECK_EQ(copy(&f, (struct pf_reader_options){0}, w, UINT32_MAX, changes[c], mixed, NULL), PF_OK);
		CHECK_EQ(pf_writer_finish(w, NULL, NULL), PF_OK);
		pf_writer_close(w);
		struct seen *in = read_bytes(f.bytes, f.len, (struct pf_reader_options){0}, 16), *out = read_back(fd);
		CHECK_EQ(out->n, 8);
		for (uint32_t i = 0; i < 8; i++) {
			uint32_t k = i / 2 * 5 + 2 + i % 2;
			CHECK_EQ(out->desc[i].ts_ns, in->desc[k].ts_ns);
			CHECK_EQ(out->desc[i].caplen, in->desc[k].caplen + (uint32_t)changes[c]);
			CHECK_EQ(out->desc[i].wire_len, in->desc[k].wire_len + (uint32_t)changes[c]);
			if (changes[c] > 0)
				CHECK_EQ(memcmp(out->data[i] + changes[c], in->data[k], in->desc[k].caplen), 0);
			else
				CHECK_EQ(memcmp(out->data[i], in->data[k], out->desc[i].caplen), 0);
		}
		free(in);
		free(out);
		close(fd);
	}
}

/* The bytes of the options of an enhanced packet block. */
static void test_verdict_options(void)
{
	static const uint8_t want[] = {1, 0, 26, 0, 'p', 'r', 'o', 'g', 'r', 'a', 'm', ' ', 'f', 'w', ' ', 'g', 'e', 'n', 'e', 'r',
				       'a', 't', 'i', 'o', 'n', ' ', '1', '2', '3', '4', 0, 0,
				       7, 0, 9, 0, 2, 0xef, 0xbe, 0xad, 0xde, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
	struct pf_writer_options options = {.format = PF_FORMAT_PCAPNG, .actions = ALL, .comment = 1};
	struct pf_verdict v = {.retval = 0xdeadbeef, .action = PF_XDP_ABORTED, .covered = 1, .generation = 1234, .program = "fw"};
	struct pf_desc desc[1];
	struct pf_batch batch = {.desc = desc, .capacity = 1};
	struct pf_packet packet = {0};
	struct pf_reader *r;
	struct pf_writer *w;
	struct file f, back;

	pcap_header(&f, false, 0xa1b2c3d4, 4, 100, 1);
	pcap_record(&f, 1, 1, 15, 15, 1);
	int in = memory_file(f.bytes, f.len), fd = output();
	CHECK_EQ(pf_reader_open(in, NULL, &r, NULL), PF_OK);
	struct pf_source *source = pf_reader_source(r);
	CHECK_EQ(source->next(source, &batch, NULL), PF_OK);
	CHECK_EQ(pf_writer_open(fd, &options, &w, NULL), PF_OK);
	pf_packet_init(&packet, desc[0].data, desc[0].caplen, UINT32_MAX);
	pf_writer_sink(w)->emit(pf_writer_sink(w), source, desc, &packet, &v);
	v.covered = 0;
	pf_writer_sink(w)->emit(pf_writer_sink(w), source, desc, &packet, &v);
	CHECK_EQ(pf_writer_packets(w), 0);
	CHECK_EQ(pf_writer_finish(w, NULL, NULL), PF_OK);
	CHECK_EQ(pf_writer_packets(w), 2);
	pf_writer_close(w);
	pf_reader_close(r);
	ssize_t len = pread(fd, back.bytes, sizeof back.bytes, 0);
	size_t uncovered = 28 + 16 + 4, covered = 28 + 16 + sizeof want + 4;
	CHECK(len > (ssize_t)(covered + uncovered));
	CHECK_EQ(memcmp(back.bytes + len - uncovered - 4 - sizeof want, want, sizeof want), 0);
	CHECK_EQ(back.bytes[len - 4], uncovered); /* no program ran: no options */
	close(fd);
	close(in);
}

static void test_link_types(void)
{
	static const struct pf_reader_options any = {.any_linktype = 1};
	struct pf_diag diag;
	struct file f;

	sample_ng(&f);
	int fd = output();
	struct pf_writer *w = writer(fd, PF_FORMAT_PCAP, ALL);
	CHECK_EQ(copy(&f, any, w, UINT32_MAX, 0, passed, &diag), PF_EINVAL);
	CHECK_EQ(diag.code, PF_DIAG_IO_MIXED_LINKTYPE);
	CHECK_EQ(diag.expected, 1);
	CHECK_EQ(diag.found, 101);
	CHECK_EQ(pf_writer_finish(w, NULL, &diag), PF_EINVAL);
	pf_writer_close(w);
	struct seen *out = read_back(fd);
	CHECK_EQ(out->err, PF_OK);
	CHECK_EQ(out->n, 9);
	CHECK_EQ(out->iface[0].tsresol, 9); /* one of the interfaces has nanoseconds */
	CHECK_EQ(out->iface[0].snaplen, 0);
	CHECK_EQ(out->desc[1].ts_ns, 1600000017000000001);
	free(out);
	close(fd);
}

static void test_empty(void)
{
	static const struct pf_iface iface = {.linktype = 101, .snaplen = 77, .tsresol = 9};

	for (int variant = 0; variant < 4; variant++) {
		bool ng = variant & 1, given = variant & 2;
		int fd = output();
		struct pf_writer *w = writer(fd, ng ? PF_FORMAT_PCAPNG : PF_FORMAT_PCAP, ALL);
		CHECK_EQ(pf_writer_finish(w, given ? &iface : NULL, NULL), PF_OK);
		CHECK_EQ(pf_writer_finish(w, given ? &iface : NULL, NULL), PF_OK); /* again: nothing more */
		pf_writer_close(w);
		CHECK_EQ(lseek(fd, 0, SEEK_CUR), ng ? 48 + 32 : 24);
		struct seen *out = read_back(fd);
		CHECK_EQ(out->err, PF_OK);
		CHECK_EQ(out->n, 0);
		CHECK_EQ(out->info.ifaces, 1);
		free(out);
		close(fd);
	}
}

static void fails(int fd, enum pf_format format, enum pf_err want, uint64_t *packets)
{
	struct file f;
	struct pf_diag diag;
	enum pf_err err;
	struct pf_writer *w = writer(fd, format, ALL);

	sample(&f, false, false);
	for (int i = 0; i < 1000; i++) {
		err = copy(&f, (struct pf_reader_options){0}, w, UINT32_MAX, 0, passed, &diag);
		if (err)
			break;
	}
	if (!err)
		err = pf_writer_finish(w, NULL, &diag);
	CHECK_EQ(err, want);
	CHECK_EQ(diag.code, PF_DIAG_IO_WRITE);
	CHECK(diag.name[0] != '\0');
	*packets = pf_writer_packets(w);
	memset(&diag, 0, sizeof diag);
	CHECK_EQ(copy(&f, (struct pf_reader_options){0}, w, UINT32_MAX, 0, passed, &diag), want); /* repeats it */
	CHECK_EQ(pf_writer_finish(w, NULL, &diag), want);
	CHECK_EQ(diag.code, PF_DIAG_IO_WRITE);
	CHECK_EQ(pf_writer_packets(w), *packets);
	pf_writer_close(w);
}

static uint32_t count_whole(int fd, off_t start)
{
	struct pf_desc desc[64];
	struct pf_batch batch = {.desc = desc, .capacity = 64};
	struct pf_reader *r;
	uint32_t n = 0;

	CHECK_EQ(lseek(fd, start, SEEK_SET), start);
	CHECK_EQ(pf_reader_open(fd, NULL, &r, NULL), PF_OK);
	do {
		CHECK_EQ(pf_reader_source(r)->next(pf_reader_source(r), &batch, NULL), PF_OK);
		n += batch.n;
	} while (batch.n);
	pf_reader_close(r);
	return n;
}

static void test_full_device(void)
{
	uint64_t packets;

	for (int ng = 0; ng < 2; ng++) {
		int fd = open("/dev/full", O_WRONLY);
		if (fd < 0)
			return;
		fails(fd, ng ? PF_FORMAT_PCAPNG : PF_FORMAT_PCAP, PF_ENOSPC, &packets);
		CHECK_EQ(packets, 0);
		close(fd);
	}
}

static void test_closed_pipe(void)
{
	uint64_t packets;
	int fd[2];

	CHECK_EQ(pipe(fd), 0);
	close(fd[0]);
	fails(fd[1], PF_FORMAT_PCAP, PF_EPIPE, &packets);
	CHECK_EQ(packets, 0);
	close(fd[1]);
}

/* Every size limit over some records: what is left is whole, wherever in a record or header the limit falls. */
static void test_size_limit(void)
{
	struct rlimit before;
	int fd = output();

	CHECK_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
	for (int ng = 0; ng < 2; ng++) {
		for (rlim_t limit = 100; limit < 700; limit++) {
			struct rlimit low = {.rlim_cur = limit, .rlim_max = before.rlim_max};
			off_t start = ng ? 100 : 0;
			uint64_t packets;
			CHECK_EQ(ftruncate(fd, start), 0); /* with something else in front */
			CHECK_EQ(lseek(fd, start, SEEK_SET), start);
			CHECK_EQ(setrlimit(RLIMIT_FSIZE, &low), 0);
			fails(fd, ng ? PF_FORMAT_PCAPNG : PF_FORMAT_PCAP, PF_EFBIG, &packets);
			off_t size = lseek(fd, 0, SEEK_CUR);
			CHECK_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
			CHECK(size <= (off_t)limit);
			CHECK_EQ(lseek(fd, 0, SEEK_END), size);
			if (size > start)
				CHECK_EQ(count_whole(fd, start), packets);
			else
				CHECK_EQ(packets, 0);
			if (limit > 400)
				CHECK(packets > 0);
		}
	}
	close(fd);
}

/* A file system that runs full; needs the right to mount. */
static void test_full_file_system(void)
{
	pid_t child = fork();
	int status;

	CHECK(child >= 0);
	if (!child) {
		char name[32], path[64];
		uint64_t packets;
		snprintf(name, sizeof name, "full.%d", (int)getpid());
		if (mkdir(name, 0700))
			exit(77);
		if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		    mount("tmpfs", name, "tmpfs", 0, "size=64k")) {
			rmdir(name);
			exit(77);
		}
		for (int ng = 0; ng < 2; ng++) {
			snprintf(path, sizeof path, "%s/out%d", name, ng);
			int fd = open(path, O_RDWR | O_CREAT, 0600);
			CHECK(fd >= 0);
			fails(fd, ng ? PF_FORMAT_PCAPNG : PF_FORMAT_PCAP, PF_ENOSPC, &packets);
			CHECK(packets > 100);
			CHECK_EQ(count_whole(fd, 0), packets);
			close(fd);
			unlink(path);
		}
		umount(name);
		rmdir(name);
		exit(0);
	}
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		fprintf(stderr, "test_full_file_system skipped: no right to mount a tmpfs\n");
	else
		CHECK_EQ(WEXITSTATUS(status), 0);
}

/* A capture of 2,000 packets of 100 bytes; longer than a struct file. */
#define SPANNED 2000u
#define SPANNED_LEN 100u
#define SPANNED_SIZE (24 + SPANNED * (16 + SPANNED_LEN))

static uint8_t *spanned(void)
{
	struct file f;
	uint8_t *bytes = malloc(SPANNED_SIZE);

	CHECK(bytes != NULL);
	pcap_header(&f, false, 0xa1b2c3d4, 4, 65535, 1);
	memcpy(bytes, f.bytes, f.len);
	for (uint32_t i = 0; i < SPANNED; i++) {
		f.len = 0;
		pcap_record(&f, i, i % 7 ? i : 2000000, SPANNED_LEN, SPANNED_LEN + i % 3, (uint8_t)i);
		memcpy(bytes + 24 + i * (16 + SPANNED_LEN), f.bytes, f.len);
	}
	return bytes;
}

/* Emits all packets in batches of 500 but every `skip`-th, and cuts every `cut`-th by 7 bytes; overwrites them once they were
 * flushed. Returns the result of finishing; *packets: written. */
static enum pf_err copy_spanned(int from, int to, uint32_t skip, uint32_t cut, uint64_t *packets)
{
	static struct pf_desc desc[500];
	struct pf_batch batch = {.desc = desc, .capacity = 500};
	const struct pf_writer_options options = {.format = PF_FORMAT_PCAP, .actions = ALL};
	const struct pf_verdict verdict = {.action = 2, .retval = 2};
	struct pf_writer *w;
	struct pf_reader *r;
	enum pf_err err = PF_OK;
	uint32_t n = 0;

	CHECK_EQ(pf_reader_open(from, NULL, &r, NULL), PF_OK);
	CHECK_EQ(pf_writer_open(to, &options, &w, NULL), PF_OK);
	struct pf_source *source = pf_reader_source(r);
	while (!err && source->next(source, &batch, NULL) == PF_OK && batch.n) {
		for (uint32_t i = 0; i < batch.n; i++, n++) {
			struct pf_packet packet = {0};
			pf_packet_init(&packet, desc[i].data, desc[i].caplen, i % 2 ? 60 : UINT32_MAX);
			if (n % cut == 5)
				packet.data_end = packet.extra - 7, packet.extra_len = 0;
			if (n % skip)
				pf_writer_sink(w)->emit(pf_writer_sink(w), source, &desc[i], &packet, &verdict);
		}
		err = pf_writer_sink(w)->flush(pf_writer_sink(w), NULL);
		for (uint32_t i = 0; i < batch.n; i++)
			memset(desc[i].data - 16, 0x99, 16 + desc[i].caplen);
	}
	err = pf_writer_finish(w, NULL, NULL);
	*packets = pf_writer_packets(w);
	if (!err)
		CHECK_EQ(pf_writer_bytes(w), lseek(to, 0, SEEK_END));
	pf_writer_close(w);
	pf_reader_close(r);
	return err;
}

/* Runs of records written from where they were read: what comes out is what went in, record by record. */
static void test_spans(void)
{
	static const uint32_t skips[] = {UINT32_MAX, 2, 90, 400}, cuts[] = {UINT32_MAX, 130, 9};
	uint8_t *bytes = spanned(), *out = malloc(SPANNED_SIZE);

	for (uint32_t s = 0; s < 4; s++) {
		for (uint32_t c = 0; c < 3; c++) {
			int from = memory_file(bytes, SPANNED_SIZE), to = output();
			uint64_t packets, n = 0;
			size_t at = 24;
			CHECK_EQ(copy_spanned(from, to, skips[s], cuts[c], &packets), PF_OK);
			ssize_t size = pread(to, out, SPANNED_SIZE, 0);
			CHECK_EQ(memcmp(out, bytes, 24), 0);
			for (uint32_t i = 0; i < SPANNED; i++) {
				const uint8_t *record = bytes + 24 + i * (16 + SPANNED_LEN);
				uint32_t words[4], got[4], len = i % cuts[c] == 5 && i % 500 % 2 == 0 ? 93 : SPANNED_LEN;
				if (i % cuts[c] == 5 && i % 500 % 2)
					len = 53; /* of the 60 linear ones */
				if (!(i % skips[s]))
					continue;
				memcpy(words, record, 16);
				memcpy(got, out + at, 16);
				CHECK_EQ(got[0], words[0] + words[1] / 1000000);
				CHECK_EQ(got[1], words[1] % 1000000);
				CHECK_EQ(got[2], len);
				CHECK_EQ(got[3], words[3] + len - SPANNED_LEN);
				CHECK_EQ(memcmp(out + at + 16, record + 16, len), 0);
				at += 16 + len;
				n++;
			}
			CHECK_EQ(size, at);
			CHECK_EQ(packets, n);
			close(from);
			close(to);
		}
	}
	free(out);
	free(bytes);
}

/* The same where the file may not grow: whole records are left, wherever the limit falls. */
static void test_spans_and_a_size_limit(void)
{
	struct rlimit before;
	uint8_t *bytes = spanned();

	CHECK_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
	for (rlim_t limit = 1; limit < SPANNED_SIZE - 1000; limit += limit < 400 ? 13 : 4999) {
		struct rlimit low = {.rlim_cur = limit, .rlim_max = before.rlim_max};
		int from = memory_file(bytes, SPANNED_SIZE), to = output();
		uint64_t packets;
		CHECK_EQ(setrlimit(RLIMIT_FSIZE, &low), 0);
		CHECK_EQ(copy_spanned(from, to, UINT32_MAX, 300, &packets), PF_EFBIG);
		CHECK_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
		off_t size = lseek(to, 0, SEEK_END);
		CHECK(size <= (off_t)limit && (size == 0) == (limit < 24));
		if (size)
			CHECK_EQ(count_whole(to, 0), packets);
		CHECK(packets + 3 > limit / (16 + SPANNED_LEN));
		close(from);
		close(to);
	}
	free(bytes);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	test_pcap_round_trip();
	test_pcapng_round_trip();
	test_actions_and_lengths();
	test_verdict_options();
	test_link_types();
	test_empty();
	test_full_device();
	test_closed_pipe();
	test_size_limit();
	test_spans();
	test_spans_and_a_size_limit();
	test_full_file_system();
	return 0;
}
