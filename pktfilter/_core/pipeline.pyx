"""A replay on several threads (csrc/run/pipeline.h)."""
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from pktfilter._core.c_io cimport pf_sink
from pktfilter._core.c_pipeline cimport (
    PF_PIPELINE_WORKERS, pf_pipeline, pf_pipeline_config, pf_pipeline_create, pf_pipeline_destroy, pf_pipeline_drain,
    pf_pipeline_next_packet, pf_pipeline_step, pf_pipeline_take_trace,
)
from pktfilter._core.c_prog cimport pf_trace
from pktfilter._core.c_run cimport PF_REPLAY_MORE, pf_replay_end, pf_worker
from pktfilter._core.c_tables cimport pf_diag, pf_err
from pktfilter._core.errors cimport raise_diag
from pktfilter._core.io cimport PacketSink, PacketSource
from pktfilter._core.run cimport Worker, drain

WORKERS_MAX = <int>PF_PIPELINE_WORKERS


cdef class Pipeline:
    """Workers with a thread each. `close` ends the threads; until then nobody else may use the workers.

    One thread at a time."""
    cdef pf_pipeline *ptr
    cdef tuple workers
    cdef uint64_t next

    def __cinit__(self, workers, *, uint32_t batch, uint32_t blocks=0, uint64_t first=0, bint unordered=False):
        cdef pf_pipeline_config config
        cdef pf_diag diag
        cdef pf_err err
        cdef pf_worker *rows[PF_PIPELINE_WORKERS]
        cdef Worker worker
        self.workers = tuple(workers)
        self.next = first
        memset(&config, 0, sizeof(config))
        for i, worker in enumerate(self.workers[:WORKERS_MAX]):
            rows[i] = worker.ptr
        config.workers, config.count = rows, len(self.workers)
        config.batch, config.blocks, config.first, config.unordered = batch, blocks, first, unordered
        err = pf_pipeline_create(&config, &self.ptr, &diag)
        if err:
            raise_diag(err, &diag)

    def __dealloc__(self):
        # Closed long before, unless the interpreter is ending: then the threads finish what is in the ring.
        if self.ptr is not NULL:
            pf_pipeline_destroy(self.ptr)

    def close(self):
        """Ends the threads. What was read and not emitted is lost: `drain` first."""
        cdef pf_pipeline *ptr = self.ptr
        if ptr is NULL:
            return
        self.next = pf_pipeline_next_packet(ptr)
        self.ptr = NULL
        with nogil:
            pf_pipeline_destroy(ptr)

    def step(self, PacketSource packets not None, PacketSink out, uint64_t until, uint64_t slice_ns):
        """pf_pipeline_step: runs up to slice_ns; returns REPLAY_MORE, REPLAY_UNTIL or REPLAY_DONE (_core.run)."""
        cdef pf_replay_end end = PF_REPLAY_MORE
        cdef pf_diag diag
        cdef pf_err err
        cdef pf_sink *sink = out.sink if out is not None else NULL
        if self.ptr is NULL:
            raise ValueError("the pipeline is closed")
        with nogil:
            err = pf_pipeline_step(self.ptr, packets.source, sink, until, slice_ns, &end, &diag)
        if err:
            raise_diag(err, &diag)
        return <int>end

    def drain(self, PacketSource packets not None, PacketSink out):
        """Waits for every packet that was read, and emits it."""
        cdef pf_diag diag
        cdef pf_err err
        cdef pf_sink *sink = out.sink if out is not None else NULL
        if self.ptr is NULL:
            return
        with nogil:
            err = pf_pipeline_drain(self.ptr, packets.source, sink, &diag)
        if err:
            raise_diag(err, &diag)

    @property
    def next_packet(self):
        """Index of the next packet to read."""
        return self.next if self.ptr is NULL else pf_pipeline_next_packet(self.ptr)

    def drain_trace(self):
        """Lines of trace_printk since the last call, by worker, and how many were lost."""
        cdef pf_trace *trace
        lines, lost = [], 0
        if self.ptr is NULL:
            return lines, lost
        trace = <pf_trace *>calloc(1, sizeof(pf_trace))
        if trace is NULL:
            raise MemoryError
        try:
            for i in range(len(self.workers)):
                pf_pipeline_take_trace(self.ptr, i, trace)
                some, few = drain(trace)
                lines += some
                lost += few
        finally:
            free(trace)
        return lines, lost
