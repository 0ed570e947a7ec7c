/*
 * subprog_packet: static functions that stay functions, with packet pointers as arguments and
 * results, in a chain of calls.
 * uses: static subprograms, packet range proved by the caller or by the callee, stack of callers
 */
#include "net.h"

MAP(PERCPU_ARRAY, counts, 16, __u32, struct tally);

static __noinline void *skip(void *at, void *end, __u32 size)
{
    if (size > 128 || at + size > end)
        return NULL;
    return at + size;
}

static __noinline int read_ports(const __be16 *ports, void *end, __u32 *out)
{
    if ((void *)(ports + 2) > end)
        return -1;
    *out = (__u32)bpf_ntohs(ports[0]) << 16 | bpf_ntohs(ports[1]);
    return 0;
}

static __noinline __u32 slot_of(const __u32 *pair)
{
    __u32 low = *pair & 0xffff, high = *pair >> 16;

    return (low < high ? low : high) % 16;
}

static __noinline void bump(__u32 slot, __u64 bytes)
{
    struct tally *t = bpf_map_lookup_elem(&counts, &slot);

    if (t) {
        t->packets++;
        t->bytes += bytes;
    }
}

SEC("xdp")
int subprog_packet(struct xdp_md *ctx)
{
    void *at = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    struct ethhdr *eth = at;
    struct iphdr *ip;
    __u32 pair = 0;

    if ((void *)(eth + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP))
        return XDP_PASS;
    ip = skip(at, end, sizeof(*eth));
    if (!ip || (void *)(ip + 1) > end)
        return XDP_DROP;
    at = skip(ip, end, ip->ihl * 4);
    if (!at || read_ports(at, end, &pair))
        return XDP_DROP;
    bump(slot_of(&pair), end - (void *)eth);
    return XDP_PASS;
}

LICENSE("Dual MIT/GPL");
