/*
 * lpm_acl: access lists for both families, longest prefix wins, with counters for each rule.
 * uses: two LPM tries with keys built on the stack, struct copy out of the packet, per-CPU array
 */
#include "net.h"

struct prefix4 {
    __u32 bits;
    __be32 addr;
};

struct prefix6 {
    __u32 bits;
    struct in6_addr addr;
};

struct rule {
    __u32 action;
    __u32 id;
};

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(max_entries, 65536);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct prefix4);
    __type(value, struct rule);
} acl4 SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(max_entries, 65536);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct prefix6);
    __type(value, struct rule);
} acl6 SEC(".maps");

MAP(PERCPU_ARRAY, rule_hits, 1024, __u32, struct tally);

SEC("xdp")
int lpm_acl(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct ethhdr *eth = cursor_take(&c, struct ethhdr);
    struct rule *rule = NULL;

    if (!eth)
        return XDP_DROP;
    if (eth->h_proto == bpf_htons(ETH_P_IP)) {
        struct iphdr *ip = cursor_take(&c, struct iphdr);
        struct prefix4 key = {.bits = 32};

        if (!ip)
            return XDP_DROP;
        key.addr = ip->saddr;
        rule = bpf_map_lookup_elem(&acl4, &key);
    } else if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
        struct ipv6hdr *ip = cursor_take(&c, struct ipv6hdr);
        struct prefix6 key = {.bits = 128};

        if (!ip)
            return XDP_DROP;
        key.addr = ip->saddr;
        rule = bpf_map_lookup_elem(&acl6, &key);
    }
    if (!rule)
        return XDP_PASS;
    tally_at(&rule_hits, rule->id & 1023, ctx->data_end - ctx->data);
    return rule->action == XDP_DROP ? XDP_DROP : XDP_PASS;
}

LICENSE("Dual MIT/GPL");
