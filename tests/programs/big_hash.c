/*
 * big_hash: 64 rounds of a wide mixing function over the first 64 bytes of the packet, unrolled.
 * uses: over 1,000 instructions of arithmetic without branches, spills to the stack
 */
#include "net.h"
#include "generated.h"

MAP(LRU_HASH, fingerprints, 65536, __u64, __u64);

#define ROUND(n)                                              \
    a += (d ^ w[(n) & 7]) * 0x9e3779b97f4a7c15ULL;            \
    b ^= a >> (7 + ((n) & 15)) | a << (57 - ((n) & 15));      \
    c -= b + (w[((n) + 3) & 7] << ((n) & 31));                \
    d = (d ^ c) + ((__u64)SPREAD(n) << 32 | SPREAD((n) + 1));

SEC("xdp")
int big_hash(struct xdp_md *ctx)
{
    struct cursor cur = cursor_of(ctx);
    __u64 a = 1, b = 2, c = 3, d = 4, w[8], now, *seen;
    __u64 *data = cursor_bytes(&cur, 64);

    if (!data)
        return XDP_PASS;
    for (int i = 0; i < 8; i++)
        w[i] = data[i];
    R64(ROUND, 0)
    a ^= b ^ c ^ d;
    now = bpf_ktime_get_ns();
    seen = bpf_map_lookup_elem(&fingerprints, &a);
    if (seen && now - *seen < 1000000)
        return XDP_DROP;
    bpf_map_update_elem(&fingerprints, &a, &now, BPF_ANY);
    return XDP_PASS;
}

LICENSE("Dual MIT/GPL");
