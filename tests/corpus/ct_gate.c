/*
 * ct_gate: passes what the connection table knows, and enters what may open a connection.
 * uses: kfuncs xdp_ct_lookup, xdp_ct_alloc, ct_insert_entry, ct_release
 */
#include "net.h"

struct nf_conn {
    unsigned long status;
};

/* What the allocation gives: a connection that is not in the table yet. */
struct nf_conn___init {
    struct nf_conn ct;
};

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

enum { KNOWN, MADE, REFUSED, FULL };

MAP(PERCPU_ARRAY, outcomes, 4, __u32, __u64);
MAP(HASH, open_ports, 256, __be16, __u32);

inline_always void count(__u32 which)
{
    __u64 *n = bpf_map_lookup_elem(&outcomes, &which);

    if (n)
        ++*n;
}

SEC("xdp")
int ct_gate(struct xdp_md *ctx)
{
    struct bpf_ct_opts opts = {.netns_id = -1, .l4proto = IPPROTO_TCP};
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    struct bpf_sock_tuple tuple = {0};
    struct nf_conn___init *fresh;
    struct nf_conn *ct;
    struct tcphdr *tcp;
    __be16 port;

    if (!ip || ip->protocol != IPPROTO_TCP)
        return XDP_PASS;
    tcp = cursor_take(&c, struct tcphdr);
    if (!tcp)
        return XDP_DROP;
    tuple.ipv4.saddr = ip->saddr;
    tuple.ipv4.daddr = ip->daddr;
    tuple.ipv4.sport = tcp->source;
    tuple.ipv4.dport = tcp->dest;
    ct = bpf_xdp_ct_lookup(ctx, &tuple, sizeof(tuple.ipv4), &opts, sizeof(opts));
    if (ct) {
        count(KNOWN);
        bpf_ct_release(ct);
        return XDP_PASS;
    }
    port = tcp->dest;
    if (!tcp->syn || !bpf_map_lookup_elem(&open_ports, &port)) {
        count(REFUSED);
        return XDP_DROP;
    }
    fresh = bpf_xdp_ct_alloc(ctx, &tuple, sizeof(tuple.ipv4), &opts, sizeof(opts));
    if (!fresh) {
        count(FULL);
        return XDP_DROP;
    }
    ct = bpf_ct_insert_entry(fresh);
    if (!ct) {
        count(FULL);
        return XDP_DROP;
    }
    count(MADE);
    bpf_ct_release(ct);
    return XDP_PASS;
}

LICENSE("GPL");
