/*
 * big_fields: 320 field extractors as a parser generator would write them, each with a bounds check
 * of its own at an offset that grows with what was read before.
 * uses: over 3,000 instructions, packet range proofs one after another, variable base offset
 */
#include "net.h"
#include "generated.h"

MAP(ARRAY, out, 16, __u32, __u64);

#define FIELD(n)                                     \
    {                                                \
        __u8 *p;                                     \
        OPAQUE(base);                                \
        p = base + ((n) % 96);                       \
        if ((void *)(p + 4) > c.end)                 \
            goto short_packet;                       \
        sum += p[0] ^ p[(n) % 4] << ((n) % 8);       \
        hits = hits * 31 + p[3];                     \
    }

SEC("xdp")
int big_fields(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    __u64 sum = 0, hits = 0, *slot;
    __u32 index;
    __u8 *base;

    if (!ip)
        return XDP_PASS;
    base = c.at;
    R256(FIELD, 0)
    R64(FIELD, 256)
short_packet:
    index = sum & 15;
    slot = bpf_map_lookup_elem(&out, &index);
    if (slot)
        *slot += hits;
    return (hits & 0xff) > 8 ? XDP_DROP : XDP_PASS;
}

LICENSE("Dual MIT/GPL");
