/*
 * outer_as_inner: uses the result of a lookup in an array of maps as if it were a value.
 * verdict: reject bad-memory
 * why: What such a lookup gives is a map, to be looked up in, not memory.
 * says: map
 */
#include "net.h"

struct inner {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 4);
    __type(key, __u32);
    __type(value, __u64);
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
    __uint(max_entries, 4);
    __type(key, __u32);
    __type(value, __u32);
    __array(values, struct inner);
} outer SEC(".maps");

SEC("xdp")
int outer_as_inner(struct xdp_md *ctx)
{
    __u32 key = ctx->rx_queue_index & 3;
    __u64 *value = bpf_map_lookup_elem(&outer, &key);

    if (!value)
        return XDP_PASS;
    *value += 1;
    return XDP_PASS;
}

LICENSE("GPL");
