/*
 * syn_filter: refuses impossible TCP flag combinations, and the first SYN of unknown sources, which
 * a real client sends again.
 * uses: flag bytes, LRU hash with timestamps, allow list, early returns
 */
#include "net.h"

MAP(LRU_HASH, first_seen, 131072, struct flow4, __u64);
MAP(HASH, allowed, 1024, __be32, __u8);

#define FIN 0x01
#define SYN 0x02
#define RST 0x04
#define ACK 0x10
#define URG 0x20

SEC("xdp")
int syn_filter(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    struct flow4 flow;
    struct tcphdr *tcp;
    __u64 now, *seen;
    __u8 flags;

    if (!ip || ip->protocol != IPPROTO_TCP)
        return XDP_PASS;
    tcp = cursor_take(&c, struct tcphdr);
    if (!tcp)
        return XDP_DROP;
    flags = ((__u8 *)tcp)[13];
    if ((flags & (SYN | FIN)) == (SYN | FIN) || (flags & (SYN | RST)) == (SYN | RST) ||
        (flags & (FIN | ACK)) == FIN || (flags & 0x3f) == 0 || (flags & (URG | ACK)) == URG)
        return XDP_DROP;
    if ((flags & (SYN | ACK)) != SYN)
        return XDP_PASS;
    if (bpf_map_lookup_elem(&allowed, &ip->saddr))
        return XDP_PASS;
    __builtin_memset(&flow, 0, sizeof(flow));
    flow.saddr = ip->saddr;
    flow.daddr = ip->daddr;
    flow.sport = tcp->source;
    flow.dport = tcp->dest;
    now = bpf_ktime_get_ns();
    seen = bpf_map_lookup_elem(&first_seen, &flow);
    if (!seen) {
        bpf_map_update_elem(&first_seen, &flow, &now, BPF_NOEXIST);
        return XDP_DROP;
    }
    if (now - *seen < 200000000ULL || now - *seen > 10000000000ULL) {
        *seen = now;
        return XDP_DROP;
    }
    return XDP_PASS;
}

LICENSE("Dual MIT/GPL");
