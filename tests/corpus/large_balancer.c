/*
 * large_balancer: a layer-4 load balancer: services by address or prefix, connections kept, backends
 * chosen by rendezvous hashing over the pool, QUIC by connection id, errors of the path led to the backend
 * that the quoted packet went to, IPv4-in-IPv4 or GUE to the backend.
 * uses: over 3,000 instructions, hashing unrolled over 32 backends in four places, encapsulation, LRU hash,
 *       LPM trie, per-CPU counters
 */
#include "net.h"
#include "generated.h"

#define POOL 32

struct vip {
    __be32 addr;
    __be16 port;
    __u16 proto;
};

struct pool {
    __u32 seed;
    __u32 flags;
    __u32 weights[POOL];
};

struct backend {
    __be32 addr;
    __be32 source;
    __u8 mac[6];
    __u16 gue;
};

struct prefix {
    __u32 bits;
    __be32 addr;
};

MAP(HASH, vips, 512, struct vip, __u32);
MAP(ARRAY, pools, 64, __u32, struct pool);
MAP(ARRAY, backends, 1024, __u32, struct backend);
MAP(LRU_HASH, flows, 65536, struct flow4, __u32);
MAP(PERCPU_ARRAY, counters, 16, __u32, struct tally);
MAP(PERCPU_ARRAY, per_backend, 1024, __u32, struct tally);

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(max_entries, 1024);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct prefix);
    __type(value, __u32);
} from_nets SEC(".maps");

enum { SEEN, NOT_OURS, KEPT, CHOSEN, ICMP_LED, QUIC_LED, NO_BACKEND, TOO_SHORT, FRAGMENT };

#define F_SKIP_TABLE 1
#define F_BY_SOURCE 2
#define F_QUIC 4

/* The backend with the highest hash, weighted; each step as the compiler unrolls it. */
#define TRY(n)                                         \
    h = key ^ SPREAD((n) + 11);                        \
    h *= 0x85ebca6b;                                   \
    h ^= h >> 13;                                      \
    h *= 0xc2b2ae35;                                   \
    h ^= h >> 16;                                      \
    h &= pool->weights[n];                             \
    if (h > best) {                                    \
        best = h;                                      \
        found = (n);                                   \
    }                                                  \
    OPAQUE(best);

inline_always __u32 choose(const struct pool *pool, __u32 key)
{
    __u32 best = 0, found = POOL, h;

    R16(TRY, 0)
    R16(TRY, 16)
    return found;
}

inline_always __u32 hash_of(const struct flow4 *f, __u32 seed)
{
    __u32 h = mix32(seed, f->saddr);

    h = mix32(h, f->daddr);
    h = mix32(h, (__u32)f->sport << 16 | f->dport);
    h = mix32(h, f->proto);
    h ^= h >> 16;
    h *= 0x7feb352d;
    return h ^ h >> 15;
}

inline_always int send(struct xdp_md *ctx, __u32 number, __u32 sum)
{
    struct backend *b = bpf_map_lookup_elem(&backends, &number);
    __u32 extra = sizeof(struct iphdr), length = ctx->data_end - ctx->data;
    struct ethhdr *eth, old;
    struct udphdr *udp;
    struct iphdr *ip;
    void *end;
    __u8 gue;

    if (!b || !b->addr)
        return XDP_DROP;
    tally_at(&per_backend, number, length);
    eth = (void *)(long)ctx->data;
    if ((void *)(eth + 1) > (void *)(long)ctx->data_end)
        return XDP_DROP;
    old = *eth;
    gue = b->gue & 1;
    if (gue)
        extra += sizeof(*udp);
    if (gue ? bpf_xdp_adjust_head(ctx, -(int)(sizeof(*ip) + sizeof(*udp)))
            : bpf_xdp_adjust_head(ctx, -(int)sizeof(*ip)))
        return XDP_DROP;
    eth = (void *)(long)ctx->data;
    end = (void *)(long)ctx->data_end;
    ip = (void *)(eth + 1);
    udp = (void *)(ip + 1);
    if ((void *)(udp + 1) > end)
        return XDP_DROP;
    __builtin_memcpy(eth->h_dest, b->mac, sizeof(b->mac));
    __builtin_memcpy(eth->h_source, old.h_dest, sizeof(old.h_dest));
    eth->h_proto = bpf_htons(ETH_P_IP);
    ip->version = 4;
    ip->ihl = 5;
    ip->tos = 0;
    ip->tot_len = bpf_htons(length - sizeof(*eth) + extra);
    ip->id = 0;
    ip->frag_off = 0;
    ip->ttl = 64;
    ip->protocol = gue ? IPPROTO_UDP : IPPROTO_IPIP;
    ip->saddr = b->source ^ bpf_htonl(sum & 0xffff);
    ip->daddr = b->addr;
    ip->check = ip_header_sum(ip);
    if (gue) {
        udp->source = bpf_htons(sum | 0x8000);
        udp->dest = bpf_htons(9886);
        udp->len = bpf_htons(length - sizeof(*eth) + sizeof(*udp));
        udp->check = 0;
    }
    return XDP_TX;
}

