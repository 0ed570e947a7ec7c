/*
 * tenant_acl: each VLAN has its own access list, an LPM trie inside a hash of maps, and a shared
 * fallback that the outer array names.
 * uses: hash_of_maps with LPM inner maps, null checks at both levels
 */
#include "net.h"

struct prefix4 {
    __u32 bits;
    __be32 addr;
};

struct acl {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(max_entries, 1024);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct prefix4);
    __type(value, __u32);
} fallback SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
    __uint(max_entries, 4096);
    __type(key, __u16);
    __type(value, __u32);
    __array(values, struct acl);
} tenants SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u32);
    __array(values, struct acl);
} defaults SEC(".maps") = {.values = {&fallback}};

SEC("xdp")
int tenant_acl(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct ethhdr *eth = cursor_take(&c, struct ethhdr);
    struct prefix4 key = {32, 0};
    __u32 zero = 0, *verdict;
    struct vlan_hdr *tag;
    struct iphdr *ip;
    __u16 vid;
    void *acl;

    if (!eth || eth->h_proto != bpf_htons(ETH_P_8021Q))
        return XDP_PASS;
    tag = cursor_take(&c, struct vlan_hdr);
    if (!tag || tag->proto != bpf_htons(ETH_P_IP))
        return XDP_PASS;
    ip = cursor_take(&c, struct iphdr);
    if (!ip)
        return XDP_DROP;
    vid = bpf_ntohs(tag->tci) & 0xfff;
    acl = bpf_map_lookup_elem(&tenants, &vid);
    if (!acl)
        acl = bpf_map_lookup_elem(&defaults, &zero);
    if (!acl)
        return XDP_ABORTED;
    key.addr = ip->saddr;
    verdict = bpf_map_lookup_elem(acl, &key);
    if (!verdict)
        return XDP_DROP;
    return *verdict ? XDP_PASS : XDP_DROP;
}

LICENSE("Dual MIT/GPL");
