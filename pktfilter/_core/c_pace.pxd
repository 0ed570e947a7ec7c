"""C declarations of csrc/run/schedule.h and pace.h."""
from libc.stdint cimport uint32_t, uint64_t

from pktfilter._core.c_io cimport pf_source
from pktfilter._core.c_tables cimport pf_diag, pf_err


cdef extern from "run/schedule.h" nogil:
    enum: PF_SCHEDULE_UNIT
    enum pf_schedule_kind:
        PF_SCHEDULE_TIME
        PF_SCHEDULE_PACKETS
        PF_SCHEDULE_MBITS
    struct pf_schedule_options:
        pf_schedule_kind kind
        uint64_t rate
        uint64_t max_gap_ns


cdef extern from "run/pace.h" nogil:
    struct pf_pace:
        pass
    struct pf_pace_options:
        pf_schedule_options schedule
        uint32_t batch
        uint64_t slice_ns
    struct pf_pace_info:
        uint64_t packets
        uint64_t bits
        uint64_t last_bits
        uint64_t first_ns
        uint64_t last_ns
        uint64_t due_ns
        uint64_t late_median_ns
        uint64_t late_p99_ns
        uint64_t late_max_ns
        uint64_t stalls
        uint64_t stalled_ns
        uint64_t shortened
        uint64_t stepped_back
    pf_err pf_pace_create(const pf_pace_options *options, pf_pace **pace, pf_diag *diag)
    void pf_pace_destroy(pf_pace *pace)
    void pf_pace_attach(pf_pace *pace, pf_source *inner)
    void pf_pace_pass(pf_pace *pace)
    void pf_pace_get_info "pf_pace_info"(const pf_pace *pace, pf_pace_info *info)
    pf_source *pf_pace_source(pf_pace *pace)
