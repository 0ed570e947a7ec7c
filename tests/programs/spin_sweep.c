/*
 * spin_sweep: ages all counters of a hash every few packets, one lock at a time; the pace is a locked global.
 * uses: bpf_spin_lock in a for_each callback, lock of a global variable in .bss, locks of inner maps
 * needs: spin_lock
 */
#include "net.h"

struct entry {
    struct bpf_spin_lock lock;
    __u32 hits;
    __u64 heat;
};

struct inner {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 4);
    __type(key, __u32);
    __type(value, struct entry);
} classes_a SEC(".maps"), classes_b SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
    __uint(max_entries, 2);
    __type(key, __u32);
    __array(values, struct inner);
} classes SEC(".maps") = {
    .values = { &classes_a, &classes_b },
};

MAP(HASH, entries, 64, __u32, struct entry);

struct pace {
    __u64 packets;
    struct bpf_spin_lock lock;
    __u32 sweeps;
} pace;

static long age(void *map, const __u32 *key, struct entry *e, __u32 *cooled)
{
    bpf_spin_lock(&e->lock);
    e->heat -= e->heat >> 2;
    e->hits++;
    bpf_spin_unlock(&e->lock);
    *cooled += map && *key;
    return 0;
}

inline_always int heat(struct entry *e, __u32 amount)
{
    int hot;

    bpf_spin_lock(&e->lock);
    e->heat += amount;
    e->hits++;
    hot = e->heat > 4000;
    bpf_spin_unlock(&e->lock);
    return hot;
}

SEC("xdp")
int spin_sweep(struct xdp_md *ctx)
{
    __u32 length = ctx->data_end - ctx->data, which, slot, key, cooled = 0, hot = 0;
    struct entry fresh = {0}, *e;
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    void *inner;
    int sweep;

    bpf_spin_lock(&pace.lock);
    sweep = (++pace.packets & 15) == 0;
    pace.sweeps += sweep;
    bpf_spin_unlock(&pace.lock);
    if (sweep)
        bpf_for_each_map_elem(&entries, age, &cooled, 0);
    if (!ip)
        return XDP_PASS;
    which = ip->protocol == IPPROTO_TCP;
    slot = ip->ttl >> 6;
    inner = bpf_map_lookup_elem(&classes, &which);
    if (inner) {
        e = bpf_map_lookup_elem(inner, &slot);
        if (e)
            hot = heat(e, length);
    }
    key = ip->daddr;
    e = bpf_map_lookup_elem(&entries, &key);
    if (!e)
        bpf_map_update_elem(&entries, &key, &fresh, BPF_NOEXIST);
    else
        hot |= heat(e, length);
    return hot && cooled < 8 ? XDP_DROP : XDP_PASS;
}

LICENSE("GPL");
