/* A router: IPv4 and IPv6 packets go where the routing table says, with new MAC addresses and one hop less to live. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#define SEC(name) __attribute__((section(name), used))
#define htons(x) __builtin_bswap16(x)
#define INET 2
#define INET6 10

static long (*fib_lookup)(void *ctx, struct bpf_fib_lookup *params, int size, __u32 flags) = (void *)69;
static long (*redirect)(__u32 ifindex, __u64 flags) = (void *)23;

static __attribute__((always_inline)) void one_hop_less(struct iphdr *ip)
{
	__u32 sum = ip->check + htons(0x0100);
	ip->check = sum + (sum >= 0xffff);
	ip->ttl--;
}

SEC("xdp") int router(struct xdp_md *ctx)
{
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = (void *)(long)ctx->data;
	struct bpf_fib_lookup fib = { .ifindex = ctx->ingress_ifindex };
	struct ipv6hdr *ip6 = (void *)(eth + 1);
	struct iphdr *ip = (void *)(eth + 1);
	if ((void *)(ip + 1) > end)
		return XDP_PASS;
	if (eth->h_proto == htons(ETH_P_IP)) {
		if (ip->ttl <= 1)
			return XDP_PASS;
		fib.family = INET;
		fib.tos = ip->tos;
		fib.l4_protocol = ip->protocol;
		fib.tot_len = htons(ip->tot_len);
		fib.ipv4_src = ip->saddr;
		fib.ipv4_dst = ip->daddr;
	} else if (eth->h_proto == htons(ETH_P_IPV6)) {
		if ((void *)(ip6 + 1) > end || ip6->hop_limit <= 1)
			return XDP_PASS;
		fib.family = INET6;
		fib.flowinfo = *(__be32 *)ip6 & htons(0x0fff);
		fib.l4_protocol = ip6->nexthdr;
		fib.tot_len = htons(ip6->payload_len) + sizeof(*ip6);
		__builtin_memcpy(fib.ipv6_src, &ip6->saddr, 16);
		__builtin_memcpy(fib.ipv6_dst, &ip6->daddr, 16);
	} else {
		return XDP_PASS;
	}
	switch (fib_lookup(ctx, &fib, sizeof(fib), 0)) {
	case BPF_FIB_LKUP_RET_SUCCESS:
		break;
	case BPF_FIB_LKUP_RET_BLACKHOLE:
	case BPF_FIB_LKUP_RET_UNREACHABLE:
	case BPF_FIB_LKUP_RET_PROHIBIT:
		return XDP_DROP;
	default:
		return XDP_PASS;
	}
	if (eth->h_proto == htons(ETH_P_IP))
		one_hop_less(ip);
	else
		ip6->hop_limit--;
	__builtin_memcpy(eth->h_dest, fib.dmac, ETH_ALEN);
	__builtin_memcpy(eth->h_source, fib.smac, ETH_ALEN);
	return redirect(fib.ifindex, 0);
}

char LICENSE[] SEC("license") = "GPL";
