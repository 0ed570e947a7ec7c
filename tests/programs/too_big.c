/*
 * too_big: answers packets longer than the path allows with ICMP "fragmentation needed".
 * uses: adjust_tail to cut, adjust_head to grow, checksum over a loop of words in the packet
 */
#include "net.h"

#define KEEP 28
const volatile __u32 mtu = 1400;
const volatile __be32 own_ip = 0x0101a8c0;

SEC("xdp")
int too_big(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c), *outer;
    struct ethhdr *eth, old_eth;
    struct icmphdr *icmp;
    __u32 length;
    __be32 source;
    __u64 sum;
    __u16 *w;

    if (!ip || !(ip->frag_off & bpf_htons(0x4000)) || ip->ihl != 5)
        return XDP_PASS;
    length = (long)ctx->data_end - (long)ctx->data;
    if (length <= mtu + sizeof(old_eth))
        return XDP_PASS;
    old_eth = *c.eth;
    source = ip->saddr;
    if (bpf_xdp_adjust_tail(ctx, (int)(sizeof(old_eth) + KEEP) - (int)length))
        return XDP_DROP;
    if (bpf_xdp_adjust_head(ctx, -(int)(sizeof(*outer) + sizeof(*icmp))))
        return XDP_DROP;
    c = cursor_of(ctx);
    eth = cursor_take(&c, struct ethhdr);
    outer = cursor_take(&c, struct iphdr);
    if (!eth || !outer)
        return XDP_ABORTED;
    icmp = c.at;
    if (c.at + sizeof(*icmp) + KEEP > c.end)
        return XDP_ABORTED;
    __builtin_memcpy(eth->h_dest, old_eth.h_source, 6);
    __builtin_memcpy(eth->h_source, old_eth.h_dest, 6);
    eth->h_proto = bpf_htons(ETH_P_IP);
    __builtin_memset(outer, 0, sizeof(*outer));
    outer->version = 4;
    outer->ihl = 5;
    outer->ttl = 64;
    outer->protocol = IPPROTO_ICMP;
    outer->tot_len = bpf_htons(sizeof(*outer) + sizeof(*icmp) + KEEP);
    outer->saddr = own_ip;
    outer->daddr = source;
    outer->check = ip_header_sum(outer);
    icmp->type = ICMP_DEST_UNREACH;
    icmp->code = ICMP_FRAG_NEEDED;
    icmp->checksum = 0;
    icmp->rest = bpf_htonl(mtu);
    w = (void *)icmp;
    sum = 0;
#pragma clang loop unroll(disable)
    for (int i = 0; i < (int)(sizeof(*icmp) + KEEP) / 2; i++)
        sum += w[i];
    icmp->checksum = ~fold_sum(sum);
    return XDP_TX;
}

LICENSE("Dual MIT/GPL");
