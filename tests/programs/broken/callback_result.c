/*
 * callback_result: a loop callback returns something else than 0 or 1.
 * verdict: reject callback-return
 * why: The index itself is returned; only 0 (go on) and 1 (stop) are allowed.
 * says: callback, 0, 1
 */
#include "net.h"

static long step(__u32 index, void *unused)
{
    (void)unused;
    return index;
}

SEC("xdp")
int callback_result(struct xdp_md *ctx)
{
    return bpf_loop(ctx->rx_queue_index & 15, step, NULL, 0) > 3 ? XDP_DROP : XDP_PASS;
}

LICENSE("GPL");
