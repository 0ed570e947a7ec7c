"""Ways to replace a running program, under load (csrc/run/strategy.h)."""
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from pktfilter._core.c_prog cimport pf_prog
from pktfilter._core.c_swap cimport (
    PF_HISTOGRAM_BUCKETS, PF_SWAP_BARES, PF_SWAP_DETACH_ATTACH, PF_SWAP_GAPS, PF_SWAP_MUTEX, PF_SWAP_PUBLISH,
    PF_SWAP_PUBLISHES, PF_SWAP_RWLOCK, PF_SWAP_UPDATES, PF_SWAP_WAITS, pf_histogram, pf_histogram_add,
    pf_histogram_edge, pf_histogram_quantile, pf_swap, pf_swap_begin, pf_swap_config, pf_swap_cost_c, pf_swap_create,
    pf_swap_destroy, pf_swap_drive, pf_swap_histogram, pf_swap_measure_cost, pf_swap_read_totals, pf_swap_returned,
    pf_swap_series, pf_swap_start, pf_swap_stop, pf_swap_times, pf_swap_totals_c, pf_swap_update, pf_swap_way,
)
from pktfilter._core.c_tables cimport pf_diag, pf_err
from pktfilter._core.errors cimport raise_diag
from pktfilter._core.hook cimport DatapathRef, LinkRef
from pktfilter._core.prog cimport ProgRef

WAYS = {"publish": <int>PF_SWAP_PUBLISH, "mutex": <int>PF_SWAP_MUTEX, "rwlock": <int>PF_SWAP_RWLOCK,
        "detach_attach": <int>PF_SWAP_DETACH_ATTACH}
SERIES = {"publish": <int>PF_SWAP_PUBLISHES, "wait": <int>PF_SWAP_WAITS, "update": <int>PF_SWAP_UPDATES,
          "bare": <int>PF_SWAP_BARES, "gap": <int>PF_SWAP_GAPS}


cdef class Histogram:
    """Times in nanoseconds, in buckets of a 64th of their value; the maximum is exact."""
    cdef pf_histogram h

    def add(self, uint64_t value):
        pf_histogram_add(&self.h, value)

    def quantile(self, uint64_t part, uint64_t whole):
        """Upper edge of the bucket with that share of all values at or below it."""
        return pf_histogram_quantile(&self.h, part, whole)

    @property
    def count(self):
        return self.h.count

    @property
    def max(self):
        return self.h.max

    def buckets(self):
        """[(upper edge in ns, values)] of those that have any."""
        return [(pf_histogram_edge(i), self.h.bucket[i]) for i in range(PF_HISTOGRAM_BUCKETS) if self.h.bucket[i]]


cdef class Swap:
    """Lanes under load, and one writer that replaces their program. The datapath's link has programs[0]."""
    cdef pf_swap *ptr
    cdef DatapathRef datapath
    cdef LinkRef link

    def __cinit__(self, int way, DatapathRef datapath not None, uint32_t hook, LinkRef link not None,
                  list programs not None, *, uint32_t lanes, uint32_t batch, uint32_t packet_len):
        cdef pf_swap_config c
        cdef pf_diag diag
        cdef pf_err err
        cdef Py_ssize_t i
        cdef pf_prog **list_of
        self.datapath, self.link = datapath, link
        c.way, c.dp, c.hook, c.link = <pf_swap_way>way, datapath.ptr, hook, link.ptr
        c.lanes, c.batch, c.packet_len = lanes, batch, packet_len
        c.program_count = <uint32_t>len(programs)
        list_of = <pf_prog **>calloc(max(len(programs), 1), sizeof(pf_prog *))
        if list_of is NULL:
            raise MemoryError
        c.programs = list_of
        try:
            for i in range(len(programs)):
                list_of[i] = (<ProgRef?>programs[i]).ptr
            err = pf_swap_create(&c, &self.ptr, &diag)
        finally:
            free(list_of)
        if err:
            raise_diag(err, &diag)

    def __dealloc__(self):
        # Lanes were stopped by whoever started them: this does not block.
        if self.ptr is not NULL:
            pf_swap_destroy(self.ptr)

    def start(self):
        cdef pf_diag diag
        cdef pf_err err
        with nogil:
            err = pf_swap_start(self.ptr, &diag)
        if err:
            raise_diag(err, &diag)

    def stop(self):
        """Ends the lanes; idempotent."""
        with nogil:
            pf_swap_stop(self.ptr)

    def update(self):
        """One update, the C way's; (publish_ns, wait_ns, total_ns, bare_ns)."""
        cdef pf_swap_times t
        cdef pf_diag diag
        cdef pf_err err
        with nogil:
            err = pf_swap_update(self.ptr, &t, &diag)
        if err:
            raise_diag(err, &diag)
        return t.publish_ns, t.wait_ns, t.total_ns, t.bare_ns

    def drive(self, uint64_t duration_ns, uint64_t pace_ns):
        """Updates for this long."""
        cdef pf_diag diag
        cdef pf_err err
        with nogil:
            err = pf_swap_drive(self.ptr, duration_ns, pace_ns, &diag)
        if err:
            raise_diag(err, &diag)

    def begin(self):
        """Announces an update that the caller makes; index of the program that it must bring."""
        return pf_swap_begin(self.ptr)

    def returned(self):
        pf_swap_returned(self.ptr)

    def totals(self):
        cdef pf_swap_totals_c t
        pf_swap_read_totals(self.ptr, &t)
        return t

    def histogram(self, int series):
        cdef Histogram h = Histogram()
        pf_swap_histogram(self.ptr, <pf_swap_series>series, &h.h)
        return h

    def cost(self, uint32_t batches):
        """(ns through the slot, ns behind a plain pointer) of that many batches; while stopped."""
        cdef pf_swap_cost_c c
        with nogil:
            pf_swap_measure_cost(self.ptr, batches, &c)
        return c.slot_ns, c.plain_ns
