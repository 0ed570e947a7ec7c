from pktfilter._core.c_observe cimport pf_observer


cdef class Observer:
    cdef pf_observer *ptr
