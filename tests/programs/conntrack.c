/*
 * conntrack: a small TCP state machine for both directions of a flow; packets that fit no state are
 * dropped once the flow is known.
 * uses: LRU hash, transition table in .rodata indexed by two variables, normalised keys
 */
#include "net.h"

enum state { NONE, SYN_SENT, SYN_RECEIVED, ESTABLISHED, FIN_WAIT, CLOSED, STATES };
enum event { EV_SYN, EV_SYNACK, EV_ACK, EV_FIN, EV_RST, EV_OTHER, EVENTS };

struct conn {
    __u64 last_ns;
    __u32 packets[2];
    __u8 state;
    __u8 initiator;
    __u16 unused;
    __u32 dropped;
};

MAP(LRU_HASH, conns, 65536, struct flow4, struct conn);

static const __u8 next_state[STATES][8] = {
    [NONE] = {SYN_SENT, NONE, NONE, NONE, NONE, NONE, NONE, NONE},
    [SYN_SENT] = {SYN_SENT, SYN_RECEIVED, SYN_SENT, CLOSED, CLOSED, SYN_SENT, NONE, NONE},
    [SYN_RECEIVED] = {SYN_RECEIVED, SYN_RECEIVED, ESTABLISHED, FIN_WAIT, CLOSED, SYN_RECEIVED, NONE, NONE},
    [ESTABLISHED] = {ESTABLISHED, ESTABLISHED, ESTABLISHED, FIN_WAIT, CLOSED, ESTABLISHED, NONE, NONE},
    [FIN_WAIT] = {FIN_WAIT, FIN_WAIT, FIN_WAIT, CLOSED, CLOSED, FIN_WAIT, NONE, NONE},
    [CLOSED] = {SYN_SENT, CLOSED, CLOSED, CLOSED, CLOSED, CLOSED, NONE, NONE},
};

inline_always __u32 event_of(const struct tcphdr *tcp)
{
    if (tcp->rst)
        return EV_RST;
    if (tcp->syn)
        return tcp->ack ? EV_SYNACK : EV_SYN;
    if (tcp->fin)
        return EV_FIN;
    return tcp->ack ? EV_ACK : EV_OTHER;
}

SEC("xdp")
int conntrack(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    struct flow4 key = {0};
    struct tcphdr *tcp;
    struct conn *conn;
    __u32 event, way;

    if (!ip || ip->protocol != IPPROTO_TCP)
        return XDP_PASS;
    tcp = cursor_take(&c, struct tcphdr);
    if (!tcp)
        return XDP_DROP;
    way = ip->saddr > ip->daddr || (ip->saddr == ip->daddr && tcp->source > tcp->dest);
    key.saddr = way ? ip->daddr : ip->saddr;
    key.daddr = way ? ip->saddr : ip->daddr;
    key.sport = way ? tcp->dest : tcp->source;
    key.dport = way ? tcp->source : tcp->dest;
    event = event_of(tcp);
    conn = bpf_map_lookup_elem(&conns, &key);
    if (!conn) {
        struct conn fresh = {.last_ns = bpf_ktime_get_ns(), .initiator = way};

        if (event != EV_SYN)
            return XDP_DROP;
        fresh.state = SYN_SENT;
        fresh.packets[way & 1] = 1;
        bpf_map_update_elem(&conns, &key, &fresh, BPF_NOEXIST);
        return XDP_PASS;
    }
    conn->last_ns = bpf_ktime_get_ns();
    conn->packets[way & 1]++;
    if (conn->state >= STATES)
        return XDP_ABORTED;
    conn->state = next_state[conn->state][event & 7];
    if (conn->state == NONE) {
        conn->dropped++;
        return XDP_DROP;
    }
    return XDP_PASS;
}

LICENSE("Dual MIT/GPL");
