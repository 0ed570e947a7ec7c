/*
 * tcp_options: parses the options of SYN packets, drops those with an MSS under 536 or a damaged
 * option list, and leaves the values found in a map.
 * uses: option loop with masked variable offsets, a struct filled on the stack, LRU hash
 */
#include "net.h"

struct syn_options {
    __u16 mss;
    __u8 wscale;
    __u8 sack;
    __be32 tsval;
};

MAP(LRU_HASH, seen, 4096, __be32, struct syn_options);

/* One option at `p`: its length, or 0 if the list is damaged. */
static __noinline __u32 parse_option(struct syn_options *out, const __u8 *p, const void *end)
{
    if (!out || (void *)(p + 2) > end)
        return 0;
    switch (p[0]) {
    case 2:
        if ((void *)(p + 4) > end || p[1] != 4)
            return 0;
        out->mss = p[2] << 8 | p[3];
        return 4;
    case 3:
        if ((void *)(p + 3) > end || p[1] != 3)
            return 0;
        out->wscale = p[2];
        return 3;
    case 4:
        out->sack = 1;
        return 2;
    case 8:
        if ((void *)(p + 10) > end || p[1] != 10)
            return 0;
        __builtin_memcpy(&out->tsval, p + 2, 4);
        return 10;
    default:
        return p[1] < 2 ? 0 : p[1];
    }
}

SEC("xdp")
int tcp_options(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    struct syn_options found = {0};
    __u32 offset = 0, stop;
    struct tcphdr *tcp;

    if (!ip || ip->protocol != IPPROTO_TCP)
        return XDP_PASS;
    tcp = cursor_take(&c, struct tcphdr);
    if (!tcp || tcp->doff < 5)
        return XDP_DROP;
    if (!tcp->syn)
        return XDP_PASS;
    stop = tcp->doff * 4 - sizeof(*tcp);
    for (int i = 0; i < 12 && offset < stop; i++) {
        const __u8 *p = c.at + (offset & 0x3f);
        __u32 len = 1;

        if ((void *)(p + 1) > c.end)
            return XDP_DROP;
        if (*p == 0)
            break;
        if (*p != 1) {
            len = parse_option(&found, p, c.end);
            if (len == 0)
                return XDP_DROP;
        }
        offset += len;
    }
    if (found.mss && found.mss < 536)
        return XDP_DROP;
    bpf_map_update_elem(&seen, &ip->saddr, &found, BPF_ANY);
    return XDP_PASS;
}

LICENSE("Dual MIT/GPL");
