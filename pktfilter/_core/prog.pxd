from pktfilter._core.c_prog cimport pf_prog


cdef class ProgRef:
    cdef pf_prog *ptr

    @staticmethod
    cdef ProgRef wrap(pf_prog *prog)
