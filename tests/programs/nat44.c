/*
 * nat44: source address and port translation out of a port pool, both directions kept in one LRU
 * hash, checksums patched by differences.
 * uses: two map updates a flow, prandom, loop over tries, atomics on .bss
 */
#include "net.h"

struct binding {
    __be32 addr;
    __be16 port;
    __u16 unused;
    __u64 last_ns;
};

MAP(LRU_HASH, bindings, 32768, struct flow4, struct binding);

const volatile __be32 public_ip = 0x01c612c6;
const volatile __u32 port_low = 1024;
const volatile __u32 port_mask = 0x7fff;
__u64 exhausted;
__u64 translated;

inline_always void patch16(__u16 *check, __u32 from, __u32 to)
{
    __u32 sum = (__u16)~*check;

    sum += (__u16)~from + (__u16)to;
    sum += (__u16)~(from >> 16) + (__u16)(to >> 16);
    *check = ~fold_sum(sum);
}

SEC("xdp")
int nat44(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    struct binding *known, fresh = {0};
    struct flow4 out = {0}, back = {0};
    struct udphdr *udp;
    __be32 addr;
    __be16 port;

    if (!ip || ip->protocol != IPPROTO_UDP)
        return XDP_PASS;
    udp = cursor_take(&c, struct udphdr);
    if (!udp)
        return XDP_PASS;
    out.saddr = ip->saddr;
    out.daddr = ip->daddr;
    out.sport = udp->source;
    out.dport = udp->dest;
    out.proto = ip->protocol;
    known = bpf_map_lookup_elem(&bindings, &out);
    if (!known) {
        int tries;

        fresh.addr = public_ip;
        fresh.last_ns = bpf_ktime_get_ns();
        back.saddr = ip->daddr;
        back.daddr = public_ip;
        back.sport = udp->dest;
        back.proto = ip->protocol;
        for (tries = 0; tries < 6; tries++) {
            struct binding reverse = {ip->saddr, udp->source, 0, fresh.last_ns};

            fresh.port = bpf_htons(port_low + (bpf_get_prandom_u32() & port_mask));
            back.dport = fresh.port;
            if (!bpf_map_update_elem(&bindings, &back, &reverse, BPF_NOEXIST))
                break;
        }
        if (tries == 6 || bpf_map_update_elem(&bindings, &out, &fresh, BPF_ANY)) {
            __sync_fetch_and_add(&exhausted, 1);
            return XDP_DROP;
        }
        addr = fresh.addr;
        port = fresh.port;
    } else {
        known->last_ns = bpf_ktime_get_ns();
        addr = known->addr;
        port = known->port;
    }
    if (udp->check) {
        patch16(&udp->check, ip->saddr, addr);
        patch16(&udp->check, udp->source, port);
    }
    patch16(&ip->check, ip->saddr, addr);
    ip->saddr = addr;
    udp->source = port;
    __sync_fetch_and_add(&translated, 1);
    return XDP_TX;
}

LICENSE("Dual MIT/GPL");
