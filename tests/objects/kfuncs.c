// Kernel functions: what the device said of a packet, kept for the test to read.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

extern int bpf_xdp_metadata_rx_timestamp(const struct xdp_md *ctx, __u64 *timestamp) __ksym __weak;
extern int bpf_xdp_metadata_rx_hash(const struct xdp_md *ctx, __u32 *hash, __u32 *type) __ksym;
extern int bpf_xdp_metadata_rx_vlan_tag(const struct xdp_md *ctx, __u16 *proto, __u16 *tci) __ksym;

struct seen {
	__u64 timestamp;
	__s64 errors[3];
	__u32 hash, type;
	__u16 proto, tci;
	__u32 guard;
} last;

SEC("xdp")
int metadata(struct xdp_md *ctx)
{
	struct seen s = {.hash = 1, .type = 2, .proto = 3, .tci = 4, .guard = 5};

	s.errors[0] = bpf_xdp_metadata_rx_timestamp(ctx, &s.timestamp);
	s.errors[1] = bpf_xdp_metadata_rx_hash(ctx, &s.hash, &s.type);
	s.errors[2] = bpf_xdp_metadata_rx_vlan_tag(ctx, &s.proto, &s.tci);
	last = s;
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
