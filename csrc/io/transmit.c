/* transmit.c - sending what the verdicts let through, many packets a system call. */
#include "transmit.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "system.h"

#define RETRY_MS 100u
#define GROUP 64u          /* packets a system call */
#define PAUSE_NS 20000     /* between two attempts at a queue that cannot be polled */

struct waiting {
	size_t offset;
	uint32_t len;
	uint32_t port;
};

struct pf_transmit {
	struct pf_sink sink;
	uint32_t ports;
	uint8_t leaves_redirects; /* X1 */
	int fd[PF_RING_PORTS];
	uint32_t ifindex[PF_RING_PORTS];
	uint64_t retry_ns;
	uint8_t *bytes;
	size_t len, capacity;
	struct waiting *waiting;
	uint32_t count, room;
	struct pf_diag failed;
	struct pf_transmit_counts counts[PF_RING_PORTS];
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- collecting ---- */

static int make_room(struct pf_transmit *t, uint32_t len)
{
	if (t->count == t->room) {
		uint32_t room = t->room ? 2 * t->room : 256;
		struct waiting *waiting = realloc(t->waiting, room * sizeof *waiting);

		if (!waiting)
			return 0;
		t->waiting = waiting;
		t->room = room;
	}
	if (t->capacity - t->len < len) {
		size_t capacity = t->capacity ? t->capacity : 64u << 10;
		uint8_t *bytes;

		while (capacity - t->len < len)
			capacity *= 2;
		bytes = realloc(t->bytes, capacity);
		if (!bytes)
			return 0;
		t->bytes = bytes;
		t->capacity = capacity;
	}
	return 1;
}

/* X1: the port to send on, or none. */
static int destination(const struct pf_transmit *t, uint8_t action, uint32_t from, uint32_t *to)
{
	const int single = t->ports == 1;

	switch ((enum pf_action)action) {
	case PF_XDP_REDIRECT:
		if (t->leaves_redirects)
			return 0;
		*to = single ? 0 : from ^ 1;
		return 1;
	case PF_XDP_PASS:
		*to = single ? 0 : from ^ 1;
		return 1;
	case PF_XDP_TX:
		*to = single ? 0 : from;
		return 1;
	case PF_XDP_ABORTED:
	case PF_XDP_DROP:
		return 0;
	}
	return 0;
}

static void transmit_emit(struct pf_sink *sink, const struct pf_source *source, const struct pf_desc *desc,
			  const struct pf_packet *packet, const struct pf_verdict *verdict)
{
	struct pf_transmit *t = (struct pf_transmit *)sink;
	uint32_t linear = (uint32_t)(packet->data_end - packet->data), len = pf_packet_length(packet), port;

	(void)source;
	if (t->failed.err || PF_BUG_ON(t->ports > 1 && desc->iface >= t->ports) ||
	    !destination(t, verdict->action, desc->iface, &port))
		return;
	if (desc->caplen < desc->wire_len) { /* X1: the rest of it is not here */
		t->counts[port].cut++;
		return;
	}
	if (!make_room(t, len)) {
		pf_diag_set(&t->failed, PF_ENOMEM, PF_DIAG_LIVE_SEND, port, 0, 0, 0, pf_err_text(PF_ENOMEM));
		return;
	}
	memcpy(t->bytes + t->len, packet->data, linear);
	if (packet->extra_len)
		memcpy(t->bytes + t->len + linear, packet->extra, packet->extra_len);
	t->waiting[t->count++] = (struct waiting){.offset = t->len, .len = len, .port = port};
	t->len += len;
}

/* ---- sending ---- */

static void pause_for(int fd, int number)
{
	struct timespec nap = {.tv_nsec = PAUSE_NS};
	struct pollfd polled = {.fd = fd, .events = POLLOUT};

	if (number == EAGAIN)
		(void)poll(&polled, 1, 1);
	else
		nanosleep(&nap, NULL); /* ENOBUFS: a full device queue, which poll does not know */
}

/* What to do about the packet at which the system call stopped: 1 again, 0 the next one. May set `failed`. */
static int after_refusal(struct pf_transmit *t, uint32_t port, int number, uint64_t *waited_since)
{
	struct pf_transmit_counts *counts = &t->counts[port];
	char text[PF_NAME_MAX];

	if (number == EINTR)
		return 1;
	if (number == EAGAIN || number == ENOBUFS) {
		uint64_t now = now_ns();

		*waited_since = *waited_since ? *waited_since : now;
		if (now - *waited_since < t->retry_ns) {
			pause_for(t->fd[port], number);
			return 1;
		}
		counts->dropped++;
	} else if (number == EMSGSIZE) {
		counts->too_long++;
	} else if (number == ENETDOWN || number == ENXIO || number == ENODEV) {
		pf_interface_lost(t->fd[port], t->ifindex[port], port, &t->failed);
	} else if (number == EINVAL || number == EFAULT) {
		counts->refused++;
	} else {
		pf_system_text(number, text);
		pf_diag_set(&t->failed, pf_system_err(number), PF_DIAG_LIVE_SEND, port, 0, 0, 0, text);
	}
	return 0;
}

/* The packets of one port from waiting[at] on, at most GROUP. Returns where to go on. */
static uint32_t gather(const struct pf_transmit *t, uint32_t port, uint32_t at, struct mmsghdr *messages,
		       struct iovec *parts, unsigned *n)
{
	for (*n = 0; at < t->count && *n < GROUP; at++) {
		if (t->waiting[at].port != port)
			continue;
		parts[*n] = (struct iovec){.iov_base = t->bytes + t->waiting[at].offset, .iov_len = t->waiting[at].len};
		messages[*n] = (struct mmsghdr){.msg_hdr = {.msg_iov = &parts[*n], .msg_iovlen = 1}};
		++*n;
	}
	return at;
}

static void send_group(struct pf_transmit *t, uint32_t port, struct mmsghdr *messages, unsigned n,
		       uint64_t *waited_since)
{
	for (unsigned at = 0; at < n && !t->failed.err;) {
		int sent = sendmmsg(t->fd[port], messages + at, n - at, MSG_DONTWAIT);

		if (sent > 0) {
			for (int i = 0; i < sent; i++)
				t->counts[port].sent_bytes += messages[at + (unsigned)i].msg_hdr.msg_iov->iov_len;
			t->counts[port].sent += (uint64_t)sent;
			at += (unsigned)sent;
		} else if (!after_refusal(t, port, sent < 0 ? errno : EAGAIN, waited_since)) {
			at++;
		}
	}
}

static enum pf_err transmit_flush(struct pf_sink *sink, struct pf_diag *diag)
{
	struct pf_transmit *t = (struct pf_transmit *)sink;
	struct mmsghdr messages[GROUP];
	struct iovec parts[GROUP];
	uint64_t waited_since = 0; /* one budget a flush, X3 */

