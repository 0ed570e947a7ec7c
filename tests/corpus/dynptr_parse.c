/*
 * dynptr_parse: reads headers through dynptrs, wherever the parts of the packet end, and marks what it saw.
 * uses: kfuncs dynptr_from_xdp, dynptr_slice, dynptr_slice_rdwr; dynptr_write, dynptr_read; xdp.frags
 */
#include "net.h"

extern int bpf_dynptr_from_xdp(struct xdp_md *xdp, __u64 flags, struct bpf_dynptr *ptr) __ksym;
extern void *bpf_dynptr_slice(const struct bpf_dynptr *ptr, __u32 offset, void *buffer, __u32 size) __ksym;
extern void *bpf_dynptr_slice_rdwr(const struct bpf_dynptr *ptr, __u32 offset, void *buffer, __u32 size) __ksym;

MAP(PERCPU_ARRAY, protocols, 256, __u32, struct tally);
MAP(HASH, marked_ports, 256, __be16, __u32);

SEC("xdp.frags")
int dynptr_parse(struct xdp_md *ctx)
{
    __u32 offset = sizeof(struct ethhdr), proto, *mark;
    __u8 eth_room[sizeof(struct ethhdr)] = {0}, ip_room[sizeof(struct iphdr)] = {0}, tail[4];
    struct bpf_dynptr packet;
    struct ethhdr *eth;
    struct udphdr udp;
    struct iphdr *ip;

    if (bpf_dynptr_from_xdp(ctx, 0, &packet))
        return XDP_ABORTED;
    eth = bpf_dynptr_slice(&packet, 0, eth_room, sizeof(eth_room));
    if (!eth || eth->h_proto != bpf_htons(ETH_P_IP))
        return XDP_PASS;
    ip = bpf_dynptr_slice_rdwr(&packet, offset, ip_room, sizeof(ip_room));
    if (!ip || ip->version != 4 || ip->ihl < 5)
        return XDP_DROP;
    proto = ip->protocol;
    offset += ip->ihl * 4;
    tally_at(&protocols, proto, bpf_ntohs(ip->tot_len));
    if (ip->tos) {
        ip->tos = 0;
        ip->check = ip_header_sum(ip);
        if ((void *)ip == ip_room && bpf_dynptr_write(&packet, sizeof(*eth), ip_room, sizeof(ip_room), 0))
            return XDP_ABORTED;
    }
    if (proto != IPPROTO_UDP)
        return XDP_PASS;
    if (bpf_dynptr_read(&udp, sizeof(udp), &packet, offset, 0))
        return XDP_DROP;
    mark = bpf_map_lookup_elem(&marked_ports, &udp.dest);
    if (!mark)
        return XDP_PASS;
    __builtin_memcpy(tail, mark, sizeof(tail));
    if (bpf_dynptr_write(&packet, offset + sizeof(udp), tail, sizeof(tail), 0))
        return XDP_DROP;
    return XDP_TX;
}

LICENSE("GPL");
