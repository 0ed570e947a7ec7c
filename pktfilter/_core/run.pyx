"""Workers, the replay loop and test runs (csrc/run)."""
from cpython.exc cimport PyErr_CheckSignals
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from pktfilter._core.c_io cimport (
    pf_sink, pf_source, pf_verdict,
)
from pktfilter._core.c_events cimport pf_event, pf_events, pf_events_create
from pktfilter._core.c_prog cimport pf_engine, pf_trace
from pktfilter._core.c_run cimport (
    PF_REDIRECT_NONE, PF_REPLAY_DONE, PF_REPLAY_LINK, PF_REPLAY_MORE, PF_REPLAY_UNTIL, pf_batch_create, pf_batch_destroy,
    pf_generation_row, pf_generations, pf_generations_left_out, pf_generations_row, pf_prog_test_run, pf_replay_end,
    pf_replay_step, pf_test_run, pf_worker, pf_worker_create, pf_worker_destroy, pf_worker_leave, pf_worker_options,
    pf_worker_run,
)
from pktfilter._core.c_tables cimport PF_EAGAIN, PF_EINTR, PF_EUNATCH, pf_diag, pf_err
from pktfilter._core.errors cimport raise_diag
from pktfilter._core.hook cimport DatapathRef
from pktfilter._core.io cimport PacketSink, PacketSource
from pktfilter._core.network cimport NetRef
from pktfilter._core.observe cimport Observer
from pktfilter._core.prog cimport ProgRef

REPLAY_MORE = <int>PF_REPLAY_MORE
REPLAY_UNTIL = <int>PF_REPLAY_UNTIL
REPLAY_DONE = <int>PF_REPLAY_DONE
REPLAY_LINK = <int>PF_REPLAY_LINK


