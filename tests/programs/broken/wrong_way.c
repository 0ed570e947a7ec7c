/*
 * wrong_way: the comparison with the end of the packet is the wrong way round.
 * verdict: reject packet-range
 * why: The read happens on the branch where the header does not fit.
 * says: data_end
 */
#include "net.h"

SEC("xdp")
int wrong_way(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    struct ethhdr *eth = data;

    if ((void *)(eth + 1) < end)
        return XDP_PASS;
    return eth->h_dest[0] & 1 ? XDP_DROP : XDP_PASS;
}

LICENSE("GPL");