	for (uint32_t port = 0; port < t->ports && t->count; port++) {
		unsigned n;

		for (uint32_t at = 0; at < t->count && !t->failed.err;) {
			at = gather(t, port, at, messages, parts, &n);
			send_group(t, port, messages, n, &waited_since);
		}
	}
	t->count = 0;
	t->len = 0;
	if (diag && t->failed.err)
		*diag = t->failed;
	return t->failed.err;
}

/* ---- beginning and end ---- */

enum pf_err pf_transmit_open(const uint32_t *ifindex, uint32_t ports, uint32_t retry_ms, struct pf_transmit **out,
			     struct pf_diag *diag)
{
	struct pf_transmit *t = calloc(1, sizeof *t);
	struct pf_diag why = {.err = PF_EIO};

	*out = NULL;
	if (PF_BUG_ON(!ports || ports > PF_RING_PORTS))
		ports = 1;
	if (!t)
		return pf_diag_set(diag, PF_ENOMEM, PF_DIAG_LIVE_SEND, 0, 0, 0, 0, pf_err_text(PF_ENOMEM));
	t->sink.actions = 1u << PF_XDP_PASS | 1u << PF_XDP_TX | 1u << PF_XDP_REDIRECT;
	t->sink.emit = transmit_emit;
	t->sink.flush = transmit_flush;
	t->retry_ns = (uint64_t)(retry_ms ? retry_ms : RETRY_MS) * 1000000u;
	for (uint32_t i = 0; i < PF_RING_PORTS; i++)
		t->fd[i] = -1;
	t->ports = ports;
	for (uint32_t i = 0; i < ports; i++) {
		t->ifindex[i] = ifindex[i];
		t->fd[i] = pf_packet_socket(ifindex[i], i, &why);
		if (t->fd[i] < 0) {
			pf_transmit_close(t);
			if (diag)
				*diag = why;
			return why.err;
		}
	}
	*out = t;
	return PF_OK;
}

void pf_transmit_close(struct pf_transmit *t)
{
	if (!t)
		return;
	for (uint32_t i = 0; i < PF_RING_PORTS; i++)
		if (t->fd[i] >= 0)
			close(t->fd[i]);
	free(t->bytes);
	free(t->waiting);
	free(t);
}

void pf_transmit_leave_redirects(struct pf_transmit *t) { t->leaves_redirects = 1; }

void pf_transmit_counts(const struct pf_transmit *t, uint32_t port, struct pf_transmit_counts *counts)
{
	*counts = t->counts[port];
}

/* ---- two sinks ---- */

static void tee_emit(struct pf_sink *sink, const struct pf_source *source, const struct pf_desc *desc,
		     const struct pf_packet *packet, const struct pf_verdict *verdict)
{
	struct pf_tee *tee = (struct pf_tee *)sink;

	tee->first->emit(tee->first, source, desc, packet, verdict);
	tee->second->emit(tee->second, source, desc, packet, verdict);
}

static void tee_depart(struct pf_sink *sink, const struct pf_source *source, const struct pf_desc *desc,
		       const struct pf_packet *packet, const struct pf_verdict *verdict, struct pf_port port)
{
	struct pf_tee *tee = (struct pf_tee *)sink;

	if (tee->first->depart)
		tee->first->depart(tee->first, source, desc, packet, verdict, port);
	if (tee->second->depart)
		tee->second->depart(tee->second, source, desc, packet, verdict, port);
}

static enum pf_err tee_flush(struct pf_sink *sink, struct pf_diag *diag)
{
	struct pf_tee *tee = (struct pf_tee *)sink;
	enum pf_err err = tee->first->flush(tee->first, diag), second;

	second = tee->second->flush(tee->second, err ? NULL : diag);
	return err ? err : second;
}

void pf_tee_init(struct pf_tee *tee, struct pf_sink *first, struct pf_sink *second)
{
	tee->sink.actions = 0;
	tee->sink.emit = tee_emit;
	tee->sink.flush = tee_flush;
	tee->sink.depart = first->depart || second->depart ? tee_depart : NULL;
	tee->first = first;
	tee->second = second;
}
