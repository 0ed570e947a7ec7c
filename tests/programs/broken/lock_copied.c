/*
 * lock_copied: a value is copied whole, lock included.
 * verdict: reject lock-access
 * why: An assignment of the struct reads the lock's bytes, too.
 * says: lock
 * needs: spin_lock
 */
#include "net.h"

struct pair {
    __u64 first;
    struct bpf_spin_lock lock;
    __u32 second;
};

MAP(HASH, pairs, 16, __u32, struct pair);

SEC("xdp")
int lock_copied(struct xdp_md *ctx)
{
    __u32 key = ctx->rx_queue_index, other = key + 1;
    struct pair *p = bpf_map_lookup_elem(&pairs, &key), copy;

    if (!p)
        return XDP_PASS;
    bpf_spin_lock(&p->lock);
    copy = *p;
    bpf_spin_unlock(&p->lock);
    bpf_map_update_elem(&pairs, &other, &copy, BPF_ANY);
    return XDP_PASS;
}

LICENSE("GPL");
