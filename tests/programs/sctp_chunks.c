/*
 * sctp_chunks: counts the chunks of an SCTP packet by type, drops packets with damaged lengths.
 * uses: chunk loop with 16-bit lengths rounded up, offset kept as a scalar, per-CPU array
 */
#include "net.h"

struct chunk {
    __u8 type;
    __u8 flags;
    __be16 length;
};

MAP(PERCPU_ARRAY, chunk_types, 256, __u32, __u64);

SEC("xdp")
int sctp_chunks(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    __u32 offset = 12;

    if (!ip || ip->protocol != IPPROTO_SCTP)
        return XDP_PASS;
#pragma clang loop unroll(disable)
    for (int i = 0; i < 16; i++) {
        struct chunk *chunk;
        __u32 type, length;
        __u64 *count;

        if (offset > 2000)
            return XDP_DROP;
        chunk = c.at + offset;
        if ((void *)(chunk + 1) > c.end)
            break;
        type = chunk->type;
        length = bpf_ntohs(chunk->length);
        if (length < 4)
            return XDP_DROP;
        count = bpf_map_lookup_elem(&chunk_types, &type);
        if (count)
            (*count)++;
        offset += (length + 3) & ~3U;
    }
    return XDP_PASS;
}

LICENSE("Dual MIT/GPL");
