/* test_io.c - the capture reader over hand-built files. */
#include "capture.h"

#include <pthread.h>
#include <sys/socket.h>

static const struct pf_reader_options plain, any = {.any_linktype = 1}, ethernet = {.as_ethernet = 1};

/* ---- sample files ---- */

static void sample_pcap(struct file *f, bool big, bool nano)
{
	pcap_header(f, big, nano ? 0xa1b23c4d : 0xa1b2c3d4, 4, 100, 1);
	for (uint32_t i = 0; i < 12; i++)
		pcap_record(f, 1000000000 + i, 17 * i, 20 + 13 * i, 30 + 13 * i, (uint8_t)i); /* over snaplen: R4 */
	pcap_record(f, UINT32_MAX, nano ? 999999999 : 999999, 0, 5, 0);
	pcap_record(f, 7, nano ? 2000000001 : 2000001, 14, 14, 3);
}

static void sample_pcapng(struct file *f)
{
	f->len = 0;
	section(f, false);
	interface(f, 1, 0, -1, 0);
	interface(f, 1, 60, 9, 0);
	enhanced(f, 0, 1600000000000001, 61, 99, 1);
	other(f, 5, 16);
	simple(f, 33, 33, 2);
	enhanced(f, 1, 1600000000000000002, 60, 60, 3);
	other(f, 0x0bad, 100);
	section(f, true);
	interface(f, 1, 50, 0x8a, -5);
	enhanced(f, 0, 1024 * 6 + 512, 44, 1500, 4);
	simple(f, 80, 50, 5);
	obsolete(f, 0, 1 << 20, 70, 70, 6);
	section(f, false);
	interface(f, 1, 0, 12, 0);
	enhanced(f, 0, 1234567, 1, 1, 7);
	other(f, 10, 0);
}

static void test_pcap(void)
{
	struct file f;

	for (int variant = 0; variant < 4; variant++) {
		bool nano = variant & 1;
		int64_t unit = nano ? 1 : 1000, per_second = nano ? 1000000000 : 1000000;
		sample_pcap(&f, variant & 2, nano);
		struct seen *s = read_file(&f, plain);
		CHECK_EQ(s->err, PF_OK);
		CHECK_EQ(s->n, 14);
		CHECK_EQ(s->info.format, PF_FORMAT_PCAP);
		CHECK_EQ(s->info.swapped, variant >> 1);
		CHECK_EQ(s->info.bytes_read, f.len);
		CHECK_EQ(s->iface[0].tsresol, nano ? 9 : 6);
		CHECK_EQ(s->iface[0].snaplen, 100);
		for (uint32_t i = 0; i < 12; i++) {
			CHECK_EQ(s->desc[i].caplen, 20 + 13 * i);
			CHECK_EQ(s->desc[i].wire_len, 30 + 13 * i);
			CHECK_EQ(s->desc[i].ts_ns, (1000000000 + i) * INT64_C(1000000000) + 17 * i * unit);
			CHECK_EQ(s->desc[i].ts_raw, (1000000000 + i) * per_second + 17 * i);
			CHECK_EQ(s->data[i][19], (uint8_t)(i + 7 * 19));
		}
		CHECK_EQ(s->desc[12].ts_ns, INT64_C(4294967295) * 1000000000 + (per_second - 1) * unit);
		CHECK_EQ(s->desc[12].caplen, 0);
		CHECK_EQ(s->desc[13].ts_ns, INT64_C(9000000000) + unit);
		free(s);
	}
}

