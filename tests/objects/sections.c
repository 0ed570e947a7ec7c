// Section names: which functions are programs, which are subprograms, which are skipped.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

static volatile __u32 calls;

SEC("xdp.frags")
int whole(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("xdp.frags/named")
int named(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("xdp/devmap")
int to_device(struct xdp_md *ctx)
{
	return XDP_DROP;
}

SEC("xdp.frags/cpumap")
int to_cpu(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("xdp_old_name")
int old_name(struct xdp_md *ctx)
{
	return XDP_TX;
}

/* A static function in the program's own section: called without a relocation. */
SEC("xdp/own")
static __noinline int helper_of_own(int value)
{
	calls++;
	return value & 1 ? XDP_PASS : XDP_DROP;
}

SEC("xdp/own")
int own(struct xdp_md *ctx)
{
	return helper_of_own(ctx->rx_queue_index);
}

SEC("xdp/own")
__attribute__((used)) static int never_called(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("tc")
int classifier(struct __sk_buff *skb)
{
	return 0;
}

SEC("prog")
int old_program(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("?xdp")
int optional(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
__u32 _version SEC("version") = 0x060c00;
