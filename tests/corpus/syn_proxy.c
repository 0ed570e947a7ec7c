/*
 * syn_proxy: answers SYNs with cookies without keeping state, and lets only ACKs pass that carry one.
 * uses: tcp_raw_gen_syncookie_ipv4/6, tcp_raw_check_syncookie_ipv4/6, xdp_load_bytes of variable length,
 *       adjust_tail, checksums over pseudo headers
 */
#include "net.h"
#include "generated.h"

enum { SYNS, GOOD, BAD, FAILED, COUNTERS };

MAP(PERCPU_ARRAY, cookies, COUNTERS, __u32, __u64);
MAP(LRU_HASH, proven, 4096, __be32, __u64);

inline_always void count(__u32 index)
{
    __u64 *n = bpf_map_lookup_elem(&cookies, &index);

    if (n)
        ++*n;
}

inline_always __u16 tcp_sum(struct tcphdr *tcp, __u64 pseudo)
{
    tcp->check = 0;
    return ~fold_sum(pseudo + bpf_csum_diff(NULL, 0, (__be32 *)tcp, sizeof(*tcp), 0) +
                     bpf_htons(IPPROTO_TCP) + bpf_htons(sizeof(*tcp)));
}

/* Turns the segment round: ports, sequence numbers, flags; what it acknowledges is the SYN. */
inline_always void answer(struct tcphdr *tcp, __u32 cookie)
{
    __be16 port = tcp->source;

    tcp->source = tcp->dest;
    tcp->dest = port;
    tcp->ack_seq = bpf_htonl(bpf_ntohl(tcp->seq) + 1);
    tcp->seq = bpf_htonl(cookie);
    tcp->doff = 5;
    tcp->ack = 1;
    tcp->window = 0;
    tcp->urg_ptr = 0;
}

inline_always void swap_macs(struct ethhdr *eth)
{
    __u8 mac[ETH_ALEN];

    __builtin_memcpy(mac, eth->h_source, ETH_ALEN);
    __builtin_memcpy(eth->h_source, eth->h_dest, ETH_ALEN);
    __builtin_memcpy(eth->h_dest, mac, ETH_ALEN);
}

/* The TCP header with its options in memory whose size is known; 0 when it is cut or lies. */
inline_always __u64 header(struct xdp_md *ctx, __u32 offset, struct tcphdr *tcp, void *copy)
{
    __u64 size = tcp->doff * 4;

    if (size > 60)
        return 0;
    OPAQUE(size); /* two comparisons, which verifiers follow */
    if (size < sizeof(*tcp))
        return 0;
    return bpf_xdp_load_bytes(ctx, offset, copy, size) ? 0 : size;
}

inline_always int four(struct xdp_md *ctx, struct ethhdr *eth, void *end)
{
    struct iphdr *ip = (void *)(eth + 1);
    struct tcphdr *tcp = (void *)(ip + 1);
    __u64 now = 1, pseudo;
    __u8 copy[60] = {0};
    __u64 size;
    __s64 made;
    __be32 swap;

    if ((void *)(tcp + 1) > end || ip->ihl != 5 || ip->protocol != IPPROTO_TCP)
        return XDP_PASS;
    size = header(ctx, sizeof(*eth) + sizeof(*ip), tcp, copy);
    if (!size)
        return XDP_DROP;
    if (tcp->syn && !tcp->ack) {
        count(SYNS);
        made = bpf_tcp_raw_gen_syncookie_ipv4(ip, (void *)copy, size);
        if (made < 0) {
            count(FAILED);
            return XDP_DROP;
        }
        swap = ip->saddr;
        ip->saddr = ip->daddr;
        ip->daddr = swap;
        ip->tot_len = bpf_htons(sizeof(*ip) + sizeof(*tcp));
        ip->ttl = 64;
        ip->check = ip_header_sum(ip);
        answer(tcp, made);
        pseudo = (__u64)ip->saddr + ip->daddr;
        tcp->check = tcp_sum(tcp, pseudo);
        swap_macs(eth);
        if (bpf_xdp_adjust_tail(ctx, (int)(sizeof(*eth) + sizeof(*ip) + sizeof(*tcp)) -
                                         (int)(ctx->data_end - ctx->data)))
            return XDP_ABORTED;
        return XDP_TX;
    }
    if (!tcp->ack || bpf_map_lookup_elem(&proven, &ip->saddr))
        return XDP_PASS;
    if (bpf_tcp_raw_check_syncookie_ipv4(ip, tcp)) {
        count(BAD);
        return XDP_DROP;
    }
    count(GOOD);
    bpf_map_update_elem(&proven, &ip->saddr, &now, BPF_ANY);
    return XDP_PASS;
}

inline_always int six(struct xdp_md *ctx, struct ethhdr *eth, void *end)
{
    struct ipv6hdr *ip = (void *)(eth + 1);
    struct tcphdr *tcp = (void *)(ip + 1);
    struct in6_addr swap;
    __u64 pseudo;
    __u8 copy[60] = {0};
    __u64 size;
    __s64 made;

    if ((void *)(tcp + 1) > end || ip->nexthdr != IPPROTO_TCP)
        return XDP_PASS;
    size = header(ctx, sizeof(*eth) + sizeof(*ip), tcp, copy);
    if (!size)
        return XDP_DROP;
    if (tcp->syn && !tcp->ack) {
        count(SYNS);
        made = bpf_tcp_raw_gen_syncookie_ipv6(ip, (void *)copy, size);
        if (made < 0) {
            count(FAILED);
            return XDP_DROP;
        }
        swap = ip->saddr;
        ip->saddr = ip->daddr;
        ip->daddr = swap;
        answer(tcp, made);
        pseudo = bpf_csum_diff(NULL, 0, (__be32 *)&ip->saddr, 32, 0);
        tcp->check = tcp_sum(tcp, pseudo);
        swap_macs(eth);
        return XDP_TX;
    }
    if (!tcp->ack)
        return XDP_PASS;
    if (bpf_tcp_raw_check_syncookie_ipv6(ip, tcp)) {
        count(BAD);
        return XDP_DROP;
    }
    count(GOOD);
    return XDP_PASS;
}

SEC("xdp")
int syn_proxy(struct xdp_md *ctx)
{
    void *end = (void *)(long)ctx->data_end;
    struct ethhdr *eth = (void *)(long)ctx->data;

    if ((void *)(eth + 1) > end)
        return XDP_DROP;
    if (eth->h_proto == bpf_htons(ETH_P_IP))
        return four(ctx, eth, end);
    if (eth->h_proto == bpf_htons(ETH_P_IPV6))
        return six(ctx, eth, end);
    return XDP_PASS;
}

LICENSE("GPL");
