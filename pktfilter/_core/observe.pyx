"""Observers of runs (csrc/vm/observe.h)."""
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from pktfilter._core.c_observe cimport (
    pf_observed_prog, pf_observe_ticks, pf_observer_create, pf_observer_destroy, pf_piece, pf_step,
)
from pktfilter._core.c_io cimport pf_batch, pf_desc, pf_source
from pktfilter._core.c_prog cimport pf_prog_get
from pktfilter._core.c_run cimport pf_batch_create, pf_batch_destroy
from pktfilter._core.c_tables cimport PF_EINTR, pf_diag, pf_err
from pktfilter._core.errors cimport raise_diag
from pktfilter._core.io cimport PacketSource
from pktfilter._core.prog cimport ProgRef


cdef class Observer:
    """Counts the steps of runs, and keeps up to `steps` of them with up to `memory` bytes."""

    def __cinit__(self, *, uint64_t steps=0, uint64_t memory=0, bint timed=False):
        self.ptr = pf_observer_create(steps, memory, timed)
        if self.ptr is NULL:
            raise MemoryError

    def __dealloc__(self):
        if self.ptr is not NULL:
            pf_observer_destroy(self.ptr)

    @property
    def lost(self):
        """Steps of which something was not kept."""
        return self.ptr.lost

    def programs(self):
        """(ProgRef, times each slot ran, times it jumped, ticks): the three are bytes of unsigned 64-bit numbers."""
        cdef pf_observed_prog *p
        cdef size_t size
        rows = []
        for i in range(self.ptr.prog_count):
            p = &self.ptr.progs[i]
            size = p.prog.count * sizeof(uint64_t)
            pf_prog_get(p.prog)
            rows.append((ProgRef.wrap(p.prog), <bytes>(<char *>p.ran)[:size], <bytes>(<char *>p.taken)[:size],
                         <bytes>(<char *>p.ticks)[:size]))
        return rows

    def steps(self):
        """(index in `programs`, slot, frames above, r0 to r10, packet edges (meta, data, end), pieces) of each step;
        a piece is (argument, bytes)."""
        cdef pf_step *s
        rows = []
        for i in range(self.ptr.step_count):
            s = &self.ptr.steps[i]
            rows.append((s.prog, s.at, s.depth, tuple([s.regs[k] for k in range(11)]),
                         (s.data_meta, s.data, s.data_end), pieces(self.ptr.bytes + s.memory, s.memory_len)))
        return rows


cdef list pieces(const uint8_t *at, uint32_t length):
    cdef pf_piece piece
    cdef uint32_t used = 0
    found = []
    while used < length:
        memcpy(&piece, at + used, sizeof(piece))
        used += sizeof(piece)
        found.append((piece.arg, <bytes>(<const char *>at + used)[:piece.len]))
        used += (piece.len + 7) & ~7
    return found


def packets(PacketSource source not None, uint64_t first, uint64_t count):
    """[(bytes, time in ns, index of the interface)] of packets first <= i < first + count of a source that was not
    read yet, and how many packets it was read for. Fewer come where it ends."""
    cdef pf_batch *batch = pf_batch_create(256)
    cdef pf_source *ptr = source.source
    cdef pf_diag diag
    cdef pf_err err = <pf_err>0
    cdef pf_desc *d
    cdef uint32_t i
    found = []
    if batch is NULL:
        raise MemoryError
    try:
        while <uint64_t>len(found) < count:
            batch.first += batch.n
            batch.n = 0
            with nogil:
                err = ptr.next(ptr, batch, &diag)
            if err == PF_EINTR:
                PyErr_CheckSignals()
                continue
            for i in range(batch.n):
                if batch.first + i >= first and <uint64_t>len(found) < count:
                    d = &batch.desc[i]
                    found.append((<bytes>(<const char *>d.data)[:d.caplen], d.ts_ns, d.iface))
            if <uint64_t>len(found) == count:
                break
            if err:
                raise_diag(err, &diag)
            if not batch.n:
                break
        return found, batch.first + batch.n
    finally:
        pf_batch_destroy(batch)


def ticks():
    """Now, in the unit of `Observer.programs`."""
    return pf_observe_ticks()
