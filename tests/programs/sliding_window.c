/*
 * sliding_window: limits a source by a window of sixteen slots of 64 ms, kept in one map value.
 * uses: variable index into an array inside a map value, loop over it
 */
#include "net.h"

#define SLOTS 16

struct window {
    __u64 epoch;
    __u32 count[SLOTS];
};

MAP(LRU_PERCPU_HASH, windows, 8192, __be32, struct window);

const volatile __u32 limit = 5000;

SEC("xdp")
int sliding_window(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    __u64 epoch = bpf_ktime_get_coarse_ns() >> 26;
    struct window *w;
    __u32 total = 0;

    if (!ip)
        return XDP_PASS;
    w = bpf_map_lookup_elem(&windows, &ip->saddr);
    if (!w) {
        struct window fresh = {.epoch = epoch};

        fresh.count[epoch & (SLOTS - 1)] = 1;
        bpf_map_update_elem(&windows, &ip->saddr, &fresh, BPF_ANY);
        return XDP_PASS;
    }
    if (epoch - w->epoch >= SLOTS) {
        __builtin_memset(w->count, 0, sizeof(w->count));
    } else {
        for (__u64 e = w->epoch + 1, i = 0; i < SLOTS && e <= epoch; i++, e++)
            w->count[e & (SLOTS - 1)] = 0;
    }
    w->epoch = epoch;
    w->count[epoch & (SLOTS - 1)]++;
    for (int i = 0; i < SLOTS; i++)
        total += w->count[i];
    return total > limit ? XDP_DROP : XDP_PASS;
}

LICENSE("Dual MIT/GPL");
