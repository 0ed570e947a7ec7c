/*
 * arp_guard: lets ARP through only from known pairs of addresses, and limits requests a second.
 * uses: packed header fields by memcpy, composite key, counters with time in a global
 */
#include "net.h"

struct arp {
    __be16 hw;
    __be16 proto;
    __u8 hlen;
    __u8 plen;
    __be16 op;
    __u8 sha[6];
    __u8 spa[4];
    __u8 tha[6];
    __u8 tpa[4];
} __attribute__((packed));

struct pair {
    __u8 mac[6];
    __u8 ip[4];
    __u16 zero;
};

MAP(HASH, pairs, 1024, struct pair, __u8);
__u64 second;
__u32 in_second;

SEC("xdp")
int arp_guard(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct ethhdr *eth = cursor_take(&c, struct ethhdr);
    struct pair key = {0};
    struct arp *arp;
    __u64 now;

    if (!eth || eth->h_proto != bpf_htons(ETH_P_ARP))
        return XDP_PASS;
    arp = cursor_take(&c, struct arp);
    if (!arp || arp->hw != bpf_htons(1) || arp->hlen != 6 || arp->plen != 4)
        return XDP_DROP;
    __builtin_memcpy(key.mac, arp->sha, 6);
    __builtin_memcpy(key.ip, arp->spa, 4);
    if (!bpf_map_lookup_elem(&pairs, &key))
        return XDP_DROP;
    now = bpf_ktime_get_ns() / 1000000000;
    if (now != second) {
        second = now;
        in_second = 0;
    }
    return in_second++ < 100 || arp->op == bpf_htons(2) ? XDP_PASS : XDP_DROP;
}

LICENSE("Dual MIT/GPL");
