/*
 * ipip_encap: wraps packets to the addresses in a map in an outer IPv4 header.
 * uses: adjust_head to grow, header building, header checksum by csum_diff, hash map
 */
#include "net.h"

struct tunnel {
    __be32 local;
    __be32 remote;
    __u8 dst_mac[6];
    __u8 ttl;
    __u8 tos;
};

MAP(HASH, tunnels, 1024, __be32, struct tunnel);

SEC("xdp")
int ipip_encap(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *inner = take_ipv4(&c), *outer;
    struct ethhdr *eth, *old;
    struct tunnel *t;
    __u16 total;

    if (!inner)
        return XDP_PASS;
    t = bpf_map_lookup_elem(&tunnels, &inner->daddr);
    if (!t)
        return XDP_PASS;
    total = bpf_ntohs(inner->tot_len);
    if (bpf_xdp_adjust_head(ctx, -(int)sizeof(struct iphdr)))
        return XDP_DROP;
    c = cursor_of(ctx);
    eth = c.at;
    old = c.at + sizeof(struct iphdr);
    outer = c.at + sizeof(struct ethhdr);
    if ((void *)(old + 1) > c.end || (void *)(outer + 1) > c.end)
        return XDP_DROP;
    __builtin_memcpy(eth->h_source, old->h_dest, 6);
    __builtin_memcpy(eth->h_dest, t->dst_mac, 6);
    eth->h_proto = bpf_htons(ETH_P_IP);
    outer->version = 4;
    outer->ihl = 5;
    outer->tos = t->tos;
    outer->tot_len = bpf_htons(total + sizeof(*outer));
    outer->id = bpf_get_prandom_u32();
    outer->frag_off = bpf_htons(0x4000);
    outer->ttl = t->ttl ?: 64;
    outer->protocol = IPPROTO_IPIP;
    outer->saddr = t->local;
    outer->daddr = t->remote;
    outer->check = ip_header_sum(outer);
    return XDP_TX;
}

LICENSE("Dual MIT/GPL");
