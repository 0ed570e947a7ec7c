/*
 * ct_fields: what a program reads and writes of a connection, through types of its own in another order, with fewer
 * members, which CO-RE places; and one that is not there.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#define FROM_KERNEL __attribute__((preserve_access_index))

union nf_inet_addr {
	__u32 ip;
} FROM_KERNEL;

struct nf_conntrack_man {
	union nf_inet_addr u3;
} FROM_KERNEL;

struct nf_conntrack_tuple {
	struct nf_conntrack_man src;
} FROM_KERNEL;

struct nf_conntrack_tuple_hash {
	struct nf_conntrack_tuple tuple;
} FROM_KERNEL;

struct nf_conntrack_zone {
	__u16 id;
} FROM_KERNEL;

struct nf_conn {
	__u32 mark;
	unsigned long status;
	__u32 timeout;
	__u32 no_such_member;
	struct nf_conntrack_zone zone;
	struct nf_conntrack_tuple_hash tuplehash[2];
} FROM_KERNEL;

struct nf_conn___init {
	struct nf_conn ct;
} FROM_KERNEL;

struct bpf_ct_opts {
	__s32 netns_id;
	__s32 error;
	__u8 l4proto;
	__u8 dir;
	__u16 ct_zone_id;
	__u8 ct_zone_dir;
	__u8 reserved[3];
};

extern struct nf_conn *bpf_xdp_ct_lookup(struct xdp_md *ctx, struct bpf_sock_tuple *tuple, __u32 size,
					 struct bpf_ct_opts *opts, __u32 opts_size) __ksym;
extern struct nf_conn___init *bpf_xdp_ct_alloc(struct xdp_md *ctx, struct bpf_sock_tuple *tuple, __u32 size,
					       struct bpf_ct_opts *opts, __u32 opts_size) __ksym;
extern struct nf_conn *bpf_ct_insert_entry(struct nf_conn___init *ct) __ksym;
extern void bpf_ct_release(struct nf_conn *ct) __ksym;
extern void bpf_ct_set_timeout(struct nf_conn___init *ct, __u32 timeout) __ksym;
extern int bpf_ct_set_status(struct nf_conn___init *ct, __u32 status) __ksym;
extern int bpf_ct_change_status(struct nf_conn *ct, __u32 status) __ksym;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u64);
} seen SEC(".maps");

static __always_inline void note(__u32 at, __u64 value)
{
	bpf_map_update_elem(&seen, &at, &value, 0);
}

SEC("xdp")
int fields(struct xdp_md *ctx)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_ct_opts opts = { .netns_id = -1, .l4proto = 6, .ct_zone_id = 3 };
	struct nf_conn___init *fresh;
	struct nf_conn *ct;

	tuple.ipv4.saddr = 0x0100000a;
	tuple.ipv4.daddr = 0x0200000a;
	tuple.ipv4.sport = 5;
	tuple.ipv4.dport = 7;
	ct = bpf_xdp_ct_lookup(ctx, &tuple, sizeof(tuple.ipv4), &opts, sizeof(opts));
	if (!ct) {
		fresh = bpf_xdp_ct_alloc(ctx, &tuple, sizeof(tuple.ipv4), &opts, sizeof(opts));
		if (!fresh)
			return XDP_DROP;
		bpf_ct_set_timeout(fresh, 60000);
		note(0, bpf_ct_set_status(fresh, 2));
		fresh->ct.mark = 40;
		note(1, fresh->ct.timeout);
		ct = bpf_ct_insert_entry(fresh);
		if (!ct)
			return XDP_DROP;
	} else {
		note(2, bpf_ct_change_status(ct, 14));
	}
	note(3, ct->mark);
	ct->mark += 2;
	note(4, ct->mark);
	note(5, ct->status);
	note(6, ct->zone.id);
	note(7, ct->tuplehash[0].tuple.src.u3.ip);
	note(8, ct->tuplehash[1].tuple.src.u3.ip);
	note(9, (__u32)(ct->timeout - (__u32)bpf_jiffies64()) > 50 * 250);
	note(10, bpf_core_field_exists(ct->no_such_member));
	note(11, bpf_core_field_offset(ct->mark));
	if (bpf_core_field_exists(ct->no_such_member))
		note(12, ct->no_such_member);
	bpf_ct_release(ct);
	return XDP_PASS;
}

SEC("xdp")
int missing(struct xdp_md *ctx)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_ct_opts opts = { .netns_id = -1, .l4proto = 6 };
	struct nf_conn *ct = bpf_xdp_ct_lookup(ctx, &tuple, sizeof(tuple.ipv4), &opts, sizeof(opts));

	if (!ct)
		return XDP_DROP;
	note(0, ct->no_such_member);
	bpf_ct_release(ct);
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
