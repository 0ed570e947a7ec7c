/*
 * stack_index: a histogram on the stack is indexed by a value that nothing limits.
 * verdict: reject stack-range
 * why: The index can be anything, the array has 32 bytes.
 * says: stack
 */
#include "net.h"

SEC("xdp")
int stack_index(struct xdp_md *ctx)
{
    volatile __u8 histogram[32] = {0};

    histogram[ctx->rx_queue_index]++;
    return histogram[3] ? XDP_DROP : XDP_PASS;
}

LICENSE("GPL");
