/*
 * token_bucket: a bucket for each source address, refilled by elapsed time.
 * uses: 64-bit multiplication and division by a constant, LRU hash, ktime
 */
#include "net.h"

struct bucket {
    __u64 filled_ns;
    __u64 tokens; /* in 1/1000 of a packet */
};

MAP(LRU_HASH, buckets, 65536, __be32, struct bucket);

const volatile __u64 rate = 1000;  /* packets a second */
const volatile __u64 burst = 200;

SEC("xdp")
int token_bucket(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    __u64 now, elapsed, most = burst * 1000;
    struct bucket *b;

    if (!ip)
        return XDP_PASS;
    now = bpf_ktime_get_ns();
    b = bpf_map_lookup_elem(&buckets, &ip->saddr);
    if (!b) {
        struct bucket fresh = {now, most - 1000};

        bpf_map_update_elem(&buckets, &ip->saddr, &fresh, BPF_ANY);
        return XDP_PASS;
    }
    elapsed = now - b->filled_ns;
    if (elapsed > 1000000) {
        __u64 tokens = b->tokens + elapsed / 1000000 * rate;

        b->tokens = tokens > most ? most : tokens;
        b->filled_ns = now;
    }
    if (b->tokens < 1000)
        return XDP_DROP;
    b->tokens -= 1000;
    return XDP_PASS;
}

LICENSE("Dual MIT/GPL");
