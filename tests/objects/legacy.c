// Map definitions from before BTF; FORM is the size of one definition in bytes.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct definition {
	__u32 words[FORM / 4];
};

#if FORM == 36
/* iproute2's form: id, pinning, the inner map's id, this map's slot in the outer one. */
#define COUNTS {{BPF_MAP_TYPE_HASH, 4, 8, 32, 0, 11, 2, 0, 0}}
#define INNER {{BPF_MAP_TYPE_ARRAY, 4, 4, 2, 0, 12, 0, 0, 1}}
#define OUTER {{BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, 6, 0, 13, 0, 12, 0}}
#elif FORM == 28
#define COUNTS {{BPF_MAP_TYPE_HASH, 4, 8, 32, BPF_F_NUMA_NODE, 0, 0}}
#define INNER {{BPF_MAP_TYPE_ARRAY, 4, 4, 2, 0, 0, 2}}
#define OUTER {{BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, 6, 0, 1, 0}}
#elif FORM == 24
#define COUNTS {{BPF_MAP_TYPE_HASH, 4, 8, 32, 1, 0}}
#define INNER {{BPF_MAP_TYPE_ARRAY, 4, 4, 2, 0, 0}}
#define OUTER {{BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, 6, 0, 1}}
#else
#define COUNTS {{BPF_MAP_TYPE_HASH, 4, 8, 32, 1}}
#define INNER {{BPF_MAP_TYPE_ARRAY, 4, 4, 2, 0}}
#define OUTER {{BPF_MAP_TYPE_PERCPU_HASH, 4, 4, 6, 0}}
#endif

struct definition counts __attribute__((section("maps"), used)) = COUNTS;
struct definition inner __attribute__((section("maps"), used)) = INNER;
struct definition outer __attribute__((section("maps"), used)) = OUTER;

SEC("xdp")
int count(struct xdp_md *ctx)
{
	__u32 key = 3;
	__u64 *value = bpf_map_lookup_elem(&counts, &key);

	if (value)
		*value += 1;
	return bpf_map_lookup_elem(&outer, &key) ? XDP_PASS : XDP_DROP;
}

char _license[] SEC("license") = "GPL";
