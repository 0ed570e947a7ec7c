/*
 * siphash_flow: keyed 64-bit flow hashes, so that nobody outside can predict the queue.
 * uses: 64-bit add-rotate-xor rounds, static subprogram with a struct on the caller's stack
 */
#include "net.h"

struct sip {
    __u64 v[4];
};

const volatile __u64 key[2] = {0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL};
MAP(ARRAY, targets, 256, __u32, __u32);

#define ROL(x, n) (((x) << (n)) | ((x) >> (64 - (n))))

static __noinline int sip_round(struct sip *s)
{
    s->v[0] += s->v[1];
    s->v[1] = ROL(s->v[1], 13) ^ s->v[0];
    s->v[0] = ROL(s->v[0], 32);
    s->v[2] += s->v[3];
    s->v[3] = ROL(s->v[3], 16) ^ s->v[2];
    s->v[0] += s->v[3];
    s->v[3] = ROL(s->v[3], 21) ^ s->v[0];
    s->v[2] += s->v[1];
    s->v[1] = ROL(s->v[1], 17) ^ s->v[2];
    s->v[2] = ROL(s->v[2], 32);
    return 0;
}

static __noinline int absorb(struct sip *s, __u64 word)
{
    s->v[3] ^= word;
    sip_round(s);
    sip_round(s);
    s->v[0] ^= word;
    return 0;
}

SEC("xdp")
int siphash_flow(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    struct sip s = {{
        key[0] ^ 0x736f6d6570736575ULL, key[1] ^ 0x646f72616e646f6dULL,
        key[0] ^ 0x6c7967656e657261ULL, key[1] ^ 0x7465646279746573ULL,
    }};
    __be32 *ports;
    __u32 slot, *target;

    if (!ip)
        return XDP_PASS;
    ports = cursor_bytes(&c, 4);
    if (!ports)
        return XDP_PASS;
    absorb(&s, (__u64)ip->saddr << 32 | ip->daddr);
    absorb(&s, (__u64)ip->protocol << 32 | *ports);
    s.v[2] ^= 0xff;
    for (int i = 0; i < 4; i++)
        sip_round(&s);
    slot = (s.v[0] ^ s.v[1] ^ s.v[2] ^ s.v[3]) & 0xff;
    target = bpf_map_lookup_elem(&targets, &slot);
    return target && *target ? XDP_TX : XDP_PASS;
}

LICENSE("Dual MIT/GPL");