cdef class Worker:
    """A worker of one hook, its batch, and its statistics. One thread at a time."""

    def __cinit__(self, DatapathRef datapath not None, uint32_t hook, *, uint32_t batch, uint32_t cpu, uint64_t seed,
                  uint32_t linear_limit, uint64_t budget=0, uint32_t ingress_ifindex=1, uint32_t rx_queue=0,
                  str name="worker", bint trace=False, NetRef network=None, Observer observer=None,
                  uint64_t events=0):
        cdef pf_worker_options o
        cdef pf_diag diag
        cdef pf_err err
        self.datapath = datapath
        self.name = name.encode()
        memset(&o, 0, sizeof(o))
        o.cpu, o.seed, o.linear_limit, o.budget = cpu, seed, linear_limit, budget
        o.ingress_ifindex, o.rx_queue_index = ingress_ifindex, rx_queue
        o.name = self.name
        o.trace = trace
        o.events = events
        o.net = NULL if network is None else network.ptr
        self.batch = pf_batch_create(batch)
        if self.batch is NULL:
            raise MemoryError
        err = pf_worker_create(datapath.ptr, hook, &o, &self.ptr, &diag)
        if err:
            raise_diag(err, &diag)
        self.observer = observer
        if observer is not None:
            self.ptr.exec.observer = observer.ptr

    def __dealloc__(self):
        if self.ptr is not NULL:
            pf_worker_destroy(self.ptr)
        if self.batch is not NULL:
            pf_batch_destroy(self.batch)

    def leave(self):
        """The worker runs no more; its counts stay."""
        pf_worker_leave(self.ptr)

    def step(self, PacketSource packets not None, PacketSink out, uint64_t until, uint64_t slice_ns):
        """pf_replay_step: runs up to slice_ns; returns REPLAY_MORE, REPLAY_UNTIL, REPLAY_DONE, or
        REPLAY_LINK where an interface has to be accepted."""
        cdef pf_replay_end end = PF_REPLAY_MORE
        cdef pf_diag diag
        cdef pf_source *source = packets.source
        cdef pf_sink *sink = out.sink if out is not None else NULL
        cdef pf_err err
        with nogil:
            err = pf_replay_step(self.ptr, source, self.batch, sink, until, slice_ns, &end, &diag)
        if err:
            raise_diag(err, &diag)
        return <int>end

    def run_batch(self, PacketSource packets not None, PacketSink out, unsigned char[::1] actions not None,
                  uint32_t[::1] lengths not None, long long[::1] timestamps not None, uint32_t[::1] retvals not None,
                  unsigned char[::1] arms not None, uint64_t[::1] generations not None):
        """Reads and runs one batch and fills in the caller's arrays (batch capacity each). Returns
        (n, first, datapath generation); n is 0 at the end, and None where there is nothing yet in a source that
        does not wait, and -1 where an interface has to be accepted."""
        cdef pf_verdict *verdicts = NULL
        cdef pf_diag diag
        cdef pf_source *source = packets.source
        cdef pf_sink *sink = out.sink if out is not None else NULL
        cdef pf_err err
        cdef uint32_t i, n
        cdef uint64_t first
        if min(actions.shape[0], lengths.shape[0], timestamps.shape[0], retvals.shape[0], arms.shape[0],
               generations.shape[0]) < self.batch.capacity:
            raise ValueError("the arrays are shorter than the batch")
        verdicts = <pf_verdict *>PyMem_Malloc(self.batch.capacity * sizeof(pf_verdict))
        if verdicts is NULL:
            raise MemoryError
        try:
            self.batch.first += self.batch.n
            self.batch.n = 0
            while True:
                with nogil:
                    err = source.next(source, self.batch, &diag)
                if err != PF_EINTR:
                    break
                PyErr_CheckSignals()
            with nogil:
                n = self.batch.n
                first = self.batch.first
                if not err and n:
                    for i in range(n):
                        lengths[i] = self.batch.desc[i].caplen
                        timestamps[i] = self.batch.desc[i].ts_ns
                    pf_worker_run(self.ptr, self.batch, verdicts, source, sink)
                    for i in range(n):
                        actions[i] = verdicts[i].action
                        retvals[i] = verdicts[i].retval
                        arms[i] = verdicts[i].arm
                        generations[i] = verdicts[i].generation
            if err == PF_EUNATCH:
                return -1, first, self.ptr.batch_generation
            if err == PF_EAGAIN:
                return None, first, self.ptr.batch_generation
            if err:
                raise_diag(err, &diag)
        finally:
            PyMem_Free(verdicts)
        return n, first, self.ptr.batch_generation

    @property
    def next_packet(self):
        """Index of the next packet to read."""
        return self.batch.first + self.batch.n

    def stats(self):
        s = &self.ptr.stats
        return {"packets": s.packets, "bytes": s.bytes, "actions": [s.actions[i] for i in range(5)],
                "action_bytes": [s.action_bytes[i] for i in range(5)], "uncovered": s.uncovered, "faults": s.faults,
                "batches": s.batches, "engine_packets": [s.engine_packets[i] for i in range(3)],
                "trace_lost": s.trace_lost}

    def generations(self):
        """(rows that are not kept, rows oldest first); a row is (datapath generation, link generation, programs in the
        chain, name of the first, totals when it began: packets, bytes, actions, uncovered, faults)."""
        cdef const pf_generations *g = &self.ptr.generations
        cdef const pf_generation_row *row
        cdef uint64_t left_out = pf_generations_left_out(g), i = left_out
        rows = []
        while i < g.count:
            row = pf_generations_row(g, i)
            rows.append((row.generation, row.link_generation, row.programs,
                         (<bytes>row.program).decode(errors="replace"),
                         (row.before.packets, row.before.bytes, [row.before.actions[a] for a in range(5)],
                          row.before.uncovered, row.before.faults)))
            i += 1
        return left_out, rows

    def first_fault(self):
        """(packet index, program name, exception) of the first fault, or None."""
        cdef pf_diag diag
        if not self.ptr.stats.faults:
            return None
        diag = self.ptr.first_fault.diag
        name = (<bytes>self.ptr.first_fault_prog).decode(errors="replace")
        try:
            raise_diag(diag.err, &diag)
        except Exception as e:
            return self.ptr.first_fault_packet, name, e

    def drain_trace(self):
        """Lines of trace_printk since the last call, and how many were lost."""
        if self.ptr.exec.trace is NULL:
            return [], 0
        return drain(self.ptr.exec.trace)


    def drain_events(self):
        """Rows of `drain_events` since the last call, and how many events found no room."""
        cdef pf_events *events = self.ptr.exec.events
        if events is NULL:
            return [], 0
        lost = events.lost
        rows = drain_events(events)
        events.lost = 0
        return rows, lost


