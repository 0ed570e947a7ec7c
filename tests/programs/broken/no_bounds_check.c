/*
 * no_bounds_check: reads the EtherType of packets without having looked how long they are.
 * verdict: reject packet-range
 * why: Nothing proves that the packet has the 14 bytes that are read.
 * says: data_end
 */
#include "net.h"

SEC("xdp")
int no_bounds_check(struct xdp_md *ctx)
{
    struct ethhdr *eth = (void *)(long)ctx->data;

    return eth->h_proto == bpf_htons(ETH_P_IP) ? XDP_PASS : XDP_DROP;
}

LICENSE("GPL");
