/*
 * large_parser: a parser as a generator writes it: every layer in line behind every other, four tunnels
 * deep, with all that the layers may carry.
 * uses: over 3,000 instructions, nested parsing of tags, labels, extension headers, options and tunnels,
 *       by xdp_load_bytes at offsets that add up, packets in parts, a record of what was found, per-CPU statistics
 */
#include "net.h"
#include "generated.h"

struct found {
    __u32 layers;
    __u32 tags;
    __u32 labels;
    __u32 extensions;
    __u32 options;
    __u32 tunnels;
    __be32 saddr;
    __be32 daddr;
    __u32 ports;
    __u32 proto;
    __u32 mss;
    __u32 hash;
};

MAP(ARRAY, last, 1, __u32, struct found);
MAP(PERCPU_ARRAY, per_proto, 256, __u32, struct tally);
MAP(PERCPU_ARRAY, ends, 16, __u32, __u64);
MAP(HASH, wanted, 1024, __u32, __u32);

enum { E_OK, E_ETH, E_TAG, E_LABEL, E_IP4, E_IP6, E_EXT, E_TCP, E_UDP, E_GRE, E_TUNNEL, E_ICMP, E_OTHER };

struct gre {
    __be16 flags;
    __be16 proto;
};

struct ext {
    __u8 next;
    __u8 units;
    __u8 more[6];
};

/* The header at `off`, and past it; or not past it. True when the packet ends before. */
#define PEEK(header) bpf_xdp_load_bytes(ctx, off, &(header), sizeof(header))
#define TAKE(header) (PEEK(header) || (off += sizeof(header), 0))

/* Gives the verdict of a layer to the end of the function that it is unrolled into. */
#define STOP(why)      \
    do {               \
        end = (why);   \
        goto done;     \
    } while (0)

#define TAG(n)                                                                             \
    if (proto == bpf_htons(ETH_P_8021Q) || proto == bpf_htons(ETH_P_8021AD)) {             \
        struct vlan_hdr tag;                           \
                                                                                           \
        if (TAKE(tag))                                                                          \
            STOP(E_TAG);                                                                   \
        f.tags = f.tags << 4 | (n);                                                        \
        f.hash = mix32(f.hash, tag.tci);                                                  \
        proto = tag.proto;                                                                \
    }

#define LABEL(n)                                                                           \
    if (proto == bpf_htons(ETH_P_MPLS_UC)) {                                               \
        __be32 word;                                            \
                                                                                           \
        if (TAKE(word))                                                                         \
            STOP(E_LABEL);                                                                 \
        f.labels++;                                                                        \
        f.hash = mix32(f.hash, word);                                                     \
        if (word & bpf_htonl(0x100)) {                                                    \
            __u8 version;                                                                  \
                                                                                           \
            if (PEEK(version))                                                             \
                STOP(E_LABEL);                                                             \
            proto = version >> 4 == 6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);      \
        }                                                                                  \
    }

#define EXT(n)                                                                             \
    if (next == 0 || next == 43 || next == 60) {                                           \
        struct ext e;                                       \
                                                                                           \
        if (TAKE(e))                                                                            \
            STOP(E_EXT);                                                                   \
        f.extensions = f.extensions << 8 | next;                                           \
        next = e.next;                                                                    \
        off += (e.units & 15) * 8;                                                         \
    } else if (next == 44) {                                                               \
        struct ext e;                                       \
                                                                                           \
        if (TAKE(e))                                                                            \
            STOP(E_EXT);                                                                   \
        next = e.next;                                                                    \
        if (e.more[1] & 0xf8 || e.more[0])                                               \
            STOP(E_OTHER);                                                                 \
    }

/* Network layer behind `proto`: sets `next`. */
#define NETWORK                                                                            \
    if (proto == bpf_htons(ETH_P_IP)) {                                                    \
        struct iphdr ip;                                  \
                                                                                           \
        if (TAKE(ip) || ip.version != 4 || ip.ihl < 5)                                        \
            STOP(E_IP4);                                                                   \
        f.layers = f.layers << 4 | 4;                                                      \
        f.saddr = ip.saddr;                                                               \
        f.daddr = ip.daddr;                                                               \
        f.hash = mix32(mix32(f.hash, ip.saddr), ip.daddr);                               \
        next = ip.protocol;                                                               \
        if (ip.frag_off & bpf_htons(0x1fff))                                              \
            STOP(E_OTHER);                                                                 \
        off += (ip.ihl - 5) * 4;                                                           \
    } else if (proto == bpf_htons(ETH_P_IPV6)) {                                           \
        struct ipv6hdr ip;                              \
                                                                                           \
        if (TAKE(ip) || ip.version != 6)                                                       \
            STOP(E_IP6);                                                                   \
        f.layers = f.layers << 4 | 6;                                                      \
        f.saddr = ip.saddr.in6_u.u6_addr32[3];                                            \
        f.daddr = ip.daddr.in6_u.u6_addr32[3];                                            \
        f.hash = mix32(mix32(f.hash, f.saddr), f.daddr);                                   \
        next = ip.nexthdr;                                                                \
        EXT(1)                                                                             \
        EXT(2)                                                                             \
        EXT(3)                                                                             \
        EXT(4)                                                                             \
        EXT(5)                                                                             \
    } else {                                                                               \
        STOP(E_OTHER);                                                                     \
    }