cdef tuple drain(pf_trace *trace):
    cdef bytes text = (<const char *>trace.text)[:trace.used]
    lost = trace.lost
    trace.used = 0
    trace.lost = 0
    return [line.decode(errors="replace") for line in text.split(b"\0")[:-1]], lost


cdef list drain_events(pf_events *events):
    """(map, cpu, packet index, time in ns, bytes from the program, bytes of the packet) of each."""
    cdef const pf_event *event
    cdef const unsigned char *at
    cdef uint64_t offset = 0
    found = []
    while events is not NULL and offset < events.used:
        event = <const pf_event *><void *>(events.records + offset)
        at = <const unsigned char *>event + sizeof(pf_event)
        found.append(((<bytes>event.map).decode(errors="replace"), event.cpu, event.packet, event.time_ns,
                      <bytes>at[:event.size], <bytes>at[event.size:event.size + event.packet_len]))
        offset += event.bytes
    if events is not NULL:
        events.used = 0
    return found


def test_run(ProgRef prog not None, const unsigned char[::1] packet not None, const unsigned char[::1] meta not None, *,
             uint32_t repeat, uint32_t cpu, uint32_t ingress_ifindex, uint32_t rx_queue, uint32_t linear_limit,
             uint64_t time_ns, uint64_t seed, uint64_t budget, int engine, uint32_t wire_len=0,
             NetRef network=None, uint64_t events=0, Observer observer=None):
    """BPF_PROG_TEST_RUN; returns a dict. Raises ExecutionFault where the checked interpreter stops the program."""
    cdef pf_test_run r
    cdef pf_diag diag
    cdef pf_err err
    memset(&r, 0, sizeof(r))
    r.data = &packet[0] if packet.shape[0] else NULL
    r.len = <uint32_t>packet.shape[0]
    r.meta = &meta[0] if meta.shape[0] else NULL
    r.meta_len = <uint32_t>meta.shape[0]
    r.repeat, r.cpu, r.ingress_ifindex, r.rx_queue_index = repeat, cpu, ingress_ifindex, rx_queue
    r.wire_len = wire_len
    r.linear_limit, r.time_ns, r.seed, r.budget = linear_limit, time_ns, seed, budget
    r.engine = <pf_engine>engine
    r.net = NULL if network is None else network.ptr
    r.observer = NULL if observer is None else observer.ptr
    r.trace = <pf_trace *>calloc(1, sizeof(pf_trace))
    if r.trace is NULL:
        raise MemoryError
    try:
        if events:
            r.events = pf_events_create(events)
            if r.events is NULL:
                raise MemoryError
        with nogil:
            err = pf_prog_test_run(prog.ptr, &r, &diag)
        if err:
            raise_diag(err, &diag)
        lines, lost = drain(r.trace)
        return {"retval": r.retval, "duration_ns": r.duration_ns,
                "data_meta": <bytes>r.out[:r.meta_out_len],
                "data": <bytes>r.out[r.meta_out_len:r.meta_out_len + r.out_len],
                "trace": lines, "trace_lost": lost,
                "events": drain_events(r.events), "events_lost": r.events.lost if events else 0,
                "redirect": None if r.redirected.kind == PF_REDIRECT_NONE else r.redirected.target}
    finally:
        free(r.out)
        free(r.trace)
        free(r.events)
