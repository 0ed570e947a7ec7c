/*
 * write_ctx: tries to change the receive queue in the context.
 * verdict: reject ctx-access
 * why: The fields of struct xdp_md can only be read.
 * says: ctx
 */
#include "net.h"

SEC("xdp")
int write_ctx(struct xdp_md *ctx)
{
    ctx->rx_queue_index = 3;
    return XDP_PASS;
}

LICENSE("GPL");
