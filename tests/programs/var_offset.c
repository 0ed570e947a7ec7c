/*
 * var_offset: follows a chain of lengths through the packet: Ethernet, IPv4 with options, TCP with
 * options, then a TLS record and its session id.
 * uses: variable packet offsets on top of each other, limits by masks and by comparisons
 */
#include "net.h"

struct tls_record {
    __u8 type;
    __be16 version;
    __be16 length;
} __attribute__((packed));

struct hello {
    __u8 kind;
    __u8 length[3];
    __be16 version;
    __u8 random[32];
    __u8 session_len;
} __attribute__((packed));

MAP(PERCPU_ARRAY, session_lengths, 64, __u32, struct tally);

SEC("xdp")
int var_offset(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    struct tls_record *rec;
    struct tcphdr *tcp;
    struct hello *hello;
    __be16 *suites;
    __u32 len;

    if (!ip || ip->protocol != IPPROTO_TCP)
        return XDP_PASS;
    tcp = c.at;
    if ((void *)(tcp + 1) > c.end || tcp->dest != bpf_htons(443) || tcp->doff < 5)
        return XDP_PASS;
    c.at = (void *)tcp + tcp->doff * 4;
    rec = cursor_take(&c, struct tls_record);
    if (!rec || rec->type != 22)
        return XDP_PASS;
    hello = cursor_take(&c, struct hello);
    if (!hello || hello->kind != 1)
        return XDP_PASS;
    len = hello->session_len;
    if (len > 32)
        return XDP_DROP;
    c.at += len;
    suites = cursor_bytes(&c, 2);
    if (!suites)
        return XDP_DROP;
    tally_at(&session_lengths, len, bpf_ntohs(*suites));
    if (bpf_ntohs(*suites) < 2 || bpf_ntohs(*suites) > 512)
        return XDP_DROP;
    c.at += bpf_ntohs(*suites) & 0x3ff;
    suites = cursor_bytes(&c, 2);
    return suites ? XDP_PASS : XDP_DROP;
}

LICENSE("Dual MIT/GPL");
