/*
 * meta_tags: leaves a classification in the metadata in front of the packet, or adds to one that
 * is there.
 * uses: adjust_meta, data_meta against data, all three packet pointers read again afterwards
 */
#include "net.h"

struct tag {
    __u32 magic;
    __u32 class;
    __u64 stamp;
};

SEC("xdp")
int meta_tags(struct xdp_md *ctx)
{
    struct tag *tag = (void *)(long)ctx->data_meta;
    void *data = (void *)(long)ctx->data;
    struct cursor c;
    struct iphdr *ip;

    if ((void *)(tag + 1) <= data && tag->magic == 0x74616721) {
        tag->stamp = bpf_ktime_get_ns();
        return XDP_PASS;
    }
    if (bpf_xdp_adjust_meta(ctx, -(int)sizeof(*tag)))
        return XDP_PASS;
    tag = (void *)(long)ctx->data_meta;
    data = (void *)(long)ctx->data;
    if ((void *)(tag + 1) > data)
        return XDP_ABORTED;
    tag->magic = 0x74616721;
    tag->class = 0;
    tag->stamp = bpf_ktime_get_boot_ns();
    c = cursor_of(ctx);
    ip = take_ipv4(&c);
    if (ip)
        tag->class = ip->protocol << 8 | ip->tos;
    return XDP_PASS;
}

LICENSE("Dual MIT/GPL");
