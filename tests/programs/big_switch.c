/*
 * big_switch: a switch over 256 protocol numbers whose cases all compute something else.
 * uses: over 1,000 instructions in a comparison tree, many joins into one tail
 */
#include "net.h"
#include "generated.h"

MAP(PERCPU_ARRAY, results, 256, __u32, struct tally);

#define CASE(n)                                                          \
    case n:                                                              \
        value = (value * (SPREAD(n) | 1)) ^ (value >> ((n) % 31 + 1));   \
        if ((n) % 5 == 0)                                                \
            value += ip->tos;                                            \
        break;

SEC("xdp")
int big_switch(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    __u32 value;

    if (!ip)
        return XDP_PASS;
    value = ip->saddr;
    switch (ip->protocol) {
    R256(CASE, 0)
    }
    tally_at(&results, value & 255, value >> 24);
    return value & 0x100 ? XDP_DROP : XDP_PASS;
}

LICENSE("Dual MIT/GPL");
