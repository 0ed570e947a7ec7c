/*
 * short_check: checks for the Ethernet header, then reads the IPv4 header behind it as well.
 * verdict: reject packet-range
 * why: 14 bytes are proved, the read of the protocol ends at byte 24.
 * says: data_end, 14, 24
 */
#include "net.h"

SEC("xdp")
int short_check(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct ethhdr *eth = cursor_take(&c, struct ethhdr);
    struct iphdr *ip = c.at;

    if (!eth || eth->h_proto != bpf_htons(ETH_P_IP))
        return XDP_PASS;
    return ip->protocol == IPPROTO_UDP ? XDP_DROP : XDP_PASS;
}

LICENSE("GPL");
