/*
 * meta_hints: what the device knows of a packet goes in front of it, for a socket that reads it there.
 * uses: kfuncs for the receive timestamp, hash and VLAN tag; adjust_meta
 */
#include "net.h"

extern int bpf_xdp_metadata_rx_timestamp(const struct xdp_md *ctx, __u64 *timestamp) __ksym;
extern int bpf_xdp_metadata_rx_hash(const struct xdp_md *ctx, __u32 *hash, __u32 *type) __ksym;
extern int bpf_xdp_metadata_rx_vlan_tag(const struct xdp_md *ctx, __be16 *proto, __u16 *tci) __ksym;

struct hints {
    __u64 timestamp;
    __u32 hash;
    __u32 hash_type;
    __be16 vlan_proto;
    __u16 vlan_tci;
    __u32 valid;
};

enum { HAS_TIME = 1, HAS_HASH = 2, HAS_VLAN = 4 };

MAP(ARRAY, valid_counts, 8, __u32, __u64);

SEC("xdp")
int meta_hints(struct xdp_md *ctx)
{
    struct hints h = {0}, *room;
    __u64 *n;

    if (bpf_xdp_adjust_meta(ctx, -(int)sizeof(h)))
        return XDP_ABORTED;
    if (!bpf_xdp_metadata_rx_timestamp(ctx, &h.timestamp))
        h.valid |= HAS_TIME;
    if (!bpf_xdp_metadata_rx_hash(ctx, &h.hash, &h.hash_type))
        h.valid |= HAS_HASH;
    if (!bpf_xdp_metadata_rx_vlan_tag(ctx, &h.vlan_proto, &h.vlan_tci))
        h.valid |= HAS_VLAN;
    room = (void *)(long)ctx->data_meta;
    if ((void *)(room + 1) > (void *)(long)ctx->data)
        return XDP_ABORTED;
    *room = h;
    n = bpf_map_lookup_elem(&valid_counts, &h.valid);
    if (n)
        __sync_fetch_and_add(n, 1);
    return XDP_PASS;
}

LICENSE("GPL");
