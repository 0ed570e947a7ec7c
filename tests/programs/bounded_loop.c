/*
 * bounded_loop: checks the UDP checksum over a payload whose length the packet says.
 * uses: loops with variable trip counts, 16-bit reads at a moving pointer, odd last byte
 */
#include "net.h"

__u64 bad_sums;

SEC("xdp")
int bounded_loop(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    struct udphdr *udp;
    __u64 sum = 0;
    __u32 len;
    __u16 *p;

    if (!ip || ip->protocol != IPPROTO_UDP)
        return XDP_PASS;
    udp = c.at;
    if ((void *)(udp + 1) > c.end || udp->check == 0)
        return XDP_PASS;
    len = bpf_ntohs(udp->len);
    if (len < sizeof(*udp) || len > 1480)
        return XDP_DROP;
    sum += (ip->saddr >> 16) + (ip->saddr & 0xffff) + (ip->daddr >> 16) + (ip->daddr & 0xffff);
    sum += bpf_htons(IPPROTO_UDP) + udp->len;
    p = (void *)udp;
    for (__u32 i = 0; i + 1 < len && i < 1480; i += 2) {
        asm volatile("" : "+r"(p)); /* else the end of the loop becomes `end + 1` */
        if ((void *)(p + 1) > c.end)
            return XDP_DROP;
        sum += *p++;
    }
    /* Without this the compiler compares with `end - 1`, and end takes no arithmetic. */
    asm volatile("" : "+r"(p));
    if (len & 1) {
        if ((void *)p >= c.end)
            return XDP_DROP;
        sum += *(__u8 *)p;
    }
    if (fold_sum(sum) != 0xffff) {
        __sync_fetch_and_add(&bad_sums, 1);
        return XDP_DROP;
    }
    return XDP_PASS;
}

LICENSE("Dual MIT/GPL");
