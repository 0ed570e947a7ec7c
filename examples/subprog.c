/*
 * subprog: makes a capture fit to be passed on, and on the way uses what the larger features of
 * BPF C look like: functions that stay functions, a loop with a callback, global variables,
 * packet access by copying, changes of length, metadata.
 *
 * Each IP packet loses its payload (but for `keep_payload` bytes) and the half of its unicast MAC
 * addresses that names the device. In front of the packet, as XDP metadata, is left what is lost
 * otherwise: the original length and a fingerprint of the payload, by which retransmissions and
 * copies can still be recognised. Packets that are not IP pass unchanged.
 */
#include "parse.h"

/*
 * The fingerprint covers the first 2 KiB of payload, in whole words: up to 7 bytes at the end of
 * the packet stay out.
 */
#define MAX_WORDS 256

struct mark {
    __u32 length;   /* of the original packet */
    __u32 sequence; /* of the packet among those marked, from 1 */
    __u64 fingerprint;
};

/* .rodata: fixed once loaded. */
const volatile __u32 keep_payload = 0;
const volatile __u32 trace = 0; /* 1: report each packet that could not be changed */

/* .data: starts with a value, may be changed while the program runs. */
__u64 fingerprint_seed = 0xcbf29ce484222325;
__u32 next_sequence = 1;

/* .bss: counters from zero. Shared by all CPUs, hence atomic additions. */
__u64 trimmed_packets;
__u64 trimmed_bytes;
__u64 unchanged_packets;
__u64 failures;

struct walk {
    struct xdp_md *ctx;
    __u64 hash;
    __u32 offset;
    __u32 unused;
};

/* Callback of bpf_loop: returns 0 to go on, 1 to stop. */
static long add_word(__u32 index, void *data)
{
    struct walk *walk = data;
    __u64 word;

    if (bpf_xdp_load_bytes(walk->ctx, walk->offset + index * sizeof(word), &word, sizeof(word)))
        return 1; /* past the end */
    walk->hash = (walk->hash ^ word) * 0x100000001b3; /* FNV-1a, by words */
    return 0;
}

static __noinline __u64 fingerprint(struct xdp_md *ctx, __u32 offset)
{
    struct walk walk = {.ctx = ctx, .hash = fingerprint_seed, .offset = offset};

    bpf_loop(MAX_WORDS, add_word, &walk, 0);
    return walk.hash;
}

/* Length of all headers, from Ethernet to transport; 0 if this is not a whole IP packet. */
static __noinline __u32 header_length(struct xdp_md *ctx)
{
    struct packet p;

    if (!parse_link(ctx, &p) || !parse_network(&p))
        return 0;
    if (!p.later_fragment && p.protocol == IPPROTO_TCP) {
        struct tcphdr *tcp = take(&p, sizeof(*tcp));

        if (!tcp || tcp->doff < 5 || !retake(&p, tcp, tcp->doff * 4))
            return 0;
    } else if (!p.later_fragment && p.protocol == IPPROTO_UDP) {
        if (!take(&p, sizeof(struct udphdr)))
            return 0;
    }
    return p.pos - (void *)(long)ctx->data;
}

/* Zero the device half of the address at `offset`, if it is one device's. */
static __noinline int blank_mac(struct xdp_md *ctx, __u32 offset)
{
    __u8 mac[ETH_ALEN];

    if (bpf_xdp_load_bytes(ctx, offset, mac, sizeof(mac)))
        return -1;
    if (mac[0] & 1) /* group address: names a protocol, not a device */
        return 0;
    mac[3] = 0;
    mac[4] = 0;
    mac[5] = 0;
    return bpf_xdp_store_bytes(ctx, offset, mac, sizeof(mac));
}

/* Put a mark in front of the packet. Moves data_meta, so all packet pointers die here. */
static __noinline int put_mark(struct xdp_md *ctx, __u32 length, __u64 hash)
{
    struct mark *mark;

    if (bpf_xdp_adjust_meta(ctx, -(int)sizeof(*mark)))
        return -1;
    mark = (void *)(long)ctx->data_meta;
    if ((void *)(mark + 1) > (void *)(long)ctx->data)
        return -1;
    mark->length = length;
    mark->sequence = __sync_fetch_and_add(&next_sequence, 1);
    mark->fingerprint = hash;
    return 0;
}

static __noinline int trim(struct xdp_md *ctx, __u32 length, __u32 keep)
{
    if (keep >= length)
        return 0;
    if (bpf_xdp_adjust_tail(ctx, (int)keep - (int)length))
        return -1;
    __sync_fetch_and_add(&trimmed_packets, 1);
    __sync_fetch_and_add(&trimmed_bytes, length - keep);
    return 0;
}

SEC("xdp")
int subprog(struct xdp_md *ctx)
{
    __u32 length = bpf_xdp_get_buff_len(ctx);
    __u32 headers = header_length(ctx);
    __u64 hash;

    if (headers == 0) {
        __sync_fetch_and_add(&unchanged_packets, 1);
        return XDP_PASS;
    }
    hash = fingerprint(ctx, headers);
    if (trim(ctx, length, headers + keep_payload) || blank_mac(ctx, 0) ||
        blank_mac(ctx, ETH_ALEN) || put_mark(ctx, length, hash)) {
        __sync_fetch_and_add(&failures, 1);
        if (trace)
            bpf_printk("subprog: cannot change a packet of %u bytes", length);
        return XDP_DROP; /* half anonymous is not anonymous */
    }
    return XDP_PASS;
}

/* Needed here: bpf_trace_printk, behind bpf_printk, is for GPL-compatible programs only. */
char _license[] SEC("license") = "GPL";
