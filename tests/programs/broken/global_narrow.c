/*
 * global_narrow: relies on what the caller passes to a global function.
 * verdict: reject map-value-range
 * why: The only call passes 0 to 7, but a global function is verified for every argument.
 * says: 32
 */
#include "net.h"

struct table {
    __u32 slot[8];
};

MAP(ARRAY, tables, 1, __u32, struct table);

__noinline int get(__u32 index)
{
    __u32 zero = 0;
    struct table *t = bpf_map_lookup_elem(&tables, &zero);

    return t ? t->slot[index] : 0;
}

SEC("xdp")
int global_narrow(struct xdp_md *ctx)
{
    return get(ctx->rx_queue_index & 7) ? XDP_DROP : XDP_PASS;
}

LICENSE("GPL");
