/*
 * core_fields: a parser whose structures come from the target's types, as with a vmlinux.h.
 * uses: CO-RE relocations of field offsets, sizes, existence, enum values and types
 */
#define __attribute_const__
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct ethhdr {
    unsigned char h_dest[6];
    unsigned char h_source[6];
    __be16 h_proto;
} __attribute__((packed));

struct iphdr {
    __u8 ihl : 4;
    __u8 version : 4;
    __u8 tos;
    __be16 tot_len;
    __be16 id;
    __be16 frag_off;
    __u8 ttl;
    __u8 protocol;
    __sum16 check;
    __be32 saddr;
    __be32 daddr;
};

struct udphdr {
    __be16 source;
    __be16 dest;
    __be16 len;
    __sum16 check;
};

struct missing_here {
    int nothing;
};
#pragma clang attribute pop

enum proto_numbers { PROTO_TCP = 6, PROTO_UDP = 17 };

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 256);
    __type(key, __u32);
    __type(value, __u64);
} protocols SEC(".maps");

SEC("xdp")
int core_fields(struct xdp_md *ctx)
{
    void *end = (void *)(long)ctx->data_end;
    struct ethhdr *eth = (void *)(long)ctx->data;
    struct iphdr *ip;
    struct udphdr *udp;
    __u32 index;
    __u64 *n;

    if ((void *)eth + sizeof(*eth) > end || eth->h_proto != bpf_htons(0x0800))
        return XDP_PASS;
    ip = (void *)eth + sizeof(*eth);
    if ((void *)ip + sizeof(*ip) > end)
        return XDP_PASS;
    if (!bpf_core_field_exists(ip->ttl) || bpf_core_type_size(struct iphdr) != 20)
        return XDP_ABORTED;
    index = ip->protocol;
    n = bpf_map_lookup_elem(&protocols, &index);
    if (n)
        __sync_fetch_and_add(n, bpf_core_field_size(ip->saddr));
    if (ip->protocol != bpf_core_enum_value(enum proto_numbers, PROTO_UDP) || ip->ttl < 2)
        return XDP_PASS;
    udp = (void *)ip + sizeof(*ip);
    if ((void *)udp + sizeof(*udp) > end)
        return XDP_DROP;
    if (bpf_core_type_exists(struct missing_here) && udp->dest == bpf_htons(53))
        return XDP_TX;
    ip->tos = 0;
    return udp->source == udp->dest ? XDP_DROP : XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
