"""csrc/helper/events.h"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from pktfilter._core.c_prog cimport pf_events


cdef extern from "helper/events.h" nogil:
    struct pf_event:
        uint64_t packet
        uint64_t time_ns
        uint32_t cpu
        uint32_t size
        uint32_t packet_len
        uint32_t bytes
        char *map
    struct pf_events:
        uint64_t used
        uint64_t capacity
        uint64_t lost
        uint8_t *records
    pf_events *pf_events_create(uint64_t capacity)
