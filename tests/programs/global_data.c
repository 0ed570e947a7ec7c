/*
 * global_data: configuration, tables and counters in global variables.
 * uses: .rodata table with variable index, .data array written, .bss histogram, atomics on them
 */
#include "net.h"

const __u8 dscp_class[64] = {
    [0] = 1, [8] = 2, [10] = 2, [12] = 2, [14] = 2, [16] = 3, [18] = 3, [26] = 4, [34] = 5, [46] = 7, [48] = 6,
};
const volatile __u32 class_limit[8] = {0, 100, 200, 300, 400, 500, 600, 0};
__u32 class_budget[8] = {1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000};
__u64 class_packets[8];
__u64 log2_sizes[16];

SEC("xdp")
int global_data(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    __u32 class, size, log = 0;

    if (!ip)
        return XDP_PASS;
    class = dscp_class[ip->tos >> 2] & 7;
    size = bpf_ntohs(ip->tot_len);
    __sync_fetch_and_add(&class_packets[class], 1);
    for (__u32 s = size; s > 1 && log < 15; s >>= 1)
        log++;
    __sync_fetch_and_add(&log2_sizes[log & 15], 1);
    if (class_limit[class] && size > class_limit[class]) {
        if (class_budget[class] < size)
            return XDP_DROP;
        class_budget[class] -= size;
    }
    return XDP_PASS;
}

LICENSE("Dual MIT/GPL");
