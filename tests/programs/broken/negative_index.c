/*
 * negative_index: a signed index is compared with its upper limit only.
 * verdict: reject pointer-offset
 * why: The index may be negative.
 * says: negative
 */
#include "net.h"

struct table {
    __u32 slot[16];
};

MAP(ARRAY, tables, 1, __u32, struct table);

SEC("xdp")
int negative_index(struct xdp_md *ctx)
{
    struct table *t;
    __u32 zero = 0;
    long index = (int)ctx->rx_queue_index;

    t = bpf_map_lookup_elem(&tables, &zero);
    if (!t || index > 15)
        return XDP_PASS;
    t->slot[index]++;
    return XDP_PASS;
}

LICENSE("GPL");
