// Linking: global and static subprograms, callbacks, and every kind of global data.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} seen SEC(".maps");

const volatile __u32 minimum_length = 60;
static const volatile __u8 weights[4] = {1, 2, 3, 4};
volatile __u32 data_value = 7;
static volatile __u32 data_second = 0x01020304;
volatile __u64 bss_total;
static volatile __u64 bss_second;

struct walk {
	__u64 sum;
	__u32 step;
};

static __noinline int add_step(__u32 index, void *context)
{
	struct walk *walk = context;

	walk->sum += walk->step + index;
	return 0;
}

static __noinline int add_twice(__u32 index, void *context)
{
	struct walk *walk = context;

	walk->sum += 2 * index;
	return index > 5;
}

__noinline int scale(int value)
{
	return value * (int)data_value + weights[value & 3];
}

static __noinline int outer(int value)
{
	bss_total += value;
	bss_second += 3;
	return scale(value) + (int)data_second;
}

/* The sum of everything, so that a wrong link changes the return value. */
SEC("xdp")
int all_kinds(struct xdp_md *ctx)
{
	struct walk walk = {.sum = 0, .step = 10};
	__u32 key = 1;
	__u64 one = 1, *count;

	bpf_loop(4, add_step, &walk, 0);
	bpf_loop(100, add_twice, &walk, 0);
	count = bpf_map_lookup_elem(&seen, &key);
	if (count)
		*count += 1;
	else
		bpf_map_update_elem(&seen, &key, &one, BPF_ANY);
	return outer(5) + (int)walk.sum + (int)minimum_length + (int)bss_total + (int)bss_second;
}

SEC("xdp")
int only_scale(struct xdp_md *ctx)
{
	return scale((int)(ctx->data_end - ctx->data));
}

SEC("xdp/plain")
int plain(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
