/*
 * lock_global: a global function is called while the lock is held.
 * verdict: reject lock-held
 * why: A global function is verified on its own, where nothing is known of the lock.
 * says: lock, global function
 * needs: spin_lock
 */
#include "net.h"

struct sum {
    struct bpf_spin_lock lock;
    __u32 value;
};

MAP(ARRAY, sums, 1, __u32, struct sum);

__noinline int mixed(__u32 x)
{
    return x * 2654435761u >> 7;
}

SEC("xdp")
int lock_global(struct xdp_md *ctx)
{
    __u32 zero = 0, queue = ctx->rx_queue_index;
    struct sum *s = bpf_map_lookup_elem(&sums, &zero);

    if (!s)
        return XDP_PASS;
    bpf_spin_lock(&s->lock);
    s->value = mixed(s->value + queue);
    bpf_spin_unlock(&s->lock);
    return XDP_PASS;
}

LICENSE("GPL");
