/*
 * xsk_steer: UDP ports that a user-space stack serves go to its socket of the queue, the rest up.
 * uses: xskmap, redirect_map with a fallback action, lookup in an xskmap, hash
 */
#include "net.h"

struct {
    __uint(type, BPF_MAP_TYPE_XSKMAP);
    __uint(max_entries, 64);
    __uint(key_size, sizeof(int));
    __uint(value_size, sizeof(int));
} sockets SEC(".maps");

MAP(HASH, served, 128, __u16, __u32);
MAP(ARRAY, unserved_queues, 1, __u32, __u64);

SEC("xdp")
int xsk_steer(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    int queue = ctx->rx_queue_index;
    struct udphdr *udp;
    __u32 *action, zero = 0;
    __u16 port;

    if (!ip || ip->protocol != IPPROTO_UDP)
        return XDP_PASS;
    udp = cursor_take(&c, struct udphdr);
    if (!udp)
        return XDP_PASS;
    port = bpf_ntohs(udp->dest);
    action = bpf_map_lookup_elem(&served, &port);
    if (!action)
        return XDP_PASS;
    if (bpf_map_lookup_elem(&sockets, &queue))
        return bpf_redirect_map(&sockets, queue, 0);
    __u64 *missed = bpf_map_lookup_elem(&unserved_queues, &zero);

    if (missed)
        __sync_fetch_and_add(missed, 1);
    return bpf_redirect_map(&sockets, queue, *action & 3);
}

LICENSE("GPL");
