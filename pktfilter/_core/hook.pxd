from pktfilter._core.c_hook cimport pf_datapath, pf_link


cdef class DatapathRef:
    cdef pf_datapath *ptr


cdef class LinkRef:
    cdef pf_link *ptr
    cdef DatapathRef datapath
