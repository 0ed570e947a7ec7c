/*
 * stack_array: sorts four words of payload on the stack and histograms their bytes.
 * uses: variable indexes into stack arrays, read and write, insertion sort, 256 bytes of stack
 */
#include "net.h"

MAP(PERCPU_ARRAY, medians, 256, __u32, struct tally);

SEC("xdp")
int stack_array(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    __u8 histogram[64] = {0};
    __u32 words[8];
    __u32 *payload, most = 0;

    if (!ip)
        return XDP_PASS;
    payload = cursor_bytes(&c, sizeof(words));
    if (!payload)
        return XDP_PASS;
    for (int i = 0; i < 8; i++) {
        words[i] = payload[i];
        histogram[words[i] & 63]++;
        histogram[(words[i] >> 8) & 63]++;
    }
#pragma clang loop unroll(disable)
    for (__u32 i = 1; i < 4; i++) {
        __u32 value = words[i];
        __u32 k = i;

        while (k > 0 && k < 4 && words[k - 1] > value) {
            words[k] = words[k - 1];
            k--;
        }
        words[k & 7] = value;
    }
    for (int i = 0; i < 16; i++)
        most = (most + histogram[(most + i) & 63]) & 63;
    tally_at(&medians, words[2] & 255, histogram[most & 63]);
    return histogram[most & 63] > 12 ? XDP_DROP : XDP_PASS;
}

LICENSE("Dual MIT/GPL");
