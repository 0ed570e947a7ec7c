/*
 * global_unchecked: a global function follows its pointer argument without a test for NULL.
 * verdict: reject null-deref
 * why: A global function is verified on its own, where the argument may be NULL.
 * says: null
 */
#include "net.h"

struct pair {
    __u32 a;
    __u32 b;
};

__noinline int sum(struct pair *p)
{
    return p->a + p->b;
}

SEC("xdp")
int global_unchecked(struct xdp_md *ctx)
{
    struct pair p = {ctx->rx_queue_index, ctx->ingress_ifindex};

    return sum(&p) > 9 ? XDP_DROP : XDP_PASS;
}

LICENSE("GPL");
