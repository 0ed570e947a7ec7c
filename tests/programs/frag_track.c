/*
 * frag_track: remembers the ports of first fragments, so that a port filter covers the later ones.
 * uses: LRU hash keyed by address and id, hash set, several exits that share state
 */
#include "net.h"

struct frag {
    __be32 saddr;
    __be32 daddr;
    __be16 id;
    __u16 proto;
};

struct ports {
    __be16 source;
    __be16 dest;
};

MAP(LRU_HASH, fragments, 8192, struct frag, struct ports);
MAP(HASH, closed, 1024, __be16, __u32);

SEC("xdp")
int frag_track(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    struct ports *known, now = {0};
    struct frag key = {0};
    __u32 *hits;
    __u16 frag;

    if (!ip || (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP))
        return XDP_PASS;
    frag = bpf_ntohs(ip->frag_off);
    key.saddr = ip->saddr;
    key.daddr = ip->daddr;
    key.id = ip->id;
    key.proto = ip->protocol;
    if (frag & 0x1fff) {
        known = bpf_map_lookup_elem(&fragments, &key);
        if (!known)
            return XDP_DROP;
        now = *known;
        if (!(frag & 0x2000))
            bpf_map_delete_elem(&fragments, &key);
    } else {
        struct ports *p = cursor_take(&c, struct ports);

        if (!p)
            return XDP_DROP;
        now = *p;
        if (frag & 0x2000)
            bpf_map_update_elem(&fragments, &key, &now, BPF_ANY);
    }
    hits = bpf_map_lookup_elem(&closed, &now.dest);
    if (!hits)
        return XDP_PASS;
    __sync_fetch_and_add(hits, 1);
    return XDP_DROP;
}

LICENSE("Dual MIT/GPL");
