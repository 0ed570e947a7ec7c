"""Parts of captures, several passes, and packets when they are due (csrc/io/select.h, csrc/run/pace.h)."""
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from pktfilter._core.c_io cimport (
    pf_select, pf_select_attach, pf_select_create, pf_select_destroy, pf_select_get_info, pf_select_info,
    pf_select_options, pf_select_pass, pf_select_source,
)
from pktfilter._core.c_pace cimport (
    PF_SCHEDULE_MBITS, PF_SCHEDULE_PACKETS, PF_SCHEDULE_TIME, pf_pace, pf_pace_attach, pf_pace_create, pf_pace_destroy,
    pf_pace_get_info, pf_pace_info, pf_pace_options, pf_pace_pass, pf_pace_source, pf_schedule_kind,
)
from pktfilter._core.c_tables cimport pf_diag, pf_err
from pktfilter._core.errors cimport raise_diag
from pktfilter._core.io cimport PacketSource

KINDS = {"time": <int>PF_SCHEDULE_TIME, "packets": <int>PF_SCHEDULE_PACKETS, "mbits": <int>PF_SCHEDULE_MBITS}
NO_LIMIT = 0xFFFFFFFFFFFFFFFF


cdef class Selection(PacketSource):
    """Part of what attached sources give; the times of later passes go on."""
    cdef pf_select *ptr
    cdef PacketSource inner

    def __cinit__(self, *, int64_t from_ns, int64_t to_ns, bint from_relative, bint to_relative, uint64_t limit):
        cdef pf_select_options o
        cdef pf_diag diag
        cdef pf_err err
        memset(&o, 0, sizeof(o))
        o.from_ns, o.to_ns, o.limit = from_ns, to_ns, limit
        o.from_relative, o.to_relative = from_relative, to_relative
        err = pf_select_create(&o, &self.ptr, &diag)
        if err:
            raise_diag(err, &diag)
        self.source = pf_select_source(self.ptr)

    def __dealloc__(self):
        if self.ptr is not NULL:
            pf_select_destroy(self.ptr)

    def attach(self, PacketSource inner):
        """Goes on with this source; None: the end."""
        pf_select_attach(self.ptr, NULL if inner is None else inner.source)
        self.inner = inner

    def next_pass(self):
        """What comes next is a new pass."""
        pf_select_pass(self.ptr)

    def info(self):
        cdef pf_select_info i
        pf_select_get_info(self.ptr, &i)
        return {"packets": i.packets, "pass_packets": i.pass_packets, "left_out": i.left_out, "shift_ns": i.shift_ns,
                "done": bool(i.done)}

    @property
    def read_ns(self):
        """Nanoseconds that the attached reader spent reading."""
        return 0 if self.inner is None else self.inner.info()["read_ns"]


cdef class Pace(PacketSource):
    """Gives the packets of attached sources when they are due. `rate`: in billionths."""
    cdef pf_pace *ptr
    cdef PacketSource inner

    def __cinit__(self, str kind not None, uint64_t rate, *, uint64_t max_gap_ns):
        cdef pf_pace_options o
        cdef pf_diag diag
        cdef pf_err err
        memset(&o, 0, sizeof(o))
        o.schedule.kind = <pf_schedule_kind><int>KINDS[kind]
        o.schedule.rate, o.schedule.max_gap_ns = rate, max_gap_ns
        err = pf_pace_create(&o, &self.ptr, &diag)
        if err:
            raise_diag(err, &diag)
        self.source = pf_pace_source(self.ptr)

    def __dealloc__(self):
        if self.ptr is not NULL:
            pf_pace_destroy(self.ptr)

    def attach(self, PacketSource inner):
        """Goes on with this source; None: the end."""
        pf_pace_attach(self.ptr, NULL if inner is None else inner.source)
        self.inner = inner

    def next_pass(self):
        """What comes next is a new pass."""
        pf_pace_pass(self.ptr)

    def info(self):
        cdef pf_pace_info i
        pf_pace_get_info(self.ptr, &i)
        return i
