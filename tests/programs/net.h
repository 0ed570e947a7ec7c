/* What the corpus programs share: headers, a cursor over the packet, map and checksum shorthands. */
#ifndef CORPUS_NET_H
#define CORPUS_NET_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <linux/icmpv6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define inline_always static __attribute__((always_inline)) inline

#define MAP(kind, name, entries, key_type, value_type)          \
    struct {                                                    \
        __uint(type, BPF_MAP_TYPE_##kind);                      \
        __uint(max_entries, entries);                           \
        __type(key, key_type);                                  \
        __type(value, value_type);                              \
    } name SEC(".maps")

#define LICENSE(terms) char _license[] SEC("license") = terms

struct vlan_hdr {
    __be16 tci;
    __be16 proto;
};

/* linux/icmp.h pulls in headers of the C library, which BPF does not have. */
#define ICMP_ECHOREPLY 0
#define ICMP_DEST_UNREACH 3
#define ICMP_FRAG_NEEDED 4
#define ICMP_ECHO 8

struct icmphdr {
    __u8 type;
    __u8 code;
    __sum16 checksum;
    __be32 rest;
};

struct tally {
    __u64 packets;
    __u64 bytes;
};

struct flow4 {
    __be32 saddr;
    __be32 daddr;
    __be16 sport;
    __be16 dport;
    __u32 proto;
};

struct cursor {
    void *at;
    void *end;
    struct ethhdr *eth; /* set by take_ipv4 */
};

inline_always struct cursor cursor_of(struct xdp_md *ctx)
{
    struct cursor c = {(void *)(long)ctx->data, (void *)(long)ctx->data_end, NULL};
    return c;
}

/* `cursor_take(&c, struct iphdr)`: a pointer to the header, the cursor behind it; or NULL. */
#define cursor_take(c, type) ((type *)cursor_bytes(c, sizeof(type)))

inline_always void *cursor_bytes(struct cursor *c, __u32 size)
{
    void *at = c->at;

    if (at + size > c->end)
        return NULL;
    __builtin_assume(at != NULL);
    c->at = at + size;
    return at;
}

/* Ethernet and an IPv4 header with its options; the cursor is at the transport header. */
inline_always struct iphdr *take_ipv4(struct cursor *c)
{
    struct ethhdr *eth = cursor_take(c, struct ethhdr);
    struct iphdr *ip;

    if (!eth || eth->h_proto != bpf_htons(ETH_P_IP))
        return NULL;
    ip = c->at;
    if ((void *)(ip + 1) > c->end || ip->version != 4 || ip->ihl < 5)
        return NULL;
    c->eth = eth;
    c->at = (void *)ip + ip->ihl * 4;
    return ip;
}

inline_always __u16 fold_sum(__u64 sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

inline_always __u16 ip_header_sum(struct iphdr *ip)
{
    ip->check = 0;
    return ~fold_sum(bpf_csum_diff(NULL, 0, (__be32 *)ip, sizeof(*ip), 0));
}

inline_always __u32 mix32(__u32 h, __u32 v)
{
    h ^= v * 0xcc9e2d51;
    h = (h << 13) | (h >> 19);
    return h * 5 + 0xe6546b64;
}

inline_always void tally_at(void *map, __u32 index, __u64 bytes)
{
    struct tally *t = bpf_map_lookup_elem(map, &index);

    if (t) {
        t->packets++;
        t->bytes += bytes;
    }
}

/* What v1 needs said otherwise for Linux to follow it: tests/corpus/Makefile. At the end, so that no line moves. */
#ifdef CORPUS_V1
#define AT_V1(then, otherwise) then
#else
#define AT_V1(then, otherwise) otherwise
#endif

/* A mask that the compiler cannot leave out because it knows better. */
inline_always __u64 masked(__u64 x, __u64 mask)
{
    asm volatile("%0 &= %1" : "+r"(x) : "r"(mask));
    return x;
}

#endif
