/*
 * pass: lets every packet through. The baseline: what it costs is what the engine costs.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int pass(struct xdp_md *ctx)
{
    (void)ctx;
    return XDP_PASS;
}

/* This program calls no helper, so the kernel would load it under any licence string. */
char _license[] SEC("license") = "GPL";
