/*
 * large_firewall: rules of a site compiled to straight code: prefixes, port ranges, protocol and flags,
 * 160 for IPv4 and 64 for IPv6, in front of a table of exceptions and a rate limit per sender.
 * uses: over 3,000 instructions, range comparisons, per-rule counters, LPM exceptions, LRU rate limit
 */
#include "net.h"
#include "generated.h"

struct prefix {
    __u32 bits;
    __be32 addr;
};

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(max_entries, 4096);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct prefix);
    __type(value, __u32);
} exceptions SEC(".maps");

struct bucket {
    __u64 window;
    __u64 packets;
};

MAP(PERCPU_ARRAY, hits, 256, __u32, struct tally);
MAP(LRU_HASH, buckets, 8192, __be32, struct bucket);

const volatile __u64 per_window = 50;

struct seen {
    __u32 src;
    __u32 dst;
    __u32 sport;
    __u32 dport;
    __u32 proto;
    __u32 flags;
};

/* A copy that verifiers do not tie to the original, so that what a rule learns of it ends with the rule. */
#define LOOK(to, from) asm volatile("%0 = %1; %0 ^= 0" : "=r"(to) : "r"(from))

#define NET(n) ((((n) * 37) & 3) << 24 | 0x0a000000u | ((n) & 3) << 8)
#define MASK(n) (0xffffff00u << (((n) % 5) * 2))
#define LOW(n) (SPREAD(n) >> 20)
#define HIGH(n) (LOW(n) + ((n) % 7) * 977)
#define PROTO(n) ((n) % 3 ? IPPROTO_TCP : IPPROTO_UDP)

#define RULE4(n)                                                                         \
    LOOK(a, s.dst);                                                                      \
    LOOK(p, s.dport);                                                                    \
    if ((a & MASK(n)) == (NET(n) & MASK(n)) && p >= LOW(n) && p <= HIGH(n) &&            \
        s.proto == PROTO(n) && ((n) & 8 || (s.flags & 0x12) != 0x10)) {                  \
        rule = (n);                                                                      \
        goto matched;                                                                    \
    }

#define RULE6(n)                                                                         \
    LOOK(a, s.src);                                                                      \
    LOOK(p, s.dport);                                                                    \
    if ((a ^ SPREAD(n)) % 61 == (n) % 61 && (p < LOW(n) || s.sport > HIGH(n)) &&         \
        s.proto == PROTO((n) + 1)) {                                                     \
        rule = (n) & 127;                                                                \
        goto matched;                                                                    \
    }

/* Ports and TCP flags; what is cut or has none reads as zeros. */
inline_always void transport(struct cursor *c, __u32 proto, struct seen *s)
{
    struct tcphdr *tcp;
    struct udphdr *udp;

    s->proto = proto;
    s->sport = s->dport = s->flags = 0;
    if (proto == IPPROTO_TCP) {
        tcp = cursor_take(c, struct tcphdr);
        if (tcp) {
            s->sport = bpf_ntohs(tcp->source);
            s->dport = bpf_ntohs(tcp->dest);
            s->flags = ((__u8 *)tcp)[13];
        }
    } else if (proto == IPPROTO_UDP) {
        udp = cursor_take(c, struct udphdr);
        if (udp) {
            s->sport = bpf_ntohs(udp->source);
            s->dport = bpf_ntohs(udp->dest);
        }
    }
}

inline_always int over_limit(__be32 from)
{
    struct bucket fresh = {.packets = 1}, *b;
    __u64 window = bpf_ktime_get_ns() >> 30;

    b = bpf_map_lookup_elem(&buckets, &from);
    if (!b) {
        fresh.window = window;
        bpf_map_update_elem(&buckets, &from, &fresh, BPF_ANY);
        return 0;
    }
    if (b->window != window) {
        b->window = window;
        b->packets = 0;
    }
    return ++b->packets > per_window;
}

SEC("xdp")
int large_firewall(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct ethhdr *eth = cursor_take(&c, struct ethhdr);
    struct prefix key = {.bits = 32};
    __u32 rule = 255, a, p, *allowed;
    struct seen s = {0};

    if (!eth)
        return XDP_DROP;
    if (eth->h_proto == bpf_htons(ETH_P_IP)) {
        struct iphdr *ip = cursor_take(&c, struct iphdr);

        if (!ip || ip->version != 4 || ip->ihl != 5)
            return XDP_DROP;
        key.addr = ip->saddr;
        allowed = bpf_map_lookup_elem(&exceptions, &key);
        if (allowed && *allowed & 1)
            return XDP_PASS;
        if (over_limit(ip->saddr))
            return XDP_DROP;
        s.src = bpf_ntohl(ip->saddr);
        s.dst = bpf_ntohl(ip->daddr);
        transport(&c, ip->protocol, &s);
        R64(RULE4, 0)
        R64(RULE4, 64)
        R16(RULE4, 128)
        R16(RULE4, 144)
    } else if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
        struct ipv6hdr *ip = cursor_take(&c, struct ipv6hdr);

        if (!ip)
            return XDP_DROP;
        s.src = bpf_ntohl(ip->saddr.in6_u.u6_addr32[3]);
        s.dst = bpf_ntohl(ip->daddr.in6_u.u6_addr32[3]);
        transport(&c, ip->nexthdr, &s);
        R64(RULE6, 160)
    } else {
        return XDP_PASS;
    }
matched:
    tally_at(&hits, rule, ctx->data_end - ctx->data);
    return rule == 255 || rule % 3 == 0 ? XDP_PASS : XDP_DROP;
}

LICENSE("GPL");
