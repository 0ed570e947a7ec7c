/*
 * work_queue: translated source ports come from a stack of free ones and go back when a flow ends;
 * new flows are reported through a queue.
 * uses: queue and stack maps, push with BPF_EXIST, pop, peek, LRU hash
 */
#include "net.h"

struct {
    __uint(type, BPF_MAP_TYPE_STACK);
    __uint(max_entries, 64);
    __uint(key_size, 0);
    __type(value, __u16);
} free_ports SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_QUEUE);
    __uint(max_entries, 32);
    __uint(key_size, 0);
    __type(value, struct flow4);
} news SEC(".maps");

MAP(HASH, ports, 1024, struct flow4, __u16);
MAP(ARRAY, oldest, 1, __u32, struct flow4);

SEC("xdp")
int work_queue(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    struct flow4 flow = {0}, first = {0}, *kept;
    struct tcphdr *tcp;
    __u16 *known, port = 0;
    __u32 zero = 0;

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
    known = bpf_map_lookup_elem(&ports, &flow);
    if (known) {
        port = *known;
        if (tcp->fin || tcp->rst) {
            bpf_map_push_elem(&free_ports, &port, BPF_EXIST);
            bpf_map_delete_elem(&ports, &flow);
        }
        tcp->source = port;
        return XDP_TX;
    }
    if (bpf_map_pop_elem(&free_ports, &port))
        return XDP_DROP;
    bpf_map_update_elem(&ports, &flow, &port, BPF_NOEXIST);
    bpf_map_push_elem(&news, &flow, BPF_EXIST);
    kept = bpf_map_lookup_elem(&oldest, &zero);
    if (kept && !bpf_map_peek_elem(&news, &first))
        *kept = first;
    tcp->source = port;
    return XDP_TX;
}

LICENSE("Dual BSD/GPL");
