/*
 * tailcall: a chain of parsers held together by a prog array.
 *
 * `dispatch` is the program to attach. It reads the EtherType and tail-calls the program for the
 * next layer; each checks its own header, leaves behind where it stopped, and tail-calls the
 * next. Nobody but the prog array knows which there are: they can be put in, taken out or
 * replaced one by one while packets flow. The loader fills the slots:
 *
 *     parsers[0] = check_vlan   parsers[1] = check_ipv4   parsers[2] = check_ipv6
 *     parsers[3] = check_tcp    parsers[4] = check_udp
 *
 * A tail call to an empty slot falls through to the next instruction: the packet is counted in
 * `missing` and passes unexamined. So with nothing filled in, all pass. With all slots filled,
 * malformed headers and the packets of stealth port scans are dropped.
 *
 * Each program has a section of its own, `xdp/NAME`: the way of objects written before several
 * programs could share one. libbpf 1.x wants to be told the type of such a program (`bpftool prog
 * loadall FILE PATH type xdp`).
 */
#include "parse.h"

/*
 * Headers begin within the first 256 bytes: Ethernet, two tags and the longest IPv4 header make
 * 82. Masking an offset read from a map is what bounds it for the verifier.
 */
#define OFFSET_MASK 0xff

enum { CHECK_VLAN, CHECK_IPV4, CHECK_IPV6, CHECK_TCP, CHECK_UDP, SLOTS };

enum {
    ACCEPTED,       /* no parser objected */
    NOT_PARSED,     /* a protocol that no slot is for */
    TOO_SHORT,      /* ends within a header */
    BAD_IP_HEADER,  /* version, length, or checksum */
    LAND,           /* source and destination are the same */
    BAD_TCP_FLAGS,  /* none, SYN+FIN, SYN+RST or FIN without ACK: stealth scans */
    BAD_LENGTH,     /* a length field that contradicts another */
    OUTCOMES
};

struct {
    __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
    __uint(max_entries, SLOTS);
    __uint(key_size, sizeof(__u32));
    __uint(value_size, sizeof(__u32));
} parsers SEC(".maps");

/* A tail call keeps nothing but ctx: the stack is gone. What the next needs is kept here. */
struct progress {
    __u32 offset; /* of the next header */
    __u32 tags;
    __u32 left; /* bytes from the next header to the end that the IP header states */
    __u32 unused;
};

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct progress);
} progress SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, OUTCOMES);
    __type(key, __u32);
    __type(value, struct counter);
} outcomes SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, SLOTS);
    __type(key, __u32);
    __type(value, struct counter);
} missing SEC(".maps");

static __always_inline int finish(struct xdp_md *ctx, __u32 outcome)
{
    count(&outcomes, outcome, bpf_xdp_get_buff_len(ctx));
    return outcome <= NOT_PARSED ? XDP_PASS : XDP_DROP;
}

/* Go on in `slot`. Returns only if nobody is there. */
static __always_inline int next(struct xdp_md *ctx, __u32 slot)
{
    bpf_tail_call(ctx, &parsers, slot);
    count(&missing, slot, bpf_xdp_get_buff_len(ctx));
    return XDP_PASS;
}

/* Stand where the previous program stopped. NULL never happens, but the verifier cannot know. */
static __always_inline struct progress *resume(struct xdp_md *ctx, struct packet *p)
{
    __u32 zero = 0;
    struct progress *at = bpf_map_lookup_elem(&progress, &zero);

    if (!at)
        return NULL;
    p->end = (void *)(long)ctx->data_end;
    p->pos = (void *)(long)ctx->data + (at->offset & OFFSET_MASK);
    return at;
}

static __always_inline int by_ethertype(struct xdp_md *ctx, __be16 ethertype)
{
    switch (bpf_ntohs(ethertype)) {
    case ETH_P_8021Q:
    case ETH_P_8021AD:
        return next(ctx, CHECK_VLAN);
    case ETH_P_IP:
        return next(ctx, CHECK_IPV4);
    case ETH_P_IPV6:
        return next(ctx, CHECK_IPV6);
    }
    return finish(ctx, NOT_PARSED);
}

static __always_inline int by_protocol(struct xdp_md *ctx, __u8 protocol)
{
    if (protocol == IPPROTO_TCP)
        return next(ctx, CHECK_TCP);
    if (protocol == IPPROTO_UDP)
        return next(ctx, CHECK_UDP);
    return finish(ctx, NOT_PARSED);
}

