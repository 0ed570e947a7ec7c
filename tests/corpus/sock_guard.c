/*
 * sock_guard: lets in only what a socket of the machine waits for; under a flood, answers and checks SYN
 * cookies of the listening socket.
 * uses: sk_lookup_tcp, sk_lookup_udp, skc_lookup_tcp, sk_release, tcp_check_syncookie, tcp_gen_syncookie
 */
#include "net.h"
#include "generated.h"

enum { NO_SOCKET, SOCKET, COOKIE_GOOD, COOKIE_BAD, COOKIE_MADE, LISTENER, RESULTS };

MAP(PERCPU_ARRAY, results, RESULTS, __u32, __u64);

const volatile __u32 flood = 1;

inline_always void count(__u32 which)
{
    __u64 *n = bpf_map_lookup_elem(&results, &which);

    if (n)
        ++*n;
}

inline_always void ask(struct bpf_sock_tuple *t, const struct iphdr *ip, __be16 from, __be16 to)
{
    t->ipv4.saddr = ip->saddr;
    t->ipv4.daddr = ip->daddr;
    t->ipv4.sport = from;
    t->ipv4.dport = to;
}

inline_always int cookie(struct bpf_sock *sk, struct iphdr *ip, struct tcphdr *tcp)
{
    __s64 made;

    if (tcp->ack && !tcp->syn) {
        int bad = bpf_tcp_check_syncookie(sk, ip, sizeof(*ip), tcp, sizeof(*tcp)) != 0;

        count(bad ? COOKIE_BAD : COOKIE_GOOD);
        return bad ? XDP_DROP : XDP_PASS;
    }
    if (!tcp->syn)
        return XDP_PASS;
    made = bpf_tcp_gen_syncookie(sk, ip, sizeof(*ip), tcp, sizeof(*tcp));
    if (made < 0)
        return XDP_PASS;
    count(COOKIE_MADE);
    tcp->seq = bpf_htonl((__u32)made);
    return XDP_TX;
}

SEC("xdp")
int sock_guard(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    struct bpf_sock_tuple tuple = {0};
    int action = XDP_PASS;
    struct bpf_sock *sk;

    if (!ip || ip->ihl != 5)
        return XDP_PASS;
    if (ip->protocol == IPPROTO_UDP) {
        struct udphdr *udp = cursor_take(&c, struct udphdr);

        if (!udp)
            return XDP_DROP;
        ask(&tuple, ip, udp->source, udp->dest);
        sk = bpf_sk_lookup_udp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
        count(sk ? SOCKET : NO_SOCKET);
        if (!sk)
            return XDP_DROP;
        bpf_sk_release(sk);
        return XDP_PASS;
    }
    if (ip->protocol != IPPROTO_TCP)
        return XDP_PASS;
    struct tcphdr *tcp = cursor_take(&c, struct tcphdr);

    if (!tcp)
        return XDP_DROP;
    ask(&tuple, ip, tcp->source, tcp->dest);
    if (!flood) {
        sk = bpf_sk_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
        count(sk ? SOCKET : NO_SOCKET);
        if (!sk)
            return XDP_DROP;
        bpf_sk_release(sk);
        return XDP_PASS;
    }
    sk = bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
    count(sk ? SOCKET : NO_SOCKET);
    if (!sk)
        return XDP_DROP;
    if (sk->state == 10) { /* TCP_LISTEN */
        count(LISTENER);
        action = cookie(sk, ip, tcp);
    }
    bpf_sk_release(sk);
    return action;
}

LICENSE("GPL");
