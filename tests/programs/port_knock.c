/*
 * port_knock: opens a port to a source that has knocked at four others in the right order in time.
 * uses: state machine in a hash, port sequence in .rodata indexed by a loaded value, timeouts
 */
#include "net.h"

#define KNOCKS 4

struct visitor {
    __u64 last_ns;
    __u32 step;
    __u32 failures;
};

MAP(LRU_HASH, visitors, 4096, __be32, struct visitor);

const volatile __u16 sequence[KNOCKS] = {7000, 8000, 9000, 7777};
const volatile __u16 guarded = 22;

SEC("xdp")
int port_knock(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    struct visitor *v, fresh = {0};
    struct tcphdr *tcp;
    __u64 now;
    __u16 port;

    if (!ip || ip->protocol != IPPROTO_TCP)
        return XDP_PASS;
    tcp = cursor_take(&c, struct tcphdr);
    if (!tcp || !tcp->syn)
        return XDP_PASS;
    port = bpf_ntohs(tcp->dest);
    now = bpf_ktime_get_ns();
    v = bpf_map_lookup_elem(&visitors, &ip->saddr);
    if (!v) {
        fresh.last_ns = now;
        fresh.step = port == sequence[0];
        bpf_map_update_elem(&visitors, &ip->saddr, &fresh, BPF_ANY);
        return port == guarded ? XDP_DROP : XDP_PASS;
    }
    if (now - v->last_ns > 5000000000ULL)
        v->step = 0;
    v->last_ns = now;
    if (port == guarded)
        return v->step == KNOCKS ? XDP_PASS : XDP_DROP;
    if (v->step < KNOCKS) {
        if (port == sequence[AT_V1(masked(v->step, 3), v->step)]) {
            v->step++;
        } else {
            v->step = 0;
            v->failures++;
        }
    }
    return XDP_DROP;
}

LICENSE("Dual MIT/GPL");
