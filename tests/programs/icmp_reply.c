/*
 * icmp_reply: answers echo requests to the addresses in a map.
 * uses: swaps in place, checksum patched by hand, LPM trie
 */
#include "net.h"

struct prefix4 {
    __u32 bits;
    __be32 addr;
};

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(max_entries, 256);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct prefix4);
    __type(value, __u32);
} answered SEC(".maps");

SEC("xdp")
int icmp_reply(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    struct prefix4 key = {32, 0};
    struct icmphdr *icmp;
    struct ethhdr *eth;
    __u8 mac[ETH_ALEN];
    __be32 addr;
    __u32 sum;

    if (!ip || ip->protocol != IPPROTO_ICMP)
        return XDP_PASS;
    icmp = cursor_take(&c, struct icmphdr);
    if (!icmp || icmp->type != ICMP_ECHO || icmp->code)
        return XDP_PASS;
    key.addr = ip->daddr;
    if (!bpf_map_lookup_elem(&answered, &key))
        return XDP_PASS;
    icmp->type = ICMP_ECHOREPLY;
    sum = icmp->checksum + bpf_htons(ICMP_ECHO << 8);
    icmp->checksum = sum + (sum >> 16);
    addr = ip->saddr;
    ip->saddr = ip->daddr;
    ip->daddr = addr;
    ip->ttl = 64;
    ip->check = ip_header_sum(ip);
    eth = c.eth;
    __builtin_memcpy(mac, eth->h_source, ETH_ALEN);
    __builtin_memcpy(eth->h_source, eth->h_dest, ETH_ALEN);
    __builtin_memcpy(eth->h_dest, mac, ETH_ALEN);
    return XDP_TX;
}

LICENSE("Dual MIT/GPL");
