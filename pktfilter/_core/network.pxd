from pktfilter._core.c_network cimport pf_net


cdef class NetRef:
    cdef pf_net *ptr
