/*
 * lock_call: the time is asked for while the lock is held.
 * verdict: reject lock-held
 * why: No helper is called between bpf_spin_lock and bpf_spin_unlock.
 * says: lock, ktime_get_ns
 * needs: spin_lock
 */
#include "net.h"

struct stamp {
    __u64 last;
    struct bpf_spin_lock lock;
};

MAP(ARRAY, stamps, 1, __u32, struct stamp);

SEC("xdp")
int lock_call(struct xdp_md *ctx)
{
    __u32 zero = 0, length = ctx->data_end - ctx->data;
    struct stamp *s = bpf_map_lookup_elem(&stamps, &zero);

    if (!s)
        return XDP_PASS;
    bpf_spin_lock(&s->lock);
    s->last = bpf_ktime_get_ns() + length;
    bpf_spin_unlock(&s->lock);
    return XDP_PASS;
}

LICENSE("GPL");
