/*
 * stale_in_callee: a function that trims the packet is called while the caller holds a pointer.
 * verdict: reject stale-packet-pointer
 * why: The called function moves the end of the packet, which makes the caller's pointers invalid.
 * says: xdp_adjust_tail
 */
#include "net.h"

static __noinline int trim(struct xdp_md *ctx, int by)
{
    return bpf_xdp_adjust_tail(ctx, -by);
}

SEC("xdp")
int stale_in_callee(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct ethhdr *eth = cursor_take(&c, struct ethhdr);

    if (!eth)
        return XDP_DROP;
    if (trim(ctx, eth->h_dest[5] & 3))
        return XDP_DROP;
    return eth->h_dest[0] & 1 ? XDP_DROP : XDP_PASS;
}

LICENSE("GPL");
