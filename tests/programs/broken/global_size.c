/*
 * global_size: passes a global function less memory than its argument type says.
 * verdict: reject helper-memory
 * why: The function may touch 16 bytes, 4 are on the stack there.
 * says: stack
 */
#include "net.h"

struct wide {
    __u64 a;
    __u64 b;
};

__noinline int total(struct wide *w)
{
    return w ? w->a + w->b : 0;
}

SEC("xdp")
int global_size(struct xdp_md *ctx)
{
    __u32 small = ctx->rx_queue_index;
    struct wide *w = (void *)&small;

    asm volatile("" : "+r"(w) : : "memory");
    return total(w) > 9 ? XDP_DROP : XDP_PASS;
}

LICENSE("GPL");
