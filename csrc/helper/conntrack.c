/* conntrack.c - the kernel functions of XDP that ask and change the connection table, with Linux 6.18's checks in its order. */
#include "connections.h"
#include "groups.h"
#include "network.h"
#include "sockets.h"

#include <string.h>

#define TUPLE_IPV4 12u /* struct bpf_sock_tuple: addresses, then ports, source first */
#define TUPLE_IPV6 36u
#define PROTO_TCP 6u
#define PROTO_UDP 17u
#define OPTIONS 16u    /* struct bpf_ct_opts */
#define OPTIONS_OLD 12u /* without a zone */
#define ERROR_END 8u   /* of its field for an error */
#define BOTH_WAYS 3u
#define NEW_SECONDS 10u
#define JIFFIES_MAX INT32_MAX
#define MS_PER_JIFFY (1000u / PF_HZ)

/* What nobody but Linux itself changes. */
#define FIXED_BITS                                                                                                     \
	(PF_CT_SRC_NAT | PF_CT_DST_NAT | PF_CT_NAT_DONE | PF_CT_EXPECTED | PF_CT_CONFIRMED | PF_CT_DYING |              \
	 PF_CT_SEQ_ADJUST | PF_CT_TEMPLATE | PF_CT_UNTRACKED | PF_CT_OFFLOADED)

/* struct bpf_ct_opts */
struct options {
	int32_t netns, error;
	uint8_t protocol, way;
	uint16_t zone;
	uint8_t zone_dir, reserved[3];
};
_Static_assert(sizeof(struct options) == OPTIONS, "struct bpf_ct_opts");

struct question {
	struct options options;
	struct pf_ct_tuple way[2];
	struct pf_conn_zone zone;
	int32_t netns;
};

static uint32_t now(const struct pf_exec *x)
{
	return (uint32_t)(x->time_ns / (1000000000u / PF_HZ));
}

static struct pf_connections *table_of(const struct pf_exec *x)
{
	return x->net ? x->net->connections : NULL;
}

static struct pf_conn *conn_of(uint64_t r)
{
	return (struct pf_conn *)(uintptr_t)r;
}

/* ---- what a checked run holds (exec.h, E11) ---- */

static uint64_t hold(struct pf_exec *x, struct pf_conn *conn)
{
	if (x->checked)
		x->conns[x->conn_count++] = conn;
	return (uint64_t)(uintptr_t)conn;
}

static int may_hold(const struct pf_exec *x)
{
	return !x->checked || x->conn_count < PF_EXEC_CONNS;
}

static void forget(struct pf_exec *x, const struct pf_conn *conn)
{
	for (uint32_t i = 0; i < x->conn_count; i++)
		if (x->conns[i] == conn) {
			x->conns[i] = x->conns[--x->conn_count];
			break;
		}
	x->window_len = 0; /* it may show the connection */
}

int pf_exec_holds_conn(const struct pf_exec *x, uint64_t address, int unconfirmed)
{
	for (uint32_t i = 0; i < x->conn_count; i++)
		if ((uint64_t)(uintptr_t)x->conns[i] == address)
			return unconfirmed == !(x->conns[i]->status & PF_CT_CONFIRMED);
	return 0;
}

void pf_exec_drop_conns(struct pf_exec *x)
{
	while (x->conn_count)
		pf_connections_put(table_of(x), x->conns[--x->conn_count]);
}

/* Bytes of an image at an address, that programs may read; 0: none. */
uint32_t pf_exec_conn(const struct pf_exec *x, uint64_t address, uint64_t size, int write)
{
	struct pf_connections *table = table_of(x);
	const struct pf_conn *conn = table && size && size <= 8 ? pf_connections_at(table, address) : NULL;
	if (!conn)
		return 0;
	const int64_t off = (int64_t)(address - (uint64_t)(uintptr_t)conn);
	return write ? pf_conn_writable(off, (uint32_t)size) : pf_conn_field(off, (uint32_t)size);
}

/* ---- what is asked ---- */

