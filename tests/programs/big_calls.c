/*
 * big_calls: a pipeline of 48 static functions, each called twice, over a state on the stack.
 * uses: over 1,000 instructions in many subprograms, verified again at each call site
 */
#include "net.h"
#include "generated.h"

struct work {
    __u32 value;
    __u32 steps;
    __u64 trail;
    __u8 history[64];
};

#define FUNCTION(n)                                                        \
    static __noinline int stage_##n(struct work *w, __u32 input)           \
    {                                                                      \
        __u32 v = w->value ^ (input * (2 * n + 1));                        \
        if (v & (1U << (n % 32)))                                          \
            w->history[(v >> (n % 8)) & 63] = v;                           \
        else                                                               \
            v += w->history[(w->steps + n) & 63];                          \
        w->value = v;                                                      \
        w->steps++;                                                        \
        w->trail = w->trail << 1 | (v & 1);                                \
        return v % (n + 3) == 0;                                           \
    }

#define EIGHT(m, t) m(t##0) m(t##1) m(t##2) m(t##3) m(t##4) m(t##5) m(t##6) m(t##7)
EIGHT(FUNCTION, 1)
EIGHT(FUNCTION, 2)
EIGHT(FUNCTION, 3)
EIGHT(FUNCTION, 4)
EIGHT(FUNCTION, 5)
EIGHT(FUNCTION, 6)

#define CALL(n)                          \
    if (stage_##n(&w, input))            \
        input += w.value >> 3;

SEC("xdp")
int big_calls(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    struct work w = {0};
    __u32 input;

    if (!ip)
        return XDP_PASS;
    input = ip->saddr ^ ip->daddr;
    w.value = ip->id;
    for (int i = 0; i < AT_V1(1, 2); i++) {
        EIGHT(CALL, 1)
        EIGHT(CALL, 2)
        EIGHT(CALL, 3)
        EIGHT(CALL, 4)
        EIGHT(CALL, 5)
        EIGHT(CALL, 6)
    }
    return w.trail & 0xff ? XDP_PASS : XDP_DROP;
}

LICENSE("Dual MIT/GPL");
