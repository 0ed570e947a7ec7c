/*
 * global_funcs: a classifier in functions that the verifier checks one by one, by their types.
 * uses: global functions with ctx, scalar and pointer-to-struct arguments, BTF
 */
#include "net.h"

struct key {
    __u32 addr;
    __u16 port;
    __u8 proto;
    __u8 dir;
};

struct policy {
    __u64 hits;
    __u32 action;
    __u32 class;
};

MAP(HASH, policies, 1024, struct key, struct policy);

__noinline int read_key(struct xdp_md *ctx, struct key *out)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    __be16 *ports;

    if (!out || !ip)
        return -1;
    out->addr = ip->daddr;
    out->proto = ip->protocol;
    out->port = 0;
    if (ip->protocol == IPPROTO_TCP || ip->protocol == IPPROTO_UDP) {
        ports = cursor_bytes(&c, 4);
        if (!ports)
            return -1;
        out->port = ports[1];
    }
    return 0;
}

__noinline int class_of(__u32 port, __u32 proto)
{
    if (port == 53)
        return 1;
    if (proto == IPPROTO_ICMP)
        return 2;
    return port < 1024 ? 3 : 4;
}

__noinline int apply(struct policy *p, int class)
{
    if (!p)
        return XDP_PASS;
    __sync_fetch_and_add(&p->hits, 1);
    if (p->class && p->class != (__u32)class)
        return XDP_PASS;
    return p->action <= XDP_TX ? (int)p->action : XDP_DROP;
}

SEC("xdp")
int global_funcs(struct xdp_md *ctx)
{
    struct key key = {0};
    struct policy *found;

    if (read_key(ctx, &key))
        return XDP_PASS;
    found = bpf_map_lookup_elem(&policies, &key);
    if (!found)
        return XDP_PASS;
    return apply(found, class_of(bpf_ntohs(key.port), key.proto));
}

LICENSE("Dual MIT/GPL");
