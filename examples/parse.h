/*
 * Bounds-checked walk from the Ethernet header to the transport header, shared by the examples.
 *
 * Every header is reached through `take`, the only place that compares with data_end; what `take`
 * returned may be read without another check, which is exactly what the verifier wants to see.
 * Everything here is inlined, so `struct packet` lives in registers and costs nothing.
 */
#ifndef EXAMPLES_PARSE_H
#define EXAMPLES_PARSE_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define VLAN_VID_MASK 0x0fff
#define MAX_TAGS 2           /* 802.1ad outer + 802.1Q inner; deeper stacks are not IP to us */
#define MAX_EXTENSIONS 4     /* IPv6 extension headers followed before giving up */
#define IP_OFFSET_MASK 0x1fff /* fragment offset bits of iphdr.frag_off and of the IPv6 field */

typedef _Bool bool;
#define true 1
#define false 0

/* The VLAN tag behind the two MAC addresses; the kernel does not export this one. */
struct vlan_tag {
    __be16 tci;  /* priority 3 bits, DEI 1 bit, VID 12 bits */
    __be16 next; /* EtherType of what follows */
};

struct ipv6_extension {
    __u8 next;
    __u8 length; /* in units of 8 bytes, not counting the first 8 */
    __be16 offset; /* only in a fragment header: offset in the upper 13 bits */
    __u32 rest;
};

/* A packet and a byte counter, the value of most statistics maps here. */
struct counter {
    __u64 packets;
    __u64 bytes;
};

/* An IPv4 address is kept as ::ffff:a.b.c.d, so that one map serves both families. */
struct address {
    __u32 word[4]; /* network order */
};

struct packet {
    void *pos; /* next byte not yet taken */
    void *end;
    struct ethhdr *eth;
    void *net;           /* struct iphdr or struct ipv6hdr, by ethertype */
    __u16 ethertype;     /* under all tags, host order */
    __u16 vlan;          /* VID of the outermost tag */
    __u16 tags;          /* how many tags */
    __u8 protocol;       /* of the transport header at pos */
    bool later_fragment; /* not the first: no transport header at pos */
};

/* The next `size` bytes, or NULL if the packet ends before. */
static __always_inline void *take(struct packet *p, __u32 size)
{
    void *start = p->pos;

    if (start + size > p->end)
        return NULL;
    /* ctx->data looks 32 bits wide to the compiler, which would test its lower half for NULL. */
    __builtin_assume(start != NULL);
    p->pos = start + size;
    return start;
}

/*
 * Take `size` bytes from `start` on, where a header begins whose length is known only now. The
 * length is not reduced by what was taken before: the compiler would turn that into a 32-bit
 * subtraction, after which the verifier no longer knows that the result is small.
 */
static __always_inline void *retake(struct packet *p, void *start, __u32 size)
{
    p->pos = start;
    return take(p, size);
}

static __always_inline bool is_vlan(__u16 ethertype)
{
    return ethertype == ETH_P_8021Q || ethertype == ETH_P_8021AD;
}

/* Ethernet and up to MAX_TAGS tags. False if the packet is too short. */
static __always_inline bool parse_link(struct xdp_md *ctx, struct packet *p)
{
    __builtin_memset(p, 0, sizeof(*p));
    p->pos = (void *)(long)ctx->data;
    p->end = (void *)(long)ctx->data_end;
    p->eth = take(p, sizeof(*p->eth));
    if (!p->eth)
        return false;
    p->ethertype = bpf_ntohs(p->eth->h_proto);
#pragma unroll
    for (int i = 0; i < MAX_TAGS; i++) {
        struct vlan_tag *tag;

        if (!is_vlan(p->ethertype))
            break;
        tag = take(p, sizeof(*tag));
        if (!tag)
            return false;
        if (p->tags++ == 0)
            p->vlan = bpf_ntohs(tag->tci) & VLAN_VID_MASK;
        p->ethertype = bpf_ntohs(tag->next);
    }
    return true;
}

static __always_inline bool parse_ipv4(struct packet *p)
{
    struct iphdr *ip = take(p, sizeof(*ip));

    if (!ip || ip->version != 4 || ip->ihl < 5)
        return false;
    if (!retake(p, ip, ip->ihl * 4))
        return false;
    p->net = ip;
    p->protocol = ip->protocol;
    p->later_fragment = (ip->frag_off & bpf_htons(IP_OFFSET_MASK)) != 0;
    return true;
}

static __always_inline bool parse_ipv6(struct packet *p)
{
    struct ipv6hdr *ip = take(p, sizeof(*ip));

    if (!ip || ip->version != 6)
        return false;
    p->net = ip;
    p->protocol = ip->nexthdr;
    for (int i = 0; i < MAX_EXTENSIONS && !p->later_fragment; i++) {
        struct ipv6_extension *ext;

        switch (p->protocol) {
        case IPPROTO_HOPOPTS:
        case IPPROTO_ROUTING:
        case IPPROTO_DSTOPTS:
            ext = take(p, sizeof(*ext));
            if (!ext || !take(p, ext->length * 8))
                return false;
            break;
        case IPPROTO_FRAGMENT:
            ext = take(p, sizeof(*ext));
            if (!ext)
                return false;
            p->later_fragment = (ext->offset & bpf_htons(IP_OFFSET_MASK << 3)) != 0;
            break;
        default:
            return true;
        }
        p->protocol = ext->next;
    }
    return true;
}

/* IPv4 or IPv6 after parse_link. False if neither, or if the headers are cut short. */
static __always_inline bool parse_network(struct packet *p)
{
    if (p->ethertype == ETH_P_IP)
        return parse_ipv4(p);
    if (p->ethertype == ETH_P_IPV6)
        return parse_ipv6(p);
    return false;
}

static __always_inline void map_ipv4(__be32 addr, struct address *out)
{
    out->word[0] = 0;
    out->word[1] = 0;
    out->word[2] = bpf_htonl(0xffff);
    out->word[3] = addr;
}

/* Source and destination after parse_network. */
static __always_inline void source_of(const struct packet *p, struct address *out)
{
    if (p->ethertype == ETH_P_IP)
        map_ipv4(((struct iphdr *)p->net)->saddr, out);
    else
        __builtin_memcpy(out, &((struct ipv6hdr *)p->net)->saddr, sizeof(*out));
}

static __always_inline void destination_of(const struct packet *p, struct address *out)
{
    if (p->ethertype == ETH_P_IP)
        map_ipv4(((struct iphdr *)p->net)->daddr, out);
    else
        __builtin_memcpy(out, &((struct ipv6hdr *)p->net)->daddr, sizeof(*out));
}

/*
 * Count one packet in a per-CPU array. Each CPU adds to a value of its own and XDP is not
 * re-entered on a CPU, so plain additions suffice.
 */
static __always_inline void count(void *percpu_array, __u32 index, __u64 bytes)
{
    struct counter *c = bpf_map_lookup_elem(percpu_array, &index);

    if (c) {
        c->packets++;
        c->bytes += bytes;
    }
}

#endif
