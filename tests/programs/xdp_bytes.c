/*
 * xdp_bytes: rewrites headers without a single packet pointer.
 * uses: xdp_load_bytes and xdp_store_bytes with constant and variable length, buffers on the stack
 */
#include "net.h"

SEC("xdp.frags")
int xdp_bytes(struct xdp_md *ctx)
{
    __u64 total = bpf_xdp_get_buff_len(ctx);
    __u8 options[40] = {0};
    struct iphdr ip;
    struct ethhdr eth;
    __u32 extra;

    if (bpf_xdp_load_bytes(ctx, 0, &eth, sizeof(eth)) || eth.h_proto != bpf_htons(ETH_P_IP))
        return XDP_PASS;
    if (bpf_xdp_load_bytes(ctx, sizeof(eth), &ip, sizeof(ip)) || ip.ihl < 5 || total < 64)
        return XDP_DROP;
    extra = ip.ihl * 4 - sizeof(ip);
    if (extra > 0 && extra <= sizeof(options)) {
        if (bpf_xdp_load_bytes(ctx, sizeof(eth) + sizeof(ip), options, extra))
            return XDP_DROP;
        for (int i = 0; i < 40; i++)
            if (options[i] == 131 || options[i] == 137)
                return XDP_DROP;
        __builtin_memset(options, 1, sizeof(options));
        if (bpf_xdp_store_bytes(ctx, sizeof(eth) + sizeof(ip), options, extra))
            return XDP_DROP;
    }
    ip.tos = 0;
    ip.check = 0;
    ip.check = ~fold_sum(bpf_csum_diff(NULL, 0, (__be32 *)&ip, sizeof(ip), 0));
    return bpf_xdp_store_bytes(ctx, sizeof(eth), &ip, sizeof(ip)) ? XDP_DROP : XDP_PASS;
}

LICENSE("Dual MIT/GPL");
