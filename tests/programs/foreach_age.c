/*
 * foreach_age: once in 1024 packets walks a table and removes what is old, and sums an array.
 * uses: for_each_map_elem over hash and array with callback context, map_delete_elem in a callback
 */
#include "net.h"

struct sweep {
    __u64 now;
    __u32 removed;
    __u32 kept;
};

MAP(HASH, last_seen, 1024, __be32, __u64);
MAP(ARRAY, weights, 64, __u32, __u32);
__u32 clock;

static long age(void *map, __be32 *key, __u64 *value, struct sweep *s)
{
    if (s->now - *value > 30000000000ULL) {
        bpf_map_delete_elem(map, key);
        s->removed++;
    } else {
        s->kept++;
    }
    return 0;
}

static long add(void *map, __u32 *key, __u32 *value, __u32 *sum)
{
    (void)map;
    if (*key > 32)
        return 1;
    *sum += *value;
    return 0;
}

SEC("xdp")
int foreach_age(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    struct sweep s = {.now = bpf_ktime_get_ns()};
    __u32 sum = 0;

    if (!ip)
        return XDP_PASS;
    bpf_map_update_elem(&last_seen, &ip->saddr, &s.now, BPF_ANY);
    if (__sync_fetch_and_add(&clock, 1) & 1023)
        return XDP_PASS;
    bpf_for_each_map_elem(&last_seen, age, &s, 0);
    bpf_for_each_map_elem(&weights, add, &sum, 0);
    return s.kept + s.removed > sum ? XDP_DROP : XDP_PASS;
}

LICENSE("GPL");
