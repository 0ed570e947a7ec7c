/*
 * typed_maps: one map for each kind of type that Python reads and writes by name.
 *
 * The program counts packets by their first bytes, so that the maps are used; what they are for is
 * their types: integers of all widths, truth values, enumerations of 4 and 8 bytes, arrays of one and two
 * dimensions, text, structs and unions with and without a name, bit fields, addresses, a pointer.
 */
#include <linux/bpf.h>
#include <linux/in6.h>
#include <linux/types.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>

enum verdict { ALLOW = 1, DENY = 2, NEVER = -1 };
enum wide { NEAR = 5, FAR = 0x123456789aULL };
enum __attribute__((packed)) tiny { LOW, HIGH = 200 };

struct flow {
    __be32 src;
    __be32 dst;
    __be16 sport;
    __be16 dport;
    __u8 proto;
    __u8 pad[3];
};

struct record {
    __s8 s8;
    __u8 u8;
    __s16 s16;
    __u16 u16;
    __s32 s32;
    __u32 u32;
    __s64 s64;
    __u64 u64;
    bool on;
    enum verdict verdict;
    enum wide wide;
    enum tiny tiny;
    char name[12];
    __u8 mac[6];
    struct in6_addr peer;
    __u16 ports[3];
    __s32 grid[2][3];
    struct {
        __u32 inner_a;
        union {
            __u32 inner_b;
            __u16 halves[2];
        };
    };
    union {
        __u64 word;
        struct flow flow;
    } either;
    __u32 low : 3;
    __s32 mid : 7;
    __u32 high : 22;
    __u64 across : 40;
    enum verdict small : 4;
};

struct floats {
    float f;
    double d;
    void *where;
};

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 64);
    __type(key, struct flow);
    __type(value, struct record);
} records SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 8);
    __type(key, __u32);
    __type(value, struct floats);
} floats SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_HASH);
    __uint(max_entries, 16);
    __type(key, enum verdict);
    __type(value, __u64);
} verdicts SEC(".maps");

struct prefix {
    __u32 bits;
    __u8 addr[4];
};

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(max_entries, 16);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct prefix);
    __type(value, __u32);
} routes SEC(".maps");

struct slot {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 4);
    __type(key, __u16);
    __type(value, __s64);
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
    __uint(max_entries, 4);
    __type(key, __u32);
    __array(values, struct slot);
} slots SEC(".maps");

__u64 seen = 7;

SEC("xdp")
int typed_maps(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    enum verdict verdict = DENY;
    struct prefix prefix = {.bits = 32};
    struct flow flow = {};
    __u32 zero = 0;
    __u16 one = 1;
    void *inner;

    if (data + sizeof(flow) > end)
        return XDP_PASS;
    __builtin_memcpy(&flow, data, sizeof(flow));
    __builtin_memcpy(prefix.addr, data, 4);
    seen++;
    if (bpf_map_lookup_elem(&records, &flow) || bpf_map_lookup_elem(&routes, &prefix))
        return XDP_DROP;
    inner = bpf_map_lookup_elem(&slots, &zero);
    if (inner && bpf_map_lookup_elem(inner, &one))
        return XDP_TX;
    if (bpf_map_lookup_elem(&floats, &zero) && bpf_map_lookup_elem(&verdicts, &verdict))
        return XDP_ABORTED;
    return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
