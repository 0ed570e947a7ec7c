/*
 * loop_nested: the longest run of equal bytes in a packet, one loop callback inside another.
 * uses: nested bpf_loop, contexts of both on the stack, null callback context, early stop
 */
#include "net.h"

struct outer {
    struct xdp_md *ctx;
    __u32 best;
    __u32 rows;
};

struct inner {
    struct xdp_md *ctx;
    __u32 base;
    __u32 run;
    __u8 last;
};

__u64 ticks;

static long tick(__u32 index, void *unused)
{
    (void)unused;
    ticks += index;
    return index > 3;
}

static long column(__u32 index, void *data)
{
    struct inner *in = data;
    __u8 byte;

    if (bpf_xdp_load_bytes(in->ctx, in->base + index, &byte, 1))
        return 1;
    in->run = byte == in->last ? in->run + 1 : 1;
    in->last = byte;
    return 0;
}

static long row(__u32 index, void *data)
{
    struct outer *out = data;
    struct inner in = {.ctx = out->ctx, .base = index * 16};

    if (bpf_loop(16, column, &in, 0) < 1)
        return 1;
    if (in.run > out->best)
        out->best = in.run;
    out->rows++;
    return 0;
}

SEC("xdp")
int loop_nested(struct xdp_md *ctx)
{
    struct outer out = {.ctx = ctx};

    bpf_loop(64, row, &out, 0);
    bpf_loop(8, tick, NULL, 0);
    return out.best > 12 ? XDP_DROP : XDP_PASS;
}

LICENSE("GPL");
