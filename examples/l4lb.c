/*
 * l4lb: a layer 4 load balancer. A packet to a virtual service (address, port, protocol) is sent
 * on to one of its backends: destination MAC, address and port are rewritten, the IPv4 and the
 * TCP or UDP checksum corrected by the difference, and the packet goes out where it came in
 * (XDP_TX).
 *
 * The backend is chosen by rendezvous hashing: every backend is given a score from the flow and
 * its own address, and the highest wins. All packets of a flow go the same way without any flow
 * table, and when a backend goes down only its own flows move.
 *
 * With an empty `services` map, packets to ports 53, 80 and 443 go to the demo backends below, so
 * that there is something to see; set `demo` to 0 to serve only what the map says. IPv4 only.
 */
#include "parse.h"

#define MAX_CANDIDATES 16 /* backends of one service */
#define MAX_BACKENDS 4096
#define DEMO_BACKENDS 4

struct service_key {
    __be32 addr;
    __be16 port;
    __u8 protocol;
    __u8 unused; /* zero */
};

struct service {
    __u32 first; /* its backends are `backends[first]` and following */
    __u32 count; /* at most MAX_CANDIDATES are looked at */
};

struct backend {
    __be32 addr;
    __be16 port; /* 0: keep the packet's */
    __u8 mac[ETH_ALEN];
    __u32 up; /* 0: gets no packets */
};

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 1024);
    __type(key, struct service_key);
    __type(value, struct service);
} services SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, MAX_BACKENDS);
    __type(key, __u32);
    __type(value, struct backend);
} backends SEC(".maps");

/* Packets sent to each backend; the demo backends come after the real ones. */
struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, MAX_BACKENDS + DEMO_BACKENDS);
    __type(key, __u32);
    __type(value, struct counter);
} backend_hits SEC(".maps");

const volatile __u32 demo = 1;

/* 198.18.0.0/15 is set aside for tests; MAC addresses with the local bit belong to nobody. */
const struct backend demo_backends[DEMO_BACKENDS] = {
    {bpf_htonl(0xc6120001), 0, {0x02, 0, 0, 0, 0, 1}, 1},
    {bpf_htonl(0xc6120002), 0, {0x02, 0, 0, 0, 0, 2}, 1},
    {bpf_htonl(0xc6120003), 0, {0x02, 0, 0, 0, 0, 3}, 1},
    {bpf_htonl(0xc6120004), bpf_htons(8080), {0x02, 0, 0, 0, 0, 4}, 1},
};

/* What the checksums of TCP and UDP cover of what is rewritten; a multiple of 4 bytes long. */
struct rewritten {
    __be32 addr;
    __be16 port;
    __be16 zero;
};

static __always_inline __u32 mix(__u32 hash, __u32 value)
{
    hash = (hash ^ value) * 0x9e3779b1; /* 2^32 / golden ratio, odd: spreads every bit upwards */
    return hash ^ (hash >> 15);         /* and this brings the upper bits down again */
}

