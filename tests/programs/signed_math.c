/*
 * signed_math: a control loop with signed errors: integrates the difference between wanted and
 * measured load, and drops by its sign and size.
 * uses: signed comparisons, shifts and sign extension, 8 and 16-bit signed loads, negative offsets
 */
#include "net.h"

struct loop {
    __s64 integral;
    __s32 last_error;
    __s16 gain;
    __s8 bias;
    __s8 trend[9];
};

MAP(ARRAY, loops, 8, __u32, struct loop);
const volatile __s32 wanted = 700;

SEC("xdp")
int signed_math(struct xdp_md *ctx)
{
    __u32 queue = ctx->rx_queue_index & 7;
    __s32 size = ctx->data_end - ctx->data;
    __s64 output;
    struct loop *l;
    __s32 error;
    int slot;

    l = bpf_map_lookup_elem(&loops, &queue);
    if (!l)
        return XDP_ABORTED;
    error = wanted - size + l->bias;
    l->integral += error;
    if (l->integral > 1 << 20)
        l->integral = 1 << 20;
    else if (l->integral < -(1 << 20))
        l->integral = -(1 << 20);
    slot = error >> 8;
    if (slot < -4)
        slot = -4;
    if (slot > 4)
        slot = 4;
    l->trend[slot + 4]++;
    output = (l->integral >> 10) * l->gain + (error - l->last_error);
    l->last_error = error;
    if (output < -5000)
        return XDP_DROP;
    return output > 5000 && l->trend[slot + 4] < 0 ? XDP_TX : XDP_PASS;
}

LICENSE("Dual MIT/GPL");
