/*
 * spin_bucket: one token bucket for all CPUs, kept consistent by a lock inside its map value.
 * uses: bpf_spin_lock around a read-modify-write in an array value
 * needs: spin_lock
 */
#include "net.h"

struct bucket {
    struct bpf_spin_lock lock;
    __u32 refused;
    __u64 tokens;
    __u64 filled_ns;
};

MAP(ARRAY, shared_bucket, 1, __u32, struct bucket);

SEC("xdp")
int spin_bucket(struct xdp_md *ctx)
{
    __u64 now = bpf_ktime_get_ns(), cost = bpf_xdp_get_buff_len(ctx);
    int action = XDP_PASS;
    struct bucket *b;
    __u32 zero = 0;

    b = bpf_map_lookup_elem(&shared_bucket, &zero);
    if (!b)
        return XDP_ABORTED;
    bpf_spin_lock(&b->lock);
    b->tokens += (now - b->filled_ns) >> 3;
    if (b->tokens > 1000000)
        b->tokens = 1000000;
    b->filled_ns = now;
    if (b->tokens < cost) {
        b->refused++;
        action = XDP_DROP;
    } else {
        b->tokens -= cost;
    }
    bpf_spin_unlock(&b->lock);
    return action;
}

LICENSE("GPL");
