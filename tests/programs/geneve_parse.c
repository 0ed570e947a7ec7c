/*
 * geneve_parse: walks the options of a Geneve header, counts by option class and drops packets
 * with a critical option that is not known.
 * uses: TLV loop with lengths in words, nested bounds, hash map counters by atomic add
 */
#include "net.h"

struct geneve_hdr {
    __u8 opt_len; /* and version, in the upper 2 bits */
    __u8 flags;
    __be16 proto;
    __u8 vni[3];
    __u8 reserved;
};

struct geneve_opt {
    __be16 class;
    __u8 type;
    __u8 len;
};

MAP(HASH, option_classes, 256, __u16, __u64);

SEC("xdp")
int geneve_parse(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    struct geneve_hdr *gnv;
    struct udphdr *udp;
    __u32 words, offset = 0;
    void *options;

    if (!ip || ip->protocol != IPPROTO_UDP)
        return XDP_PASS;
    udp = cursor_take(&c, struct udphdr);
    if (!udp || udp->dest != bpf_htons(6081))
        return XDP_PASS;
    gnv = cursor_take(&c, struct geneve_hdr);
    if (!gnv || gnv->opt_len >> 6)
        return XDP_DROP;
    words = gnv->opt_len & 0x3f;
    options = c.at;
    for (int i = 0; i < 8 && words; i++) {
        struct geneve_opt *opt = options + (offset & 0xff);
        __u64 *count, one = 1;
        __u32 len;
        __u16 class;

        if ((void *)(opt + 1) > c.end)
            return XDP_DROP;
        class = opt->class;
        len = opt->len & 0x1f;
        count = bpf_map_lookup_elem(&option_classes, &class);
        if (count)
            __sync_fetch_and_add(count, 1);
        else if (opt->type & 0x80)
            return XDP_DROP;
        else
            bpf_map_update_elem(&option_classes, &class, &one, BPF_NOEXIST);
        if (words < len + 1)
            return XDP_DROP;
        words -= len + 1;
        offset += (len + 1) * 4;
    }
    return words ? XDP_DROP : XDP_PASS;
}

LICENSE("Dual MIT/GPL");
