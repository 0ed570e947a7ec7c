/*
 * vxlan_encap: puts Ethernet, IPv4, UDP and VXLAN in front of every packet of a port.
 * uses: adjust_head by 50 bytes, one packed header written from the stack, volatile config
 */
#include "net.h"

struct encap {
    struct ethhdr eth;
    struct iphdr ip;
    struct udphdr udp;
    __be32 flags;
    __be32 vni;
} __attribute__((packed));

const volatile __be32 local_ip = 0x0100000a;
const volatile __be32 remote_ip = 0x0200000a;
const volatile __u32 vni = 42;

SEC("xdp")
int vxlan_encap(struct xdp_md *ctx)
{
    __u64 inner = bpf_xdp_get_buff_len(ctx);
    struct encap hdr = {0};
    struct encap *out;
    struct ethhdr *eth;
    __u32 hash = 0;

    eth = (void *)(long)ctx->data;
    if ((void *)(eth + 1) > (void *)(long)ctx->data_end)
        return XDP_DROP;
    for (int i = 0; i < 6; i++)
        hash = mix32(hash, eth->h_source[i] << 8 | eth->h_dest[i]);
    __builtin_memcpy(&hdr.eth, eth, sizeof(*eth));
    hdr.eth.h_proto = bpf_htons(ETH_P_IP);
    hdr.ip.version = 4;
    hdr.ip.ihl = 5;
    hdr.ip.ttl = 64;
    hdr.ip.protocol = IPPROTO_UDP;
    hdr.ip.tot_len = bpf_htons(inner + sizeof(hdr) - sizeof(hdr.eth));
    hdr.ip.saddr = local_ip;
    hdr.ip.daddr = remote_ip;
    hdr.ip.check = ~fold_sum(bpf_csum_diff(NULL, 0, (void *)&hdr + sizeof(hdr.eth), sizeof(hdr.ip), 0));
    hdr.udp.source = bpf_htons(0xc000 | (hash & 0x3fff));
    hdr.udp.dest = bpf_htons(4789);
    hdr.udp.len = bpf_htons(inner + sizeof(hdr) - sizeof(hdr.eth) - sizeof(hdr.ip));
    hdr.flags = bpf_htonl(0x08000000);
    hdr.vni = bpf_htonl(vni << 8);
    if (bpf_xdp_adjust_head(ctx, -(int)sizeof(hdr)))
        return XDP_ABORTED;
    out = (void *)(long)ctx->data;
    if ((void *)(out + 1) > (void *)(long)ctx->data_end)
        return XDP_ABORTED;
    *out = hdr;
    return XDP_TX;
}

LICENSE("Dual MIT/GPL");
