/*
 * gtpu_teid: finds the tunnel of GTP-U packets behind optional fields and a chain of extension
 * headers, and counts by quality class.
 * uses: flag-dependent header length, extension loop until type 0, two-level lookup
 */
#include "net.h"

struct gtpu {
    __u8 flags;
    __u8 type;
    __be16 length;
    __be32 teid;
};

struct gtpu_opt {
    __be16 sequence;
    __u8 npdu;
    __u8 next;
};

MAP(HASH, teids, 32768, __be32, __u32);
MAP(PERCPU_ARRAY, classes, 64, __u32, struct tally);

SEC("xdp")
int gtpu_teid(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    struct udphdr *udp;
    struct gtpu *gtp;
    __u32 *class;
    __u8 qfi = 0;

    if (!ip || ip->protocol != IPPROTO_UDP)
        return XDP_PASS;
    udp = cursor_take(&c, struct udphdr);
    if (!udp || udp->dest != bpf_htons(2152))
        return XDP_PASS;
    gtp = cursor_take(&c, struct gtpu);
    if (!gtp || (gtp->flags & 0xf0) != 0x30 || gtp->type != 255)
        return XDP_PASS;
    if (gtp->flags & 7) {
        struct gtpu_opt *opt = cursor_take(&c, struct gtpu_opt);
        __u8 next;

        if (!opt)
            return XDP_DROP;
        next = opt->next;
        for (int i = 0; i < 4 && next; i++) {
            __u8 *ext = c.at;
            __u32 words;

            if ((void *)(ext + 4) > c.end || ext[0] == 0)
                return XDP_DROP;
            words = ext[0] & 15;
            if (next == 0x85)
                qfi = ext[2] & 0x3f;
            c.at += words * 4;
            if (c.at > c.end)
                return XDP_DROP;
            if ((void *)(ext + 4 * words) > c.end || words == 0)
                return XDP_DROP;
            next = ext[3];
        }
    }
    class = bpf_map_lookup_elem(&teids, &gtp->teid);
    if (!class)
        return XDP_DROP;
    tally_at(&classes, (*class + qfi) & 63, bpf_ntohs(gtp->length));
    return XDP_PASS;
}

LICENSE("Dual MIT/GPL");
