/* Asks the network about what stands in the packet, and puts question and answer back: one program a helper. */
#include <linux/bpf.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>

#define SEC(name) __attribute__((section(name), used))

static long (*fib_lookup)(void *ctx, struct bpf_fib_lookup *params, int size, __u32 flags) = (void *)69;
static long (*check_mtu)(void *ctx, __u32 ifindex, __u32 *length, __s32 diff, __u64 flags) = (void *)163;
static long (*gen4)(struct iphdr *ip, struct tcphdr *tcp, __u32 size) = (void *)204;
static long (*gen6)(struct ipv6hdr *ip, struct tcphdr *tcp, __u32 size) = (void *)205;
static long (*check4)(struct iphdr *ip, struct tcphdr *tcp) = (void *)206;
static long (*check6)(struct ipv6hdr *ip, struct tcphdr *tcp) = (void *)207;

struct ask_fib {
	__u8 ethernet[16];
	__u32 flags, size;
	long answer;
	struct bpf_fib_lookup params;
} __attribute__((packed));

struct ask_mtu {
	__u8 ethernet[16];
	__u32 ifindex, length;
	__s32 diff;
	__u32 pad;
	__u64 flags;
	long answer;
} __attribute__((packed));

struct ask_cookie4 {
	__u8 ethernet[16];
	long answer, checked;
	__u32 size, pad;
	__u8 ip[sizeof(struct iphdr)];
	__u8 tcp[60];
} __attribute__((packed));

struct ask_cookie6 {
	__u8 ethernet[16];
	long answer, checked;
	__u32 size, pad;
	__u8 ip[sizeof(struct ipv6hdr)];
	__u8 tcp[60];
} __attribute__((packed));

#define ASKED(type)                                                                                                    \
	struct type *ask = (void *)(long)ctx->data;                                                                    \
	if ((void *)(ask + 1) > (void *)(long)ctx->data_end)                                                           \
	return XDP_DROP

SEC("xdp") int fib(struct xdp_md *ctx)
{
	ASKED(ask_fib);
	struct {
		struct bpf_fib_lookup params;
		__u64 more;
	} room = { .params = ask->params };
	__u32 size = ask->size;
	if (size > sizeof(room))
		return XDP_DROP;
	asm volatile("" : "+r"(size)); /* two comparisons, which verifiers follow */
	if (size < 1)
		return XDP_DROP;
	long answer = fib_lookup(ctx, &room.params, size, ask->flags);
	ask->params = room.params;
	ask->answer = answer;
	return answer == 0 ? XDP_TX : XDP_PASS;
}

SEC("xdp/mtu") int mtu(struct xdp_md *ctx)
{
	ASKED(ask_mtu);
	__u32 length = ask->length;
	long answer = check_mtu(ctx, ask->ifindex, &length, ask->diff, ask->flags);
	ask->length = length;
	ask->answer = answer;
	return XDP_PASS;
}

SEC("xdp/cookie4") int cookie4(struct xdp_md *ctx)
{
	ASKED(ask_cookie4);
	__u32 size = ask->size;
	if (size > sizeof(ask->tcp))
		return XDP_DROP;
	ask->answer = gen4((void *)ask->ip, (void *)ask->tcp, size);
	ask->checked = check4((void *)ask->ip, (void *)ask->tcp);
	return XDP_PASS;
}

SEC("xdp/cookie6") int cookie6(struct xdp_md *ctx)
{
	ASKED(ask_cookie6);
	__u32 size = ask->size;
	if (size > sizeof(ask->tcp))
		return XDP_DROP;
	ask->answer = gen6((void *)ask->ip, (void *)ask->tcp, size);
	ask->checked = check6((void *)ask->ip, (void *)ask->tcp);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
