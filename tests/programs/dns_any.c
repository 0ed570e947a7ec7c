/*
 * dns_any: answers questions of type ANY with a truncated reply, so that the client asks over TCP.
 * uses: qname skipped by labels with variable offsets, packet turned around in place, xdp_store_bytes
 */
#include "net.h"

struct question_end {
    __be16 type;
    __be16 class;
};

SEC("xdp")
int dns_any(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    struct question_end tail;
    struct udphdr *udp;
    struct ethhdr *eth;
    __u32 offset;
    __be32 addr;
    __u8 mac[6], *flags;

    if (!ip || ip->protocol != IPPROTO_UDP || ip->ihl != 5)
        return XDP_PASS;
    udp = cursor_take(&c, struct udphdr);
    if (!udp || udp->dest != bpf_htons(53))
        return XDP_PASS;
    flags = cursor_bytes(&c, 12);
    if (!flags)
        return XDP_DROP;
    offset = 14 + 20 + 8 + 12;
    for (int i = 0; i < 32; i++) {
        __u8 len;

        if (bpf_xdp_load_bytes(ctx, offset, &len, 1))
            return XDP_DROP;
        offset += len + 1;
        if (len == 0)
            break;
    }
    if (bpf_xdp_load_bytes(ctx, offset, &tail, sizeof(tail)) || tail.type != bpf_htons(255))
        return XDP_PASS;
    flags[2] = 0x82 | (flags[2] & 0x79);
    udp->dest = udp->source;
    udp->source = bpf_htons(53);
    udp->check = 0;
    addr = ip->saddr;
    ip->saddr = ip->daddr;
    ip->daddr = addr;
    eth = c.eth;
    __builtin_memcpy(mac, eth->h_source, 6);
    __builtin_memcpy(eth->h_source, eth->h_dest, 6);
    if (bpf_xdp_store_bytes(ctx, 0, mac, sizeof(mac)))
        return XDP_DROP;
    return XDP_TX;
}

LICENSE("Dual MIT/GPL");
