/*
 * late_tenants: policies of tenants in inner maps whose definition the loader gives.
 * uses: hash of maps without an inner definition, max_entries left open, LRU per-CPU hash as an inner map
 */
#include "net.h"

struct {
    __uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
    __uint(max_entries, 32);
    __type(key, __u32);
    __uint(value_size, sizeof(__u32));
} tenants SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
    __uint(max_entries, 4);
    __type(key, __u32);
    __uint(value_size, sizeof(__u32));
    __array(values, struct {
        __uint(type, BPF_MAP_TYPE_LRU_PERCPU_HASH);
        __uint(max_entries, 64);
        __type(key, __be32);
        __type(value, __u64);
    });
} recent SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __type(key, __u16);
    __type(value, __u32);
} tags SEC(".maps");

SEC("xdp")
int late_tenants(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct ethhdr *eth = cursor_take(&c, struct ethhdr);
    struct vlan_hdr *tag;
    struct iphdr *ip;
    void *policy, *lately;
    __u32 *tenant, part;
    __u64 *rule, *n, one = 1;
    __u16 id;
    __be32 from;

    if (!eth || eth->h_proto != bpf_htons(ETH_P_8021Q))
        return XDP_PASS;
    tag = cursor_take(&c, struct vlan_hdr);
    if (!tag || tag->proto != bpf_htons(ETH_P_IP))
        return XDP_PASS;
    ip = cursor_take(&c, struct iphdr);
    if (!ip)
        return XDP_DROP;
    id = bpf_ntohs(tag->tci) & 0xfff;
    tenant = bpf_map_lookup_elem(&tags, &id);
    if (!tenant)
        return XDP_PASS;
    from = ip->saddr;
    part = bpf_ntohl(from) & 3;
    lately = bpf_map_lookup_elem(&recent, &part);
    if (lately) {
        n = bpf_map_lookup_elem(lately, &from);
        if (n)
            ++*n;
        else
            bpf_map_update_elem(lately, &from, &one, BPF_ANY);
    }
    policy = bpf_map_lookup_elem(&tenants, tenant);
    if (!policy)
        return XDP_PASS;
    rule = bpf_map_lookup_elem(policy, &from);
    return rule && *rule & 1 ? XDP_DROP : XDP_PASS;
}

LICENSE("GPL");
