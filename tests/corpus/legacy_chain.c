/*
 * legacy_chain: a dispatcher and its stages with map definitions from before BTF.
 * uses: legacy maps (hash, per-CPU array, prog array), tail calls, a map that the loader must size
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct bpf_map_def {
    unsigned int type;
    unsigned int key_size;
    unsigned int value_size;
    unsigned int max_entries;
    unsigned int map_flags;
};

struct bpf_map_def SEC("maps") stages = {BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 4, 0};
struct bpf_map_def SEC("maps") per_stage = {BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, 4, 0};
struct bpf_map_def SEC("maps") senders = {BPF_MAP_TYPE_HASH, 4, 8, 0, 0};

static __attribute__((always_inline)) void count(__u32 index)
{
    __u64 *n = bpf_map_lookup_elem(&per_stage, &index);

    if (n)
        *n += 1;
}

SEC("xdp/dispatch")
int dispatch(struct xdp_md *ctx)
{
    void *end = (void *)(long)ctx->data_end;
    struct ethhdr *eth = (void *)(long)ctx->data;

    count(0);
    if ((void *)(eth + 1) > end)
        return XDP_DROP;
    if (eth->h_proto == bpf_htons(ETH_P_IP))
        bpf_tail_call(ctx, &stages, 1);
    else if (eth->h_proto == bpf_htons(ETH_P_ARP))
        bpf_tail_call(ctx, &stages, 2);
    return XDP_PASS;
}

SEC("xdp/four")
int four(struct xdp_md *ctx)
{
    void *end = (void *)(long)ctx->data_end;
    struct iphdr *ip = (void *)(long)ctx->data + sizeof(struct ethhdr);
    __u64 one = 1, *n;
    __u32 key;

    count(1);
    if ((void *)(ip + 1) > end)
        return XDP_DROP;
    key = ip->saddr;
    n = bpf_map_lookup_elem(&senders, &key);
    if (!n)
        return bpf_map_update_elem(&senders, &key, &one, BPF_NOEXIST) ? XDP_ABORTED : XDP_PASS;
    *n += 1;
    bpf_tail_call(ctx, &stages, 3);
    return *n > 20 ? XDP_DROP : XDP_PASS;
}

SEC("xdp/arp")
int arp(struct xdp_md *ctx)
{
    count(2);
    return ctx->data_end - ctx->data < 42 ? XDP_DROP : XDP_TX;
}

char _license[] SEC("license") = "GPL";
