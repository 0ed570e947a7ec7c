/*
 * spin_global: counters by queue of addresses, each cell locked by a global function that looks it up itself.
 * uses: global function with a bpf_spin_lock region inside, lock at an offset in an array of many elements
 * needs: spin_lock
 */
#include "net.h"

#define CELLS 64

struct cell {
    __u64 bytes;
    __u32 packets;
    __u32 longest;
    struct bpf_spin_lock lock;
    __u32 shortest;
};

MAP(ARRAY, cells, CELLS, __u32, struct cell);

__noinline int account(__u32 at, __u32 length)
{
    struct cell *c;
    int big;

    at &= CELLS - 1;
    c = bpf_map_lookup_elem(&cells, &at);
    if (!c)
        return -1;
    bpf_spin_lock(&c->lock);
    c->packets++;
    c->bytes += length;
    if (length > c->longest)
        c->longest = length;
    if (!c->shortest || length < c->shortest)
        c->shortest = length;
    big = c->packets > 8 && length == c->longest;
    bpf_spin_unlock(&c->lock);
    return big;
}

SEC("xdp")
int spin_global(struct xdp_md *ctx)
{
    __u32 length = ctx->data_end - ctx->data;
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    __u32 at;
    int big;

    if (!ip)
        return XDP_PASS;
    at = bpf_ntohl(ip->saddr) ^ bpf_ntohl(ip->daddr) >> 8;
    big = account(at, length);
    if (big < 0)
        return XDP_ABORTED;
    return account(at + 1, length / 2) != big && big ? XDP_DROP : XDP_PASS;
}

LICENSE("GPL");
