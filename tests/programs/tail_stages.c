/*
 * tail_stages: a parser in stages, each a program of its own, handing over through a per-CPU value.
 * uses: tail call chain, prog array with static initialisers, per-CPU scratch
 */
#include "net.h"

enum stage { LINK, NETWORK, TRANSPORT, VERDICT, STAGES };

struct scratch {
    __u32 offset;
    __u16 proto;
    __u8 l4;
    __u8 verdict;
    struct flow4 flow;
};

MAP(PERCPU_ARRAY, scratchpad, 1, __u32, struct scratch);
MAP(HASH, refused, 1024, __be16, __u8);

int stage_network(struct xdp_md *ctx);
int stage_transport(struct xdp_md *ctx);
int stage_verdict(struct xdp_md *ctx);

struct {
    __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
    __uint(max_entries, STAGES);
    __uint(key_size, sizeof(__u32));
    __array(values, int(void *));
} stages SEC(".maps") = {
    .values = {
        [NETWORK] = (void *)&stage_network,
        [TRANSPORT] = (void *)&stage_transport,
        [VERDICT] = (void *)&stage_verdict,
    },
};

inline_always struct scratch *scratch(void)
{
    __u32 zero = 0;

    return bpf_map_lookup_elem(&scratchpad, &zero);
}

SEC("xdp")
int stage_link(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct ethhdr *eth = cursor_take(&c, struct ethhdr);
    struct scratch *s = scratch();

    if (!eth || !s)
        return XDP_ABORTED;
    __builtin_memset(s, 0, sizeof(*s));
    s->proto = eth->h_proto;
    s->offset = sizeof(*eth);
    bpf_tail_call(ctx, &stages, NETWORK);
    return XDP_PASS;
}

SEC("xdp")
int stage_network(struct xdp_md *ctx)
{
    struct scratch *s = scratch();
    struct iphdr ip;

    if (!s || s->proto != bpf_htons(ETH_P_IP))
        return XDP_PASS;
    if (bpf_xdp_load_bytes(ctx, s->offset, &ip, sizeof(ip)))
        return XDP_DROP;
    s->flow.saddr = ip.saddr;
    s->flow.daddr = ip.daddr;
    s->l4 = ip.protocol;
    s->offset += ip.ihl * 4;
    bpf_tail_call(ctx, &stages, TRANSPORT);
    return XDP_PASS;
}

SEC("xdp")
int stage_transport(struct xdp_md *ctx)
{
    struct scratch *s = scratch();
    __be16 ports[2];

    if (!s)
        return XDP_ABORTED;
    if (s->l4 == IPPROTO_TCP || s->l4 == IPPROTO_UDP) {
        if (bpf_xdp_load_bytes(ctx, s->offset, ports, sizeof(ports)))
            return XDP_DROP;
        s->flow.sport = ports[0];
        s->flow.dport = ports[1];
    }
    bpf_tail_call(ctx, &stages, VERDICT);
    return XDP_PASS;
}

SEC("xdp")
int stage_verdict(struct xdp_md *ctx)
{
    struct scratch *s = scratch();

    (void)ctx;
    if (!s)
        return XDP_ABORTED;
    if (bpf_map_lookup_elem(&refused, &s->flow.dport))
        return XDP_DROP;
    return XDP_PASS;
}

LICENSE("Dual MIT/GPL");
