/*
 * icmp6_nd: lets neighbour advertisements through only if the link-layer address in their options
 * is the sender's.
 * uses: option loop in units of 8 bytes, memcmp by words, hop limit rule
 */
#include "net.h"

struct nd_msg {
    struct icmp6hdr icmp;
    struct in6_addr target;
};

struct nd_opt {
    __u8 type;
    __u8 len;
    __u8 mac[6];
};

MAP(LRU_HASH, neighbours, 1024, struct in6_addr, __u64);

SEC("xdp")
int icmp6_nd(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct ethhdr *eth = cursor_take(&c, struct ethhdr);
    struct ipv6hdr *ip;
    struct nd_msg *msg;
    __u64 mac = 0;

    if (!eth || eth->h_proto != bpf_htons(ETH_P_IPV6))
        return XDP_PASS;
    ip = cursor_take(&c, struct ipv6hdr);
    if (!ip || ip->nexthdr != IPPROTO_ICMPV6)
        return XDP_PASS;
    msg = cursor_take(&c, struct nd_msg);
    if (!msg || msg->icmp.icmp6_type != 136)
        return XDP_PASS;
    if (ip->hop_limit != 255 || msg->icmp.icmp6_code)
        return XDP_DROP;
    for (int i = 0; i < 6; i++) {
        struct nd_opt *opt = c.at;

        if ((void *)(opt + 1) > c.end)
            break;
        if (opt->len == 0)
            return XDP_DROP;
        if (opt->type == 2) {
            for (int k = 0; k < 6; k++) {
                if (opt->mac[k] != eth->h_source[k])
                    return XDP_DROP;
                mac = mac << 8 | opt->mac[k];
            }
        }
        c.at += opt->len * 8;
    }
    bpf_map_update_elem(&neighbours, &msg->target, &mac, BPF_ANY);
    return XDP_PASS;
}

LICENSE("Dual MIT/GPL");
