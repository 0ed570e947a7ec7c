/*
 * payload_match: runs a small automaton over the first 96 bytes of TCP payload, one table look-up
 * a byte, and drops packets that reach a final state.
 * uses: automaton in .rodata with two variable indexes, byte loop over the packet
 */
#include "net.h"

#define STATES 16

/* Next state by character class; finds "GET /..", "%00" and "../". */
static const __u8 step[STATES][8] = {
    {0, 1, 4, 6, 0, 0, 0, 0}, {0, 2, 4, 6, 0, 0, 0, 0}, {0, 0, 3, 6, 0, 0, 0, 0},
    {0, 1, 9, 6, 0, 0, 0, 0}, {0, 1, 5, 6, 0, 0, 0, 0}, {9, 1, 4, 6, 0, 0, 0, 0},
    {0, 1, 4, 6, 7, 0, 0, 0}, {0, 1, 4, 6, 9, 0, 0, 0}, {0, 0, 0, 0, 0, 0, 0, 0},
    {9, 9, 9, 9, 9, 9, 9, 9},
};

inline_always __u32 class_of(__u8 byte)
{
    switch (byte) {
    case '/':
        return 0;
    case '.':
        return 2;
    case '%':
        return 3;
    case '0':
        return 4;
    case 'G':
    case 'E':
    case 'T':
        return 1;
    default:
        return 5;
    }
}

SEC("xdp")
int payload_match(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    struct tcphdr *tcp;
    __u32 state = 0;
    __u8 *p;

    if (!ip || ip->protocol != IPPROTO_TCP)
        return XDP_PASS;
    tcp = cursor_take(&c, struct tcphdr);
    if (!tcp || tcp->doff < 5)
        return XDP_DROP;
    p = (void *)tcp + tcp->doff * 4;
    for (int i = 0; i < AT_V1(16, 96); i++) {
        if ((void *)(p + 1) > c.end)
            break;
        state = step[state & (STATES - 1)][class_of(*p) & 7];
        p++;
    }
    return state == 9 ? XDP_DROP : XDP_PASS;
}

LICENSE("Dual MIT/GPL");
