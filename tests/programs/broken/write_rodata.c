/*
 * write_rodata: writes to a constant through a pointer that hides it from the compiler.
 * verdict: reject read-only-map
 * why: Global constants lie in a map that programs may only read.
 * says: read-only
 */
#include "net.h"

const volatile __u32 limit = 10;

SEC("xdp")
int write_rodata(struct xdp_md *ctx)
{
    __u32 *p = (__u32 *)&limit;

    asm volatile("" : "+r"(p));
    *p = ctx->rx_queue_index;
    return XDP_PASS;
}

LICENSE("GPL");
