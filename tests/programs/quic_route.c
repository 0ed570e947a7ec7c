/*
 * quic_route: routes QUIC packets by the server id inside their connection id, short and long
 * headers alike.
 * uses: header form bits, variable-length connection ids, byte-wise key assembly, array lookup
 */
#include "net.h"

MAP(ARRAY, servers, 1024, __u32, __be32);
MAP(LRU_HASH, unknown_ids, 1024, __u64, __u32);

SEC("xdp")
int quic_route(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    struct udphdr *udp;
    __u32 index, length;
    __be32 *server;
    __u64 id = 0;
    __u8 *first, *cid;

    if (!ip || ip->protocol != IPPROTO_UDP)
        return XDP_PASS;
    udp = cursor_take(&c, struct udphdr);
    if (!udp || udp->dest != bpf_htons(443))
        return XDP_PASS;
    first = cursor_bytes(&c, 1);
    if (!first || !(*first & 0x40))
        return XDP_DROP;
    if (*first & 0x80) {
        __u8 *version = cursor_bytes(&c, 5);

        if (!version)
            return XDP_DROP;
        length = version[4];
        if (length > 20 || length < 8)
            return XDP_PASS;
        cid = c.at;
        if ((void *)(cid + length) > c.end)
            return XDP_DROP;
    }
    cid = cursor_bytes(&c, 8);
    if (!cid)
        return XDP_DROP;
    for (int i = 0; i < 8; i++)
        id = id << 8 | cid[i];
    index = (id >> 40) & 1023;
    server = bpf_map_lookup_elem(&servers, &index);
    if (!server || !*server) {
        bpf_map_update_elem(&unknown_ids, &id, &index, BPF_ANY);
        return XDP_PASS;
    }
    ip->daddr = *server;
    ip->check = ip_header_sum(ip);
    udp->check = 0;
    return XDP_TX;
}

LICENSE("Dual MIT/GPL");
