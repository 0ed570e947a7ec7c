/* ring.c - the rings of a live source: setting up, waiting, giving blocks back. */
#include "ring.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "system.h"

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

#define BLOCK_SIZE (256u << 10)
#define BLOCKS 64u
#define RETIRE_MS 10u
#define SLICE_MS 100u
#define RESERVE 16u /* room for a tag in front of the packet (G3); keeps its alignment */
#define GRACE_MS 20u /* beyond the block timer, for packets that came before the interface went */

struct port {
	int fd;
	uint32_t ifindex;
	uint8_t *memory;
	uint32_t current;      /* the block that is read, or the next to come */
	int open;              /* `current` is ours and is being read */
	struct pf_block block;
	uint64_t lost_ns;      /* when the interface was seen to be gone; 0: it is there */
	struct pf_ring_info info;
};

struct pf_ring {
	struct pf_source source;
	struct pf_iface iface;
	struct pf_ring_options options;
	struct pf_diag failed;
	_Atomic int stopped;
	uint32_t turn; /* the port to look at first */
	struct port port[PF_RING_PORTS];
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- blocks ---- */

static uint8_t *block_memory(const struct pf_ring *ring, const struct port *port)
{
	return port->memory + (size_t)port->current * ring->options.block_size;
}

/* The kernel's word of ownership in the current block. It is shared with the kernel, which orders it as we do. */
static uint32_t *block_status(const struct pf_ring *ring, const struct port *port)
{
	return &((struct tpacket_block_desc *)block_memory(ring, port))->hdr.bh1.block_status;
}

static void give_back(const struct pf_ring *ring, struct port *port)
{
	__atomic_store_n(block_status(ring, port), TP_STATUS_KERNEL, __ATOMIC_RELEASE);
	port->current = (port->current + 1) % ring->options.blocks;
	port->open = 0;
}

/* Packets of this port into the batch, if there are any now. Empty blocks are passed over. */
static enum pf_err read_port(struct pf_ring *ring, struct port *port, uint32_t number, struct pf_batch *batch,
			     struct pf_diag *diag)
{
	const struct pf_block_options options = {
		.snaplen = ring->options.snaplen,
		.port = number,
		.outgoing = ring->options.outgoing,
		.partial = ring->options.partial,
	};
	enum pf_err err;

	if (port->open && !port->block.left) /* Q1: the batch before was its last */
		give_back(ring, port);
	for (uint32_t seen = 0; seen < ring->options.blocks && !batch->n; seen++) {
		if (!port->open) {
			if (!(__atomic_load_n(block_status(ring, port), __ATOMIC_ACQUIRE) & TP_STATUS_USER))
				return PF_OK;
			err = pf_block_open(&port->block, block_memory(ring, port), ring->options.block_size, diag);
			if (err)
				return err;
			port->open = 1;
			port->info.blocks++;
		}
		err = pf_block_fill(&port->block, &options, batch, &port->info.counts, diag);
		if (err && !batch->n)
			return err;
		if (!batch->n)
			give_back(ring, port); /* everything in it was left out */
	}
	batch->ingress_ifindex = port->ifindex;
	return PF_OK;
}

/* ---- waiting ---- */

/* Q4: an interface went, and what came before has had time to arrive. */
static enum pf_err check_lost(struct pf_ring *ring, struct pf_diag *diag)
{
	const uint64_t grace_ns = (uint64_t)(2 * ring->options.retire_ms + GRACE_MS) * 1000000u;

	for (uint32_t i = 0; i < ring->options.ports; i++) {
		const struct port *port = &ring->port[i];

		if (port->lost_ns && now_ns() - port->lost_ns >= grace_ns)
			return pf_interface_lost(port->fd, port->ifindex, i, diag);
	}
	return PF_OK;
}

static enum pf_err take_error(struct pf_ring *ring, uint32_t number, struct pf_diag *diag)
{
	struct port *port = &ring->port[number];
	char text[PF_NAME_MAX];
	int error = 0;
	socklen_t size = sizeof error;

