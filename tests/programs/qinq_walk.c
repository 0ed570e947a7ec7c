/*
 * qinq_walk: counts packets by the innermost of up to four VLAN tags, drops deeper stacks.
 * uses: unrolled tag walk, per-CPU array
 */
#include "net.h"

MAP(PERCPU_ARRAY, by_vlan, 4096, __u32, struct tally);

SEC("xdp")
int qinq_walk(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct ethhdr *eth = cursor_take(&c, struct ethhdr);
    __u32 vid = 0;
    __u16 proto;

    if (!eth)
        return XDP_DROP;
    proto = eth->h_proto;
#pragma unroll
    for (int depth = 0; depth < 4; depth++) {
        struct vlan_hdr *tag;

        if (proto != bpf_htons(ETH_P_8021Q) && proto != bpf_htons(ETH_P_8021AD))
            break;
        tag = cursor_take(&c, struct vlan_hdr);
        if (!tag)
            return XDP_DROP;
        vid = bpf_ntohs(tag->tci) & 0xfff;
        proto = tag->proto;
    }
    if (proto == bpf_htons(ETH_P_8021Q) || proto == bpf_htons(ETH_P_8021AD))
        return XDP_DROP;
    tally_at(&by_vlan, vid, ctx->data_end - ctx->data);
    return XDP_PASS;
}

LICENSE("Dual MIT/GPL");
