"""Destinations of redirects (csrc/io/ports.h, csrc/run/route.h)."""
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int64_t, uint8_t, uint32_t

from pktfilter._core.c_io cimport pf_sink
from pktfilter._core.c_ports cimport (
    PF_PORT_CPU, PF_PORT_IFINDEX, PF_PORT_XSK, PF_PORTS_INNER, PF_PORTS_NONE, pf_collector, pf_collector_create,
    pf_collector_destroy, pf_collector_sink, pf_port_kind, pf_port_sink, pf_ports, pf_ports_create, pf_ports_destroy,
    pf_ports_failed, pf_ports_set_inner, pf_ports_sink, pf_route_counts, pf_route_row, pf_route_stranger,
    PF_ROUTE_STRANGERS, pf_worker_routes, pf_worker_set_ports, pf_worker_strangers,
)
from pktfilter._core.c_tables cimport pf_diag, pf_err
from pktfilter._core.errors cimport raise_diag
from pktfilter._core.io cimport PacketSink
from pktfilter._core.run cimport Worker

PORT_IFINDEX = <int>PF_PORT_IFINDEX
PORT_CPU = <int>PF_PORT_CPU
PORT_XSK = <int>PF_PORT_XSK
#: As many interfaces that do not exist have rows.
STRANGERS = <int>PF_ROUTE_STRANGERS


cdef int hand_over(void *owner, const uint8_t *data, uint32_t length, int64_t ts_ns) noexcept nogil:
    with gil:
        return (<Collector>owner).take(data, length, ts_ns)


cdef class Collector(PacketSink):
    """Gives every packet to a callable as (bytes, timestamp in ns since the epoch), in the thread that runs the packets,
    while no worker is online. What it raised first is in `error`, and ends the run."""
    cdef pf_collector *ptr
    cdef object function
    cdef readonly object error
    cdef readonly unsigned long long packets

    def __cinit__(self, function not None):
        cdef pf_diag diag
        cdef pf_err err = pf_collector_create(hand_over, <void *>self, &self.ptr, &diag)
        if err:
            raise_diag(err, &diag)
        self.function = function
        self.sink = pf_collector_sink(self.ptr)

    def __dealloc__(self):
        pf_collector_destroy(self.ptr)

    cdef int take(self, const uint8_t *data, uint32_t length, int64_t ts_ns) noexcept:
        try:
            self.function(PyBytes_FromStringAndSize(<const char *>data, length), ts_ns)
        except BaseException as error:
            self.error = error
            return 0
        self.packets += 1
        return 1


cdef class Ports(PacketSink):
    """What leaves by a port goes to that port's sink (None: nowhere), verdicts to the inner one. Ports are (PORT_*, number)."""
    cdef pf_ports *ptr
    cdef PacketSink inner
    cdef list sinks

    def __cinit__(self, ports not None):
        cdef pf_diag diag
        cdef pf_err err
        cdef uint32_t count = len(ports), i = 0
        cdef PacketSink sink
        cdef pf_port_sink *rows = <pf_port_sink *>PyMem_Malloc((count + 1) * sizeof(pf_port_sink))
        if rows is NULL:
            raise MemoryError
        try:
            self.sinks = []
            for (kind, number), sink in ports:
                rows[i].port.kind, rows[i].port.number = <pf_port_kind><int>kind, number
                rows[i].sink = sink.sink if sink is not None else NULL
                self.sinks.append(sink)
                i += 1
            err = pf_ports_create(NULL, rows, count, &self.ptr, &diag)
        finally:
            PyMem_Free(rows)
        if err:
            raise_diag(err, &diag)
        self.sink = pf_ports_sink(self.ptr)

    def __dealloc__(self):
        pf_ports_destroy(self.ptr)

    def set_inner(self, PacketSink inner):
        """Who is told of verdicts from the next batch on."""
        self.inner = inner
        pf_ports_set_inner(self.ptr, inner.sink if inner is not None else NULL)

    @property
    def failed(self):
        """Index of the port whose sink failed in the last flush; None where it was the inner one or nobody."""
        cdef uint32_t index = pf_ports_failed(self.ptr)
        return None if index >= PF_PORTS_NONE else index


def set_ports(Worker worker not None, ifindexes):
    """The interfaces that exist for redirects of this worker."""
    cdef pf_diag diag
    cdef uint32_t count = len(ifindexes)
    cdef uint32_t *numbers = <uint32_t *>PyMem_Malloc((count + 1) * sizeof(uint32_t))
    if numbers is NULL:
        raise MemoryError
    try:
        for i, number in enumerate(ifindexes):
            numbers[<uint32_t>i] = number
        err = pf_worker_set_ports(worker.ptr, numbers, count, &diag)
        if err:
            raise_diag(err, &diag)
    finally:
        PyMem_Free(numbers)


def routes(Worker worker not None):
    """({(PORT_*, number): (packets, bytes, dropped)}, (followed, errors, dropped)) of the worker's redirects."""
    cdef uint32_t count = 0, i
    cdef pf_route_counts counts
    cdef const pf_route_row *rows = pf_worker_routes(worker.ptr, &count, &counts)
    result = {}
    for i in range(count):
        result[<int>rows[i].port.kind, rows[i].port.number] = (
            rows[i].packets, rows[i].bytes, rows[i].dropped)
    return result, (counts.followed, counts.errors, counts.dropped)


def strangers(Worker worker not None):
    """{ifindex: errors} of the worker's redirects to interfaces that do not exist: of the PF_ROUTE_STRANGERS lowest, the
    others are in the errors of `routes`."""
    cdef uint32_t count = 0, i
    cdef const pf_route_stranger *rows = pf_worker_strangers(worker.ptr, &count)
    return {rows[i].ifindex: rows[i].errors for i in range(count)}
