/*
 * off_by_one: the comparison allows a packet that is one byte shorter than the header.
 * verdict: reject packet-range
 * why: `at + 13 > end` proves 13 bytes, the read of the EtherType ends at byte 14.
 * says: data_end, 13, 14
 */
#include "net.h"

SEC("xdp")
int off_by_one(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    struct ethhdr *eth = data;

    if (data + sizeof(*eth) - 1 > end)
        return XDP_DROP;
    return eth->h_proto == bpf_htons(ETH_P_ARP) ? XDP_DROP : XDP_PASS;
}

LICENSE("GPL");
