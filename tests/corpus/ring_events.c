/*
 * ring_events: new flows and closed ones are told to user space, as fixed records or as copied bytes; when
 * there is little room only closed ones are.
 * uses: ringbuf_reserve, submit, discard, output, query; LRU hash
 */
#include "net.h"

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 1 << 16);
} events SEC(".maps");

struct event {
    struct flow4 flow;
    __u32 length;
    __u32 kind;
};

MAP(LRU_HASH, known, 4096, struct flow4, __u64);
MAP(PERCPU_ARRAY, lost, 2, __u32, __u64);

inline_always void count(__u32 which)
{
    __u64 *n = bpf_map_lookup_elem(&lost, &which);

    if (n)
        ++*n;
}

SEC("xdp")
int ring_events(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    struct flow4 flow = {0};
    struct event *e, closed = {0};
    struct tcphdr *tcp;
    __u64 one = 1, *seen;

    if (!ip || ip->protocol != IPPROTO_TCP)
        return XDP_PASS;
    tcp = cursor_take(&c, struct tcphdr);
    if (!tcp)
        return XDP_DROP;
    flow.saddr = ip->saddr;
    flow.daddr = ip->daddr;
    flow.sport = tcp->source;
    flow.dport = tcp->dest;
    flow.proto = ip->protocol;
    seen = bpf_map_lookup_elem(&known, &flow);
    if (seen) {
        ++*seen;
        if (!tcp->fin && !tcp->rst)
            return XDP_PASS;
        closed.flow = flow;
        closed.length = *seen;
        closed.kind = 2;
        if (bpf_ringbuf_output(&events, &closed, sizeof(closed), BPF_RB_FORCE_WAKEUP))
            count(0);
        bpf_map_delete_elem(&known, &flow);
        return XDP_PASS;
    }
    bpf_map_update_elem(&known, &flow, &one, BPF_ANY);
    if (bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) > (1 << 15))
        return XDP_PASS;
    e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
    if (!e) {
        count(1);
        return XDP_PASS;
    }
    e->flow = flow;
    e->length = ctx->data_end - ctx->data;
    e->kind = 1;
    if (tcp->rst)
        bpf_ringbuf_discard(e, 0);
    else
        bpf_ringbuf_submit(e, BPF_RB_NO_WAKEUP);
    return XDP_PASS;
}

LICENSE("GPL");
