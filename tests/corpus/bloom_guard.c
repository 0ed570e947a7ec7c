/*
 * bloom_guard: a Bloom filter in front of a large hash of blocked senders; new senders are learned.
 * uses: bloom filter map (push, peek), IPv6 keys, hash only behind the filter
 */
#include "net.h"

struct sender {
    __be32 words[4];
};

struct {
    __uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
    __uint(max_entries, 1000);
    __uint(map_extra, 3);
    __type(value, struct sender);
} suspects SEC(".maps");

MAP(HASH, blocked, 4096, struct sender, __u64);
MAP(PERCPU_ARRAY, saved_lookups, 1, __u32, __u64);

SEC("xdp")
int bloom_guard(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct ethhdr *eth = cursor_take(&c, struct ethhdr);
    struct sender who = {{0}};
    __u32 zero = 0;
    __u64 *hits;

    if (!eth)
        return XDP_DROP;
    if (eth->h_proto == bpf_htons(ETH_P_IP)) {
        struct iphdr *ip = cursor_take(&c, struct iphdr);

        if (!ip)
            return XDP_DROP;
        who.words[2] = bpf_htonl(0xffff);
        who.words[3] = ip->saddr;
        if (ip->ttl < 3)
            bpf_map_push_elem(&suspects, &who, BPF_ANY);
    } else if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
        struct ipv6hdr *ip = cursor_take(&c, struct ipv6hdr);

        if (!ip)
            return XDP_DROP;
        __builtin_memcpy(&who, &ip->saddr, sizeof(who));
        if (ip->hop_limit < 3)
            bpf_map_push_elem(&suspects, &who, BPF_ANY);
    } else {
        return XDP_PASS;
    }
    if (bpf_map_peek_elem(&suspects, &who)) {
        hits = bpf_map_lookup_elem(&saved_lookups, &zero);
        if (hits)
            ++*hits;
        return XDP_PASS;
    }
    hits = bpf_map_lookup_elem(&blocked, &who);
    if (!hits)
        return XDP_PASS;
    ++*hits;
    return XDP_DROP;
}

LICENSE("Dual BSD/GPL");
