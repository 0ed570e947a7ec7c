"""Datapaths and links (csrc/hook)."""
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from pktfilter._core.c_hook cimport (
    PF_CAUSE_OF_KIND, PF_CAUSES, PF_EDIT_ATTACH, PF_EDIT_DETACH, PF_EDIT_ROLLBACK, PF_EDIT_UPDATE, PF_HISTORY_DEFAULT,
    PF_HISTORY_MAX, pf_cause, pf_cause_text, pf_change, pf_datapath_add_hook, pf_datapath_commit, pf_datapath_create,
    pf_datapath_get_info, pf_datapath_info, pf_datapath_put, pf_datapath_refresh, pf_datapath_set_engine, pf_datapath_wait, pf_edit,
    pf_edit_kind, pf_expect, pf_generation, pf_datapath_admits, pf_hook_programs, pf_link_can_update, pf_link_create, pf_link_get_info, pf_link_history,
    pf_link_info, pf_link_put, pf_link_set_history, pf_link_wait,
)
from pktfilter._core.c_prog cimport pf_engine, pf_prog_put
from pktfilter._core.c_tables cimport pf_diag, pf_err
from pktfilter._core.errors cimport raise_diag
from pktfilter._core.prog cimport ProgRef

NO_TIMEOUT = 0xffffffffffffffff
ATTACH = <int>PF_EDIT_ATTACH
UPDATE = <int>PF_EDIT_UPDATE
ROLLBACK = <int>PF_EDIT_ROLLBACK
DETACH = <int>PF_EDIT_DETACH
HISTORY_DEFAULT = <int>PF_HISTORY_DEFAULT
HISTORY_MAX = <int>PF_HISTORY_MAX
#: By enum pf_cause; the first, "", is the edit's kind itself.
CAUSES = tuple([(<bytes>pf_cause_text(<pf_cause>i)).decode() for i in range(PF_CAUSES)])
#: By enum pf_link_state: the words of eBPF for Windows.
STATES = ("initial", "attaching", "attached", "detaching", "detached")


cdef list _programs(pf_datapath *dp, pf_prog *prog):
    cdef pf_prog **progs = NULL
    cdef uint32_t count = 0, i
    cdef pf_diag diag
    cdef pf_err err
    with nogil:
        err = pf_hook_programs(dp, prog, &progs, &count, &diag)
    if err:
        raise_diag(err, &diag)
    try:
        return [ProgRef.wrap(progs[i]) for i in range(count)]
    finally:
        free(progs)


def programs_of(ProgRef prog not None):
    """The program and all that it can tail-call now: a ProgRef each."""
    return _programs(NULL, prog.ptr)


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

    def refresh(self):
        """After programs got better code: publishes a world that runs it, with the same generation. False where that
        changes nothing."""
        cdef pf_diag diag
        cdef int published = 0
        cdef pf_err err
        with nogil:
            err = pf_datapath_refresh(self.ptr, &published, &diag)
        if err:
            raise_diag(err, &diag)
        return bool(published)

    def admits(self, ProgRef prog not None):
        """Raises `InputError` where a per-CPU map of the program, or of what it can tail-call, has no value for a
        worker that is present."""
        cdef pf_diag diag
        cdef pf_err err
        with nogil:
            err = pf_datapath_admits(self.ptr, prog.ptr, &diag)
        if err:
            raise_diag(err, &diag)

    def programs(self):
        """The programs of all links and trials, and what they can tail-call now: a ProgRef each."""
        return _programs(self.ptr, NULL)

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

    def create_link(self, uint32_t hook, int32_t priority, uint32_t continue_on, uint32_t history):
        """A link in no chain yet."""
        cdef LinkRef link = LinkRef.__new__(LinkRef)
        cdef pf_diag diag
        cdef pf_err err = pf_link_create(self.ptr, hook, priority, continue_on, history, &link.ptr, &diag)
        if err:
            raise_diag(err, &diag)
        link.datapath = self
        return link

    def commit(self, list edits):
        """Makes edits visible together: (kind, LinkRef, ProgRef or None, ProgRef expected or None, generation expected
        or 0, generation to go back to or 0, cause, detail bytes or None) each. Returns (changes, -1, None), or
        (None, index of the refused edit or -1, error) and nothing was changed.
        """
        cdef uint32_t count = <uint32_t>len(edits), i
        cdef pf_edit *rows = <pf_edit *>calloc(count + 1, sizeof(pf_edit))
        cdef pf_expect *expects = <pf_expect *>calloc(count + 1, sizeof(pf_expect))
        cdef pf_diag diag
        cdef pf_err err
        cdef Change change
        cdef LinkRef link
        cdef ProgRef prog, expect
        cdef bytes detail
        cdef list changes = []
        if rows is NULL or expects is NULL:
            free(rows)
            free(expects)
            raise MemoryError
        try:
            for i in range(count):
                kind, link, prog, expect, expect_generation, generation, cause, detail = edits[i]
                change = Change.__new__(Change)
                change.link = link
                changes.append(change)
                expects[i].program = expect.ptr if expect is not None else NULL
                expects[i].generation = expect_generation
                rows[i].kind = <pf_edit_kind><int>kind
                rows[i].link = link.ptr
                rows[i].prog = prog.ptr if prog is not None else NULL
                rows[i].expect = &expects[i]
                rows[i].generation = generation
                rows[i].cause = <pf_cause><int>cause
                rows[i].detail = <const char *>detail if detail is not None else NULL
                rows[i].change = &change.c
                rows[i].restored = &change.restored_ptr
            with nogil:
                err = pf_datapath_commit(self.ptr, rows, count, &diag)
            if err:
                for i in range(count):
                    if rows[i].refused:
                        break
                else:
                    i = 0xffffffff
                try:
                    raise_diag(err, &diag)
                except Exception as error:
                    return None, (-1 if i == 0xffffffff else <int>i), error
            for change in changes:
                change.take_programs(None)
            return changes, -1, None
        finally:
            free(rows)
            free(expects)


