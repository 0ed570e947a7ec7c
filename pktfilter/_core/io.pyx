"""Capture reading and writing (csrc/io) over file descriptors that the caller owns."""
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

from pktfilter._core.c_io cimport (
    PF_FORMAT_PCAP, PF_FORMAT_PCAPNG, pf_iface, pf_linktype_name, pf_reader_close, pf_reader_get_info, pf_reader_info,
    pf_reader_accept, pf_reader_awaited, pf_reader_open, pf_reader_options, pf_reader_source, pf_writer_bytes, pf_writer_close, pf_writer_finish, pf_writer_open,
    pf_writer_options, pf_writer_packets, pf_writer_sink,
)
from pktfilter._core.c_tables cimport pf_diag, pf_err
from pktfilter._core.errors cimport raise_diag


def linktype_name(int number):
    return (<bytes>pf_linktype_name(number)).decode()


cdef class PacketSource:
    """Where a worker's batches come from: a capture, or live interfaces. One thread at a time."""

    def iface(self, uint32_t index):
        """(linktype, linktype_high, snaplen, tsresol, tsoffset), or None when there is no such interface yet."""
        cdef const pf_iface *i = self.source.iface(self.source, index)
        if i is NULL:
            return None
        return (i.linktype, i.linktype_high, i.snaplen, i.tsresol, i.tsoffset)


cdef class PacketSink:
    """Where packets go after their verdict. One thread at a time."""


cdef class Reader(PacketSource):
    """Reads a capture from fd; the header is read with the first batch."""

    def __cinit__(self, int fd, *, uint32_t chunk=0, bint as_ethernet=False, bint any_linktype=False,
                  bint announce=False,
                  bytes head=b""):
        cdef pf_reader_options o
        cdef pf_diag diag
        cdef pf_err err
        o.chunk, o.as_ethernet, o.any_linktype, o.announce = chunk, as_ethernet, any_linktype, announce
        if len(head) > sizeof(o.head):
            raise ValueError("more bytes put back than fit")
        o.head_len = <uint8_t>len(head)
        memcpy(o.head, <const char *>head, len(head))
        self.fd = fd
        err = pf_reader_open(fd, &o, &self.ptr, &diag)
        if err:
            raise_diag(err, &diag)
        self.source = pf_reader_source(self.ptr)

    def __dealloc__(self):
        if self.ptr is not NULL:
            pf_reader_close(self.ptr)

    def awaited(self):
        """(index, link type, other byte order) of the interface that has to be accepted (pf_reader_awaited)."""
        cdef uint32_t index = pf_reader_awaited(self.ptr)
        cdef const pf_iface *i = self.source.iface(self.source, index)
        if i is NULL:
            raise ValueError("no interface is awaited")
        return index, i.linktype, bool(i.swapped)

    def accept(self, uint32_t index):
        pf_reader_accept(self.ptr, index)

    def info(self):
        cdef pf_reader_info i
        pf_reader_get_info(self.ptr, &i)
        return {"format": "pcapng" if i.format == PF_FORMAT_PCAPNG else "pcap", "started": bool(i.started),
                "swapped": bool(i.swapped), "ifaces": i.ifaces, "bytes_read": i.bytes_read, "packets": i.packets,
                "skipped_blocks": i.skipped_blocks, "read_ns": i.read_ns}


cdef class Writer(PacketSink):
    """Collects packets and writes whole records to fd."""

    def __cinit__(self, int fd, *, bint pcapng, uint32_t actions, bint comment=False, uint32_t buffer_flush=0):
        cdef pf_writer_options o
        cdef pf_diag diag
        cdef pf_err err
        self.fd = fd
        o.format = PF_FORMAT_PCAPNG if pcapng else PF_FORMAT_PCAP
        o.actions, o.comment, o.buffer_flush = actions, comment, buffer_flush
        err = pf_writer_open(fd, &o, &self.ptr, &diag)
        if err:
            raise_diag(err, &diag)
        self.sink = pf_writer_sink(self.ptr)

    def __dealloc__(self):
        if self.ptr is not NULL:
            pf_writer_close(self.ptr)

    def finish(self, iface=None):
        """Writes what is left, and the header if no packet came."""
        cdef pf_iface i
        cdef pf_iface *chosen = NULL
        cdef pf_diag diag
        cdef pf_err err
        if iface is not None:
            i.linktype, i.linktype_high, i.snaplen, i.tsresol, i.tsoffset = iface
            i.swapped = 0
            chosen = &i
        with nogil:
            err = pf_writer_finish(self.ptr, chosen, &diag)
        if err:
            raise_diag(err, &diag)

    @property
    def packets(self):
        return pf_writer_packets(self.ptr)

    @property
    def bytes(self):
        """Of the file so far, buffered ones included."""
        return pf_writer_bytes(self.ptr)