static void copy_in(void *to, uint64_t from, uint32_t size)
{
	uint8_t *bytes = to;
	for (uint32_t i = 0; i < size; i++) /* a map value may change meanwhile */
		bytes[i] = __atomic_load_n((const uint8_t *)pf_helper_mem(from) + i, __ATOMIC_RELAXED);
}

static void copy_out(uint64_t to, const void *from, uint32_t size)
{
	const uint8_t *bytes = from;
	for (uint32_t i = 0; i < size; i++)
		__atomic_store_n((uint8_t *)(uintptr_t)to + i, bytes[i], __ATOMIC_RELAXED);
}

/* One way's tuple; the reply has source and destination exchanged. */
static struct pf_ct_tuple turn(const uint8_t *bytes, uint32_t size, uint8_t protocol, uint8_t way)
{
	const uint32_t width = size == TUPLE_IPV4 ? 4 : 16;
	struct pf_ct_tuple t = { .family = width == 4 ? PF_AF_INET : PF_AF_INET6, .protocol = protocol, .dir = way };
	const uint8_t *from = bytes + (way ? width : 0), *to = bytes + (way ? 0 : width);
	const uint8_t *ports = bytes + 2 * (size_t)width;
	memcpy(t.from, from, width);
	memcpy(t.to, to, width);
	memcpy(t.from_port, ports + (way ? 2 : 0), 2);
	memcpy(t.to_port, ports + (way ? 0 : 2), 2);
	return t;
}

static int knows(const struct pf_exec *x, int32_t netns)
{
	if (!x->net)
		return 0;
	for (uint32_t i = 0; i < x->net->t.socket_count; i++)
		if (x->net->t.sockets[i].netns == netns)
			return 1;
	return x->net->connections && pf_connections_know(x->net->connections, netns);
}

/* Lookups look at the protocol before the namespace, allocations after it; which of two errors it is depends on that. */
static enum pf_err check(const struct options *o, uint32_t size, int early)
{
	static const uint8_t none[3];
	if (size == OPTIONS ? memcmp(o->reserved, none, 3) != 0 : o->zone != 0)
		return PF_EINVAL;
	const int protocol = o->protocol == PROTO_TCP || o->protocol == PROTO_UDP;
	if (early && !protocol)
		return PF_EPROTO;
	if (o->netns < PF_CT_HERE)
		return PF_EINVAL;
	return protocol ? PF_OK : PF_EPROTO;
}

static enum pf_err ask(const struct pf_exec *x, const uint64_t r[4], int early, struct question *q)
{
	const uint32_t tuple_size = (uint32_t)r[1], size = (uint32_t)r[3];
	if (!r[0] || !r[2] || (size != OPTIONS && size != OPTIONS_OLD))
		return PF_EINVAL;
	memset(q, 0, sizeof(*q));
	copy_in(&q->options, r[2], size);
	const enum pf_err err = check(&q->options, size, early);
	if (err)
		return err;
	uint8_t bytes[TUPLE_IPV6];
	if (tuple_size != TUPLE_IPV4 && tuple_size != TUPLE_IPV6)
		return PF_EAFNOSUPPORT;
	copy_in(bytes, r[0], tuple_size);
	for (uint8_t way = 0; way < 2; way++)
		q->way[way] = turn(bytes, tuple_size, q->options.protocol, way);
	q->netns = q->options.netns;
	if (q->netns >= 0 && !knows(x, q->netns))
		return PF_ENONET;
	q->zone = (struct pf_conn_zone){ 0, BOTH_WAYS };
	if (size == OPTIONS) {
		q->zone.id = q->options.zone;
		if (q->options.zone_dir)
			q->zone.dir = q->options.zone_dir;
		else
			copy_out(r[2] + offsetof(struct options, zone_dir), &q->zone.dir, 1);
	}
	return PF_OK;
}

static uint64_t refuse(const uint64_t r[4], enum pf_err err)
{
	const int32_t error = -(int32_t)err;
	if (r[2] && (uint32_t)r[3] >= ERROR_END)
		copy_out(r[2] + offsetof(struct options, error), &error, sizeof(error));
	return 0;
}

