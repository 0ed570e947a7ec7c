/*
 * big_branches: a decision forest: 64 trees of depth 3 over packet features, their votes added.
 * uses: over 3,000 instructions, a great many branches whose states join, 32-bit comparisons
 */
#include "net.h"
#include "generated.h"

MAP(PERCPU_ARRAY, scores, 64, __u32, struct tally);

/* The constant keeps what one comparison proves from being carried to the next tree. */
#define FEATURE(n) (f[(n) & 7] ^ ((n) << 1 | 1))
#define LEAF(n) ((__s32)(SPREAD(n) & 0xff) - 128)
#define TREE(n)                                                                             \
    if (FEATURE(n) > (SPREAD(n) & 0xffff)) {                                                \
        if (FEATURE((n) + 1) < (SPREAD((n) + 7) & 0xffff))                                  \
            score += FEATURE((n) + 2) & 0x40 ? LEAF(n) : LEAF((n) + 1000);                  \
        else                                                                                \
            score += FEATURE((n) + 3) == ((n) & 0xff) ? LEAF((n) + 2000) : LEAF((n) + 3000); \
    } else {                                                                                \
        if (FEATURE((n) + 4) >= (SPREAD((n) + 11) & 0x7fff))                                \
            score += FEATURE((n) + 5) > FEATURE((n) + 6) ? LEAF((n) + 4000) : LEAF((n) + 5000); \
        else                                                                                \
            score -= FEATURE((n) + 5) & 0xff;                                               \
    }                                                                                       \
    OPAQUE(score);

SEC("xdp")
int big_branches(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    __u32 f[8];
    __be16 *ports;
    __s32 score;

    if (!ip)
        return XDP_PASS;
    ports = cursor_bytes(&c, 8);
    if (!ports)
        return XDP_PASS;
    score = ip->saddr; /* a sum from zero would be followed value by value */
    f[0] = bpf_ntohs(ip->tot_len);
    f[1] = bpf_ntohs(ip->id);
    f[2] = ip->ttl << 8 | ip->tos;
    f[3] = bpf_ntohs(ports[0]);
    f[4] = bpf_ntohs(ports[1]);
    f[5] = bpf_ntohs(ports[2]);
    f[6] = bpf_ntohs(ports[3]);
    f[7] = ip->protocol;
    R64(TREE, 0)
    R64(TREE, 64)
    tally_at(&scores, ((__u32)score >> 8) & 63, f[0]);
    return score > 2000 ? XDP_DROP : XDP_PASS;
}

LICENSE("Dual MIT/GPL");
