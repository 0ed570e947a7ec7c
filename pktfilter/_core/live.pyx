"""Live interfaces: rings and transmission (csrc/io/ring.h, transmit.h)."""
from libc.stdint cimport uint32_t
from libc.string cimport memset

from pktfilter._core.c_io cimport (
    PF_PARTIAL_COMPLETE, PF_PARTIAL_MARK, PF_PARTIAL_SKIP, PF_RING_PORTS, pf_partial, pf_ring, pf_ring_close,
    pf_ring_get_info, pf_ring_info, pf_ring_open, pf_ring_options, pf_ring_source, pf_ring_stop, pf_tee, pf_tee_init,
    pf_transmit, pf_transmit_close, pf_transmit_counts, pf_transmit_get_counts, pf_transmit_leave_redirects,
    pf_transmit_open, pf_transmit_sink,
)
from pktfilter._core.c_tables cimport pf_diag, pf_err
from pktfilter._core.errors cimport raise_diag
from pktfilter._core.io cimport PacketSink, PacketSource

PARTIAL = {"mark": <int>PF_PARTIAL_MARK, "skip": <int>PF_PARTIAL_SKIP, "complete": <int>PF_PARTIAL_COMPLETE}


cdef class Ring(PacketSource):
    """The rings of one or two interfaces; captures from the moment it is made until `close`."""
    cdef pf_ring *ptr
    cdef readonly int ports

    def __cinit__(self, tuple ifindexes not None, *, uint32_t block_size, uint32_t blocks, uint32_t retire_ms,
                  uint32_t slice_ms, uint32_t snaplen, bint outgoing, bint promiscuous, int partial):
        cdef pf_ring_options o
        cdef pf_diag diag
        cdef pf_err err
        if not 1 <= len(ifindexes) <= PF_RING_PORTS:
            raise ValueError("one or two interfaces")
        memset(&o, 0, sizeof(o))
        o.ports = self.ports = len(ifindexes)
        for i, number in enumerate(ifindexes):
            o.ifindex[<int>i] = number
        o.block_size, o.blocks, o.retire_ms, o.slice_ms = block_size, blocks, retire_ms, slice_ms
        o.snaplen, o.outgoing, o.promiscuous, o.partial = snaplen, outgoing, promiscuous, <pf_partial>partial
        with nogil:
            err = pf_ring_open(&o, &self.ptr, &diag)
        if err:
            raise_diag(err, &diag)
        self.source = pf_ring_source(self.ptr)

    def __dealloc__(self):
        if self.ptr is not NULL:
            pf_ring_close(self.ptr)

    def stop(self):
        """No batch after this; safe in a signal handler and from any thread."""
        pf_ring_stop(self.ptr)

    def info(self, uint32_t port):
        """Counts of one port, since the ring was made."""
        cdef pf_ring_info i
        if port >= <uint32_t>self.ports:
            raise IndexError(port)
        pf_ring_get_info(self.ptr, port, &i)
        return {"received": i.received, "dropped": i.dropped, "blocks": i.blocks, "packets": i.counts.packets,
                "bytes": i.counts.bytes, "outgoing_left_out": i.counts.outgoing_left_out, "partial": i.counts.partial,
                "partial_completed": i.counts.partial_completed, "partial_left_out": i.counts.partial_left_out,
                "vlan": i.counts.vlan}


cdef class Transmit(PacketSink):
    """Sends what passes to the other of two interfaces, and what is TX back; all of it to the only one."""
    cdef pf_transmit *ptr

    def __cinit__(self, uint32_t first, uint32_t second=0, *, uint32_t retry_ms=0):
        cdef uint32_t[2] ifindex
        cdef pf_diag diag
        cdef pf_err err
        ifindex[0], ifindex[1] = first, second
        err = pf_transmit_open(ifindex, 2 if second else 1, retry_ms, &self.ptr, &diag)
        if err:
            raise_diag(err, &diag)
        self.sink = pf_transmit_sink(self.ptr)

    def __dealloc__(self):
        if self.ptr is not NULL:
            pf_transmit_close(self.ptr)

    def leave_redirects(self):
        """REDIRECT goes nowhere from here on: redirects have ports of their own."""
        pf_transmit_leave_redirects(self.ptr)

    def counts(self, uint32_t port):
        """What became of packets sent on this port."""
        cdef pf_transmit_counts c
        if port >= PF_RING_PORTS:
            raise IndexError(port)
        pf_transmit_get_counts(self.ptr, port, &c)
        return c


cdef class Tee(PacketSink):
    """Two sinks as one."""
    cdef pf_tee tee
    cdef PacketSink first, second

    def __cinit__(self, PacketSink first not None, PacketSink second not None):
        self.first, self.second = first, second
        pf_tee_init(&self.tee, first.sink, second.sink)
        self.sink = &self.tee.sink
