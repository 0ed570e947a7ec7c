/*
 * l4lb_maglev: picks a backend from a precomputed permutation table of prime size and rewrites the
 * destination, with a connection table in front.
 * uses: array as lookup table, modulo by a prime, LRU hash, incremental checksum
 */
#include "net.h"

#define TABLE 65537

struct vip {
    __be32 addr;
    __be16 port;
    __u16 proto;
};

struct real {
    __be32 addr;
    __u8 mac[6];
    __u16 weight;
};

MAP(HASH, vips, 256, struct vip, __u32);
MAP(ARRAY, ring, TABLE, __u32, __u32);
MAP(ARRAY, reals, 512, __u32, struct real);
MAP(LRU_HASH, connections, 16384, struct flow4, __u32);
MAP(PERCPU_ARRAY, hits, 512, __u32, struct tally);

inline_always __u32 flow_hash(const struct flow4 *f)
{
    __u32 h = mix32(0x9747b28c, f->saddr);

    h = mix32(h, f->daddr);
    h = mix32(h, (__u32)f->sport << 16 | f->dport);
    h ^= h >> 16;
    h *= 0x85ebca6b;
    return h ^ h >> 13;
}

SEC("xdp")
int l4lb_maglev(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    struct flow4 flow = {0};
    struct vip vip = {0};
    __u32 *base, *known, slot, index;
    struct ethhdr *eth;
    struct real *real;
    __be16 *ports;
    __u64 sum;

    if (!ip || (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP))
        return XDP_PASS;
    ports = cursor_bytes(&c, 4);
    if (!ports || ip->frag_off & bpf_htons(0x3fff))
        return XDP_PASS;
    vip.addr = ip->daddr;
    vip.port = ports[1];
    vip.proto = ip->protocol;
    base = bpf_map_lookup_elem(&vips, &vip);
    if (!base)
        return XDP_PASS;
    flow.saddr = ip->saddr;
    flow.daddr = ip->daddr;
    flow.sport = ports[0];
    flow.dport = ports[1];
    flow.proto = ip->protocol;
    known = bpf_map_lookup_elem(&connections, &flow);
    if (known) {
        index = *known;
    } else {
        slot = (flow_hash(&flow) + *base) % TABLE;
        known = bpf_map_lookup_elem(&ring, &slot);
        if (!known)
            return XDP_DROP;
        index = *known;
        bpf_map_update_elem(&connections, &flow, &index, BPF_ANY);
    }
    real = bpf_map_lookup_elem(&reals, &index);
    if (!real || !real->addr)
        return XDP_DROP;
    sum = bpf_csum_diff(&ip->daddr, 4, &real->addr, 4, (__u16)~ip->check);
    ip->check = ~fold_sum(sum);
    ip->daddr = real->addr;
    eth = c.eth;
    __builtin_memcpy(eth->h_dest, real->mac, 6);
    tally_at(&hits, index, bpf_ntohs(ip->tot_len));
    return XDP_TX;
}

LICENSE("Dual MIT/GPL");
