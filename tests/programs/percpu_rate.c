/*
 * percpu_rate: counts by port on each CPU, and answers with the sum over CPUs every so often.
 * uses: LRU per-CPU hash, percpu lookup of other CPUs in a loop, insert-or-update
 */
#include "net.h"

MAP(LRU_PERCPU_HASH, by_port, 1024, __be16, struct tally);
const volatile __u32 cpus = 8;
const volatile __u64 limit = 1 << 20;

SEC("xdp")
int percpu_rate(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    struct tally *own, one = {1, 0};
    __u64 total = 0;
    __be16 *ports;

    if (!ip)
        return XDP_PASS;
    ports = cursor_bytes(&c, 4);
    if (!ports)
        return XDP_PASS;
    own = bpf_map_lookup_elem(&by_port, &ports[1]);
    if (!own) {
        bpf_map_update_elem(&by_port, &ports[1], &one, BPF_ANY);
        return XDP_PASS;
    }
    own->packets++;
    own->bytes += bpf_ntohs(ip->tot_len);
    if (own->packets & 0xff)
        return XDP_PASS;
    for (__u32 cpu = 0; cpu < 16 && cpu < cpus; cpu++) {
        struct tally *other = bpf_map_lookup_percpu_elem(&by_port, &ports[1], cpu);

        if (other)
            total += other->packets;
    }
    return total > limit ? XDP_DROP : XDP_PASS;
}

LICENSE("GPL");
