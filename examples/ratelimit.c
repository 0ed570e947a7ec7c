/*
 * ratelimit: a token bucket for each source address.
 *
 * A bucket holds `burst` tokens and is refilled with `rate_pps` tokens per second; a packet
 * takes one, or is dropped. Rather than tokens and the time they were counted, a bucket stores
 * one number: the time at which it will be full again. A packet moves that time forward by the
 * price of one token; if it would then lie further ahead than a whole bucket is worth, the
 * bucket is empty. One number can be exchanged atomically, so no lock is needed, and nothing is
 * lost to rounding.
 *
 * Sources live in an LRU map: a flood of forged sources evicts idle buckets, it does not fill
 * the map. An evicted source starts again with a full bucket.
 */
#include "parse.h"

#define NSEC_PER_SEC 1000000000ULL
#define TRIES 4 /* attempts at the exchange before the packet counts as excess */

struct bucket {
    __u64 full_at_ns;
    __u64 passed;
    __u64 dropped;
};

struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 65536);
    __type(key, struct address);
    __type(value, struct bucket);
} sources SEC(".maps");

enum { PASSED, DROPPED, NEW_SOURCE, NOT_IP, TOTALS };

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, TOTALS);
    __type(key, __u32);
    __type(value, struct counter);
} totals SEC(".maps");

const volatile __u64 rate_pps = 100; /* 0: no limit */
const volatile __u64 burst = 50;

/* Take one token. False if the bucket is empty. */
static __always_inline bool take_token(struct bucket *b, __u64 now)
{
    __u64 price = NSEC_PER_SEC / rate_pps;

    for (int i = 0; i < TRIES; i++) {
        __u64 old = *(volatile __u64 *)&b->full_at_ns;
        __u64 next = (old > now ? old : now) + price;

        if (next - now > burst * price)
            return false;
        if (__sync_val_compare_and_swap(&b->full_at_ns, old, next) == old)
            return true;
    }
    /* Other CPUs took a token in each of these moments: this source is busy enough. */
    return false;
}

static __always_inline struct bucket *bucket_of(const struct address *source, __u64 bytes)
{
    struct bucket *b = bpf_map_lookup_elem(&sources, source);
    struct bucket fresh = {0}; /* was full in the distant past */

    if (b)
        return b;
    /* NOEXIST: if another CPU was first, its bucket stays. */
    if (bpf_map_update_elem(&sources, source, &fresh, BPF_NOEXIST) == 0)
        count(&totals, NEW_SOURCE, bytes);
    return bpf_map_lookup_elem(&sources, source);
}

SEC("xdp")
int ratelimit(struct xdp_md *ctx)
{
    __u64 bytes = bpf_xdp_get_buff_len(ctx);
    struct address source;
    struct bucket *b;
    struct packet p;

    if (!parse_link(ctx, &p) || !parse_network(&p)) {
        count(&totals, NOT_IP, bytes);
        return XDP_PASS;
    }
    source_of(&p, &source);
    b = bucket_of(&source, bytes);
    /* No bucket: the new entry was evicted at once. Pass rather than punish a stranger. */
    if (!b || rate_pps == 0 || take_token(b, bpf_ktime_get_ns())) {
        if (b)
            __sync_fetch_and_add(&b->passed, 1);
        count(&totals, PASSED, bytes);
        return XDP_PASS;
    }
    __sync_fetch_and_add(&b->dropped, 1);
    count(&totals, DROPPED, bytes);
    return XDP_DROP;
}

/* No helper used here is GPL-only: bpf_ktime_get_ns has not been since Linux 5.8. */
char _license[] SEC("license") = "GPL";
