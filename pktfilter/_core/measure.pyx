"""What benchmarks time (csrc/run/measure.h): rounds over packets in memory, and reading alone."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memset

from pktfilter._core.c_io cimport pf_source
from pktfilter._core.c_prog cimport pf_engine, pf_prog
from pktfilter._core.c_run cimport (
    pf_measure, pf_measure_bytes, pf_measure_create, pf_measure_destroy, pf_measure_memory, pf_measure_read,
    pf_measure_run, pf_worker, pf_worker_create, pf_worker_destroy, pf_worker_options,
)
from pktfilter._core.c_tables cimport PF_ENOMEM, pf_diag, pf_err
from pktfilter._core.errors cimport raise_diag
from pktfilter._core.hook cimport DatapathRef
from pktfilter._core.io cimport PacketSource
from pktfilter._core.prog cimport ProgRef


cdef class Packets:
    """Packets in memory, `stride` bytes apart. One thread at a time."""
    cdef pf_measure *ptr
    cdef readonly uint32_t count
    cdef readonly uint32_t stride

    def __cinit__(self, const unsigned char[::1] data not None, const uint32_t[::1] lens not None, uint32_t stride,
                  uint32_t batch):
        cdef uint32_t n = <uint32_t>lens.shape[0]
        if n == 0 or stride == 0 or batch == 0 or <uint64_t>data.shape[0] < <uint64_t>n * stride:
            raise ValueError("packets need a length each, and `stride` bytes each")
        self.count, self.stride = n, stride
        if pf_measure_create(&data[0], &lens[0], n, stride, batch, &self.ptr):
            raise MemoryError

    def __dealloc__(self):
        if self.ptr is not NULL:
            pf_measure_destroy(self.ptr)

    @property
    def address(self):
        """Of the first packet, for a peer in the same process; valid as long as this object."""
        return <uintptr_t>pf_measure_bytes(self.ptr)

    def memory(self, ProgRef prog not None, int engine, uint32_t rounds):
        """(ns of all rounds, sum of the results) of a program of type memory over every packet."""
        cdef uint64_t ns = 0, sum = 0
        cdef pf_err err
        with nogil:
            err = pf_measure_memory(self.ptr, prog.ptr, <pf_engine>engine, rounds, &ns, &sum)
        if err:
            raise RuntimeError(f"the program was stopped (error {<int>err})")
        return ns, sum


cdef class Runner:
    """A worker of one hook over packets in memory. One thread at a time."""
    cdef pf_worker *ptr
    cdef DatapathRef datapath
    cdef Packets packets

    def __cinit__(self, DatapathRef datapath not None, uint32_t hook, Packets packets not None):
        cdef pf_worker_options o
        cdef pf_diag diag
        cdef pf_err err
        self.datapath, self.packets = datapath, packets
        memset(&o, 0, sizeof(o))
        o.seed = 1
        o.ingress_ifindex = 1
        o.name = "measure"
        err = pf_worker_create(datapath.ptr, hook, &o, &self.ptr, &diag)
        if err:
            raise_diag(err, &diag)

    def __dealloc__(self):
        if self.ptr is not NULL:
            pf_worker_destroy(self.ptr)

    def run(self, uint32_t rounds):
        """Nanoseconds of processor time of that many rounds over all packets."""
        cdef uint64_t ns = 0
        with nogil:
            pf_measure_run(self.packets.ptr, self.ptr, rounds, &ns)
        return ns

    def stats(self):
        s = &self.ptr.stats
        return {"packets": s.packets, "actions": [s.actions[i] for i in range(5)], "faults": s.faults,
                "uncovered": s.uncovered, "engine_packets": [s.engine_packets[i] for i in range(3)]}


def read_all(PacketSource packets not None, uint32_t batch):
    """Reads to the end: (packets, bytes as captured, ns of processor time)."""
    cdef uint64_t n = 0, size = 0, ns = 0
    cdef pf_diag diag
    cdef pf_err err
    cdef pf_source *source = packets.source
    with nogil:
        err = pf_measure_read(source, batch, &n, &size, &ns, &diag)
    if err == PF_ENOMEM:
        raise MemoryError
    if err:
        raise_diag(err, &diag)
    return n, size, ns
