/*
 * unrolled_parser: ten headers deep, every loop unrolled: VLAN, MPLS, IPv4, IPv6, GRE and
 * VXLAN in any order, with the state in registers and on the stack.
 * uses: heavy unrolling, state machine in straight code, over 1,000 instructions
 */
#include "net.h"

enum next { N_ETH, N_PROTO, N_IP4, N_IP6, N_GRE, N_UDP, N_DONE };

MAP(PERCPU_ARRAY, depths, 16, __u32, struct tally);

inline_always __u32 by_ethertype(__be16 proto)
{
    if (proto == bpf_htons(ETH_P_IP))
        return N_IP4;
    if (proto == bpf_htons(ETH_P_IPV6))
        return N_IP6;
    if (proto == bpf_htons(ETH_P_8021Q) || proto == bpf_htons(ETH_P_8021AD))
        return N_PROTO;
    if (proto == bpf_htons(0x6558))
        return N_ETH;
    return N_DONE;
}

inline_always __u32 by_protocol(__u8 proto)
{
    if (proto == IPPROTO_GRE)
        return N_GRE;
    if (proto == IPPROTO_IPIP)
        return N_IP4;
    if (proto == IPPROTO_IPV6)
        return N_IP6;
    return proto == IPPROTO_UDP ? N_UDP : N_DONE;
}

SEC("xdp")
int unrolled_parser(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    __u32 next = N_ETH, depth = 0;

#pragma clang loop unroll(full)
    for (int layer = 0; layer < 10; layer++) {
        if (next == N_ETH) {
            struct ethhdr *eth = cursor_take(&c, struct ethhdr);

            if (!eth)
                return XDP_DROP;
            next = by_ethertype(eth->h_proto);
        } else if (next == N_PROTO) {
            struct vlan_hdr *tag = cursor_take(&c, struct vlan_hdr);

            if (!tag)
                return XDP_DROP;
            next = by_ethertype(tag->proto);
        } else if (next == N_IP4) {
            struct iphdr *ip = cursor_take(&c, struct iphdr);

            if (!ip || ip->version != 4 || ip->ttl == 0)
                return XDP_DROP;
            next = ip->frag_off & bpf_htons(0x1fff) ? N_DONE : by_protocol(ip->protocol);
        } else if (next == N_IP6) {
            struct ipv6hdr *ip = cursor_take(&c, struct ipv6hdr);

            if (!ip || ip->version != 6 || ip->hop_limit == 0)
                return XDP_DROP;
            next = by_protocol(ip->nexthdr);
        } else if (next == N_GRE) {
            __be16 *gre = cursor_bytes(&c, 4);

            if (!gre || gre[0] & bpf_htons(0x4007))
                return XDP_DROP;
            next = by_ethertype(gre[1]);
            if (gre[0] & bpf_htons(0x2000) && !cursor_bytes(&c, 4))
                return XDP_DROP;
        } else if (next == N_UDP) {
            struct udphdr *udp = cursor_take(&c, struct udphdr);

            if (!udp)
                return XDP_DROP;
            next = N_DONE;
            if (udp->dest == bpf_htons(4789) || udp->dest == bpf_htons(6081)) {
                if (!cursor_bytes(&c, 8))
                    return XDP_DROP;
                next = N_ETH;
            }
        } else {
            break;
        }
        depth++;
    }
    tally_at(&depths, depth & 15, 1);
    return next == N_DONE ? XDP_PASS : XDP_DROP;
}

LICENSE("Dual MIT/GPL");
