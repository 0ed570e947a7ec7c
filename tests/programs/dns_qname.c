/*
 * dns_qname: reads the name of a DNS question label by label, hashes it without case and looks the
 * hash up in a block list.
 * uses: one byte a step through the packet with a moving pointer, state across iterations
 */
#include "net.h"

struct dns_hdr {
    __be16 id;
    __be16 flags;
    __be16 questions;
    __be16 answers;
    __be16 authorities;
    __be16 extra;
};

MAP(HASH, blocked_names, 16384, __u64, __u32);

SEC("xdp")
int dns_qname(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    __u64 hash = 0xcbf29ce484222325ULL;
    struct udphdr *udp;
    struct dns_hdr *dns;
    __u32 left = 0;
    __u8 *p;

    if (!ip || ip->protocol != IPPROTO_UDP)
        return XDP_PASS;
    udp = cursor_take(&c, struct udphdr);
    if (!udp || udp->dest != bpf_htons(53))
        return XDP_PASS;
    dns = cursor_take(&c, struct dns_hdr);
    if (!dns || dns->flags & bpf_htons(0x8000) || dns->questions != bpf_htons(1))
        return XDP_DROP;
    p = c.at;
    for (int i = 0; i < 255; i++) {
        __u8 byte;

        if ((void *)(p + 1) > c.end)
            return XDP_DROP;
        byte = *p++;
        if (left == 0) {
            if (byte == 0)
                break;
            if (byte > 63)
                return XDP_DROP;
            left = byte;
        } else {
            if (byte >= 'A' && byte <= 'Z')
                byte |= 0x20;
            left--;
        }
        hash = (hash ^ byte) * 0x100000001b3ULL;
    }
    if (left)
        return XDP_DROP;
    return bpf_map_lookup_elem(&blocked_names, &hash) ? XDP_DROP : XDP_PASS;
}

LICENSE("Dual MIT/GPL");
