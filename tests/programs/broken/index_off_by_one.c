/*
 * index_off_by_one: the limit of an index is one too high.
 * verdict: reject map-value-range
 * why: The index can be 16, the array has 16 elements.
 * says: 64
 */
#include "net.h"

struct table {
    __u32 slot[16];
};

MAP(ARRAY, tables, 1, __u32, struct table);

SEC("xdp")
int index_off_by_one(struct xdp_md *ctx)
{
    __u32 zero = 0, index = ctx->rx_queue_index;
    struct table *t = bpf_map_lookup_elem(&tables, &zero);

    if (!t || index > 16)
        return XDP_PASS;
    t->slot[index]++;
    return XDP_PASS;
}

LICENSE("GPL");
