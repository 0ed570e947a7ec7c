/*
 * vlan: two programs, vlan_push and vlan_pop, which put a VLAN tag on a packet and take one off.
 *
 * A tag is four bytes between the MAC addresses and the EtherType, so both programs move the
 * start of the packet by four and carry the addresses along. Stacks:
 *   push  untagged -> 802.1Q; tagged -> an 802.1ad service tag in front (Q-in-Q), which takes
 *         over the priority of the tag below; with `max_tags` tags already: left alone.
 *   pop   takes the outermost tag only; what was under it, tagged or not, comes to light.
 *         Untagged packets are left alone; with `pop_vid` set, so are other VLANs.
 */
#include "parse.h"

#define TAG_SIZE ((int)sizeof(struct vlan_tag))
#define PRIORITY_MASK 0xe000

enum { PUSHED, POPPED, UNTOUCHED, NO_ROOM, RESULTS };

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, RESULTS);
    __type(key, __u32);
    __type(value, struct counter);
} vlan_results SEC(".maps");

const volatile __u16 push_vid = 100;
const volatile __u16 max_tags = 2; /* not above MAX_TAGS, where parse_link stops counting */
const volatile __u16 pop_vid = 0;  /* 0: any */

/* Ethernet header with one tag, as vlan_push leaves it and vlan_pop finds it. */
struct tagged {
    __u8 addresses[2 * ETH_ALEN];
    __be16 tpid;
    struct vlan_tag tag;
};

SEC("xdp")
int vlan_push(struct xdp_md *ctx)
{
    __u64 bytes = bpf_xdp_get_buff_len(ctx);
    __u16 tpid = ETH_P_8021Q;
    struct tagged *to;
    struct ethhdr from;
    struct packet p;
    __u16 priority = 0;

    if (!parse_link(ctx, &p) || p.tags >= max_tags) {
        count(&vlan_results, UNTOUCHED, bytes);
        return XDP_PASS;
    }
    from = *p.eth;
    if (p.tags) {
        struct vlan_tag *below = (void *)(p.eth + 1);

        tpid = ETH_P_8021AD;
        priority = bpf_ntohs(below->tci) & PRIORITY_MASK;
    }
    if (bpf_xdp_adjust_head(ctx, -TAG_SIZE)) {
        count(&vlan_results, NO_ROOM, bytes);
        return XDP_ABORTED; /* never let a packet out on the wrong network */
    }
    /* Every packet pointer died with the adjustment: start again from ctx. */
    to = (void *)(long)ctx->data;
    if ((void *)(to + 1) > (void *)(long)ctx->data_end)
        return XDP_ABORTED;
    __builtin_memcpy(to->addresses, &from, sizeof(to->addresses));
    to->tpid = bpf_htons(tpid);
    to->tag.tci = bpf_htons(priority | (push_vid & VLAN_VID_MASK));
    to->tag.next = from.h_proto;
    count(&vlan_results, PUSHED, bytes);
    return XDP_PASS;
}

SEC("xdp")
int vlan_pop(struct xdp_md *ctx)
{
    __u64 bytes = bpf_xdp_get_buff_len(ctx);
    struct tagged from;
    struct ethhdr *to;
    struct packet p;

    if (!parse_link(ctx, &p) || p.tags == 0 || (pop_vid && p.vlan != pop_vid)) {
        count(&vlan_results, UNTOUCHED, bytes);
        return XDP_PASS;
    }
    __builtin_memcpy(&from, p.eth, sizeof(from));
    if (bpf_xdp_adjust_head(ctx, TAG_SIZE)) {
        count(&vlan_results, NO_ROOM, bytes);
        return XDP_ABORTED;
    }
    to = (void *)(long)ctx->data;
    if ((void *)(to + 1) > (void *)(long)ctx->data_end)
        return XDP_ABORTED;
    __builtin_memcpy(to, from.addresses, sizeof(from.addresses));
    to->h_proto = from.tag.next;
    count(&vlan_results, POPPED, bytes);
    return XDP_PASS;
}

/* No helper used here is GPL-only in Linux 6.18. */
char _license[] SEC("license") = "GPL";
