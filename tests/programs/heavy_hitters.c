/*
 * heavy_hitters: a count-min sketch over sources; those above a limit go to a table of suspects.
 * uses: two-dimensional array in a per-CPU map value, minimum over rows, LRU hash
 */
#include "net.h"

#define ROWS 4
#define COLUMNS 512

struct sketch {
    __u32 cell[ROWS][COLUMNS];
};

MAP(PERCPU_ARRAY, sketches, 1, __u32, struct sketch);
MAP(LRU_HASH, suspects, 1024, __be32, __u32);
const volatile __u32 heavy = 100000;

SEC("xdp")
int heavy_hitters(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    __u32 zero = 0, least = ~0U;
    struct sketch *s;

    if (!ip)
        return XDP_PASS;
    s = bpf_map_lookup_elem(&sketches, &zero);
    if (!s)
        return XDP_ABORTED;
    for (__u32 row = 0; row < ROWS; row++) {
        __u32 column = mix32(row * 0x9e3779b9, ip->saddr) % COLUMNS;
        __u32 count = ++s->cell[row][column];

        if (count < least)
            least = count;
    }
    if (least < heavy)
        return XDP_PASS;
    bpf_map_update_elem(&suspects, &ip->saddr, &least, BPF_ANY);
    return XDP_DROP;
}

LICENSE("Dual MIT/GPL");