	if (getsockopt(port->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
		error = errno;
	if (!error || error == EINTR)
		return PF_OK;
	if (error == ENETDOWN || error == ENODEV || error == ENXIO) {
		port->lost_ns = port->lost_ns ? port->lost_ns : now_ns();
		return PF_OK;
	}
	pf_system_text(error, text);
	return pf_diag_set(diag, pf_system_err(error), PF_DIAG_LIVE_READ, number, 0, 0, 0, text);
}

/* One slice, or less. */
static enum pf_err wait_for_packets(struct pf_ring *ring, struct pf_diag *diag)
{
	struct pollfd polled[PF_RING_PORTS];
	int timeout = (int)ring->options.slice_ms;
	enum pf_err err = PF_OK;

	for (uint32_t i = 0; i < ring->options.ports; i++) {
		polled[i] = (struct pollfd){.fd = ring->port[i].fd, .events = POLLIN | POLLERR};
		if (ring->port[i].lost_ns)
			timeout = GRACE_MS / 4;
	}
	if (poll(polled, ring->options.ports, timeout) < 0)
		return errno == EINTR || errno == EAGAIN ? PF_OK
							 : pf_diag_set(diag, pf_system_err(errno), PF_DIAG_LIVE_READ, 0,
								       0, 0, 0, pf_err_text(pf_system_err(errno)));
	for (uint32_t i = 0; i < ring->options.ports && !err; i++)
		if (polled[i].revents & ~POLLIN)
			err = take_error(ring, i, diag);
	return err ? err : check_lost(ring, diag);
}

static enum pf_err read_any(struct pf_ring *ring, struct pf_batch *batch, struct pf_diag *diag)
{
	enum pf_err err = PF_OK;

	for (uint32_t i = 0; i < ring->options.ports && !err && !batch->n; i++) {
		uint32_t number = (ring->turn + i) % ring->options.ports;

		err = read_port(ring, &ring->port[number], number, batch, diag);
		if (batch->n)
			ring->turn = number + 1;
	}
	return err;
}

static enum pf_err ring_next(struct pf_source *source, struct pf_batch *batch, struct pf_diag *diag)
{
	struct pf_ring *ring = (struct pf_ring *)source;
	enum pf_err err;

	batch->n = 0;
	if (ring->failed.err) {
		if (diag)
			*diag = ring->failed;
		return ring->failed.err;
	}
	if (atomic_load_explicit(&ring->stopped, memory_order_relaxed))
		return PF_OK;
	err = read_any(ring, batch, &ring->failed);
	if (!err && !batch->n) {
		err = wait_for_packets(ring, &ring->failed);
		if (!err)
			err = read_any(ring, batch, &ring->failed);
	}
	if (err) {
		if (diag)
			*diag = ring->failed;
		return err;
	}
	if (batch->n || atomic_load_explicit(&ring->stopped, memory_order_relaxed))
		return PF_OK;
	return PF_EINTR; /* Q2 */
}

static const struct pf_iface *ring_iface(const struct pf_source *source, uint32_t index)
{
	const struct pf_ring *ring = (const struct pf_ring *)source;

	return index < ring->options.ports ? &ring->iface : NULL;
}

/* ---- beginning and end ---- */

static enum pf_err refuse(struct pf_diag *diag, enum pf_diag_code code, uint32_t port, uint64_t bytes)
{
	int number = errno;
	char text[PF_NAME_MAX];

	pf_system_text(number, text);
	return pf_diag_set(diag, pf_system_err(number), code, port, 0, bytes, 0, text);
}

static enum pf_err set_up_ring(struct pf_ring *ring, uint32_t number, struct pf_diag *diag)
{
	const struct pf_ring_options *o = &ring->options;
	const size_t size = (size_t)o->block_size * o->blocks;
	struct port *port = &ring->port[number];
	int version = TPACKET_V3, reserve = RESERVE, one = 1;
	struct tpacket_req3 request = {
		.tp_block_size = o->block_size,
		.tp_block_nr = o->blocks,
		.tp_frame_size = o->block_size, /* of no meaning in this version, but checked */
		.tp_frame_nr = o->blocks,
		.tp_retire_blk_tov = o->retire_ms,
	};

	if (!o->outgoing) /* older kernels do not know it: block.c looks as well */
		(void)setsockopt(port->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one);
	if (setsockopt(port->fd, SOL_PACKET, PACKET_VERSION, &version, sizeof version) ||
	    setsockopt(port->fd, SOL_PACKET, PACKET_RESERVE, &reserve, sizeof reserve) ||
	    setsockopt(port->fd, SOL_PACKET, PACKET_RX_RING, &request, sizeof request))
		return refuse(diag, PF_DIAG_LIVE_RING, number, size);
	port->memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, port->fd, 0);
	if (port->memory == MAP_FAILED) {
		port->memory = NULL;
		return refuse(diag, PF_DIAG_LIVE_RING, number, size);
	}
	return PF_OK;
}

/* One instruction of the kernel's packet filter: keep so many bytes. */
static enum pf_err set_snaplen(const struct pf_ring *ring, uint32_t number, struct pf_diag *diag)
{
	struct sock_filter keep = {.code = BPF_RET | BPF_K, .k = ring->options.snaplen};
	struct sock_fprog program = {.len = 1, .filter = &keep};

