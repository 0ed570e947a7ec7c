/*
 * index_unchecked: a byte of the packet indexes an array of 64 in a map value.
 * verdict: reject map-value-range
 * why: The index can be 255, the array has 64 elements.
 * says: 64
 */
#include "net.h"

struct table {
    __u8 slot[64];
};

MAP(ARRAY, tables, 1, __u32, struct table);

SEC("xdp")
int index_unchecked(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct ethhdr *eth = cursor_take(&c, struct ethhdr);
    struct table *t;
    __u32 zero = 0;

    t = bpf_map_lookup_elem(&tables, &zero);
    if (!eth || !t)
        return XDP_PASS;
    return t->slot[eth->h_source[5]] ? XDP_DROP : XDP_PASS;
}

LICENSE("GPL");
