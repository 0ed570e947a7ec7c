/*
 * stats: traffic by protocol, for everyone, for each traffic class and for each tenant.
 *
 * One table of counters by protocol is always kept (`protocols`). Tables of the same shape can
 * be hung into two outer maps: `classes`, by the class selector of the packet (the upper three
 * bits of DSCP, RFC 2474), and `tenants`, by the VID of the outermost VLAN tag. So a tenant's
 * table can be made, swapped for an empty one at the end of a billing period, or taken away,
 * without stopping the program. Every packet passes.
 *
 * With empty outer maps `protocols` and `sizes` are filled all the same.
 */
#include "parse.h"

#define PROTOCOLS 256
#define NOT_IP 255 /* protocol number reserved by IANA: here everything else */
#define CLASSES 8
#define SIZES 8

/* The shape of every table: named, so that the outer maps can refer to it. */
struct table {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, PROTOCOLS);
    __type(key, __u32);
    __type(value, struct counter);
};

struct table protocols SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
    __uint(max_entries, CLASSES);
    __type(key, __u32);
    __array(values, struct table);
} classes SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
    __uint(max_entries, 4096);
    __type(key, __u32); /* VID; 0: untagged */
    __array(values, struct table);
} tenants SEC(".maps");

/* Packets by size, in the classes of RFC 2819: up to 64, 127, 255, 511, 1023, 1518, larger. */
struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_HASH);
    __uint(max_entries, SIZES);
    __type(key, __u32); /* upper bound in bytes; 0xffffffff for larger */
    __type(value, struct counter);
} sizes SEC(".maps");

const volatile __u32 size_bounds[] = {64, 127, 255, 511, 1023, 1518, 0xffffffff};

#define BOUNDS (sizeof(size_bounds) / sizeof(size_bounds[0]))

/* The class selector; packets that are not IP have none and count as best effort, class 0. */
static __always_inline __u32 class_of(const struct packet *p)
{
    if (p->ethertype == ETH_P_IP)
        return ((struct iphdr *)p->net)->tos >> 5;
    return ((struct ipv6hdr *)p->net)->priority >> 1; /* upper half of the traffic class field */
}

static __always_inline void count_size(__u64 bytes)
{
    struct counter none = {};
    struct counter *c;
    __u32 bound = 0;

    for (__u32 i = 0; i < BOUNDS; i++) {
        bound = size_bounds[i];
        if (bytes <= bound)
            break;
    }
    c = bpf_map_lookup_elem(&sizes, &bound);
    if (!c) {
        /* Another CPU may be first: then this does nothing. Either way the element is there. */
        bpf_map_update_elem(&sizes, &bound, &none, BPF_NOEXIST);
        c = bpf_map_lookup_elem(&sizes, &bound);
    }
    if (c) {
        c->packets++;
        c->bytes += bytes;
    }
}

SEC("xdp")
int stats(struct xdp_md *ctx)
{
    __u64 bytes = bpf_xdp_get_buff_len(ctx);
    __u32 protocol = NOT_IP;
    __u32 class = 0;
    struct packet p;
    __u32 tenant;
    void *inner;

    if (!parse_link(ctx, &p))
        return XDP_PASS;
    tenant = p.vlan;
    if (parse_network(&p)) {
        protocol = p.protocol;
        class = class_of(&p);
    }
    count(&protocols, protocol, bytes);
    count_size(bytes);
    inner = bpf_map_lookup_elem(&classes, &class);
    if (inner)
        count(inner, protocol, bytes);
    inner = bpf_map_lookup_elem(&tenants, &tenant);
    if (inner)
        count(inner, protocol, bytes);
    return XDP_PASS;
}

/* No helper used here is GPL-only in Linux 6.18. */
char _license[] SEC("license") = "GPL";
