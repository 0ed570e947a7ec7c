/*
 * volatile_reads: a program controlled by a config value that is read again at each use, with
 * packet bytes read through volatile pointers so that the compiler merges nothing.
 * uses: volatile loads of every width from packet, map and stack, redundant checks
 */
#include "net.h"

struct config {
    volatile __u64 mask;
    volatile __u32 mode;
    volatile __u16 low;
    volatile __u8 shift;
};

MAP(ARRAY, configs, 1, __u32, struct config);

SEC("xdp")
int volatile_reads(struct xdp_md *ctx)
{
    volatile __u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    volatile __u64 local = 0;
    struct config *cfg;
    __u32 zero = 0;

    cfg = bpf_map_lookup_elem(&configs, &zero);
    if (!cfg || data + 64 > end)
        return XDP_PASS;
    for (int i = 0; i < 16; i++)
        local += data[i * 4] + *(volatile __u16 *)(data + i * 2);
    local ^= *(volatile __u64 *)(data + 20);
    if (cfg->mode == 1)
        return local & cfg->mask ? XDP_DROP : XDP_PASS;
    if (cfg->mode == 2 && cfg->shift < 48)
        return (local >> cfg->shift) < cfg->low ? XDP_DROP : XDP_PASS;
    return cfg->mode > 2 ? XDP_ABORTED : XDP_PASS;
}

LICENSE("Dual MIT/GPL");
