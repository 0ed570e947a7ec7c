/*
 * pppoe_strip: turns PPPoE session packets into plain IP, after a check of the session.
 * uses: unaligned 16-bit fields, memmove-like copy before adjust_head, hash map
 */
#include "net.h"

struct pppoe {
    __u8 version_type;
    __u8 code;
    __be16 session;
    __be16 length;
    __be16 protocol;
} __attribute__((packed));

struct session {
    __u64 bytes;
    __u32 open;
    __u32 unused;
};

MAP(HASH, sessions, 8192, __be16, struct session);

SEC("xdp")
int pppoe_strip(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct ethhdr *eth = cursor_take(&c, struct ethhdr);
    struct session *session;
    struct pppoe *ppp;
    __be16 proto, id;
    __u8 macs[12];

    if (!eth || eth->h_proto != bpf_htons(0x8864))
        return XDP_PASS;
    ppp = cursor_take(&c, struct pppoe);
    if (!ppp || ppp->version_type != 0x11 || ppp->code)
        return XDP_DROP;
    if (ppp->protocol == bpf_htons(0x0021))
        proto = bpf_htons(ETH_P_IP);
    else if (ppp->protocol == bpf_htons(0x0057))
        proto = bpf_htons(ETH_P_IPV6);
    else
        return XDP_PASS;
    id = ppp->session;
    session = bpf_map_lookup_elem(&sessions, &id);
    if (!session || !session->open)
        return XDP_DROP;
    __sync_fetch_and_add(&session->bytes, bpf_ntohs(ppp->length));
    __builtin_memcpy(macs, eth, sizeof(macs));
    if (bpf_xdp_adjust_head(ctx, sizeof(*ppp)))
        return XDP_DROP;
    eth = (void *)(long)ctx->data;
    if ((void *)(eth + 1) > (void *)(long)ctx->data_end)
        return XDP_DROP;
    __builtin_memcpy(eth, macs, sizeof(macs));
    eth->h_proto = proto;
    return XDP_PASS;
}

LICENSE("Dual MIT/GPL");
