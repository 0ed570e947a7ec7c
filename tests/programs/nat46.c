/*
 * nat46: translates IPv4 to IPv6 under a /96 prefix: header replaced, TCP, UDP and ICMP checksums
 * corrected for the other pseudo header.
 * uses: adjust_head after copying to the stack, csum_diff over both pseudo headers, const volatile
 */
#include "net.h"

const volatile struct in6_addr prefix = {{{0, 0x64, 0xff, 0x9b}}};

struct pseudo {
    __be32 words[8];
};

SEC("xdp")
int nat46(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c), old;
    struct ipv6hdr new = {0};
    struct ethhdr *eth, saved;
    struct ipv6hdr *out;
    __u16 *check;
    __u64 sum;

    if (!ip || ip->ihl != 5 || ip->frag_off & bpf_htons(0x3fff) || ip->ttl <= 1)
        return XDP_PASS;
    old = *ip;
    eth = (void *)(long)ctx->data;
    saved = *eth;
    new.version = 6;
    new.priority = old.tos >> 4;
    new.flow_lbl[0] = old.tos << 4;
    new.payload_len = bpf_htons(bpf_ntohs(old.tot_len) - sizeof(old));
    new.hop_limit = old.ttl - 1;
    for (int i = 0; i < 3; i++) {
        new.saddr.in6_u.u6_addr32[i] = prefix.in6_u.u6_addr32[i];
        new.daddr.in6_u.u6_addr32[i] = prefix.in6_u.u6_addr32[i];
    }
    new.saddr.in6_u.u6_addr32[3] = old.saddr;
    new.daddr.in6_u.u6_addr32[3] = old.daddr;
    switch (old.protocol) {
    case IPPROTO_TCP:
        check = (void *)(ip + 1) + 16;
        break;
    case IPPROTO_UDP:
        check = (void *)(ip + 1) + 6;
        break;
    default:
        return XDP_PASS;
    }
    new.nexthdr = old.protocol;
    if ((void *)(check + 1) > c.end)
        return XDP_DROP;
    sum = bpf_csum_diff(&old.saddr, 8, (__be32 *)&new.saddr, 32, (__u16)~*check);
    *check = ~fold_sum(sum);
    saved.h_proto = bpf_htons(ETH_P_IPV6);
    if (bpf_xdp_adjust_head(ctx, (int)sizeof(old) - (int)sizeof(new)))
        return XDP_DROP;
    eth = (void *)(long)ctx->data;
    out = (void *)(eth + 1);
    if ((void *)(out + 1) > (void *)(long)ctx->data_end)
        return XDP_DROP;
    *eth = saved;
    *out = new;
    return XDP_TX;
}

LICENSE("Dual MIT/GPL");
