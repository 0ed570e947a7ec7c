/*
 * spin_flows: sequence tracking of TCP flows under a lock that lies inside the value.
 * uses: bpf_spin_lock at an offset in a hash value, several unlock paths, BPF_NOEXIST insert
 * needs: spin_lock
 */
#include "net.h"

struct track {
    __u64 packets;
    struct bpf_spin_lock lock;
    __u32 next_seq;
    __u32 out_of_order;
    __u32 resets;
};

MAP(HASH, tracks, 4096, struct flow4, struct track);

SEC("xdp")
int spin_flows(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    struct track *t, fresh = {0};
    struct flow4 key = {0};
    struct tcphdr *tcp;
    __u32 seq, len;

    if (!ip || ip->protocol != IPPROTO_TCP)
        return XDP_PASS;
    tcp = cursor_take(&c, struct tcphdr);
    if (!tcp)
        return XDP_DROP;
    key.saddr = ip->saddr;
    key.daddr = ip->daddr;
    key.sport = tcp->source;
    key.dport = tcp->dest;
    seq = bpf_ntohl(tcp->seq);
    len = bpf_ntohs(ip->tot_len) - ip->ihl * 4 - tcp->doff * 4;
    t = bpf_map_lookup_elem(&tracks, &key);
    if (!t) {
        fresh.next_seq = seq + len;
        bpf_map_update_elem(&tracks, &key, &fresh, BPF_NOEXIST);
        return XDP_PASS;
    }
    bpf_spin_lock(&t->lock);
    t->packets++;
    if (tcp->rst) {
        t->resets++;
        bpf_spin_unlock(&t->lock);
        return XDP_PASS;
    }
    if (seq != t->next_seq) {
        t->out_of_order++;
        if (t->out_of_order > 100) {
            bpf_spin_unlock(&t->lock);
            return XDP_DROP;
        }
    }
    t->next_seq = seq + len;
    bpf_spin_unlock(&t->lock);
    return XDP_PASS;
}

LICENSE("GPL");