	if (setsockopt(ring->port[number].fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program))
		return refuse(diag, PF_DIAG_LIVE_SOCKET, number, 0);
	return PF_OK;
}

/* Q5: packets come from here on. */
static enum pf_err start(struct pf_ring *ring, uint32_t number, struct pf_diag *diag)
{
	struct port *port = &ring->port[number];
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = (int)port->ifindex,
	};
	struct packet_mreq all = {.mr_ifindex = (int)port->ifindex, .mr_type = PACKET_MR_PROMISC};

	if (ring->options.promiscuous &&
	    setsockopt(port->fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all))
		return refuse(diag, PF_DIAG_LIVE_SOCKET, number, 0);
	if (bind(port->fd, (struct sockaddr *)&address, sizeof address))
		return refuse(diag, PF_DIAG_LIVE_SOCKET, number, 0);
	return PF_OK;
}

static enum pf_err open_ports(struct pf_ring *ring, struct pf_diag *diag)
{
	enum pf_err err = PF_OK;

	for (uint32_t i = 0; i < ring->options.ports && !err; i++) {
		struct port *port = &ring->port[i];
		struct pf_diag why = {.err = PF_EIO};

		port->ifindex = ring->options.ifindex[i];
		port->fd = pf_packet_socket(port->ifindex, i, &why);
		if (port->fd < 0) {
			if (diag)
				*diag = why;
			return why.err;
		}
		err = set_up_ring(ring, i, diag);
		if (!err)
			err = set_snaplen(ring, i, diag);
	}
	for (uint32_t i = 0; i < ring->options.ports && !err; i++)
		err = start(ring, i, diag);
	return err;
}

enum pf_err pf_ring_open(const struct pf_ring_options *options, struct pf_ring **out, struct pf_diag *diag)
{
	struct pf_ring *ring;
	struct pf_ring_options *o;
	enum pf_err err;

	*out = NULL;
	if (PF_BUG_ON(!options->ports || options->ports > PF_RING_PORTS))
		return pf_diag_set(diag, PF_EINVAL, PF_DIAG_LIVE_SOCKET, 0, 0, 0, 0, pf_err_text(PF_EINVAL));
	ring = calloc(1, sizeof *ring);
	if (!ring)
		return pf_diag_set(diag, PF_ENOMEM, PF_DIAG_LIVE_SOCKET, 0, 0, 0, 0, pf_err_text(PF_ENOMEM));
	ring->options = *options;
	o = &ring->options;
	o->block_size = o->block_size ? o->block_size : BLOCK_SIZE;
	o->blocks = o->blocks ? o->blocks : BLOCKS;
	o->retire_ms = o->retire_ms ? o->retire_ms : RETIRE_MS;
	o->slice_ms = o->slice_ms ? o->slice_ms : SLICE_MS;
	o->snaplen = o->snaplen ? o->snaplen : PF_RING_SNAPLEN;
	ring->source.next = ring_next;
	ring->source.iface = ring_iface;
	ring->iface = (struct pf_iface){.linktype = 1, .snaplen = o->snaplen, .tsresol = 9};
	for (uint32_t i = 0; i < PF_RING_PORTS; i++)
		ring->port[i].fd = -1;
	err = open_ports(ring, diag);
	if (err)
		pf_ring_close(ring);
	else
		*out = ring;
	return err;
}

void pf_ring_close(struct pf_ring *ring)
{
	if (!ring)
		return;
	for (uint32_t i = 0; i < ring->options.ports; i++) {
		struct port *port = &ring->port[i];

		if (port->memory)
			munmap(port->memory, (size_t)ring->options.block_size * ring->options.blocks);
		if (port->fd >= 0)
			close(port->fd);
	}
	free(ring);
}

void pf_ring_stop(struct pf_ring *ring) { atomic_store_explicit(&ring->stopped, 1, memory_order_relaxed); }

void pf_ring_info(struct pf_ring *ring, uint32_t number, struct pf_ring_info *info)
{
	struct tpacket_stats_v3 stats;
	socklen_t size = sizeof stats;

	memset(info, 0, sizeof *info);
	if (PF_BUG_ON(number >= ring->options.ports))
		return;
	struct port *port = &ring->port[number];
	/* Reading them sets the kernel's to zero. */
	if (!getsockopt(port->fd, SOL_PACKET, PACKET_STATISTICS, &stats, &size)) {
		port->info.received += stats.tp_packets;
		port->info.dropped += stats.tp_drops;
	}
	*info = port->info;
}