static void test_pcap_variants(void)
{
	struct file f;
	struct seen *s;

	/* 24-byte record headers */
	pcap_header(&f, true, 0xa1b2cd34, 4, 1500, 1);
	for (int i = 0; i < 3; i++) {
		for (int k = 0; k < 4; k++)
			put(&f, (uint32_t[]){5, 6, 15, 60}[k], 4);
		put(&f, 0x1122334455667788, 8);
		put_fill(&f, 15, (uint8_t)i);
	}
	s = read_file(&f, plain);
	CHECK_EQ(s->n, 3);
	CHECK_EQ(s->err, PF_OK);
	CHECK_EQ(s->desc[2].caplen, 15);
	CHECK_EQ(s->desc[2].wire_len, 60);
	CHECK_EQ(s->data[2][0], 2);
	free(s);

	/* lengths exchanged before 2.3, either way in 2.3 */
	for (unsigned minor = 2; minor <= 3; minor++) {
		pcap_header(&f, false, 0xa1b2c3d4, minor, 1500, 1);
		pcap_record(&f, 1, 1, 40, 40, 1);
		put(&f, 1, 4), put(&f, 2, 4), put(&f, 99, 4), put(&f, 20, 4);
		put_fill(&f, 20, 9);
		s = read_file(&f, plain);
		CHECK_EQ(s->n, 2);
		CHECK_EQ(s->err, PF_OK);
		CHECK_EQ(s->desc[1].caplen, 20);
		CHECK_EQ(s->desc[1].wire_len, 99);
		free(s);
	}
	pcap_header(&f, false, 0xa1b2c3d4, 3, 1500, 1);
	pcap_record(&f, 1, 1, 20, 99, 1);
	s = read_file(&f, plain);
	CHECK_EQ(s->n, 1);
	CHECK_EQ(s->desc[0].caplen, 20);
	free(s);

	/* FCS bits */
	pcap_header(&f, true, 0xa1b2c3d4, 4, 1500, 0x54000001);
	pcap_record(&f, 1, 1, 20, 99, 1);
	s = read_file(&f, plain);
	CHECK_EQ(s->n, 1);
	CHECK_EQ(s->iface[0].linktype, 1);
	CHECK_EQ(s->iface[0].linktype_high, 0x5400);
	free(s);
}

static void test_pcap_refused(void)
{
	struct file f = {.len = 0};

	expect_error(&f, plain, 0, PF_EINVAL, PF_DIAG_IO_EMPTY, 0);
	put(&f, 0x464c457f, 4);
	expect_error(&f, plain, 0, PF_EINVAL, PF_DIAG_IO_MAGIC, 0);
	pcap_header(&f, false, 0xa1b2c3d4, 5, 100, 1);
	expect_error(&f, plain, 0, PF_EINVAL, PF_DIAG_IO_VERSION, 4);
	pcap_header(&f, false, 0xa1b2c3d4, 4, 100, 113);
	pcap_record(&f, 1, 1, 20, 99, 1);
	expect_error(&f, plain, 0, PF_EOPNOTSUPP, PF_DIAG_IO_LINKTYPE, 0);
	struct seen *s = read_file(&f, plain);
	CHECK_EQ(strcmp(s->diag.name, "LINUX_SLL"), 0);
	CHECK_EQ(s->diag.found, 113);
	free(s);
	s = read_file(&f, any);
	CHECK_EQ(s->n, 1);
	free(s);
	pcap_header(&f, false, 0xa1b2c3d4, 4, 100, 105);
	expect_error(&f, ethernet, 0, PF_EOPNOTSUPP, PF_DIAG_IO_LINKTYPE, 0);

	sample_pcap(&f, true, false);
	size_t good = f.len;
	put(&f, 1, 4), put(&f, 1, 4), put(&f, PF_READER_RECORD_MAX + 1, 4), put(&f, 60, 4);
	put_fill(&f, 100, 0);
	expect_error(&f, plain, 14, PF_EBADMSG, PF_DIAG_IO_RECORD_LENGTH, good);
}

