// BTF-defined maps: sizes and types, typed keys, maps of maps and prog arrays with initial values.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct flow {
	__u32 source;
	__u32 destination;
	__u16 ports[2];
};

typedef __u64 counter;

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct flow);
	__type(value, counter);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 16);
	__uint(max_entries, 5);
} totals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 100);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(key_size, 8);
	__type(value, __u8);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} blocked SEC(".maps");

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 3);
	__type(key, __u32);
	__type(value, __u32);
} inner_a SEC(".maps"), inner_b SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, __u32);
	__array(values, struct inner);
} outer SEC(".maps") = {
	.values = {[1] = &inner_a, [3] = &inner_b},
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 8);
	__uint(key_size, 2);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_HASH);
		__uint(max_entries, 7);
		__type(key, __u16);
		__type(value, struct flow);
	});
} outer_hash SEC(".maps");

int on_pass(struct xdp_md *ctx);
int on_drop(struct xdp_md *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 8);
	__uint(key_size, 4);
	__array(values, int(void *));
} jumps SEC(".maps") = {
	.values = {[2] = (void *)&on_pass, [5] = (void *)&on_drop},
};

SEC("xdp")
int on_pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("xdp")
int on_drop(struct xdp_md *ctx)
{
	__u32 key = 0;
	__u64 *total = bpf_map_lookup_elem(&totals, &key);

	if (total)
		*total += 1;
	return XDP_DROP;
}

SEC("xdp")
int dispatch(struct xdp_md *ctx)
{
	struct flow flow = {1, 2, {3, 4}};
	__u32 slot = 1, *value;
	void *map = bpf_map_lookup_elem(&outer, &slot);

	if (map) {
		value = bpf_map_lookup_elem(map, &slot);
		if (value)
			slot += *value;
	}
	if (bpf_map_lookup_elem(&flows, &flow) || bpf_map_lookup_elem(&outer_hash, &flow.ports))
		return XDP_TX;
	bpf_tail_call(ctx, &jumps, slot);
	return XDP_ABORTED;
}

char _license[] SEC("license") = "Dual MIT/GPL";
