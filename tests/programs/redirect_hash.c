/*
 * redirect_hash: spreads flows over CPUs and ports.
 * uses: redirect_map into cpumap, devmap and devmap_hash with fallback actions, plain redirect
 */
#include "net.h"

struct {
    __uint(type, BPF_MAP_TYPE_CPUMAP);
    __uint(max_entries, 16);
    __uint(key_size, 4);
    __uint(value_size, 4);
} cpus SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_DEVMAP);
    __uint(max_entries, 16);
    __uint(key_size, 4);
    __uint(value_size, 4);
} ports SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_DEVMAP_HASH);
    __uint(max_entries, 64);
    __uint(key_size, 4);
    __uint(value_size, 4);
} by_vlan SEC(".maps");

const volatile __u32 cpu_count = 4;

SEC("xdp")
int redirect_hash(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct ethhdr *eth = cursor_take(&c, struct ethhdr);
    __u32 hash;

    if (!eth)
        return XDP_DROP;
    if (eth->h_proto == bpf_htons(ETH_P_8021Q)) {
        struct vlan_hdr *tag = cursor_take(&c, struct vlan_hdr);

        if (!tag)
            return XDP_DROP;
        return bpf_redirect_map(&by_vlan, bpf_ntohs(tag->tci) & 0xfff, XDP_PASS);
    }
    if (eth->h_proto == bpf_htons(ETH_P_IP)) {
        struct iphdr *ip = cursor_take(&c, struct iphdr);

        if (!ip)
            return XDP_DROP;
        hash = mix32(ip->saddr, ip->daddr);
        if (ip->tos)
            return bpf_redirect_map(&ports, hash & 15, XDP_DROP);
        return bpf_redirect_map(&cpus, cpu_count ? hash % cpu_count : 0, 0);
    }
    return eth->h_dest[0] & 1 ? bpf_redirect(ctx->ingress_ifindex, 0) : XDP_PASS;
}

LICENSE("Dual MIT/GPL");