SEC("xdp/dispatch")
int dispatch(struct xdp_md *ctx)
{
    struct packet p = {0};
    struct progress *at = resume(ctx, &p);
    struct ethhdr *eth;

    if (!at)
        return XDP_ABORTED;
    /* What is in `at` now was left by another packet. */
    p.pos = (void *)(long)ctx->data;
    at->offset = sizeof(*eth);
    at->tags = 0;
    eth = take(&p, sizeof(*eth));
    if (!eth)
        return finish(ctx, TOO_SHORT);
    return by_ethertype(ctx, eth->h_proto);
}

/* May be followed by itself, once for each tag. */
SEC("xdp/check_vlan")
int check_vlan(struct xdp_md *ctx)
{
    struct packet p = {0};
    struct progress *at = resume(ctx, &p);
    struct vlan_tag *tag;

    if (!at)
        return XDP_ABORTED;
    tag = take(&p, sizeof(*tag));
    if (!tag)
        return finish(ctx, TOO_SHORT);
    if (++at->tags > MAX_TAGS)
        return finish(ctx, NOT_PARSED);
    at->offset += sizeof(*tag);
    return by_ethertype(ctx, tag->next);
}

SEC("xdp/check_ipv4")
int check_ipv4(struct xdp_md *ctx)
{
    struct packet p = {0};
    struct progress *at = resume(ctx, &p);
    struct iphdr *ip;
    __u32 sum = 0;
    __u32 total;

    if (!at)
        return XDP_ABORTED;
    ip = take(&p, sizeof(*ip));
    if (!ip)
        return finish(ctx, TOO_SHORT);
    total = bpf_ntohs(ip->tot_len);
    if (ip->version != 4 || ip->ihl < 5 || total < ip->ihl * 4)
        return finish(ctx, BAD_IP_HEADER);
    if (ip->saddr == ip->daddr)
        return finish(ctx, LAND);
    if (ip->ihl == 5) { /* headers with options are rare: their sum is left to the receiver */
        sum = bpf_csum_diff(0, 0, (__be32 *)ip, sizeof(*ip), 0);
        sum = (sum & 0xffff) + (sum >> 16);
        if (((sum & 0xffff) + (sum >> 16)) != 0xffff)
            return finish(ctx, BAD_IP_HEADER);
    }
    at->offset += ip->ihl * 4;
    at->left = total - ip->ihl * 4;
    if (ip->frag_off & bpf_htons(IP_OFFSET_MASK | 0x2000))
        return finish(ctx, NOT_PARSED);
    return by_protocol(ctx, ip->protocol);
}

SEC("xdp/check_ipv6")
int check_ipv6(struct xdp_md *ctx)
{
    struct packet p = {0};
    struct progress *at = resume(ctx, &p);
    struct ipv6hdr *ip;
    __u32 differ = 0;

    if (!at)
        return XDP_ABORTED;
    ip = take(&p, sizeof(*ip));
    if (!ip)
        return finish(ctx, TOO_SHORT);
    if (ip->version != 6)
        return finish(ctx, BAD_IP_HEADER);
    for (int i = 0; i < 4; i++)
        differ |= ip->saddr.in6_u.u6_addr32[i] ^ ip->daddr.in6_u.u6_addr32[i];
    if (!differ)
        return finish(ctx, LAND);
    at->offset += sizeof(*ip);
    at->left = bpf_ntohs(ip->payload_len);
    return by_protocol(ctx, ip->nexthdr); /* extension headers: a slot waiting to be written */
}

SEC("xdp/check_tcp")
int check_tcp(struct xdp_md *ctx)
{
    struct packet p = {0};
    struct progress *at = resume(ctx, &p);
    struct tcphdr *tcp;

    if (!at)
        return XDP_ABORTED;
    tcp = take(&p, sizeof(*tcp));
    if (!tcp)
        return finish(ctx, TOO_SHORT);
    if (tcp->doff < 5 || tcp->doff * 4 > at->left)
        return finish(ctx, BAD_LENGTH);
    if (tcp->syn ? tcp->fin || tcp->rst : !tcp->ack && !tcp->rst)
        return finish(ctx, BAD_TCP_FLAGS);
    return finish(ctx, ACCEPTED);
}

SEC("xdp/check_udp")
int check_udp(struct xdp_md *ctx)
{
    struct packet p = {0};
    struct progress *at = resume(ctx, &p);
    struct udphdr *udp;
    __u32 length;

    if (!at)
        return XDP_ABORTED;
    udp = take(&p, sizeof(*udp));
    if (!udp)
        return finish(ctx, TOO_SHORT);
    length = bpf_ntohs(udp->len);
    if (length < sizeof(*udp) || length > at->left)
        return finish(ctx, BAD_LENGTH);
    return finish(ctx, ACCEPTED);
}

/* No helper used here is GPL-only in Linux 6.18. */
char _license[] SEC("license") = "GPL";