PF_HELPER_FN(xdp_ct_lookup)
{
	const uint64_t r[4] = { r2, r3, r4, r5 };
	struct pf_connections *table = table_of(x);
	struct question q;
	uint8_t way;
	PF_UNUSED(r1);
	const enum pf_err err = ask(x, r, 1, &q);
	if (err)
		return refuse(r, err);
	struct pf_conn *conn = table && may_hold(x) ?
		pf_connections_find(table, now(x), q.netns, q.zone, &q.way[0], &way) : NULL;
	if (!conn)
		return refuse(r, PF_ENOENT);
	copy_out(r4 + offsetof(struct options, way), &way, 1);
	return hold(x, conn);
}

PF_HELPER_FN(xdp_ct_alloc)
{
	const uint64_t r[4] = { r2, r3, r4, r5 };
	struct pf_connections *table = table_of(x);
	struct question q;
	PF_UNUSED(r1);
	const enum pf_err err = ask(x, r, 0, &q);
	if (err)
		return refuse(r, err);
	const struct pf_conn_row row = { .way = { q.way[0], q.way[1] }, .zone = q.zone, .netns = q.netns,
					 .timeout = NEW_SECONDS * PF_HZ };
	struct pf_conn *conn = table && may_hold(x) ? pf_connections_new(table, now(x), &row) : NULL;
	return conn ? hold(x, conn) : refuse(r, PF_ENOMEM);
}

PF_HELPER_FN(ct_insert_entry)
{
	struct pf_conn *conn = conn_of(r1);
	PF_UNUSED(r2, r3, r4, r5);
	if (!pf_connections_insert(table_of(x), now(x), conn))
		return r1;
	forget(x, conn);
	return 0;
}

PF_HELPER_FN(ct_release)
{
	PF_UNUSED(r2, r3, r4, r5);
	forget(x, conn_of(r1));
	pf_connections_put(table_of(x), conn_of(r1));
	return 0;
}

/* ---- changes ---- */

static uint32_t jiffies_of(uint64_t milliseconds)
{
	const uint32_t ms = (uint32_t)milliseconds;
	return ms > INT32_MAX ? JIFFIES_MAX : (ms + MS_PER_JIFFY - 1) / MS_PER_JIFFY;
}

PF_HELPER_FN(ct_set_timeout)
{
	PF_UNUSED(r3, r4, r5);
	pf_connections_set_timeout(table_of(x), now(x), conn_of(r1), jiffies_of(r2));
	return 0;
}

/* Results are of C type int: its 32 bits, with zeros above. */
static uint64_t result(enum pf_err err)
{
	return (uint32_t)-(int32_t)err;
}

PF_HELPER_FN(ct_change_timeout)
{
	struct pf_conn *conn = conn_of(r1);
	PF_UNUSED(r3, r4, r5);
	const uint64_t status = __atomic_load_n(&conn->status, __ATOMIC_RELAXED);
	if (status & PF_CT_FIXED_TIMEOUT)
		return result(PF_EPERM);
	pf_connections_set_timeout(table_of(x), now(x), conn, jiffies_of(r2));
	return result(status & PF_CT_DYING ? PF_ETIME : PF_OK);
}

static uint64_t change_status(struct pf_conn *conn, uint32_t status)
{
	const uint64_t before = __atomic_load_n(&conn->status, __ATOMIC_RELAXED);
	const uint64_t differ = before ^ status;
	const uint64_t lost = before & ~(uint64_t)status;
	if ((differ & (PF_CT_EXPECTED | PF_CT_CONFIRMED | PF_CT_DYING)) || (lost & (PF_CT_SEEN_REPLY | PF_CT_ASSURED)))
		return result(PF_EBUSY);
	__atomic_fetch_or(&conn->status, status & ~FIXED_BITS & ((1u << PF_CT_BITS) - 1), __ATOMIC_RELAXED);
	return 0;
}

PF_HELPER_FN(ct_set_status)
{
	PF_UNUSED((uintptr_t)x, r3, r4, r5);
	return change_status(conn_of(r1), (uint32_t)r2);
}

PF_HELPER_FN(ct_change_status)
{
	PF_UNUSED((uintptr_t)x, r3, r4, r5);
	return change_status(conn_of(r1), (uint32_t)r2);
}
