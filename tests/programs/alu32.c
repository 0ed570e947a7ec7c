/*
 * alu32: a 32-bit block mixer over the flow key, and decisions by rotated, shifted and
 * multiplied halves.
 * uses: 32-bit arithmetic of every kind, rotations, division and modulo by variables
 */
#include "net.h"

#define ROTATE(x, n) (((x) << (n)) | ((x) >> (32 - (n))))

MAP(PERCPU_ARRAY, cells, 1024, __u32, struct tally);
const volatile __u32 groups = 7;
const volatile __u32 seed = 0x1b873593;

inline_always void quarter(__u32 *a, __u32 *b, __u32 *c, __u32 *d)
{
    *a += *b;
    *d = ROTATE(*d ^ *a, 16);
    *c += *d;
    *b = ROTATE(*b ^ *c, 12);
    *a += *b;
    *d = ROTATE(*d ^ *a, 8);
    *c += *d;
    *b = ROTATE(*b ^ *c, 7);
}

SEC("xdp")
int alu32(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    __u32 w[4], bits = 0, group;
    __be32 *ports;

    if (!ip)
        return XDP_PASS;
    ports = cursor_bytes(&c, 4);
    if (!ports)
        return XDP_PASS;
    w[0] = ip->saddr ^ seed;
    w[1] = ip->daddr;
    w[2] = *ports;
    w[3] = ip->protocol;
    for (int round = 0; round < 5; round++) {
        quarter(&w[0], &w[1], &w[2], &w[3]);
        quarter(&w[3], &w[0], &w[1], &w[2]);
    }
    for (__u32 v = w[0]; v && bits < 32; v &= v - 1)
        bits++;
    group = groups ? w[1] % groups : w[1] & 3;
    if (bits > 20)
        return XDP_DROP;
    tally_at(&cells, (group * 32 + bits) & 1023, w[2] / (groups | 1));
    return (__s32)w[3] < 0 ? XDP_TX : XDP_PASS;
}

LICENSE("Dual MIT/GPL");
