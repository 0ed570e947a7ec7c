/*
 * trace_drop: a sampling drop monitor that prints what it saw.
 * uses: trace_printk with 0 to 3 arguments, prandom, jiffies, tai clock, GPL-only helper
 */
#include "net.h"

const volatile __u32 one_in = 128;

SEC("xdp")
int trace_drop(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);

    if (!ip)
        return XDP_PASS;
    if (ip->ttl > 1)
        return XDP_PASS;
    if (one_in && bpf_get_prandom_u32() % one_in == 0) {
        bpf_printk("ttl expired");
        bpf_printk("from %x to %x, protocol %u", ip->saddr, ip->daddr, ip->protocol);
        bpf_printk("jiffies %llu, tai %llu", bpf_jiffies64(), bpf_ktime_get_tai_ns());
    }
    return XDP_DROP;
}

LICENSE("GPL");
