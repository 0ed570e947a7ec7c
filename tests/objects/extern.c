// An undefined function: refused, naming it and the call.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

extern int somewhere_else(int value);

SEC("xdp")
int main_program(struct xdp_md *ctx)
{
	return somewhere_else(ctx->ingress_ifindex);
}

char _license[] SEC("license") = "GPL";
