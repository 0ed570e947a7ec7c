/*
 * spread: flows over CPUs whose own programs look again, multicast out of every port with its own
 * program.
 * uses: cpumap and devmap with secondary programs, devmap_hash broadcast, flags of redirect_map
 */
#include "net.h"

struct {
    __uint(type, BPF_MAP_TYPE_CPUMAP);
    __uint(max_entries, 8);
    __uint(key_size, sizeof(__u32));
    __uint(value_size, sizeof(struct bpf_cpumap_val));
} cpus SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_DEVMAP_HASH);
    __uint(max_entries, 32);
    __uint(key_size, sizeof(__u32));
    __uint(value_size, sizeof(struct bpf_devmap_val));
} ports SEC(".maps");

MAP(ARRAY, cpu_list, 8, __u32, __u32);
MAP(PERCPU_HASH, by_egress, 64, __u32, struct tally);
MAP(PERCPU_ARRAY, on_cpu, 8, __u32, __u64);

const volatile __u32 cpu_count = 4;

SEC("xdp")
int spread(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct ethhdr *eth = cursor_take(&c, struct ethhdr);
    __u32 slot = 0, *cpu;

    if (!eth)
        return XDP_DROP;
    if (eth->h_dest[0] & 1)
        return bpf_redirect_map(&ports, 0, BPF_F_BROADCAST | BPF_F_EXCLUDE_INGRESS);
    if (eth->h_proto == bpf_htons(ETH_P_IP)) {
        struct iphdr *ip = cursor_take(&c, struct iphdr);

        if (!ip)
            return XDP_DROP;
        slot = mix32(ip->saddr ^ ip->daddr, ip->protocol);
    }
    slot = cpu_count ? slot % cpu_count : 0;
    cpu = bpf_map_lookup_elem(&cpu_list, &slot);
    if (!cpu)
        return XDP_ABORTED;
    return bpf_redirect_map(&cpus, *cpu, XDP_PASS);
}

SEC("xdp/cpumap")
int spread_on_cpu(struct xdp_md *ctx)
{
    __u32 slot = ctx->rx_queue_index & 7;
    __u64 *n = bpf_map_lookup_elem(&on_cpu, &slot);

    if (n)
        ++*n;
    return ctx->data_end - ctx->data < 60 ? XDP_DROP : XDP_PASS;
}

SEC("xdp/devmap")
int spread_on_egress(struct xdp_md *ctx)
{
    __u32 port = ctx->egress_ifindex;
    struct tally fresh = {1, ctx->data_end - ctx->data};
    struct tally *t = bpf_map_lookup_elem(&by_egress, &port);

    if (!t)
        return bpf_map_update_elem(&by_egress, &port, &fresh, BPF_NOEXIST) ? XDP_DROP : XDP_PASS;
    t->packets++;
    t->bytes += ctx->data_end - ctx->data;
    return XDP_PASS;
}

LICENSE("GPL");
