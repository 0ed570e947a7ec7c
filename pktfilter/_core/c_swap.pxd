"""C declarations of csrc/run/strategy.h and histogram.h."""
from libc.stdint cimport uint32_t, uint64_t

from pktfilter._core.c_hook cimport pf_datapath, pf_link
from pktfilter._core.c_prog cimport pf_prog
from pktfilter._core.c_tables cimport pf_diag, pf_err


cdef extern from "run/histogram.h" nogil:
    enum:
        PF_HISTOGRAM_BUCKETS
    struct pf_histogram:
        uint64_t count
        uint64_t max
        uint64_t *bucket
    uint64_t pf_histogram_edge(uint32_t index)
    uint64_t pf_histogram_quantile(const pf_histogram *h, uint64_t part, uint64_t whole)
    void pf_histogram_add(pf_histogram *h, uint64_t value)


cdef extern from "run/strategy.h" nogil:
    enum pf_swap_way:
        PF_SWAP_PUBLISH
        PF_SWAP_MUTEX
        PF_SWAP_RWLOCK
        PF_SWAP_DETACH_ATTACH
    enum pf_swap_series:
        PF_SWAP_PUBLISHES
        PF_SWAP_WAITS
        PF_SWAP_UPDATES
        PF_SWAP_BARES
        PF_SWAP_GAPS
    struct pf_swap_config:
        pf_swap_way way
        pf_datapath *dp
        uint32_t hook
        pf_link *link
        pf_prog **programs
        uint32_t program_count
        uint32_t lanes
        uint32_t batch
        uint32_t packet_len
    struct pf_swap_times:
        uint64_t publish_ns
        uint64_t wait_ns
        uint64_t total_ns
        uint64_t bare_ns
    struct pf_swap_totals_c "pf_swap_totals":
        uint64_t packets
        uint64_t batches
        uint64_t bare
        uint64_t mixed
        uint64_t stale
        uint64_t unjudged
        uint64_t dropped
        uint64_t updates
        uint64_t preempted_lanes
        uint64_t preempted_writer
    struct pf_swap_cost_c "pf_swap_cost":
        uint64_t slot_ns
        uint64_t plain_ns
    struct pf_swap:
        pass
    pf_err pf_swap_create(const pf_swap_config *config, pf_swap **swap, pf_diag *diag)
    void pf_swap_destroy(pf_swap *swap)
    pf_err pf_swap_start(pf_swap *swap, pf_diag *diag)
    void pf_swap_stop(pf_swap *swap)
    pf_err pf_swap_update(pf_swap *swap, pf_swap_times *times, pf_diag *diag)
    pf_err pf_swap_drive(pf_swap *swap, uint64_t duration_ns, uint64_t pace_ns, pf_diag *diag)
    uint32_t pf_swap_begin(pf_swap *swap)
    void pf_swap_returned(pf_swap *swap)
    void pf_swap_read_totals "pf_swap_totals"(const pf_swap *swap, pf_swap_totals_c *totals)
    void pf_swap_histogram(const pf_swap *swap, pf_swap_series series, pf_histogram *out)
    void pf_swap_measure_cost "pf_swap_cost"(pf_swap *swap, uint32_t batches, pf_swap_cost_c *cost)