/* Sum in 16 bits with the carries added back in (RFC 1071). */
static __always_inline __u16 fold(__u64 sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

/* `check` after `size` bytes that it covers changed from `old` to `new`: HC' = ~(~HC + ~m + m'). */
static __always_inline __u16 patch(__u16 check, void *old, void *new, __u32 size)
{
    __s64 sum = bpf_csum_diff(old, size, new, size, (__u16)~check);

    return ~fold((__u32)sum);
}

static __always_inline bool demo_port(__be16 port)
{
    return port == bpf_htons(53) || port == bpf_htons(80) || port == bpf_htons(443);
}

/* Copies the winner to `out` and returns its index in backend_hits, or -1 if none is up. */
static __always_inline int choose(const struct service *s, __u32 flow, struct backend *out)
{
    __u32 best = 0;
    int chosen = -1;

    for (__u32 i = 0; i < MAX_CANDIDATES && i < s->count; i++) {
        __u32 index = s->first + i;
        struct backend *b = bpf_map_lookup_elem(&backends, &index);
        __u32 score;

        if (!b || !b->up)
            continue;
        score = mix(flow, b->addr);
        if (chosen < 0 || score > best) {
            best = score;
            chosen = index;
            *out = *b;
        }
    }
    return chosen;
}

static __always_inline int choose_demo(__u32 flow, struct backend *out)
{
    __u32 best = 0;
    int chosen = -1;

    for (__u32 i = 0; i < DEMO_BACKENDS; i++) {
        __u32 score = mix(flow, demo_backends[i].addr);

        if (chosen < 0 || score > best) {
            best = score;
            chosen = MAX_BACKENDS + i;
            *out = demo_backends[i];
        }
    }
    return chosen;
}

/* Send the packet whose ports are at `ports` and checksum field at `check` to `b`. */
static __always_inline void rewrite(struct packet *p, struct udphdr *ports, __u16 *check,
                                    const struct backend *b)
{
    struct iphdr *ip = p->net;
    struct rewritten old = {ip->daddr, ports->dest, 0};
    struct rewritten new = {b->addr, b->port ? b->port : ports->dest, 0};
    bool udp = p->protocol == IPPROTO_UDP;

    /* A UDP checksum of zero means "none" and stays; one that becomes zero is sent as 0xffff. */
    if (!udp || *check) {
        __u16 patched = patch(*check, &old, &new, sizeof(old));

        *check = udp && patched == 0 ? 0xffff : patched;
    }
    ip->check = patch(ip->check, &old.addr, &new.addr, sizeof(old.addr));
    ip->daddr = new.addr;
    ports->dest = new.port;
    __builtin_memcpy(p->eth->h_source, p->eth->h_dest, ETH_ALEN);
    __builtin_memcpy(p->eth->h_dest, b->mac, ETH_ALEN);
}

SEC("xdp")
int l4lb(struct xdp_md *ctx)
{
    __u64 bytes = bpf_xdp_get_buff_len(ctx);
    struct service_key key = {0};
    struct service *service;
    struct udphdr *ports; /* TCP and UDP begin alike */
    struct backend b;
    struct packet p;
    struct iphdr *ip;
    __u16 *check;
    __u32 flow;
    int chosen;

    if (!parse_link(ctx, &p) || p.ethertype != ETH_P_IP || !parse_ipv4(&p))
        return XDP_PASS;
    ip = p.net;
    /* A fragment without ports cannot follow its flow, so no fragment is taken from it. */
    if (ip->frag_off & bpf_htons(IP_OFFSET_MASK | 0x2000))
        return XDP_PASS;
    ports = p.pos;
    if (p.protocol == IPPROTO_TCP) {
        struct tcphdr *tcp = take(&p, sizeof(*tcp));

        if (!tcp)
            return XDP_PASS;
        check = &tcp->check;
    } else if (p.protocol == IPPROTO_UDP) {
        struct udphdr *udp = take(&p, sizeof(*udp));

        if (!udp)
            return XDP_PASS;
        check = &udp->check;
    } else {
        return XDP_PASS;
    }
    key.addr = ip->daddr;
    key.port = ports->dest;
    key.protocol = p.protocol;
    flow = mix(mix(mix(p.protocol, ip->saddr), ip->daddr),
               (__u32)ports->source << 16 | ports->dest);
    service = bpf_map_lookup_elem(&services, &key);
    if (service)
        chosen = choose(service, flow, &b);
    else if (demo && demo_port(ports->dest))
        chosen = choose_demo(flow, &b);
    else
        return XDP_PASS;
    if (chosen < 0)
        return XDP_DROP; /* a service of ours with nobody to serve it */
    rewrite(&p, ports, check, &b);
    count(&backend_hits, chosen, bytes);
    return XDP_TX;
}

/* No helper used here is GPL-only in Linux 6.18. */
char _license[] SEC("license") = "GPL";
