/*
 * big_rules: a firewall of 512 rules compiled to straight code, each a match of address, port and
 * protocol; the first match decides.
 * uses: over 3,000 instructions, long chains of comparisons, jumps beyond short distances
 */
#include "net.h"
#include "generated.h"

MAP(PERCPU_ARRAY, rule_hits, 512, __u32, struct tally);

/* Port in the upper half, protocol in the lower; both are matched under a mask, as in a TCAM. */
#define SERVICE(n) (SPREAD((n) + 3) << 16 | ((n) & 1 ? IPPROTO_TCP : IPPROTO_UDP))
#define SERVICE_MASK(n) (0xffff0000U << ((n) % 9) | 0xff)
#define ADDR_MASK(n) (0xffffff00U << ((n) & 3))
#define RULE(n)                                                                \
    COPY(a, addr);                                                             \
    COPY(s, service);                                                          \
    if ((a & ADDR_MASK(n)) == (SPREAD(n) & ADDR_MASK(n)) &&                    \
        (s & SERVICE_MASK(n)) == (SERVICE(n) & SERVICE_MASK(n))) {       \
        rule = (n);                                                            \
        goto matched;                                                          \
    }

SEC("xdp")
int big_rules(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    __u32 addr, service, a, s, rule;
    __be16 *ports;

    if (!ip)
        return XDP_PASS;
    ports = cursor_bytes(&c, 4);
    if (!ports)
        return XDP_DROP;
    addr = bpf_ntohl(ip->daddr);
    service = (__u32)bpf_ntohs(ports[1]) << 16 | ip->protocol;
    R256(RULE, 0)
    R256(RULE, 256)
    return XDP_PASS;
matched:
    tally_at(&rule_hits, rule & 511, bpf_ntohs(ip->tot_len));
    return SPREAD(rule) & 1 ? XDP_DROP : XDP_PASS;
}

LICENSE("Dual MIT/GPL");
