from pktfilter._core.c_io cimport pf_batch
from pktfilter._core.c_prog cimport pf_trace
from pktfilter._core.c_run cimport pf_worker
from pktfilter._core.hook cimport DatapathRef
from pktfilter._core.observe cimport Observer


cdef class Worker:
    cdef pf_worker *ptr
    cdef pf_batch *batch
    cdef DatapathRef datapath
    cdef bytes name
    cdef Observer observer

cdef tuple drain(pf_trace *trace)
