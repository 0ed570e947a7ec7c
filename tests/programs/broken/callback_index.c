/*
 * callback_index: trusts the loop index in a callback to stay below the number of iterations.
 * verdict: reject stack-range
 * why: The verifier knows nothing of the index of a callback.
 * says: stack
 */
#include "net.h"

struct box {
    __u8 byte[16];
};

static long put(__u32 index, struct box *box)
{
    box->byte[index] = index;
    return 0;
}

SEC("xdp")
int callback_index(struct xdp_md *ctx)
{
    struct box box = {0};

    (void)ctx;
    bpf_loop(16, put, &box, 0);
    return box.byte[3] == 3 ? XDP_PASS : XDP_DROP;
}

LICENSE("GPL");
