"""Datapaths and links (csrc/hook)."""
from libc.stdint cimport int32_t, uint32_t, uint64_t

from pktfilter._core.c_hook cimport (
    pf_change, pf_datapath_add_hook, pf_datapath_create, pf_datapath_get_info, pf_datapath_info, pf_datapath_put,
    pf_datapath_set_engine, pf_datapath_wait, pf_expect, pf_link_attach, pf_link_detach, pf_link_get_info, pf_link_info, pf_link_put,
    pf_link_update,
)
from pktfilter._core.c_prog cimport pf_engine, pf_prog
from pktfilter._core.c_tables cimport pf_diag, pf_err
from pktfilter._core.errors cimport raise_diag
from pktfilter._core.prog cimport ProgRef

NO_TIMEOUT = 0xffffffffffffffff


cdef class DatapathRef:
    """One reference to a datapath."""

    def __cinit__(self):
        cdef pf_diag diag
        cdef pf_err err = pf_datapath_create(&self.ptr, &diag)
        if err:
            raise_diag(err, &diag)

    def __dealloc__(self):
        if self.ptr is not NULL:
            pf_datapath_put(self.ptr)

    def add_hook(self):
        cdef pf_diag diag
        cdef uint32_t hook = 0
        cdef pf_err err
        with nogil:
            err = pf_datapath_add_hook(self.ptr, &hook, &diag)
        if err:
            raise_diag(err, &diag)
        return hook

    def set_engine(self, int engine):
        """The best engine that worlds may choose; publishes where that changes one."""
        cdef pf_diag diag
        cdef pf_err err
        with nogil:
            err = pf_datapath_set_engine(self.ptr, <pf_engine>engine, &diag)
        if err:
            raise_diag(err, &diag)

    def info(self):
        cdef pf_datapath_info i
        with nogil:
            pf_datapath_get_info(self.ptr, &i)
        return i

    def wait(self, uint64_t token, uint64_t timeout_ns):
        """Waits for a grace period; raises GraceTimeout naming the stalled worker."""
        cdef pf_diag diag
        cdef pf_err err
        with nogil:
            err = pf_datapath_wait(self.ptr, token, timeout_ns, NULL, &diag)
        if err:
            raise_diag(err, &diag)

    def attach(self, uint32_t hook, ProgRef prog not None, int32_t priority, uint32_t continue_on):
        """(LinkRef, change)."""
        cdef LinkRef link = LinkRef.__new__(LinkRef)
        cdef pf_change change
        cdef pf_diag diag
        cdef pf_err err
        with nogil:
            err = pf_link_attach(self.ptr, hook, prog.ptr, priority, continue_on, &link.ptr, &change, &diag)
        if err:
            raise_diag(err, &diag)
        link.datapath = self
        return link, _change(&change)


cdef tuple _change(pf_change *c):
    """(generation, revision, token, publish_ns, old program or None)."""
    old = ProgRef.wrap(c.old) if c.old is not NULL else None
    return (c.generation, c.revision, c.token, c.publish_ns, old)


cdef class LinkRef:
    """One handle on a link; dropping it does not detach."""

    def __dealloc__(self):
        if self.ptr is not NULL:
            pf_link_put(self.ptr)

    def update(self, ProgRef prog not None, ProgRef expect, uint64_t expect_generation):
        """The change; raises the typed link error of what did not hold, in the order of hook.h."""
        cdef pf_expect e
        cdef pf_change change
        cdef pf_diag diag
        cdef pf_err err
        e.program = expect.ptr if expect is not None else NULL
        e.generation = expect_generation
        with nogil:
            err = pf_link_update(self.ptr, prog.ptr, &e, &change, &diag)
        if err:
            raise_diag(err, &diag)
        return _change(&change)

    def detach(self):
        cdef pf_change change
        cdef pf_diag diag
        cdef pf_err err
        with nogil:
            err = pf_link_detach(self.ptr, &change, &diag)
        if err:
            raise_diag(err, &diag)
        return _change(&change)

    def info(self):
        """(id, generation, hook, priority, continue_on, detached, ProgRef or None)."""
        cdef pf_link_info i
        with nogil:
            pf_link_get_info(self.ptr, &i)
        prog = ProgRef.wrap(i.prog) if i.prog is not NULL else None
        return (i.id, i.generation, i.hook, i.priority, i.continue_on, bool(i.detached), prog)