cdef class Change:
    """What an edit did. `old` is the ProgRef before, None where it is the one the caller knew, or there was none;
    `restored` the one that a rollback brought back."""

    cdef take_programs(self, ProgRef known):
        if self.restored_ptr is not NULL:
            self.restored = ProgRef.wrap(self.restored_ptr)
            self.restored_ptr = NULL
        if self.c.old is NULL:
            return
        if known is not None and known.ptr is self.c.old:
            pf_prog_put(self.c.old)
        else:
            self.old = ProgRef.wrap(self.c.old)
        self.c.old = NULL

    def __dealloc__(self):
        if self.restored_ptr is not NULL:
            pf_prog_put(self.restored_ptr)
        if self.c.old is not NULL:
            pf_prog_put(self.c.old)

    @property
    def generation(self):
        return self.c.generation

    @property
    def published(self):
        return self.c.token != 0

    @property
    def publish_ns(self):
        return self.c.publish_ns

    @property
    def grace_ns(self):
        """0 until a wait for it ended."""
        return self.grace

    def wait(self, uint64_t timeout_ns):
        """Waits for the grace period; raises GraceTimeout naming the stalled worker."""
        cdef pf_diag diag
        cdef pf_err err
        with nogil:
            err = pf_link_wait(self.link.ptr, &self.c, timeout_ns, NULL, &self.grace, &diag)
        if err:
            raise_diag(err, &diag)


cdef class LinkRef:
    """One handle on a link; dropping it does not detach."""

    def __dealloc__(self):
        if self.ptr is not NULL:
            pf_link_put(self.ptr)

    def edit(self, int kind, ProgRef prog, ProgRef expect, uint64_t expect_generation, uint64_t generation, int cause,
             bytes detail, ProgRef known):
        """One edit by itself: the Change; raises the typed link error of what did not hold, in the order of link.h.

        Keeps the GIL: building a world takes about a microsecond, and whoever holds the datapath's lock never waits
        for the GIL.
        """
        cdef pf_expect e
        cdef pf_edit row
        cdef pf_diag diag
        cdef pf_err err
        cdef Change change = Change.__new__(Change)
        change.link = self
        e.program = expect.ptr if expect is not None else NULL
        e.generation = expect_generation
        row.kind = <pf_edit_kind>kind
        row.link = self.ptr
        row.prog = prog.ptr if prog is not None else NULL
        row.expect = &e
        row.generation = generation
        row.cause = <pf_cause>cause
        row.detail = <const char *>detail if detail is not None else NULL
        row.change = &change.c
        row.restored = &change.restored_ptr
        err = pf_datapath_commit(self.datapath.ptr, &row, 1, &diag)
        if err:
            raise_diag(err, &diag)
        change.take_programs(known)
        return change

    def can_update(self, ProgRef prog, ProgRef expect, uint64_t expect_generation):
        """Raises what an update would raise now; without a program, what does not depend on it."""
        cdef pf_expect e
        cdef pf_diag diag
        cdef pf_err err
        e.program = expect.ptr if expect is not None else NULL
        e.generation = expect_generation
        err = pf_link_can_update(self.ptr, prog.ptr if prog is not None else NULL, &e, &diag)
        if err:
            raise_diag(err, &diag)

    def info(self):
        """(id, generation, hook, priority, continue_on, detached, ProgRef or None, state, trial runs, history)."""
        cdef pf_link_info i
        with nogil:
            pf_link_get_info(self.ptr, &i)
        prog = ProgRef.wrap(i.prog) if i.prog is not NULL else None
        return (i.id, i.generation, i.hook, i.priority, i.continue_on, bool(i.detached), prog, STATES[<int>i.state],
                bool(i.trial), i.history)

    def history(self):
        """Rows, oldest first: (generation, restores, ProgRef or None, when_ns, publish_ns, grace_ns, cause, detail)."""
        cdef uint32_t capacity = PF_HISTORY_MAX, count, i
        cdef pf_generation *rows = <pf_generation *>calloc(capacity, sizeof(pf_generation))
        if rows is NULL:
            raise MemoryError
        try:
            with nogil:
                count = pf_link_history(self.ptr, rows, capacity)
            refs = [ProgRef.wrap(rows[i].prog) if rows[i].prog is not NULL else None for i in range(count)]
            return [
                (rows[i].generation, rows[i].restores, refs[i], rows[i].when_ns, rows[i].publish_ns, rows[i].grace_ns,
                 <int>rows[i].cause, (<bytes>rows[i].detail).decode(errors="replace"))
                for i in range(count)
            ]
        finally:
            free(rows)

    def set_history(self, uint32_t capacity):
        cdef pf_diag diag
        cdef pf_err err = pf_link_set_history(self.ptr, capacity, &diag)
        if err:
            raise_diag(err, &diag)
