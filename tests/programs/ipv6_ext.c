/*
 * ipv6_ext: walks IPv6 extension headers in a loop that the compiler keeps, drops packets with a
 * routing header of type 0, and counts by final protocol.
 * uses: bounded loop over variable-length headers, per-CPU array
 */
#include "net.h"

MAP(PERCPU_ARRAY, by_protocol, 256, __u32, struct tally);

struct ext_hdr {
    __u8 next;
    __u8 len;
    __u8 type;
    __u8 left;
};

SEC("xdp")
int ipv6_ext(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct ethhdr *eth = cursor_take(&c, struct ethhdr);
    struct ipv6hdr *ip;
    __u32 next;

    if (!eth || eth->h_proto != bpf_htons(ETH_P_IPV6))
        return XDP_PASS;
    ip = cursor_take(&c, struct ipv6hdr);
    if (!ip)
        return XDP_DROP;
    next = ip->nexthdr;
#pragma clang loop unroll(disable)
    for (int i = 0; i < 8; i++) {
        struct ext_hdr *ext = c.at;
        __u32 size;

        if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS &&
            next != IPPROTO_FRAGMENT && next != IPPROTO_AH)
            break;
        if ((void *)(ext + 1) > c.end)
            return XDP_DROP;
        if (next == IPPROTO_ROUTING && ext->type == 0 && ext->left)
            return XDP_DROP;
        size = next == IPPROTO_FRAGMENT ? 8 : next == IPPROTO_AH ? (ext->len + 2) * 4 : (ext->len + 1) * 8;
        next = ext->next;
        c.at += size;
    }
    tally_at(&by_protocol, next & 0xff, bpf_ntohs(ip->payload_len));
    return XDP_PASS;
}

LICENSE("Dual MIT/GPL");
