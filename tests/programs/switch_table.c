/*
 * switch_table: classes for some eighty well-known ports by a switch, and an action a class.
 * uses: large sparse switch (a tree of comparisons), dense switch, sums by class
 */
#include "net.h"

MAP(PERCPU_ARRAY, by_class, 16, __u32, struct tally);
const volatile __u8 actions[16] = {2, 2, 2, 1, 2, 2, 1, 2, 2, 2, 2, 2, 1, 2, 2, 2};

inline_always __u32 class_of(__u32 port)
{
    switch (port) {
    case 7: case 9: case 13: case 17: case 19: case 37: return 3;
    case 20: case 21: case 69: case 115: case 989: case 990: return 4;
    case 22: case 23: case 513: case 514: case 992: case 3389: case 5900: return 5;
    case 25: case 110: case 143: case 465: case 587: case 993: case 995: return 6;
    case 53: case 853: case 5353: case 5355: return 7;
    case 67: case 68: case 546: case 547: return 8;
    case 80: case 443: case 591: case 8000: case 8008: case 8080: case 8443: return 9;
    case 88: case 389: case 464: case 636: case 749: case 3268: case 3269: return 10;
    case 111: case 2049: case 4045: case 20048: return 11;
    case 123: case 319: case 320: case 11211: case 1900: return 12;
    case 161: case 162: case 10161: case 10162: case 514 + 65536: return 13;
    case 179: case 520: case 521: case 646: case 3784: case 3785: case 4784: return 14;
    case 1194: case 1701: case 1723: case 4500: case 500: case 51820: return 15;
    default: return port < 1024 ? 1 : port >= 49152 ? 2 : 0;
    }
}

SEC("xdp")
int switch_table(struct xdp_md *ctx)
{
    struct cursor c = cursor_of(ctx);
    struct iphdr *ip = take_ipv4(&c);
    __u32 class, other;
    __be16 *ports;

    if (!ip)
        return XDP_PASS;
    switch (ip->protocol) {
    case IPPROTO_TCP:
    case IPPROTO_UDP:
    case IPPROTO_SCTP:
        break;
    case IPPROTO_ICMP:
    case IPPROTO_IGMP:
        return XDP_PASS;
    default:
        return XDP_DROP;
    }
    ports = cursor_bytes(&c, 4);
    if (!ports)
        return XDP_DROP;
    class = class_of(bpf_ntohs(ports[1]));
    other = class_of(bpf_ntohs(ports[0]));
    if (other > class)
        class = other;
    tally_at(&by_class, class & 15, bpf_ntohs(ip->tot_len));
    return actions[class & 15];
}

LICENSE("Dual MIT/GPL");
