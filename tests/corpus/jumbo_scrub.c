/*
 * jumbo_scrub: packets in several parts: sums bytes beyond the first part, marks and cuts them.
 * uses: xdp.frags, xdp_get_buff_len, xdp_load_bytes and xdp_store_bytes across parts, adjust_tail, adjust_head
 */
#include "net.h"

struct last {
    __u64 packets;
    __u32 length;
    __u32 sum;
    __s32 error;
    __u32 parts;
};

MAP(ARRAY, state, 2, __u32, struct last);

const volatile __u32 limit = 8000;
const volatile __u32 stride = 512;

SEC("xdp.frags")
int jumbo_scrub(struct xdp_md *ctx)
{
    __u64 length = bpf_xdp_get_buff_len(ctx);
    __u64 linear = ctx->data_end - ctx->data;
    __u32 which = length > linear;
    struct last *s = bpf_map_lookup_elem(&state, &which);
    __u8 piece[16], mark[6] = {0xde, 0xad, 0xbe, 0xef, 0, 1};
    __u32 sum = 0, offset = 14;

    if (!s)
        return XDP_ABORTED;
    s->packets++;
    s->length = length;
    s->parts = which;
    for (int i = 0; i < 20; i++) {
        if (offset + sizeof(piece) > length)
            break;
        s->error = bpf_xdp_load_bytes(ctx, offset, piece, sizeof(piece));
        if (s->error)
            return XDP_DROP;
        for (__u32 k = 0; k < sizeof(piece); k += 5)
            sum = sum * 31 + piece[k];
        offset += stride;
    }
    s->sum = sum;
    if (which) {
        /* Six bytes over the edge of the first part. */
        s->error = bpf_xdp_store_bytes(ctx, linear - 3, mark, sizeof(mark));
        if (length > limit)
            s->error = bpf_xdp_adjust_tail(ctx, (int)limit - (int)length);
        else if (sum & 1)
            s->error = bpf_xdp_adjust_tail(ctx, 40);
    } else if (length > 200 && sum & 1) {
        s->error = bpf_xdp_adjust_head(ctx, 14);
    }
    return s->error ? XDP_DROP : XDP_TX;
}

LICENSE("GPL");
