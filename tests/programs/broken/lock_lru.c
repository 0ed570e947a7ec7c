/*
 * lock_lru: the lock lies in the values of an LRU map.
 * verdict: reject lock-access
 * why: Elements of an LRU map change hands at any time; only values of hash and array maps can have a lock.
 * says: lock
 * needs: spin_lock
 */
#include "net.h"

struct recent {
    struct bpf_spin_lock lock;
    __u32 seen;
};

MAP(LRU_HASH, recents, 64, __u32, struct recent);

SEC("xdp")
int lock_lru(struct xdp_md *ctx)
{
    __u32 key = ctx->rx_queue_index;
    struct recent *r = bpf_map_lookup_elem(&recents, &key);

    if (!r)
        return XDP_PASS;
    bpf_spin_lock(&r->lock);
    r->seen++;
    bpf_spin_unlock(&r->lock);
    return XDP_PASS;
}

LICENSE("GPL");
