/*
 * blocklist: drops packets by source prefix, longest match first, with a hit counter per prefix.
 *
 * The two tries are filled from outside; their values are the hit counters, so that a list and
 * its statistics are one thing. With empty tries a built-in list of sources that never come from
 * the real Internet (RFC 6890: loopback, documentation, benchmarking, multicast, reserved) is
 * dropped. The unspecified address passes: DHCP and duplicate address detection need it.
 */
#include "parse.h"

/* An LPM key is the prefix length in bits, then the address in network order (bpf(2)). */
struct key4 {
    __u32 bits;
    __be32 addr;
};

struct key6 {
    __u32 bits;
    struct address addr;
};

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(map_flags, BPF_F_NO_PREALLOC); /* tries exist in this form only */
    __uint(max_entries, 65536);
    __type(key, struct key4);
    __type(value, struct counter);
} blocked4 SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 65536);
    __type(key, struct key6);
    __type(value, struct counter);
} blocked6 SEC(".maps");

/* Index: position in bogons4, then BOGONS4 + position in bogons6. */
struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 32);
    __type(key, __u32);
    __type(value, struct counter);
} bogon_hits SEC(".maps");

const volatile __u32 drop_bogons = 1;

struct bogon {
    __u32 prefix; /* the first 32 bits of the address, host order: enough for this list */
    __u32 mask;
};

const volatile struct bogon bogons4[] = {
    {0x7f000000, 0xff000000}, /* 127.0.0.0/8      loopback */
    {0xc0000000, 0xffffff00}, /* 192.0.0.0/24     protocol assignments */
    {0xc0000200, 0xffffff00}, /* 192.0.2.0/24     documentation */
    {0xc6120000, 0xfffe0000}, /* 198.18.0.0/15    benchmarking */
    {0xc6336400, 0xffffff00}, /* 198.51.100.0/24  documentation */
    {0xcb007100, 0xffffff00}, /* 203.0.113.0/24   documentation */
    {0xe0000000, 0xf0000000}, /* 224.0.0.0/4      multicast is no source */
    {0xf0000000, 0xf0000000}, /* 240.0.0.0/4      reserved, limited broadcast */
};

const volatile struct bogon bogons6[] = {
    {0x20010db8, 0xffffffff}, /* 2001:db8::/32    documentation */
    {0x01000000, 0xffffffff}, /* 100::/32         discard-only (RFC 6666) and neighbours */
    {0xff000000, 0xff000000}, /* ff00::/8         multicast is no source */
};

#define BOGONS4 (sizeof(bogons4) / sizeof(bogons4[0]))
#define BOGONS6 (sizeof(bogons6) / sizeof(bogons6[0]))

/* A prefix is shared by all CPUs, so its counter is added to atomically. */
static __always_inline void hit(struct counter *c, __u64 bytes)
{
    __sync_fetch_and_add(&c->packets, 1);
    __sync_fetch_and_add(&c->bytes, bytes);
}

static __always_inline int judge4(const struct iphdr *ip, __u64 bytes)
{
    struct key4 key = {.bits = 32, .addr = ip->saddr};
    struct counter *c = bpf_map_lookup_elem(&blocked4, &key);
    __u32 addr = bpf_ntohl(ip->saddr);

    if (c) {
        hit(c, bytes);
        return XDP_DROP;
    }
    if (!drop_bogons)
        return XDP_PASS;
    for (__u32 i = 0; i < BOGONS4; i++) {
        if ((addr & bogons4[i].mask) == bogons4[i].prefix) {
            count(&bogon_hits, i, bytes);
            return XDP_DROP;
        }
    }
    return XDP_PASS;
}

static __always_inline int judge6(const struct ipv6hdr *ip, __u64 bytes)
{
    struct key6 key = {.bits = 128};
    struct counter *c;
    __u32 top;

    __builtin_memcpy(&key.addr, &ip->saddr, sizeof(key.addr));
    c = bpf_map_lookup_elem(&blocked6, &key);
    if (c) {
        hit(c, bytes);
        return XDP_DROP;
    }
    if (!drop_bogons)
        return XDP_PASS;
    top = bpf_ntohl(key.addr.word[0]);
    for (__u32 i = 0; i < BOGONS6; i++) {
        if ((top & bogons6[i].mask) == bogons6[i].prefix) {
            count(&bogon_hits, BOGONS4 + i, bytes);
            return XDP_DROP;
        }
    }
    return XDP_PASS;
}

SEC("xdp")
int blocklist(struct xdp_md *ctx)
{
    __u64 bytes = bpf_xdp_get_buff_len(ctx);
    struct packet p;

    /* Only the fixed header is needed: a source can be judged in any fragment. */
    if (!parse_link(ctx, &p))
        return XDP_PASS;
    if (p.ethertype == ETH_P_IP) {
        struct iphdr *ip = take(&p, sizeof(*ip));

        return ip ? judge4(ip, bytes) : XDP_PASS;
    }
    if (p.ethertype == ETH_P_IPV6) {
        struct ipv6hdr *ip = take(&p, sizeof(*ip));

        return ip ? judge6(ip, bytes) : XDP_PASS;
    }
    return XDP_PASS;
}

/* No helper used here is GPL-only in Linux 6.18. */
char _license[] SEC("license") = "GPL";
