/*
 * mpls_pop: removes a stack of up to six MPLS labels.
 * uses: loop until a flag in the packet, adjust_head by a computed multiple of 4
 */
#include "net.h"

MAP(HASH, known_labels, 4096, __u32, __u32);

SEC("xdp")
int mpls_pop(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct ethhdr *eth = cursor_take(&c, struct ethhdr), saved;
    __u32 depth = 0, label = 0, entry = 0;
    __u8 *version;

    if (!eth || eth->h_proto != bpf_htons(0x8847))
        return XDP_PASS;
    for (depth = 0; depth < 6; depth++) {
        __be32 *word = cursor_take(&c, __be32);

        if (!word)
            return XDP_DROP;
        entry = bpf_ntohl(*word);
        label = entry >> 12;
        if ((entry & 0xff) <= 1)
            return XDP_DROP;
        if (entry & 0x100)
            break;
    }
    if (depth == 6 || !bpf_map_lookup_elem(&known_labels, &label))
        return XDP_DROP;
    version = cursor_bytes(&c, 1);
    if (!version)
        return XDP_DROP;
    saved = *eth;
    saved.h_proto = *version >> 4 == 6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
    if (bpf_xdp_adjust_head(ctx, (depth + 1) * 4))
        return XDP_DROP;
    eth = (void *)(long)ctx->data;
    if ((void *)(eth + 1) > (void *)(long)ctx->data_end)
        return XDP_DROP;
    *eth = saved;
    return XDP_PASS;
}

LICENSE("Dual MIT/GPL");
