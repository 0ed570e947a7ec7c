/*
 * missing_null_check: counts through the result of a lookup that may have found nothing.
 * verdict: reject null-deref
 * why: The lookup gives NULL when the key is absent.
 * says: null
 */
#include "net.h"

MAP(HASH, counts, 64, __u32, __u64);

SEC("xdp")
int missing_null_check(struct xdp_md *ctx)
{
    __u32 key = ctx->ingress_ifindex;
    __u64 *count = bpf_map_lookup_elem(&counts, &key);

    *count += 1;
    return XDP_PASS;
}

LICENSE("GPL");
