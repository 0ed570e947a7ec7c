/*
 * zero_sized: reads as many bytes as an option says; the compiler has turned the test for zero into
 * a comparison of another register.
 * verdict: reject helper-size
 * why: The length that is passed may be 0.
 * says: 0
 */
#include "net.h"

MAP(HASH, servers, 64, __be32, __u8);

SEC("xdp")
int zero_sized(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    __u32 offset, message = 0;
    __be32 server = 0;
    struct udphdr *udp;

    if (!ip || ip->protocol != IPPROTO_UDP)
        return XDP_PASS;
    udp = cursor_take(&c, struct udphdr);
    if (!udp || udp->source != bpf_htons(67))
        return XDP_PASS;
    offset = 14 + ip->ihl * 4 + 8 + 240;
    for (int i = 0; i < 32; i++) {
        __u8 value[16] = {0}, head[2];

        if (bpf_xdp_load_bytes(ctx, offset, head, 2) || head[0] == 255)
            break;
        if (head[0] == 0) {
            offset++;
            continue;
        }
        if (head[1] > 0 && head[1] <= sizeof(value)) {
            if (bpf_xdp_load_bytes(ctx, offset + 2, value, head[1]))
                return XDP_DROP;
            if (head[0] == 53)
                message = value[0];
            if (head[0] == 54)
                __builtin_memcpy(&server, value, 4);
        }
        offset += 2 + head[1];
    }
    if (message != 2 && message != 5)
        return XDP_PASS;
    return bpf_map_lookup_elem(&servers, &server) ? XDP_PASS : XDP_DROP;
}

LICENSE("Dual MIT/GPL");
