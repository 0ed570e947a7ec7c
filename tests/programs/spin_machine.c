/*
 * spin_machine: the states of TCP connections, moved on by a function that runs under the flow's lock.
 * uses: static subprogram inside a bpf_spin_lock region, lock in a nested struct, transition table in .rodata
 * needs: spin_lock
 */
#include "net.h"

enum state { NEW, SYN_SEEN, SYN_ACK_SEEN, OPEN, CLOSING, CLOSED, STATES };
enum event { EV_SYN, EV_SYN_ACK, EV_ACK, EV_FIN, EV_RST, EVENTS };

struct guard {
    __u32 owners;
    struct bpf_spin_lock lock;
};

struct machine {
    __u64 packets;
    struct guard guard;
    __u32 state;
    __u32 odd;
    __u64 history;
};

MAP(HASH, machines, 1024, struct flow4, struct machine);

static const __u8 next_state[STATES * EVENTS] = {
    SYN_SEEN, SYN_ACK_SEEN, OPEN, CLOSING, CLOSED,
    SYN_SEEN, SYN_ACK_SEEN, SYN_SEEN, CLOSED, CLOSED,
    SYN_SEEN, SYN_ACK_SEEN, OPEN, CLOSING, CLOSED,
    OPEN, OPEN, OPEN, CLOSING, CLOSED,
    CLOSING, CLOSING, CLOSING, CLOSED, CLOSED,
    SYN_SEEN, CLOSED, CLOSED, CLOSED, CLOSED,
};

static __noinline int advance(struct machine *m, __u32 event)
{
    __u32 state = m->state, at, to;

    if (state >= STATES || event >= EVENTS)
        return 0;
    at = state * EVENTS + event;
    to = *(volatile const __u8 *)&next_state[at];
    m->history = m->history << 4 | event;
    if (to == state && event != EV_ACK)
        m->odd++;
    m->state = to;
    return to != CLOSED || event == EV_RST || event == EV_FIN;
}

inline_always __u32 event_of(const struct tcphdr *tcp)
{
    if (tcp->rst)
        return EV_RST;
    if (tcp->fin)
        return EV_FIN;
    if (tcp->syn)
        return tcp->ack ? EV_SYN_ACK : EV_SYN;
    return EV_ACK;
}

SEC("xdp")
int spin_machine(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    struct machine fresh = {0}, *m;
    struct flow4 key = {0};
    struct tcphdr *tcp;
    __u32 event;
    int good;

    if (!ip || ip->protocol != IPPROTO_TCP)
        return XDP_PASS;
    tcp = cursor_take(&c, struct tcphdr);
    if (!tcp)
        return XDP_DROP;
    key.saddr = ip->saddr < ip->daddr ? ip->saddr : ip->daddr;
    key.daddr = ip->saddr ^ ip->daddr;
    key.sport = tcp->source ^ tcp->dest;
    event = event_of(tcp);
    m = bpf_map_lookup_elem(&machines, &key);
    if (!m) {
        bpf_map_update_elem(&machines, &key, &fresh, BPF_NOEXIST);
        m = bpf_map_lookup_elem(&machines, &key);
        if (!m)
            return XDP_ABORTED;
    }
    bpf_spin_lock(&m->guard.lock);
    m->guard.owners++;
    m->packets++;
    good = advance(m, event);
    bpf_spin_unlock(&m->guard.lock);
    return good ? XDP_PASS : XDP_DROP;
}

LICENSE("GPL");
