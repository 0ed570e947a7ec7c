/*
 * gpl_only: prints a message under a license that the helper does not accept.
 * verdict: reject license
 * why: bpf_trace_printk is for GPL-compatible programs only.
 * says: trace_printk, GPL
 */
#include "net.h"

SEC("xdp")
int gpl_only(struct xdp_md *ctx)
{
    bpf_printk("queue %u", ctx->rx_queue_index);
    return XDP_PASS;
}

LICENSE("Proprietary");
