/*
 * partial_ctx: reads a byte out of a pointer field of the context.
 * verdict: reject ctx-access
 * why: data_end can only be read whole.
 * says: ctx
 */
#include "net.h"

SEC("xdp")
int partial_ctx(struct xdp_md *ctx)
{
    volatile __u8 *p = (void *)&ctx->data_end;

    return *p & 1 ? XDP_DROP : XDP_PASS;
}

LICENSE("GPL");
