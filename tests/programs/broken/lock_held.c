/*
 * lock_held: one way out of the critical section forgets to unlock.
 * verdict: reject lock-held
 * why: The early return leaves the lock taken.
 * says: lock
 * needs: spin_lock
 */
#include "net.h"

struct cell {
    struct bpf_spin_lock lock;
    __u32 count;
};

MAP(ARRAY, cells, 1, __u32, struct cell);

SEC("xdp")
int lock_held(struct xdp_md *ctx)
{
    __u32 zero = 0, queue = ctx->rx_queue_index;
    struct cell *c = bpf_map_lookup_elem(&cells, &zero);

    if (!c)
        return XDP_PASS;
    bpf_spin_lock(&c->lock);
    if (++c->count > queue)
        return XDP_DROP;
    bpf_spin_unlock(&c->lock);
    return XDP_PASS;
}

LICENSE("GPL");
