/*
 * stale_after_head: uses a packet pointer from before bpf_xdp_adjust_head.
 * verdict: reject stale-packet-pointer
 * why: The helper moves the packet, all pointers into it must be read again from the context.
 * says: xdp_adjust_head
 */
#include "net.h"

SEC("xdp")
int stale_after_head(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct ethhdr *eth = cursor_take(&c, struct ethhdr);

    if (!eth || bpf_xdp_adjust_head(ctx, 4))
        return XDP_DROP;
    eth->h_proto = bpf_htons(ETH_P_IP);
    return XDP_PASS;
}

LICENSE("GPL");
