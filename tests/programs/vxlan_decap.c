/*
 * vxlan_decap: strips VXLAN from packets of known networks, and drops those of unknown ones.
 * uses: nested headers, hash lookup with a packet pointer as key, adjust_head
 */
#include "net.h"

#define VXLAN_PORT 4789

struct vxlan_hdr {
    __u8 flags;
    __u8 reserved[3];
    __u8 vni[3];
    __u8 reserved2;
};

struct network {
    __u32 tenant;
    __u32 enabled;
};

MAP(HASH, networks, 512, __u32, struct network);
MAP(PERCPU_ARRAY, per_tenant, 64, __u32, struct tally);

SEC("xdp")
int vxlan_decap(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    struct vxlan_hdr *vxlan;
    struct ethhdr *inner;
    struct network *net;
    struct udphdr *udp;
    __u32 vni, tenant;
    int cut;

    if (!ip || ip->protocol != IPPROTO_UDP)
        return XDP_PASS;
    udp = cursor_take(&c, struct udphdr);
    if (!udp || udp->dest != bpf_htons(VXLAN_PORT))
        return XDP_PASS;
    vxlan = cursor_take(&c, struct vxlan_hdr);
    if (!vxlan || !(vxlan->flags & 0x08))
        return XDP_DROP;
    inner = cursor_take(&c, struct ethhdr);
    if (!inner)
        return XDP_DROP;
    vni = vxlan->vni[0] << 16 | vxlan->vni[1] << 8 | vxlan->vni[2];
    net = bpf_map_lookup_elem(&networks, &vni);
    if (!net || !net->enabled)
        return XDP_DROP;
    tenant = net->tenant;
    cut = (void *)inner - (void *)(long)ctx->data;
    if (cut < 0 || cut > 128)
        return XDP_DROP;
    if (bpf_xdp_adjust_head(ctx, cut))
        return XDP_ABORTED;
    tally_at(&per_tenant, tenant & 63, ctx->data_end - ctx->data);
    return XDP_PASS;
}

LICENSE("Dual MIT/GPL");
