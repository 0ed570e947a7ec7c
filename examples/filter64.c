/*
 * filter64: a stateless filter for benchmarks. It calls no helper and uses no map, and a plain
 * TCP/IPv4 packet that it lets through, other than a SYN, takes 64 instructions in the object
 * beside this file: what is measured is the engine.
 *
 * Dropped are: packets that are not IPv4, fragments, packets about to expire or too short to mean
 * anything, sources that cannot be, packets to oneself, TCP segments with impossible flags, GRE
 * tunnels, and traffic to SMB, telnet and memcached.
 */
#include "parse.h"

SEC("xdp")
int filter64(struct xdp_md *ctx)
{
    struct packet p = {0};
    struct udphdr *ports;
    struct ethhdr *eth;
    struct iphdr *ip;
    __u32 source;

    p.pos = (void *)(long)ctx->data;
    p.end = (void *)(long)ctx->data_end;
    eth = take(&p, sizeof(*eth));
    if (!eth || eth->h_proto != bpf_htons(ETH_P_IP))
        return XDP_DROP;
    ip = take(&p, sizeof(*ip));
    if (!ip || ip->version != 4 || ip->ihl < 5)
        return XDP_DROP;
    if (ip->frag_off & bpf_htons(IP_OFFSET_MASK | 0x2000))
        return XDP_DROP;
    if (ip->ttl < 2)
        return XDP_DROP;
    if (bpf_ntohs(ip->tot_len) < sizeof(*ip) + sizeof(struct udphdr))
        return XDP_DROP;
    source = bpf_ntohl(ip->saddr);
    if (source >> 24 == 0 || source >> 24 == 127 || source >= 0xe0000000)
        return XDP_DROP;
    if (ip->saddr == ip->daddr)
        return XDP_DROP;
    if (!retake(&p, ip, ip->ihl * 4))
        return XDP_DROP;
    ports = p.pos;
    if (ip->protocol == IPPROTO_TCP) {
        struct tcphdr *tcp = take(&p, sizeof(*tcp));

        if (!tcp || tcp->doff < 5)
            return XDP_DROP;
        if (tcp->syn ? tcp->fin || tcp->rst : !tcp->ack && !tcp->rst)
            return XDP_DROP;
    } else if (ip->protocol == IPPROTO_UDP) {
        if (!take(&p, sizeof(struct udphdr)))
            return XDP_DROP;
    } else {
        return ip->protocol == IPPROTO_GRE ? XDP_DROP : XDP_PASS;
    }
    if (ports->dest == bpf_htons(445) || ports->dest == bpf_htons(23) ||
        ports->dest == bpf_htons(11211))
        return XDP_DROP;
    return XDP_PASS;
}

/* This program calls no helper, so the kernel would load it under any licence string. */
char _license[] SEC("license") = "GPL";
