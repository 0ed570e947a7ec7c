/*
 * atomics: a ticket dispenser, a maximum, a bit set and an exchange cell shared by all CPUs.
 * uses: fetch_add, fetch_or, and, xor, xchg and cmpxchg in both widths, on map values and .bss
 */
#include "net.h"

struct cell {
    __u64 tickets;
    __u64 maximum;
    __u32 flags;
    __u32 owner;
    __u64 parity;
};

MAP(ARRAY, cells, 4, __u32, struct cell);
__u32 contended;

SEC("xdp")
int atomics(struct xdp_md *ctx)
{
    __u32 index = ctx->rx_queue_index & 3, me = bpf_get_smp_processor_id() + 1;
    __u64 length = ctx->data_end - ctx->data, seen;
    struct cell *cell;
    __u64 ticket;

    cell = bpf_map_lookup_elem(&cells, &index);
    if (!cell)
        return XDP_ABORTED;
    ticket = __sync_fetch_and_add(&cell->tickets, 1);
    for (int i = 0; i < 4; i++) {
        seen = cell->maximum;
        if (seen >= length || __sync_val_compare_and_swap(&cell->maximum, seen, length) == seen)
            break;
    }
    __sync_fetch_and_xor(&cell->parity, length);
    if (__sync_fetch_and_or(&cell->flags, 1U << (length & 31)) & 0x80000000)
        __sync_fetch_and_and(&cell->flags, 0x7fffffff);
    if (__sync_val_compare_and_swap(&cell->owner, 0, me) == 0)
        __sync_lock_test_and_set(&cell->owner, 0);
    else
        __sync_fetch_and_add(&contended, 1);
    return ticket % 1000 == 999 ? XDP_DROP : XDP_PASS;
}

LICENSE("Dual MIT/GPL");