/* A tunnel, if there is one: `proto` is what it carries, 0 when there is none. */
#define TUNNEL                                                                             \
    proto = 0;                                                                             \
    if (next == IPPROTO_IPIP) {                                                            \
        proto = bpf_htons(ETH_P_IP);                                                       \
    } else if (next == IPPROTO_IPV6) {                                                     \
        proto = bpf_htons(ETH_P_IPV6);                                                     \
    } else if (next == IPPROTO_GRE) {                                                      \
        struct gre g;                                       \
        __u32 more = 0;                                                                    \
                                                                                           \
        if (TAKE(g))                                                                            \
            STOP(E_GRE);                                                                   \
        more += g.flags & bpf_htons(0x8000) ? 4 : 0;                                      \
        more += g.flags & bpf_htons(0x2000) ? 4 : 0;                                      \
        more += g.flags & bpf_htons(0x1000) ? 4 : 0;                                      \
        proto = g.proto;                                                                  \
        off += more;                                                                       \
    } else if (next == IPPROTO_UDP) {                                                      \
        struct udphdr udp;                                                                 \
                                                                                           \
        if (PEEK(udp))                                                                     \
            STOP(E_UDP);                                                                   \
        if (udp.dest == bpf_htons(4789) || udp.dest == bpf_htons(6081)) {                \
            __u8 over[8];                                                                  \
            struct ethhdr inner;                                                           \
                                                                                           \
            off += sizeof(udp);                                                            \
            if (TAKE(over))                                                                \
                STOP(E_TUNNEL);                                                            \
            if (udp.dest == bpf_htons(6081))                                               \
                off += (over[0] & 0x3f) * 4;                                               \
            f.hash = mix32(f.hash, (__u32)over[4] << 16 | over[5] << 8 | over[6]);         \
            if (TAKE(inner))                                                               \
                STOP(E_TUNNEL);                                                            \
            proto = inner.h_proto;                                                         \
            TAG(9)                                                                         \
        }                                                                                  \
    }                                                                                      \
    if (!proto)                                                                            \
        goto transport;                                                                    \
    f.tunnels++;

#define OPTION(n)                                                                          \
    if (left > 1) {                                                                        \
        __u8 o[4];                                                                         \
                                                                                           \
        if (PEEK(o) || o[0] == 0)                                                          \
            STOP(E_OK);                                                                    \
        if (o[0] == 1) {                                                                   \
            off++;                                                                         \
            left--;                                                                        \
        } else {                                                                           \
            f.options |= 1u << (o[0] & 31);                                                \
            if (o[0] == 2)                                                                 \
                f.mss = o[2] << 8 | o[3];                                                  \
            if (o[1] < 2 || o[1] > 40)                                                     \
                STOP(E_TCP);                                                               \
            off += o[1] & 63;                                                             \
            left -= o[1] & 63;                                                             \
        }                                                                                  \
    }

SEC("xdp.frags")
int large_parser(struct xdp_md *ctx)
{
    struct ethhdr eth;
    struct found f = {0}, *keep;
    __u32 end = E_OK, next = 0, off = 0, zero = 0, index, *mark;
    __u64 *n;
    __u16 proto;
    int left = 0;

    if (TAKE(eth))
        STOP(E_ETH);
    proto = eth.h_proto;
    TAG(1)
    TAG(2)
    TAG(3)
    LABEL(1)
    LABEL(2)
    LABEL(3)
    LABEL(4)
    LABEL(5)
    NETWORK
    TUNNEL
    TAG(4)
    NETWORK
    TUNNEL
    TAG(5)
    NETWORK
    TUNNEL
    TAG(6)
    NETWORK
    TUNNEL
    NETWORK
transport:
    f.proto = next;
    if (next == IPPROTO_TCP) {
        struct tcphdr tcp;

        if (TAKE(tcp) || tcp.doff < 5)
            STOP(E_TCP);
        f.ports = (__u32)tcp.source << 16 | tcp.dest;
        left = (tcp.doff - 5) * 4;
        OPTION(1)
        OPTION(2)
        OPTION(3)
        OPTION(4)
        OPTION(5)
        OPTION(6)
        OPTION(7)
        OPTION(8)
        OPTION(9)
        OPTION(10)
        OPTION(11)
        OPTION(12)
    } else if (next == IPPROTO_UDP) {
        struct udphdr udp;

        if (TAKE(udp))
            STOP(E_UDP);
        f.ports = (__u32)udp.source << 16 | udp.dest;
    } else if (next == IPPROTO_ICMP || next == IPPROTO_ICMPV6) {
        struct icmphdr icmp;

        if (TAKE(icmp))
            STOP(E_ICMP);
        f.ports = (__u32)icmp.type << 8 | icmp.code;
    } else {
        end = E_OTHER;
    }
done:
    n = bpf_map_lookup_elem(&ends, &end);
    if (n)
        ++*n;
    index = f.proto & 255;
    tally_at(&per_proto, index, bpf_xdp_get_buff_len(ctx));
    keep = bpf_map_lookup_elem(&last, &zero);
    if (keep)
        *keep = f;
    index = f.hash & 1023;
    mark = bpf_map_lookup_elem(&wanted, &index);
    if (mark)
        return *mark & 1 ? XDP_DROP : XDP_TX;
    return end == E_OK || end == E_OTHER ? XDP_PASS : XDP_DROP;
}

LICENSE("Dual BSD/GPL");
