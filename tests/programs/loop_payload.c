/*
 * loop_payload: looks for a signature in the first kilobyte of payload with a loop callback.
 * uses: bpf_loop, callback context on the stack, xdp_load_bytes in the callback, .rodata config
 */
#include "net.h"

struct search {
    struct xdp_md *ctx;
    __u32 offset;
    __u32 found_at;
};

const volatile __u32 signature = 0xdeadbeef;
__u64 matches;

static long look(__u32 index, struct search *s)
{
    __u32 word;

    if (bpf_xdp_load_bytes(s->ctx, s->offset + index, &word, sizeof(word)))
        return 1;
    if (word != signature)
        return 0;
    s->found_at = index + 1;
    return 1;
}

SEC("xdp")
int loop_payload(struct xdp_md *ctx)
{
    struct search s = {.ctx = ctx};
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);

    if (!ip || ip->protocol != IPPROTO_UDP)
        return XDP_PASS;
    s.offset = sizeof(struct ethhdr) + ip->ihl * 4 + sizeof(struct udphdr);
    bpf_loop(1024, look, &s, 0);
    if (!s.found_at)
        return XDP_PASS;
    __sync_fetch_and_add(&matches, 1);
    return XDP_DROP;
}

LICENSE("GPL");
