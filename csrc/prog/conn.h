/* conn.h - struct nf_conn, which programs read through what bpf_xdp_ct_lookup and its like return.
 *
 * Terms
 *   image   the bytes that a program may see of a connection
 *
 * Invariants
 *   C1 struct pf_conn has the layout of Linux 6.18's struct nf_conn on x86-64, with zones and marks and without the kernel's
 *      lock debugging. CO-RE relocations of programs are resolved against this layout (pktfilter/objects/conn_types.py),
 *      whatever types the user names, so that a field is where the program looks for it.
 *   C2 Fields that Linux has between those named here cannot be read; only mark can be written, as in Linux.
 *
 * Threads: any.
 */
#ifndef PF_CONN_H
#define PF_CONN_H

#include <stddef.h>
#include <stdint.h>

/* struct nf_conntrack_tuple. IPv4 addresses stand in the first 4 bytes, the rest is zero; ports in network order. */
struct pf_ct_tuple {
	uint8_t from[16], from_port[2];
	uint16_t family;
	uint8_t to[16], to_port[2];
	uint8_t protocol, dir;
};
_Static_assert(sizeof(struct pf_ct_tuple) == 40 && offsetof(struct pf_ct_tuple, to) == 20, "struct nf_conntrack_tuple");

struct pf_conn {
	uint32_t hidden_count, hidden_lock;
	uint32_t timeout;                  /* jiffies: unconfirmed: how long; else: until when */
	uint16_t zone;
	uint8_t zone_flags, zone_dir;
	struct {
		uint64_t hidden[2];
		struct pf_ct_tuple tuple;
	} way[2];                          /* original, reply */
	uint64_t status;                   /* PF_CT_* */
	uint64_t hidden_links[4];
	uint32_t mark;
	uint32_t hidden_secmark;
};
_Static_assert(offsetof(struct pf_conn, timeout) == 8 && offsetof(struct pf_conn, zone) == 12 &&
		       offsetof(struct pf_conn, way) == 16 && offsetof(struct pf_conn, status) == 128 &&
		       offsetof(struct pf_conn, mark) == 168,
	       "the layout of struct nf_conn");

/* uapi/linux/netfilter/nf_conntrack_common.h, IPS_*. */
#define PF_CT_EXPECTED 1u
#define PF_CT_SEEN_REPLY 2u
#define PF_CT_ASSURED 4u
#define PF_CT_CONFIRMED 8u
#define PF_CT_SRC_NAT 0x10u
#define PF_CT_DST_NAT 0x20u
#define PF_CT_SEQ_ADJUST 0x40u
#define PF_CT_NAT_DONE 0x180u
#define PF_CT_DYING 0x200u
#define PF_CT_FIXED_TIMEOUT 0x400u
#define PF_CT_TEMPLATE 0x800u
#define PF_CT_UNTRACKED 0x1000u
#define PF_CT_OFFLOADED 0xc000u
#define PF_CT_BITS 16u

/* May a program read size bytes at off? Aligned, and within one field; addresses in parts of up to 4 bytes. */
static inline int pf_conn_field(int64_t off, uint32_t size)
{
	static const struct {
		uint8_t at, size;
	} fields[] = {
		{ 8, 4 }, { 12, 2 }, { 14, 1 }, { 15, 1 }, { 128, 8 }, { 168, 4 },
#define PF_CONN_TUPLE(at)                                                                                              \
	{ (at), 4 }, { (at) + 4, 4 }, { (at) + 8, 4 }, { (at) + 12, 4 }, { (at) + 16, 2 }, { (at) + 18, 2 },            \
	{ (at) + 20, 4 }, { (at) + 24, 4 }, { (at) + 28, 4 }, { (at) + 32, 4 }, { (at) + 36, 2 }, { (at) + 38, 1 }, { (at) + 39, 1 }
		PF_CONN_TUPLE(32), PF_CONN_TUPLE(88),
#undef PF_CONN_TUPLE
	};
	if (off < 0 || off % size)
		return 0;
	for (uint32_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (off >= fields[i].at && off + size <= (int64_t)fields[i].at + fields[i].size)
			return 1;
	return 0;
}

/* May a program write so? Linux takes parts of the mark too, from its first byte. */
static inline int pf_conn_writable(int64_t off, uint32_t size)
{
	return off == (int64_t)offsetof(struct pf_conn, mark) && size <= 4;
}

#endif
