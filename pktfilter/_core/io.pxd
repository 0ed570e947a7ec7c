from pktfilter._core.c_io cimport pf_reader, pf_writer


cdef class Reader:
    cdef pf_reader *ptr
    cdef readonly int fd


cdef class Writer:
    cdef pf_writer *ptr
    cdef readonly int fd
