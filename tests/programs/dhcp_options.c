/*
 * dhcp_options: drops answers of DHCP servers that are not on a list.
 * uses: option loop by xdp_load_bytes at a variable offset, buffer with variable length read
 */
#include "net.h"

MAP(HASH, servers, 64, __be32, __u8);

SEC("xdp")
int dhcp_options(struct xdp_md *ctx)
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
        AT_V1(__u64, __u32) len;

        if (bpf_xdp_load_bytes(ctx, offset, head, 2) || head[0] == 255)
            break;
        if (head[0] == 0) {
            offset++;
            continue;
        }
        len = head[1];
        /* Keeps the two comparisons from becoming one of `len - 1`, which proves nothing of len. */
        asm volatile("" : "+r"(len));
        if (len == 0)
            return XDP_DROP;
        if (len <= sizeof(value)) {
            if (bpf_xdp_load_bytes(ctx, offset + 2, value, len))
                return XDP_DROP;
            if (head[0] == 53)
                message = value[0];
            if (head[0] == 54)
                __builtin_memcpy(&server, value, 4);
        }
        offset += 2 + len;
    }
    if (message != 2 && message != 5)
        return XDP_PASS;
    return bpf_map_lookup_elem(&servers, &server) ? XDP_PASS : XDP_DROP;
}

LICENSE("Dual MIT/GPL");
