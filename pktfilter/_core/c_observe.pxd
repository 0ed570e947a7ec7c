"""csrc/vm/observe.h"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from pktfilter._core.c_prog cimport pf_observer, pf_prog


cdef extern from "vm/observe.h" nogil:
    struct pf_observed_prog:
        pf_prog *prog
        uint64_t *ran
        uint64_t *taken
        uint64_t *ticks
    struct pf_step:
        uint64_t *regs
        uint64_t data_meta
        uint64_t data
        uint64_t data_end
        uint64_t memory
        uint32_t memory_len
        uint32_t prog
        uint32_t at
        uint32_t depth
    struct pf_piece:
        uint32_t arg
        uint32_t len
    struct pf_observer:
        pf_observed_prog *progs
        uint32_t prog_count
        pf_step *steps
        uint64_t step_count
        uint8_t *bytes
        uint64_t lost
    pf_observer *pf_observer_create(uint64_t steps, uint64_t bytes, int timed)
    void pf_observer_destroy(pf_observer *observer)
    uint64_t pf_observe_ticks()
