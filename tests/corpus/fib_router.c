/*
 * fib_router: forwards IPv4 and IPv6 by the system's routes, answers nothing itself, leaves what is
 * too long for the next link to the stack.
 * uses: fib_lookup, check_mtu, redirect, devmap lookup and redirect_map, header rewriting
 */
#include "net.h"

#define INET 2
#define INET6 10

struct {
    __uint(type, BPF_MAP_TYPE_DEVMAP);
    __uint(max_entries, 256);
    __uint(key_size, sizeof(int));
    __uint(value_size, sizeof(struct bpf_devmap_val));
} ports SEC(".maps");

MAP(PERCPU_ARRAY, answers, 16, __u32, __u64);
MAP(PERCPU_ARRAY, too_long, 1, __u32, __u64);

inline_always void hop(struct iphdr *ip)
{
    __u32 sum = (__u32)ip->check + bpf_htons(0x0100);

    ip->check = (__u16)(sum + (sum >= 0xffff));
    ip->ttl--;
}

SEC("xdp")
int fib_router(struct xdp_md *ctx)
{
    void *end = (void *)(long)ctx->data_end;
    struct ethhdr *eth = (void *)(long)ctx->data;
    struct iphdr *ip = (void *)(eth + 1);
    struct ipv6hdr *ip6 = (void *)(eth + 1);
    struct bpf_fib_lookup fib;
    __u32 zero = 0, mtu = 0, answer;
    __u64 *n;
    long error;

    if ((void *)(eth + 1) > end)
        return XDP_DROP;
    __builtin_memset(&fib, 0, sizeof(fib));
    if (eth->h_proto == bpf_htons(ETH_P_IP)) {
        if ((void *)(ip + 1) > end || ip->ttl <= 1)
            return XDP_PASS;
        fib.family = INET;
        fib.tos = ip->tos;
        fib.l4_protocol = ip->protocol;
        fib.tot_len = bpf_ntohs(ip->tot_len);
        fib.ipv4_src = ip->saddr;
        fib.ipv4_dst = ip->daddr;
    } else if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
        if ((void *)(ip6 + 1) > end || ip6->hop_limit <= 1)
            return XDP_PASS;
        fib.family = INET6;
        fib.l4_protocol = ip6->nexthdr;
        fib.tot_len = bpf_ntohs(ip6->payload_len);
        __builtin_memcpy(fib.ipv6_src, &ip6->saddr, 16);
        __builtin_memcpy(fib.ipv6_dst, &ip6->daddr, 16);
    } else {
        return XDP_PASS;
    }
    fib.ifindex = ctx->ingress_ifindex;
    error = bpf_fib_lookup(ctx, &fib, sizeof(fib), 0);
    answer = error < 0 ? 15 : error & 15;
    n = bpf_map_lookup_elem(&answers, &answer);
    if (n)
        ++*n;
    if (error == BPF_FIB_LKUP_RET_BLACKHOLE || error == BPF_FIB_LKUP_RET_UNREACHABLE ||
        error == BPF_FIB_LKUP_RET_PROHIBIT)
        return XDP_DROP;
    if (bpf_check_mtu(ctx, error ? ctx->ingress_ifindex : fib.ifindex, &mtu, 0, 0)) {
        n = bpf_map_lookup_elem(&too_long, &zero);
        if (n)
            ++*n;
        return XDP_PASS;
    }
    if (error != BPF_FIB_LKUP_RET_SUCCESS)
        return XDP_PASS;
    if (eth->h_proto == bpf_htons(ETH_P_IP))
        hop(ip);
    else
        ip6->hop_limit--;
    __builtin_memcpy(eth->h_dest, fib.dmac, ETH_ALEN);
    __builtin_memcpy(eth->h_source, fib.smac, ETH_ALEN);
    if (bpf_map_lookup_elem(&ports, &fib.ifindex))
        return bpf_redirect_map(&ports, fib.ifindex, 0);
    return bpf_redirect(fib.ifindex, 0);
}

LICENSE("GPL");
