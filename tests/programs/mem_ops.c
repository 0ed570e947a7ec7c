/*
 * mem_ops: an Ethernet bridge's address table: learns sources, mirrors unknown destinations.
 * uses: memcpy, memset and memcmp builtins between packet, stack and map values
 */
#include "net.h"

struct station {
    __u8 mac[6];
    __u16 vlan;
};

struct place {
    __u32 ifindex;
    __u32 moves;
    __u8 first_frame[64];
};

MAP(LRU_HASH, stations, 4096, struct station, struct place);

SEC("xdp")
int mem_ops(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    struct station from, to;
    struct ethhdr *eth = data;
    struct place *known, fresh;

    if (data + 60 > end)
        return XDP_DROP;
    __builtin_memset(&from, 0, sizeof(from));
    __builtin_memset(&to, 0, sizeof(to));
    __builtin_memcpy(from.mac, eth->h_source, 6);
    __builtin_memcpy(to.mac, eth->h_dest, 6);
    if (__builtin_memcmp(eth->h_source, eth->h_dest, 6) == 0 || eth->h_source[0] & 1)
        return XDP_DROP;
    known = bpf_map_lookup_elem(&stations, &from);
    if (!known) {
        __builtin_memset(&fresh, 0, sizeof(fresh));
        fresh.ifindex = ctx->ingress_ifindex;
        __builtin_memcpy(fresh.first_frame, data, 60);
        bpf_map_update_elem(&stations, &from, &fresh, BPF_ANY);
    } else if (known->ifindex != ctx->ingress_ifindex) {
        known->ifindex = ctx->ingress_ifindex;
        known->moves++;
        __builtin_memcpy(known->first_frame, data, 60);
    }
    if (eth->h_dest[0] & 1)
        return XDP_PASS;
    known = bpf_map_lookup_elem(&stations, &to);
    return known && known->ifindex == ctx->ingress_ifindex ? XDP_DROP : XDP_PASS;
}

LICENSE("Dual MIT/GPL");
