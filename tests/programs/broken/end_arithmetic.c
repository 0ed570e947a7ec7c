/*
 * end_arithmetic: subtracts from the end of the packet instead of adding to the pointer.
 * verdict: reject pointer-arithmetic
 * why: The end of the packet may be compared, not computed with.
 * says: data_end
 */
#include "net.h"

SEC("xdp")
int end_arithmetic(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    void *last = end - sizeof(struct ethhdr);

    asm volatile("" : "+r"(last));
    if (data > last)
        return XDP_DROP;
    return *(__u8 *)data & 1 ? XDP_DROP : XDP_PASS;
}

LICENSE("GPL");
