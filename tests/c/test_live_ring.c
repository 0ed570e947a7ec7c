/* test_live_ring.c - the ring and the transmit sink over the loopback interface of a network namespace of this process's
 * own; needs no root where user namespaces may be made, and says so where neither is possible. */
#include "check.h"
#include "io/transmit.h"

#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MOST 512u
#define SENT 2000u

static int loopback(int up)
{
	struct ifreq request = {.ifr_name = "lo"};
	int fd = socket(AF_INET, SOCK_DGRAM, 0), failed;

	if (fd < 0)
		return 0;
	failed = ioctl(fd, SIOCGIFFLAGS, &request);
	request.ifr_flags = (short)(up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP);
	failed = failed || ioctl(fd, SIOCSIFFLAGS, &request);
	close(fd);
	return !failed;
}

static uint32_t fill(uint8_t *data, uint32_t number)
{
	uint32_t len = 60 + number % 900;

	memset(data, (int)number, len);
	memset(data, 0, 12);
	data[12] = 0x88;
	data[13] = 0xb5;
	memcpy(data + 14, &number, sizeof number);
	return len;
}

static void emit(struct pf_sink *sink, uint32_t number, uint8_t action)
{
	uint8_t data[1024];
	struct pf_packet packet;
	struct pf_desc desc = {.data = data, .iface = number % 2};
	struct pf_verdict verdict = {.action = action};

	desc.caplen = desc.wire_len = fill(data, number);
	pf_packet_init(&packet, data, desc.caplen, number % 3 ? UINT32_MAX : 50); /* in two parts, too */
	sink->emit(sink, NULL, &desc, &packet, &verdict);
}

/* Only TX, PASS and REDIRECT are sent; every one arrives with its bytes. */
static void test_sent_is_received(uint32_t lo)
{
	static const uint8_t action[] = {PF_XDP_PASS, PF_XDP_DROP, PF_XDP_TX, PF_XDP_ABORTED, PF_XDP_REDIRECT};
	const struct pf_ring_options options = {.ifindex = {lo}, .ports = 1, .blocks = 8, .retire_ms = 2, .slice_ms = 20};
	const uint32_t ports[PF_RING_PORTS] = {lo, lo};
	struct pf_desc desc[MOST];
	struct pf_batch batch = {.desc = desc, .capacity = 100};
	struct pf_transmit_counts counts[2];
	struct pf_transmit *transmit;
	struct pf_ring *ring;
	struct pf_ring_info info;
	struct pf_diag diag = {0};
	uint32_t seen = 0, waits = 0, wanted = 0, next = 0;
	enum pf_err err;

	CHECK_EQ(pf_ring_open(&options, &ring, &diag), PF_OK);
	CHECK_EQ(pf_transmit_open(ports, PF_RING_PORTS, 0, &transmit, &diag), PF_OK);
	struct pf_source *source = pf_ring_source(ring);
	struct pf_sink *sink = pf_transmit_sink(transmit);
	CHECK_EQ(source->next(source, &batch, &diag), PF_EINTR); /* nothing yet: a slice, then the caller's turn */
	CHECK_EQ(batch.n, 0);
	CHECK(source->iface(source, 0) && !source->iface(source, 1));

	/* One port at a time, so that the order is one. */
	for (uint32_t i = 0; i < SENT; i++) {
		emit(sink, 2 * i, action[i % 5]);
		wanted += action[i % 5] != PF_XDP_DROP && action[i % 5] != PF_XDP_ABORTED;
		if (i % 50 == 49) {
			CHECK_EQ(sink->flush(sink, &diag), PF_OK);
			/* TX and the others leave by different ports; each keeps its order. */
		}
		while (i % 50 == 49 && seen < wanted && waits < 100) {
			uint8_t expected[1024];

			err = source->next(source, &batch, &diag);
			waits += err == PF_EINTR;
			CHECK(err == PF_OK || err == PF_EINTR);
			for (uint32_t k = 0; k < batch.n; k++) {
				uint32_t number;

				memcpy(&number, desc[k].data + 14, sizeof number);
				CHECK(number <= 2 * i && desc[k].caplen == fill(expected, number));
				CHECK_EQ(memcmp(desc[k].data, expected, desc[k].caplen), 0);
				CHECK(action[number / 2 % 5] != PF_XDP_DROP && action[number / 2 % 5] != PF_XDP_ABORTED);
				memset(desc[k].data, 0xee, desc[k].caplen);
				next += number;
			}
			CHECK(!batch.n || batch.ingress_ifindex == lo);
			seen += batch.n;
		}
	}
	CHECK_EQ(seen, wanted);
	for (uint32_t i = 0; i < SENT; i++)
		next -= action[i % 5] == PF_XDP_DROP || action[i % 5] == PF_XDP_ABORTED ? 0 : 2 * i;
	CHECK_EQ(next, 0); /* each number once */
	pf_ring_info(ring, 0, &info);
	CHECK_EQ(info.received, wanted);
	CHECK_EQ(info.counts.packets, wanted);
	CHECK_EQ(info.dropped, 0);
	pf_transmit_counts(transmit, 0, &counts[0]);
	pf_transmit_counts(transmit, 1, &counts[1]);
	CHECK_EQ(counts[0].sent + counts[1].sent, wanted);
	CHECK_EQ(counts[0].sent, SENT / 5); /* TX goes back */

	pf_ring_stop(ring);
	CHECK_EQ(source->next(source, &batch, &diag), PF_OK);
	CHECK_EQ(batch.n, 0);
	pf_transmit_close(transmit);
	pf_ring_close(ring);
}

