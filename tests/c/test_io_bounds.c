/* test_io_bounds.c - the capture reader: memory, signals, and the number of interfaces. */
#include "capture.h"

#include <signal.h>
#include <sys/time.h>

static const struct pf_reader_options plain;

static uint64_t status_kib(const char *field)
{
	char line[256];
	unsigned long long value = 0;
	FILE *status = fopen("/proc/self/status", "r");

	CHECK(status != NULL);
	while (fgets(line, sizeof line, status))
		if (!strncmp(line, field, strlen(field)))
			value = strtoull(line + strlen(field) + 1, NULL, 10);
	fclose(status);
	return value;
}

/* R1: a length in the file decides no allocation; a long record that is really there is read whole. */
static void test_memory(void)
{
	struct file f;
	uint64_t before = status_kib("VmHWM");

	for (int ng = 0; ng < 2; ng++) {
		f.len = 0;
		if (ng) {
			section(&f, false);
			interface(&f, 1, 0, -1, 0);
			put(&f, 6, 4), put(&f, 60 << 20, 4), put(&f, 0, 12), put(&f, (60 << 20) - 32, 4);
		} else {
			pcap_header(&f, false, 0xa1b2c3d4, 4, 0, 1);
			put(&f, 0, 8), put(&f, 60 << 20, 4), put(&f, 60 << 20, 4);
		}
		put_fill(&f, 100, 0);
		int fd = memory_file(f.bytes, f.len);
		struct pf_desc desc[4];
		struct pf_batch batch = {.desc = desc, .capacity = 4};
		struct pf_reader *r;
		struct pf_diag diag;
		CHECK_EQ(pf_reader_open(fd, &plain, &r, &diag), PF_OK);
		CHECK_EQ(pf_reader_source(r)->next(pf_reader_source(r), &batch, &diag), PF_EBADMSG);
		CHECK_EQ(diag.code, PF_DIAG_IO_CUT_RECORD);
		CHECK(diag.expected >= 60 << 20);
		pf_reader_close(r);
		close(fd);
	}
	CHECK(status_kib("VmHWM") - before < 1024);

	uint32_t len = 5000000;
	uint8_t *bytes = malloc(24 + 16 + len + 16 + 60);
	CHECK(bytes != NULL);
	pcap_header(&f, false, 0xa1b2c3d4, 4, 0, 1);
	put(&f, 0, 8), put(&f, len, 4), put(&f, len, 4);
	memcpy(bytes, f.bytes, 40);
	for (uint32_t i = 0; i < len; i++)
		bytes[40 + i] = (uint8_t)(i * 2654435761u >> 24);
	f.len = 0;
	pcap_record(&f, 1, 1, 60, 60, 5);
	memcpy(bytes + 40 + len, f.bytes, f.len);
	int fd = memory_file(bytes, 40 + len + f.len);
	struct pf_desc desc[4];
	struct pf_batch batch = {.desc = desc, .capacity = 4};
	struct pf_reader *r;
	CHECK_EQ(pf_reader_open(fd, &plain, &r, NULL), PF_OK);
	CHECK_EQ(pf_reader_source(r)->next(pf_reader_source(r), &batch, NULL), PF_OK);
	CHECK(batch.n >= 1);
	CHECK_EQ(desc[0].caplen, len);
	CHECK_EQ(memcmp(desc[0].data, bytes + 40, len), 0);
	if (batch.n == 1)
		CHECK_EQ(pf_reader_source(r)->next(pf_reader_source(r), &batch, NULL), PF_OK);
	CHECK_EQ(desc[batch.n - 1].caplen, 60);
	CHECK_EQ(desc[batch.n - 1].data[0], 5);
	pf_reader_close(r);
	close(fd);
	free(bytes);
}

static void on_alarm(int number) { (void)number; }

/* R5: a signal during read(2) loses nothing. */
static void test_interrupted(void)
{
	struct sigaction action = {.sa_handler = on_alarm}; /* no SA_RESTART */
	struct itimerval soon = {.it_value.tv_usec = 20000};
	struct pf_desc desc[64];
	struct pf_batch batch = {.desc = desc, .capacity = 64};
	struct pf_reader *r;
	struct pf_diag diag;
	struct file f;
	int fd[2];

	pcap_header(&f, false, 0xa1b2c3d4, 4, 100, 1);
	for (uint32_t i = 0; i < 14; i++)
		pcap_record(&f, i, i, 20 + i, 60, (uint8_t)i);
	CHECK_EQ(pipe(fd), 0);
	CHECK_EQ(write(fd[1], f.bytes, 50), 50);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
	CHECK_EQ(pf_reader_open(fd[0], &plain, &r, &diag), PF_OK);
	CHECK_EQ(pf_reader_source(r)->next(pf_reader_source(r), &batch, &diag), PF_EINTR);
	CHECK_EQ(write(fd[1], f.bytes + 50, f.len - 50), f.len - 50);
	close(fd[1]);
	CHECK_EQ(pf_reader_source(r)->next(pf_reader_source(r), &batch, &diag), PF_OK);
	CHECK_EQ(batch.n, 14);
	CHECK_EQ(pf_reader_source(r)->next(pf_reader_source(r), &batch, &diag), PF_OK);
	CHECK_EQ(batch.n, 0);
	pf_reader_close(r);
	close(fd[0]);
	CHECK_EQ(pf_reader_open(fd[0], &plain, &r, &diag), PF_OK);
	CHECK_EQ(pf_reader_source(r)->next(pf_reader_source(r), &batch, &diag), PF_EIO);
	CHECK_EQ(diag.code, PF_DIAG_IO_READ);
	pf_reader_close(r);
}

/* Interfaces are bounded, and their pointers stay. */
static void test_interfaces(void)
{
	struct file f = {.len = 0};
	int fd = memfd_create("capture", MFD_CLOEXEC);
	struct pf_desc desc[4];
	struct pf_batch batch = {.desc = desc, .capacity = 4};
	struct pf_reader *r;
	struct pf_diag diag;

	section(&f, false);
	interface(&f, 1, 77, -1, 0);
	enhanced(&f, 0, 1, 14, 14, 0);
	CHECK_EQ(write(fd, f.bytes, f.len), f.len);
	size_t at = f.len;
	f.len = 0;
	for (int i = 0; i < 1024; i++)
		interface(&f, 1, 0, -1, 0);
	size_t each = f.len / 1024;
	for (int i = 0; i < 64; i++)
		CHECK_EQ(write(fd, f.bytes, f.len), f.len);
	CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
	CHECK_EQ(pf_reader_open(fd, &plain, &r, &diag), PF_OK);
	struct pf_source *source = pf_reader_source(r);
	CHECK_EQ(source->next(source, &batch, &diag), PF_OK);
	const struct pf_iface *first = source->iface(source, 0);
	CHECK_EQ(source->next(source, &batch, &diag), PF_EBADMSG);
	CHECK_EQ(diag.code, PF_DIAG_IO_INTERFACES);
	CHECK_EQ(diag.offset, at + each * (PF_READER_IFACES - 1));
	CHECK(source->iface(source, 0) == first);
	CHECK_EQ(first->snaplen, 77);
	CHECK(source->iface(source, PF_READER_IFACES - 1) != NULL);
	CHECK(source->iface(source, PF_READER_IFACES) == NULL);
	pf_reader_close(r);
	close(fd);
}

int main(void)
{
	test_memory(); /* first, while the process is small */
	test_interrupted();
	test_interfaces();
	return 0;
}
