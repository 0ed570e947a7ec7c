/*
 * big_state: 96 counters in one map value, each updated under a condition of its own, between them
 * lookups in other maps.
 * uses: over 1,000 instructions, many map calls that clobber registers, many null checks
 */
#include "net.h"
#include "generated.h"

struct counters {
    __u64 c[96];
};

MAP(PERCPU_ARRAY, state, 1, __u32, struct counters);
MAP(HASH, marks, 1024, __u32, __u32);

#define STEP(n)                                                   \
    {                                                             \
        __u32 key = (ip->saddr >> ((n) % 24)) ^ SPREAD(n);        \
        __u32 *mark = bpf_map_lookup_elem(&marks, &key);          \
        if (mark && *mark > (n))                                  \
            s->c[(n) % 96] += *mark;                              \
        else                                                      \
            s->c[(*((__u8 *)ip + (n) % 20) + (n)) & 63]++;        \
    }

SEC("xdp")
int big_state(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    struct counters *s;
    __u32 zero = 0;

    if (!ip)
        return XDP_PASS;
    s = bpf_map_lookup_elem(&state, &zero);
    if (!s)
        return XDP_ABORTED;
    R64(STEP, 0)
    R16(STEP, 64)
    return s->c[0] > 1000 ? XDP_DROP : XDP_PASS;
}

LICENSE("Dual MIT/GPL");
