/*
 * bloom_seen: a Bloom filter of flows in one array value of 8 KiB; only new flows are passed up.
 * uses: large map value with variable byte offset, four hashes, bit operations
 */
#include "net.h"

#define BITS 65536

struct filter {
    __u8 bits[BITS / 8];
};

MAP(ARRAY, filters, 2, __u32, struct filter);

SEC("xdp")
int bloom_seen(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    __u32 zero = 0, h1, h2, known = 1;
    struct filter *f;
    __be32 *ports;

    if (!ip)
        return XDP_PASS;
    ports = cursor_bytes(&c, 4);
    if (!ports)
        return XDP_PASS;
    f = bpf_map_lookup_elem(&filters, &zero);
    if (!f)
        return XDP_ABORTED;
    h1 = mix32(mix32(mix32(1, ip->saddr), ip->daddr), *ports);
    h2 = mix32(h1, 0x5bd1e995) | 1;
    for (__u32 i = 0; i < 4; i++) {
        __u32 bit = (h1 + i * h2) & (BITS - 1);
        __u8 mask = 1 << (bit & 7);

        if (!(f->bits[bit >> 3] & mask)) {
            known = 0;
            f->bits[bit >> 3] |= mask;
        }
    }
    return known ? XDP_DROP : XDP_PASS;
}

LICENSE("Dual MIT/GPL");