static void test_pcapng(void)
{
	static const uint32_t caplen[] = {61, 33, 60, 44, 50, 70, 1}, wire_len[] = {99, 33, 60, 1500, 80, 70, 1};
	static const uint32_t iface[] = {0, 0, 1, 2, 2, 2, 3};
	static const int64_t ns[] = {1600000000000001000, 0, 1600000000000000002, 1500000000, -5000000000, 1019000000000, 1234};
	struct file f;

	sample_pcapng(&f);
	struct seen *s = read_file(&f, plain);
	CHECK_EQ(s->err, PF_OK);
	CHECK_EQ(s->n, 7);
	CHECK_EQ(s->info.ifaces, 4);
	CHECK_EQ(s->info.skipped_blocks, 3);
	CHECK_EQ(s->info.format, PF_FORMAT_PCAPNG);
	for (uint32_t i = 0; i < 7; i++) {
		CHECK_EQ(s->desc[i].caplen, caplen[i]);
		CHECK_EQ(s->desc[i].wire_len, wire_len[i]);
		CHECK_EQ(s->desc[i].iface, iface[i]);
		CHECK_EQ(s->desc[i].ts_ns, ns[i]);
		CHECK_EQ(s->data[i][0], i + 1);
		CHECK_EQ(s->data[i][caplen[i] - 1], (uint8_t)(i + 1 + 7 * (caplen[i] - 1)));
	}
	CHECK_EQ(s->iface[3].tsoffset, -5);
	CHECK_EQ(s->iface[3].tsresol, 0x8a);
	free(s);
}

static void test_time(void)
{
	static const struct {
		int tsresol;
		int64_t tsoffset;
		uint64_t raw;
		int64_t ns;
	} rows[] = {
		{0, 0, 5, 5000000000},
		{3, 0, 1600000000123, 1600000000123000000},
		{6, 0, UINT64_MAX, INT64_MAX},
		{6, 0, INT64_MAX / 1000, INT64_MAX / 1000 * 1000},
		{6, 0, INT64_MAX / 1000 + 1, INT64_MAX},
		{6, 100, 0, 100000000000},
		{6, -1, 1, -999999000},
		{9, 0, INT64_MAX, INT64_MAX},
		{10, 0, 19, 1},
		{12, 0, UINT64_MAX, 18446744073709551},
		{28, 0, UINT64_MAX, 1},
		{29, 0, UINT64_MAX, 0},
		{127, 7, UINT64_MAX, 7000000000},
		{0x80, 0, 3, 3000000000},
		{0x80 | 10, 0, 1025, 1000976562},
		{0x80 | 32, 0, 1600000000ull << 32 | 1u << 31, 1600000000500000000},
		{0x80 | 63, 0, UINT64_MAX, 1999999999},
		{0xff, -3, UINT64_MAX, -3000000000},
		{9, INT64_MIN, 5, INT64_MIN},
		{9, INT64_MAX, 5, INT64_MAX},
	};
	struct file f;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		f.len = 0;
		section(&f, i & 1);
		interface(&f, 1, 0, rows[i].tsresol, rows[i].tsoffset);
		enhanced(&f, 0, rows[i].raw, 14, 14, 0);
		struct seen *s = read_file(&f, plain);
		CHECK_EQ(s->n, 1);
		CHECK_EQ(s->desc[0].ts_ns, rows[i].ns);
		CHECK_EQ(s->desc[0].ts_raw, rows[i].raw);
		free(s);
	}
}

