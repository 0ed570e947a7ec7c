/*
 * spin_limiter: a token bucket for each source network; its clock is the number of packets it has seen.
 * uses: bpf_spin_lock behind other members of a hash value, refill and take in one region, BPF_F_LOCK update
 * needs: spin_lock
 */
#include "net.h"

#define BURST 40
#define COST_SHIFT 7

struct bucket {
    __u64 clock;
    __u32 tokens;
    struct bpf_spin_lock lock;
    __u64 passed;
    __u64 dropped;
};

MAP(HASH, buckets, 256, __be32, struct bucket);
MAP(ARRAY, clocks, 1, __u32, __u64);

SEC("xdp")
int spin_limiter(struct xdp_md *ctx)
{
    struct bucket fresh = { .tokens = BURST }, *b;
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    __u64 *clock, now, earned;
    int action = XDP_PASS;
    __u32 zero = 0, cost;
    __be32 net;

    clock = bpf_map_lookup_elem(&clocks, &zero);
    if (!clock || !ip)
        return XDP_PASS;
    now = __sync_fetch_and_add(clock, 1);
    net = ip->saddr & bpf_htonl(0xffffff00);
    cost = 1 + (bpf_ntohs(ip->tot_len) >> COST_SHIFT);
    b = bpf_map_lookup_elem(&buckets, &net);
    if (!b) {
        fresh.clock = now;
        if (bpf_map_update_elem(&buckets, &net, &fresh, BPF_F_LOCK | BPF_NOEXIST))
            return XDP_ABORTED;
        b = bpf_map_lookup_elem(&buckets, &net);
        if (!b)
            return XDP_ABORTED;
    }
    bpf_spin_lock(&b->lock);
    earned = (now - b->clock) >> 2;
    b->clock += earned << 2;
    if (earned > BURST)
        earned = BURST;
    b->tokens += earned;
    if (b->tokens > BURST)
        b->tokens = BURST;
    if (b->tokens >= cost) {
        b->tokens -= cost;
        b->passed++;
    } else {
        b->dropped++;
        action = XDP_DROP;
    }
    bpf_spin_unlock(&b->lock);
    return action;
}

LICENSE("GPL");