/* A destination unreachable or time exceeded: the flow is the quoted packet's, turned round. */
inline_always int quoted_flow(struct cursor *c, struct flow4 *f)
{
    struct icmphdr *icmp = cursor_take(c, struct icmphdr);
    struct iphdr *inner;
    __be16 *ports;

    if (!icmp || (icmp->type != ICMP_DEST_UNREACH && icmp->type != 11))
        return 0;
    inner = cursor_take(c, struct iphdr);
    if (!inner || inner->ihl != 5)
        return 0;
    ports = cursor_bytes(c, 4);
    if (!ports)
        return 0;
    f->saddr = inner->daddr;
    f->daddr = inner->saddr;
    f->sport = ports[1];
    f->dport = ports[0];
    f->proto = inner->protocol;
    return 1;
}

/* The connection id of QUIC carries a backend; 0 when there is none. */
inline_always __u32 quic_backend(struct cursor *c)
{
    __u8 *head = c->at;

    if ((void *)(head + 16) > c->end)
        return 0;
    if (head[0] & 0x80) {
        if (head[5] < 8)
            return 0;
        return (__u32)head[7] << 8 | head[8];
    }
    return (__u32)head[2] << 8 | head[3];
}

SEC("xdp")
int large_balancer(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    __u32 length = ctx->data_end - ctx->data, index = 0, number, *base, *kept, *local, sum;
    struct prefix from = {.bits = 32};
    struct flow4 flow = {0};
    struct vip vip = {0};
    struct pool *pool;
    int led = 0;

    tally_at(&counters, SEEN, length);
    if (!ip)
        return XDP_PASS;
    if (ip->frag_off & bpf_htons(0x3fff)) {
        tally_at(&counters, FRAGMENT, length);
        return XDP_PASS;
    }
    from.addr = ip->saddr;
    if (ip->protocol == IPPROTO_ICMP) {
        led = quoted_flow(&c, &flow);
        if (!led)
            return XDP_PASS;
        tally_at(&counters, ICMP_LED, length);
    } else if (ip->protocol == IPPROTO_TCP || ip->protocol == IPPROTO_UDP) {
        __be16 *ports = cursor_bytes(&c, 8);

        if (!ports) {
            tally_at(&counters, TOO_SHORT, length);
            return XDP_DROP;
        }
        flow.saddr = ip->saddr;
        flow.daddr = ip->daddr;
        flow.sport = ports[0];
        flow.dport = ports[1];
        flow.proto = ip->protocol;
    } else {
        return XDP_PASS;
    }
    vip.addr = flow.daddr;
    vip.port = flow.dport;
    vip.proto = flow.proto;
    base = bpf_map_lookup_elem(&vips, &vip);
    if (!base) {
        vip.port = 0;
        base = bpf_map_lookup_elem(&vips, &vip);
    }
    if (!base) {
        tally_at(&counters, NOT_OURS, length);
        return XDP_PASS;
    }
    index = *base & 63;
    local = bpf_map_lookup_elem(&from_nets, &from);
    if (local)
        index = *local & 63;
    pool = bpf_map_lookup_elem(&pools, &index);
    if (!pool)
        return XDP_DROP;
    if (!led && flow.proto == IPPROTO_UDP && pool->flags & F_QUIC) {
        number = quic_backend(&c);
        if (number) {
            tally_at(&counters, QUIC_LED, length);
            return send(ctx, number & 1023, number);
        }
    }
    if (pool->flags & F_BY_SOURCE) {
        flow.sport = 0;
        sum = mix32(pool->seed, flow.saddr);
        number = choose(pool, sum);
    } else if (pool->flags & F_SKIP_TABLE) {
        sum = hash_of(&flow, pool->seed);
        number = choose(pool, sum);
    } else {
        kept = bpf_map_lookup_elem(&flows, &flow);
        sum = hash_of(&flow, pool->seed ^ 0x9e3779b9);
        if (kept) {
            tally_at(&counters, KEPT, length);
            return send(ctx, *kept & 1023, sum);
        }
        number = choose(pool, sum);
        if (number >= POOL) {
            sum ^= 0x5bd1e995;
            number = choose(pool, sum);
        }
        if (number < POOL && !led) {
            __u32 chosen = index << 4 | (number & 15);

            bpf_map_update_elem(&flows, &flow, &chosen, BPF_ANY);
        }
    }
    if (number >= POOL) {
        tally_at(&counters, NO_BACKEND, length);
        return XDP_DROP;
    }
    tally_at(&counters, CHOSEN, length);
    return send(ctx, index << 4 | (number & 15), sum);
}

LICENSE("GPL");