/* Packets that came before are delivered; then the loss is reported, again and again. */
/* What was captured cut is not sent as if it were whole. */
static void test_cut_packets_are_not_sent(uint32_t lo)
{
	const uint32_t ports[PF_RING_PORTS] = {lo, lo};
	uint8_t data[1024];
	struct pf_packet packet;
	struct pf_desc desc = {.data = data, .caplen = 64, .wire_len = fill(data, 100)};
	struct pf_verdict verdict = {.action = PF_XDP_PASS};
	struct pf_transmit_counts counts;
	struct pf_transmit *transmit;

	CHECK_EQ(pf_transmit_open(ports, PF_RING_PORTS, 0, &transmit, NULL), PF_OK);
	struct pf_sink *sink = pf_transmit_sink(transmit);
	pf_packet_init(&packet, data, desc.caplen, UINT32_MAX);
	sink->emit(sink, NULL, &desc, &packet, &verdict);
	CHECK_EQ(sink->flush(sink, NULL), PF_OK);
	pf_transmit_counts(transmit, 1, &counts);
	CHECK_EQ(counts.sent, 0);
	CHECK_EQ(counts.cut, 1);
	pf_transmit_close(transmit);
}

static void test_a_lost_interface(uint32_t lo)
{
	const struct pf_ring_options options = {.ifindex = {lo}, .ports = 1, .blocks = 4, .retire_ms = 50, .slice_ms = 10};
	const uint32_t ports[PF_RING_PORTS] = {lo, lo};
	struct pf_desc desc[MOST];
	struct pf_batch batch = {.desc = desc, .capacity = MOST};
	struct pf_transmit *transmit;
	struct pf_ring *ring;
	struct pf_diag diag = {0};
	uint32_t seen = 0;
	enum pf_err err;

	CHECK_EQ(pf_ring_open(&options, &ring, &diag), PF_OK);
	CHECK_EQ(pf_transmit_open(ports, PF_RING_PORTS, 0, &transmit, &diag), PF_OK);
	struct pf_source *source = pf_ring_source(ring);
	struct pf_sink *sink = pf_transmit_sink(transmit);
	for (uint32_t i = 0; i < 10; i++)
		emit(sink, 2 * i, PF_XDP_TX);
	CHECK_EQ(sink->flush(sink, &diag), PF_OK);
	CHECK(loopback(0));
	for (unsigned calls = 0; (err = source->next(source, &batch, &diag)) == PF_OK || err == PF_EINTR; calls++) {
		CHECK(calls < 1000);
		seen += batch.n;
	}
	CHECK_EQ(err, PF_ENODEV);
	CHECK_EQ(diag.code, PF_DIAG_LIVE_DOWN);
	CHECK_EQ(strcmp(diag.name, "lo"), 0);
	CHECK_EQ(seen, 10);
	CHECK_EQ(source->next(source, &batch, NULL), PF_ENODEV);
	emit(sink, 0, PF_XDP_TX);
	CHECK_EQ(sink->flush(sink, &diag), PF_ENODEV);
	CHECK_EQ(diag.code, PF_DIAG_LIVE_DOWN);
	emit(sink, 0, PF_XDP_TX);
	CHECK_EQ(sink->flush(sink, NULL), PF_ENODEV);
	pf_transmit_close(transmit);
	pf_ring_close(ring);

	CHECK_EQ(pf_ring_open(&options, &ring, &diag), PF_ENODEV); /* down */
	CHECK_EQ(diag.code, PF_DIAG_LIVE_DOWN);
	const uint32_t absent[PF_RING_PORTS] = {99999, 99999};
	CHECK_EQ(pf_transmit_open(absent, PF_RING_PORTS, 0, &transmit, &diag), PF_ENODEV);
	CHECK_EQ(diag.code, PF_DIAG_LIVE_GONE);
	CHECK(loopback(1));
}

static void test_impossible_rings(uint32_t lo)
{
	struct pf_ring_options options = {.ifindex = {lo, 99999}, .ports = 2};
	struct pf_ring *ring;
	struct pf_diag diag = {0};

	CHECK_EQ(pf_ring_open(&options, &ring, &diag), PF_ENODEV);
	CHECK_EQ(diag.code, PF_DIAG_LIVE_GONE);
	CHECK_EQ(diag.insn, 1);
	options.ports = 1;
	options.block_size = 12345; /* no multiple of a page */
	CHECK_EQ(pf_ring_open(&options, &ring, &diag), PF_EINVAL);
	CHECK_EQ(diag.code, PF_DIAG_LIVE_RING);
}

int main(void)
{
	if ((unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET)) || !loopback(1)) {
		printf("skipped: this process may not make a network namespace (%s)\n", strerror(errno));
		return 0;
	}
	const uint32_t lo = if_nametoindex("lo");
	struct timespec nap = {.tv_nsec = 100000000};
	nanosleep(&nap, NULL);
	test_sent_is_received(lo);
	test_cut_packets_are_not_sent(lo);
	test_a_lost_interface(lo);
	test_impossible_rings(lo);
	return 0;
}
