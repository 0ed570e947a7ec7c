/*
 * gre_decap: removes an outer IPv4 and GRE header with its optional checksum, key and sequence
 * fields, keeping the Ethernet header.
 * uses: adjust_head to shrink, re-reading the packet after it, memcpy on the stack
 */
#include "net.h"

struct gre_hdr {
    __be16 flags;
    __be16 proto;
};

#define GRE_CSUM 0x8000
#define GRE_KEY 0x2000
#define GRE_SEQ 0x1000
#define GRE_ROUTING_OR_VERSION 0x4007

SEC("xdp")
int gre_decap(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    struct ethhdr *eth, saved;
    struct gre_hdr *gre;
    __u16 flags, inner;
    int cut;

    if (!ip || ip->protocol != IPPROTO_GRE || ip->ihl != 5)
        return XDP_PASS;
    gre = (void *)(ip + 1);
    if ((void *)(gre + 1) > c.end)
        return XDP_DROP;
    flags = bpf_ntohs(gre->flags);
    inner = gre->proto;
    if (flags & GRE_ROUTING_OR_VERSION)
        return XDP_PASS;
    if (inner != bpf_htons(ETH_P_IP) && inner != bpf_htons(ETH_P_IPV6))
        return XDP_PASS;
    cut = sizeof(*ip) + sizeof(*gre);
    if (flags & GRE_CSUM)
        cut += 4;
    if (flags & GRE_KEY)
        cut += 4;
    if (flags & GRE_SEQ)
        cut += 4;
    eth = (void *)(long)ctx->data;
    __builtin_memcpy(&saved, eth, sizeof(saved));
    saved.h_proto = inner;
    if (bpf_xdp_adjust_head(ctx, cut))
        return XDP_DROP;
    eth = (void *)(long)ctx->data;
    if ((void *)(eth + 1) > (void *)(long)ctx->data_end)
        return XDP_DROP;
    __builtin_memcpy(eth, &saved, sizeof(saved));
    return XDP_PASS;
}

LICENSE("Dual MIT/GPL");
