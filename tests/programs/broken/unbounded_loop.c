/*
 * unbounded_loop: follows a chain in a map that need not end.
 * verdict: reject unbounded-loop
 * why: Nothing limits the number of steps.
 * says: loop
 */
#include "net.h"

MAP(ARRAY, chain, 64, __u32, __u32);

SEC("xdp")
int unbounded_loop(struct xdp_md *ctx)
{
    __u32 at = ctx->rx_queue_index;

    for (;;) {
        __u32 *next = bpf_map_lookup_elem(&chain, &at);

        if (!next)
            return XDP_DROP;
        if (*next == at)
            return XDP_PASS;
        at = *next;
    }
}

LICENSE("GPL");