static void test_pcapng_refused(void)
{
	struct file f, good;

	good.len = 0;
	section(&good, true);
	interface(&good, 1, 0, -1, 0);
	enhanced(&good, 0, 1, 20, 20, 0);
	size_t at = good.len;

#define DAMAGED(code, ...)                                                                                             \
	do {                                                                                                           \
		f = good;                                                                                              \
		__VA_ARGS__;                                                                                           \
		expect_error(&f, plain, 1, PF_EBADMSG, PF_DIAG_##code, at);                                            \
	} while (0)
	DAMAGED(IO_BLOCK_LENGTH, put(&f, 6, 4), put(&f, 0, 8));
	DAMAGED(IO_BLOCK_LENGTH, put(&f, 77, 4), put(&f, 13, 4), put(&f, 0, 8));
	DAMAGED(IO_BLOCK_LENGTH, put(&f, 6, 4), put(&f, 0xfffffffc, 4), put(&f, 0, 8));
	DAMAGED(IO_BLOCK_LENGTH, other(&f, 6, 16));
	DAMAGED(IO_BLOCK_LENGTH, other(&f, 1, 4));
	DAMAGED(IO_BLOCK_TRAILER, enhanced(&f, 0, 1, 20, 20, 0), f.bytes[f.len - 1]++);
	DAMAGED(IO_BLOCK_TRAILER, other(&f, 99, 20), f.bytes[f.len - 1]++);
	DAMAGED(IO_INTERFACE, enhanced(&f, 1, 1, 20, 20, 0));
	DAMAGED(IO_INTERFACE, obsolete(&f, 1, 1, 20, 20, 0));
	DAMAGED(IO_PACKET_LENGTH, enhanced(&f, 0, 1, 20, 20, 0), f.bytes[at + 23] = 21);
	DAMAGED(IO_PACKET_LENGTH, simple(&f, 50, 40, 0));
	DAMAGED(IO_OPTION, interface(&f, 1, 0, 9, 0), f.bytes[at + 19] = 200);
	DAMAGED(IO_OPTION_LENGTH, interface(&f, 1, 0, 9, 0), f.bytes[at + 27] = 3);
	DAMAGED(IO_BYTE_ORDER, section(&f, true), f.bytes[at + 8] = 0);
	f = good;
	section(&f, true);
	f.bytes[at + 13] = 2;
	expect_error(&f, plain, 1, PF_EINVAL, PF_DIAG_IO_VERSION, at);
	f = good;
	interface(&f, 101, 0, -1, 0);
	size_t packet = f.len;
	enhanced(&f, 0, 1, 20, 20, 0);
	size_t raw = f.len;
	enhanced(&f, 1, 1, 20, 20, 0);
	CHECK(raw > packet);
	expect_error(&f, plain, 2, PF_EOPNOTSUPP, PF_DIAG_IO_LINKTYPE, raw);
	f = good;
	section(&f, false);
	size_t first = f.len;
	simple(&f, 20, 20, 0);
	expect_error(&f, plain, 1, PF_EBADMSG, PF_DIAG_IO_INTERFACE, first);
}

/* Every chunk size, batch size and read size gives the same packets, also where as_ethernet writes in front of them. */
static void sweep(const struct file *f, struct pf_reader_options options)
{
	struct seen *whole = read_file(f, options);

	for (uint32_t chunk = 64; chunk < f->len + 70; chunk += chunk < 400 ? 1 : 13) {
		options.chunk = chunk;
		for (uint32_t capacity = 1; capacity <= 64; capacity *= 8) {
			struct seen *s = read_bytes(f->bytes, f->len, options, capacity);
			CHECK_EQ(s->n, whole->n);
			CHECK_EQ(s->err, whole->err);
			same_packets(whole, s, s->n);
			free(s);
		}
	}
	free(whole);
}

static void test_chunks(void)
{
	struct file f;

	for (int variant = 0; variant < 4; variant++) {
		sample_pcap(&f, variant & 2, variant & 1);
		sweep(&f, plain);
	}
	sample_pcapng(&f);
	sweep(&f, plain);
	pcap_header(&f, false, 0xa1b2c3d4, 4, 0, 101);
	for (uint32_t i = 0; i < 20; i++)
		pcap_record(&f, i, i, 2 * i, 2 * i, i & 1 ? 0x45 : 0x60);
	sweep(&f, ethernet);
	f.len = 0;
	section(&f, true);
	interface(&f, 228, 0, -1, 0);
	for (uint32_t i = 0; i < 20; i++)
		simple(&f, i, i, (uint8_t)i);
	sweep(&f, ethernet);
}

struct feed {
	const struct file *file;
	size_t step;
	int fd;
};

static void *feeder(void *arg)
{
	const struct feed *feed = arg;

	for (size_t at = 0; at < feed->file->len; at += feed->step) {
		size_t n = feed->file->len - at < feed->step ? feed->file->len - at : feed->step;
		CHECK_EQ(write(feed->fd, feed->file->bytes + at, n), n);
	}
	close(feed->fd);
	return NULL;
}

/* Short reads: every message of the socket is one read. */
static void test_short_reads(void)
{
	struct file f;
	struct seen *s = malloc(sizeof *s);

	CHECK(s != NULL);
	sample_pcapng(&f);
	struct seen *whole = read_file(&f, plain);
	for (size_t step = 1; step < 200; step += 9) {
		int pair[2];
		pthread_t thread;
		CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
		struct feed feed = {&f, step, pair[1]};
		CHECK_EQ(pthread_create(&thread, NULL, feeder, &feed), 0);
		read_fd(pair[0], &plain, 8, s);
		pthread_join(thread, NULL);
		CHECK_EQ(s->n, whole->n);
		CHECK_EQ(s->err, PF_OK);
		same_packets(whole, s, s->n);
		close(pair[0]);
	}
	free(whole);
	free(s);
}

/* Cut at every byte: the packets before, then one clear error; none where the cut is between two records. */
static void cut_everywhere(const struct file *f, const size_t *ends, size_t n_ends, const size_t *packet_ends, size_t header)
{
	struct seen *whole = read_file(f, plain);

	for (size_t len = 0; len <= f->len; len++) {
		struct pf_reader_options options = {.chunk = (uint32_t)(64 + len % 100)};
		struct seen *s = read_bytes(f->bytes, len, options, 5);
		uint32_t packets = 0;
		size_t boundary = 0;
		for (size_t i = 0; i < n_ends; i++)
			if (ends[i] <= len)
				boundary = ends[i];
		while (packets < whole->n && packet_ends[packets] <= len)
			packets++;
		CHECK_EQ(s->n, packets);
		same_packets(whole, s, s->n);
		if (!len) {
			CHECK_EQ(s->diag.code, PF_DIAG_IO_EMPTY);
		} else if (len < header) {
			CHECK_EQ(s->diag.code, PF_DIAG_IO_CUT_HEADER);
			CHECK_EQ(s->diag.found, len);
		} else if (len == boundary) {
			CHECK_EQ(s->err, PF_OK);
		} else {
			CHECK_EQ(s->err, PF_EBADMSG);
			CHECK_EQ(s->diag.code, PF_DIAG_IO_CUT_RECORD);
			CHECK_EQ(s->diag.offset, boundary);
			CHECK_EQ(s->diag.found, len - boundary);
			CHECK(s->diag.expected > s->diag.found);
		}
		free(s);
	}
	free(whole);
}

static void test_cut(void)
{
	struct file f;
	size_t ends[64], packets[64], n = 0, n_packets = 0;

	pcap_header(&f, true, 0xa1b2c3d4, 4, 100, 1);
	ends[n++] = f.len;
	for (uint32_t i = 0; i < 8; i++) {
		pcap_record(&f, i, i, 9 * i, 9 * i, (uint8_t)i);
		ends[n++] = packets[n_packets++] = f.len;
	}
	cut_everywhere(&f, ends, n, packets, 24);
	n = n_packets = 0;
	sample_pcapng(&f);
	for (size_t at = 0; at < f.len;) { /* the trailing length finds the boundaries whatever the byte order */
		bool big = f.bytes[at + 4] == 0;
		uint32_t length = big ? f.bytes[at + 7] : f.bytes[at + 4];
		uint8_t type = big ? f.bytes[at + 3] : f.bytes[at];
		at += length;
		ends[n++] = at;
		if ((type == 2 || type == 3 || type == 6) && length > 12)
			packets[n_packets++] = at;
	}
	CHECK_EQ(n_packets, 7);
	cut_everywhere(&f, ends, n, packets, 4);
}

static void test_as_ethernet(void)
{
	static const uint8_t sll[] = {0, 4, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0, 0x86, 0xdd, 0x60};
	static const uint8_t llc[] = {0, 4, 0, 1, 0, 8, 1, 2, 3, 4, 5, 6, 0, 0, 0, 4, 0x42};
	static const uint8_t netlink[] = {0, 4, 3, 0x38, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 1};
	static const uint8_t sll2[] = {8, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 6, 9, 8, 7, 6, 5, 4, 0, 0, 0x45};
	static const struct {
		uint16_t linktype, type;
		uint32_t len, strip;
		const uint8_t *bytes, *source;
	} rows[] = {
		{101, 0x0800, 1, 0, (const uint8_t *)"\x45", NULL},
		{12, 0x86dd, 1, 0, (const uint8_t *)"\x60", NULL},
		{14, 0xffff, 1, 0, (const uint8_t *)"\x30", NULL},
		{101, 0xffff, 0, 0, NULL, NULL},
		{228, 0x0800, 1, 0, (const uint8_t *)"\x60", NULL},
		{229, 0x86dd, 1, 0, (const uint8_t *)"\x45", NULL},
		{0, 0x0800, 5, 4, (const uint8_t *)"\2\0\0\0\x45", NULL},
		{0, 0x86dd, 5, 4, (const uint8_t *)"\0\0\0\x1e\x60", NULL},
		{108, 0x86dd, 5, 4, (const uint8_t *)"\0\0\0\x18\x60", NULL},
		{0, 0xffff, 5, 4, (const uint8_t *)"\x07\0\0\0\x60", NULL},
		{0, 0xffff, 3, 3, (const uint8_t *)"\2\0\0", NULL},
		{113, 0x86dd, sizeof sll, 16, sll, sll + 6},
		{113, 0xffff, 15, 15, sll, NULL},
		{113, 101, sizeof llc, 16, llc, NULL},
		{113, 0xffff, sizeof netlink, 16, netlink, NULL},
		{276, 0x0800, sizeof sll2, 20, sll2, sll2 + 12},
	};
	struct file f;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		static const uint8_t ours[] = {2, 0, 0, 0, 0, 2};
		uint32_t full = rows[i].linktype == 113 ? 16 : rows[i].linktype == 276 ? 20 : rows[i].strip ? 4 : 0;
		pcap_header(&f, i & 1, 0xa1b2c3d4, 4, 1000, rows[i].linktype);
		put(&f, 1, 4), put(&f, 2, 4), put(&f, rows[i].len, 4), put(&f, 101 + full, 4);
		for (uint32_t k = 0; k < rows[i].len; k++)
			put(&f, rows[i].bytes[k], 1);
		struct seen *s = read_file(&f, ethernet);
		CHECK_EQ(s->n, 1);
		CHECK_EQ(s->iface[0].linktype, 1);
		CHECK_EQ(s->iface[0].snaplen, 1014);
		CHECK_EQ(s->desc[0].caplen, 14 + rows[i].len - rows[i].strip);
		CHECK_EQ(s->desc[0].wire_len, 115);
		CHECK_EQ(memcmp(s->data[0], "\2\0\0\0\0\1", 6), 0);
		CHECK_EQ(memcmp(s->data[0] + 6, rows[i].source ? rows[i].source : ours, 6), 0);
		CHECK_EQ(s->data[0][12] << 8 | s->data[0][13], rows[i].type);
		if (rows[i].len > rows[i].strip)
			CHECK_EQ(s->data[0][14], rows[i].bytes[rows[i].strip]);
		free(s);
	}
}

int main(void)
{
	CHECK_EQ(strcmp(pf_linktype_name(1), "EN10MB"), 0);
	CHECK_EQ(strcmp(pf_linktype_name(60000), "unknown"), 0);
	test_pcap();
	test_pcap_variants();
	test_pcap_refused();
	test_pcapng();
	test_time();
	test_pcapng_refused();
	test_chunks();
	test_short_reads();
	test_cut();
	test_as_ethernet();
	return 0;
}
