/*
 * ring_inner: every service has a ring of backends of its own, an inner map of a hash of maps.
 * uses: hash_of_maps and array_of_maps with inner templates, variable key into the inner map
 */
#include "net.h"

struct ring {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 256);
    __type(key, __u32);
    __type(value, __be32);
} empty_ring SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
    __uint(max_entries, 128);
    __type(key, __be32);
    __type(value, __u32);
    __array(values, struct ring);
} rings SEC(".maps");

struct counters {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 256);
    __type(key, __u32);
    __type(value, __u64);
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
    __uint(max_entries, 8);
    __type(key, __u32);
    __type(value, __u32);
    __array(values, struct counters);
} by_queue SEC(".maps");

SEC("xdp")
int ring_inner(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    __u32 slot, queue = ctx->rx_queue_index & 7;
    void *ring, *counters;
    __be32 *backend;
    __be16 *ports;

    if (!ip)
        return XDP_PASS;
    ports = cursor_bytes(&c, 4);
    if (!ports)
        return XDP_PASS;
    ring = bpf_map_lookup_elem(&rings, &ip->daddr);
    if (!ring)
        return XDP_PASS;
    slot = mix32(mix32(ip->saddr, ports[0]), ports[1]) >> 24;
    backend = bpf_map_lookup_elem(ring, &slot);
    if (!backend || !*backend)
        return XDP_DROP;
    ip->daddr = *backend;
    ip->check = ip_header_sum(ip);
    counters = bpf_map_lookup_elem(&by_queue, &queue);
    if (counters) {
        __u64 *bytes = bpf_map_lookup_elem(counters, &slot);

        if (bytes)
            *bytes += bpf_ntohs(ip->tot_len);
    }
    return XDP_TX;
}

LICENSE("Dual MIT/GPL");
