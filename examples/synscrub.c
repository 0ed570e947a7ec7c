/*
 * synscrub: a scrubber for SYN floods.
 *
 * SYN packets are counted for each destination in windows of `window_ns`. While a destination
 * gets at most `syn_limit` of them in a window, all pass. Over the limit it is taken to be under
 * attack, and only sources pass which were seen before: those which have sent it an
 * acknowledgement at some time, as every client does that finishes a handshake, and as a source
 * with a forged address cannot sensibly do. Other TCP packets are not touched.
 *
 * Both tables are LRU maps, so that the flood itself cannot fill them; but sources become known
 * only by their acknowledgements, never by a SYN, so that the flood cannot wash them out either.
 */
#include "parse.h"

struct pair {
    struct address source;
    struct address destination;
};

struct window {
    __u64 start_ns;
    __u64 syns;    /* in this window */
    __u64 dropped; /* ever */
};

struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 16384);
    __type(key, struct address);
    __type(value, struct window);
} destinations SEC(".maps");

/* Value: time of the last acknowledgement. */
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 65536);
    __type(key, struct pair);
    __type(value, __u64);
} known SEC(".maps");

enum { NOT_TCP, OTHER_TCP, SYN_UNDER_LIMIT, SYN_KNOWN, SYN_DROPPED, TOTALS };

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, TOTALS);
    __type(key, __u32);
    __type(value, struct counter);
} totals SEC(".maps");

const volatile __u64 window_ns = 1000000000;
const volatile __u64 syn_limit = 50;
const volatile __u64 known_for_ns = 600000000000; /* ten minutes */

static __always_inline struct window *window_of(const struct address *destination, __u64 now)
{
    struct window *w = bpf_map_lookup_elem(&destinations, destination);
    struct window fresh = {.start_ns = now};

    if (w)
        return w;
    bpf_map_update_elem(&destinations, destination, &fresh, BPF_NOEXIST);
    return bpf_map_lookup_elem(&destinations, destination);
}

/*
 * Number this SYN within its window, from 1. One CPU alone wins the exchange that opens the next
 * window and resets the count; a SYN counted by another between these two steps is forgotten,
 * which a limit can bear.
 */
static __always_inline __u64 number_syn(struct window *w, __u64 now)
{
    __u64 start = *(volatile __u64 *)&w->start_ns;

    if (now - start >= window_ns &&
        __sync_val_compare_and_swap(&w->start_ns, start, now) == start)
        *(volatile __u64 *)&w->syns = 0;
    return __sync_fetch_and_add(&w->syns, 1) + 1;
}

static __always_inline bool is_known(const struct pair *who, __u64 now)
{
    __u64 *seen = bpf_map_lookup_elem(&known, who);

    return seen && now - *seen <= known_for_ns;
}

/* Remember who acknowledges. The common case, known already, writes only the time. */
static __always_inline void remember(const struct pair *who, __u64 now)
{
    __u64 *seen = bpf_map_lookup_elem(&known, who);

    if (seen)
        *(volatile __u64 *)seen = now;
    else
        bpf_map_update_elem(&known, who, &now, BPF_ANY);
}

/* What becomes of a SYN: one of the totals. */
static __always_inline __u32 judge_syn(const struct pair *who, __u64 now)
{
    struct window *w = window_of(&who->destination, now);

    if (!w || number_syn(w, now) <= syn_limit)
        return SYN_UNDER_LIMIT;
    if (is_known(who, now))
        return SYN_KNOWN;
    __sync_fetch_and_add(&w->dropped, 1);
    return SYN_DROPPED;
}

SEC("xdp")
int synscrub(struct xdp_md *ctx)
{
    __u64 bytes = bpf_xdp_get_buff_len(ctx);
    __u32 outcome = OTHER_TCP;
    struct tcphdr *tcp;
    struct packet p;
    struct pair who;
    __u64 now;

    if (!parse_link(ctx, &p) || !parse_network(&p) || p.later_fragment ||
        p.protocol != IPPROTO_TCP || !(tcp = take(&p, sizeof(*tcp)))) {
        count(&totals, NOT_TCP, bytes);
        return XDP_PASS;
    }
    source_of(&p, &who.source);
    destination_of(&p, &who.destination);
    now = bpf_ktime_get_ns();
    /* SYN+ACK is an answer: it is neither counted as a SYN nor a proof of a finished handshake. */
    if (tcp->syn && !tcp->ack)
        outcome = judge_syn(&who, now);
    else if (tcp->ack && !tcp->syn && !tcp->rst)
        remember(&who, now);
    count(&totals, outcome, bytes);
    return outcome == SYN_DROPPED ? XDP_DROP : XDP_PASS;
}

/* No helper used here is GPL-only in Linux 6.18. */
char _license[] SEC("license") = "GPL";
