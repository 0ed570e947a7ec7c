from libc.stdint cimport uint64_t

from pktfilter._core.c_hook cimport pf_change, pf_datapath, pf_link
from pktfilter._core.c_prog cimport pf_prog
from pktfilter._core.prog cimport ProgRef


cdef class DatapathRef:
    cdef pf_datapath *ptr


cdef class LinkRef:
    cdef pf_link *ptr
    cdef DatapathRef datapath


cdef class Change:
    cdef LinkRef link
    cdef pf_change c
    cdef pf_prog *restored_ptr
    cdef readonly object old
    cdef readonly object restored
    cdef uint64_t grace
    cdef take_programs(self, ProgRef known)
