/*
 * ttl_histogram: per-CPU histograms of TTL, length and inter-arrival time; nothing is changed.
 * uses: log2 by comparisons, per-CPU hash with insert on first use, map_lookup_percpu_elem
 */
#include "net.h"

struct histogram {
    __u64 ttl[8];
    __u64 length[16];
    __u64 gap[32];
    __u64 last_ns;
};

MAP(PERCPU_HASH, histograms, 256, __u32, struct histogram);
MAP(PERCPU_ARRAY, zeros, 1, __u32, struct histogram);

inline_always __u32 log2_of(__u64 v)
{
    __u32 r = 0;

    if (v >> 32) {
        r += 32;
        v >>= 32;
    }
    if (v >> 16) {
        r += 16;
        v >>= 16;
    }
    if (v >> 8) {
        r += 8;
        v >>= 8;
    }
    if (v >> 4) {
        r += 4;
        v >>= 4;
    }
    if (v >> 2) {
        r += 2;
        v >>= 2;
    }
    return r + (v >> 1);
}

SEC("xdp")
int ttl_histogram(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    __u32 key = ctx->ingress_ifindex, zero = 0;
    struct histogram *h, *first, *blank;
    __u64 now;

    if (!ip)
        return XDP_PASS;
    h = bpf_map_lookup_elem(&histograms, &key);
    if (!h) {
        blank = bpf_map_lookup_elem(&zeros, &zero);
        if (!blank)
            return XDP_PASS;
        bpf_map_update_elem(&histograms, &key, blank, BPF_NOEXIST);
        h = bpf_map_lookup_elem(&histograms, &key);
        if (!h)
            return XDP_PASS;
    }
    now = bpf_ktime_get_ns();
    h->ttl[ip->ttl >> 5]++;
    h->length[log2_of(bpf_ntohs(ip->tot_len)) & 15]++;
    h->gap[log2_of(now - h->last_ns) & 31]++;
    h->last_ns = now;
    first = bpf_map_lookup_percpu_elem(&histograms, &key, 0);
    return first && first->last_ns > now ? XDP_ABORTED : XDP_PASS;
}

LICENSE("GPL");
