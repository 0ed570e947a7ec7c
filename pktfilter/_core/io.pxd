from pktfilter._core.c_io cimport pf_reader, pf_sink, pf_source, pf_writer


cdef class PacketSource:
    cdef pf_source *source


cdef class PacketSink:
    cdef pf_sink *sink


cdef class Reader(PacketSource):
    cdef pf_reader *ptr
    cdef readonly int fd


cdef class Writer(PacketSink):
    cdef pf_writer *ptr
    cdef readonly int fd
