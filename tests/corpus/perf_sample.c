/*
 * perf_sample: a packet sampler: a header and the first bytes of every n-th packet go to user space.
 * uses: perf_event_output with packet bytes, per-CPU counters, global data that the user sets
 */
#include "net.h"

struct {
    __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
    __uint(key_size, sizeof(__u32));
    __uint(value_size, sizeof(__u32));
    __uint(max_entries, 64);
} samples SEC(".maps");

MAP(PERCPU_ARRAY, seen, 3, __u32, __u64);

enum { TOTAL, SAMPLED, LOST };

struct sample {
    __u32 ifindex;
    __u32 queue;
    __u16 length;
    __u16 captured;
    __u32 cpu;
};

const volatile __u32 every = 3;
const volatile __u32 snaplen = 96;

inline_always __u64 count(__u32 index)
{
    __u64 *n = bpf_map_lookup_elem(&seen, &index);

    return n ? ++*n : 0;
}

SEC("xdp")
int perf_sample(struct xdp_md *ctx)
{
    __u64 length = ctx->data_end - ctx->data;
    __u64 number = count(TOTAL);
    struct sample s = {0};
    __u64 take = length < snaplen ? length : snaplen;

    if (!every || number % every)
        return XDP_PASS;
    s.ifindex = ctx->ingress_ifindex;
    s.queue = ctx->rx_queue_index;
    s.length = length;
    s.captured = take;
    s.cpu = bpf_get_smp_processor_id();
    if (bpf_perf_event_output(ctx, &samples, BPF_F_CURRENT_CPU | take << 32, &s, sizeof(s)))
        count(LOST);
    else
        count(SAMPLED);
    return XDP_PASS;
}

LICENSE("GPL");
