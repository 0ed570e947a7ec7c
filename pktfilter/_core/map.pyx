"""Maps (csrc/map): a counted reference and the user-side operations of bpf(2), on raw bytes."""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from pktfilter._core.c_map cimport (
    PF_MAP_RINGBUF,
    pf_map, pf_map_bind, pf_map_bind_port, pf_map_bound, pf_map_bound_port, pf_map_count, pf_map_create, pf_map_def, pf_map_fixed_contents, pf_map_freeze,
    pf_map_inline, pf_map_inline_of, pf_map_memory, pf_map_put, pf_map_set_extra, pf_map_user_peek, pf_map_user_pop, pf_map_user_push,
    pf_map_set_inner_lock, pf_map_set_lock, pf_map_type, pf_map_user_delete, pf_map_user_lookup, pf_map_user_next_key, pf_map_user_update, pf_map_user_value_size, pf_ref,
    pf_ring_lost, pf_ring_next_size, pf_ring_take,
)
from pktfilter._core.c_prog cimport pf_prog
from pktfilter._core.c_tables cimport PF_EAGAIN, pf_diag, pf_err
from pktfilter._core.errors cimport raise_diag
from pktfilter._core.prog cimport ProgRef


cdef pf_map_def _definition(object spec):
    cdef pf_map_def d
    d.type = <pf_map_type><int>spec[0]
    d.key_size, d.value_size, d.max_entries, d.flags = spec[1:]
    return d


cdef int _bind(pf_map *map, const unsigned char[::1] key, pf_ref *obj, uint64_t flags) except -1:
    """Errno of the kernel's update; raises where there is more to say (an object that does not fit)."""
    cdef pf_diag diag
    cdef uint32_t published = 0
    cdef const void *k = &key[0]
    cdef pf_err err
    memset(&diag, 0, sizeof(diag))
    with nogil:
        err = pf_map_bind(map, k, obj, flags, &published, &diag)
    if err and <int>diag.code:
        raise_diag(err, &diag)
    return <int>err


cdef class MapRef:
    """One reference to a map; `definition` tuples are (type number, key_size, value_size, max_entries, flags)."""

    def __dealloc__(self):
        if self.ptr is not NULL:
            pf_map_put(self.ptr)

    @staticmethod
    cdef MapRef wrap(pf_map *map):
        cdef MapRef self = MapRef.__new__(MapRef)
        self.ptr = map
        return self

    @staticmethod
    def create(definition, inner, uint32_t cpus, str name, uint64_t id, lock, inner_lock, uint64_t extra=0):
        """lock, inner_lock: byte offset of the bpf_spin_lock in the values, None where there is none. extra: map_extra."""
        cdef pf_map_def d = _definition(definition)
        cdef pf_map_def i
        cdef pf_map *map = NULL
        cdef pf_diag diag
        cdef bytes raw = name.encode()
        cdef const char *text = raw
        cdef const pf_map_def *inner_def = NULL
        cdef pf_err err
        if inner is not None:
            i = _definition(inner)
            inner_def = &i
        with nogil:
            err = pf_map_create(&d, inner_def, cpus, text, id, &map, &diag)
        if err:
            raise_diag(err, &diag)
        self = MapRef.wrap(map)
        if lock is not None:
            err = pf_map_set_lock(map, lock, &diag)
        if not err and inner_lock is not None:
            err = pf_map_set_inner_lock(map, inner_lock, &diag)
        if not err:
            err = pf_map_set_extra(map, extra, &diag)
        if err:
            raise_diag(err, &diag)
        return self

    @property
    def id(self):
        return self.ptr.id

    @property
    def cpus(self):
        return self.ptr.cpus

    @property
    def definition(self):
        d = self.ptr.def_
        return (<int>d.type, d.key_size, d.value_size, d.max_entries, d.flags)

    @property
    def lock(self):
        """Byte offset of the bpf_spin_lock in the values; None where there is none."""
        return self.ptr.lock.offset if self.ptr.lock.present else None

    @property
    def inner(self):
        """Of a map of maps, what inner maps must be: their definition and the offset of their lock, or None."""
        d = self.ptr.inner
        lock = self.ptr.inner_lock.offset if self.ptr.inner_lock.present else None
        return (<int>d.type, d.key_size, d.value_size, d.max_entries, d.flags, lock)

    @property
    def geometry(self):
        """(is per-CPU, CPUs, stride, value_step, cpu_step): where the values lie (csrc/map/map.h)."""
        return (bool(self.ptr.percpu), self.ptr.cpus, self.ptr.stride, self.ptr.value_step, self.ptr.cpu_step)

    @property
    def word(self):
        """(what is added to a key, mask of its hash) of a map that compiled code looks up by itself; else None."""
        cdef pf_map_inline found
        return (found.add, found.mask) if pf_map_inline_of(self.ptr, &found) else None

    @property
    def fixed_contents(self):
        """Bytes of the only element where nobody can change them any more; else None."""
        cdef const uint8_t *data = pf_map_fixed_contents(self.ptr)
        return None if data is NULL else (<const char *>data)[:self.ptr.def_.value_size]

    @property
    def user_value_size(self):
        """Bytes of a value as bpf(2) passes it: all CPUs' values, 8-byte stride, for per-CPU maps."""
        return pf_map_user_value_size(self.ptr)

    @property
    def arena_bytes(self):
        """Bytes of preallocated element memory."""
        return self.ptr.elements * self.ptr.stride

    def lookup(self, const unsigned char[::1] key not None, uint64_t flags):
        """(errno, value)."""
        cdef bytes out = PyBytes_FromStringAndSize(NULL, pf_map_user_value_size(self.ptr))
        cdef char *to = PyBytes_AS_STRING(out)
        cdef const void *k = &key[0] if key.shape[0] else NULL
        cdef pf_err err
        with nogil:
            err = pf_map_user_lookup(self.ptr, k, to, flags)
        return <int>err, (out if not err else None)

    def update(self, const unsigned char[::1] key not None, const unsigned char[::1] value not None, uint64_t flags):
        cdef const void *k = &key[0] if key.shape[0] else NULL
        cdef const void *v = &value[0]
        cdef pf_err err
        with nogil:
            err = pf_map_user_update(self.ptr, k, v, flags)
        return <int>err

    def delete(self, const unsigned char[::1] key not None):
        cdef const void *k = &key[0] if key.shape[0] else NULL
        cdef pf_err err
        with nogil:
            err = pf_map_user_delete(self.ptr, k)
        return <int>err

    def next_key(self, key):
        """(errno, key after `key`); the first one when key is None."""
        cdef const unsigned char[::1] view
        cdef bytes out = PyBytes_FromStringAndSize(NULL, self.ptr.def_.key_size)
        cdef char *to = PyBytes_AS_STRING(out)
        cdef const void *k = NULL
        cdef pf_err err
        if key is not None:
            view = key
            k = &view[0]
        with nogil:
            err = pf_map_user_next_key(self.ptr, k, to)
        return <int>err, (out if not err else None)

    @property
    def memory(self):
        """Bytes of all that is allocated for contents, used or not."""
        return pf_map_memory(self.ptr)

    def push(self, const unsigned char[::1] value not None, uint64_t flags):
        """Errno of maps without keys."""
        cdef const void *v = &value[0]
        cdef pf_err err
        with nogil:
            err = pf_map_user_push(self.ptr, v, flags)
        return <int>err

    def pop(self):
        """(errno, value)."""
        cdef bytes out = PyBytes_FromStringAndSize(NULL, self.ptr.def_.value_size)
        cdef char *to = PyBytes_AS_STRING(out)
        cdef pf_err err
        with nogil:
            err = pf_map_user_pop(self.ptr, to, 0)
        return <int>err, (out if not err else None)

    def peek(self):
        """(errno, value)."""
        cdef bytes out = PyBytes_FromStringAndSize(NULL, self.ptr.def_.value_size)
        cdef char *to = PyBytes_AS_STRING(out)
        cdef pf_err err
        with nogil:
            err = pf_map_user_peek(self.ptr, to, 0)
        return <int>err, (out if not err else None)

    def has(self, const unsigned char[::1] value not None):
        """Errno of a bloom filter's answer: ENOENT where the value was never pushed."""
        cdef void *v = <void *>&value[0]
        cdef pf_err err
        with nogil:
            err = pf_map_user_peek(self.ptr, v, 0)
        return <int>err

    def next_record(self):
        """(errno, the oldest record of a ring buffer, taken out); ENODATA when there is none."""
        cdef uint32_t size = 0
        cdef bytes out
        cdef char *to
        cdef pf_err err
        while True:
            with nogil:
                err = pf_ring_next_size(self.ptr, &size)
            if err:
                return <int>err, None
            out = PyBytes_FromStringAndSize(NULL, size)
            to = PyBytes_AS_STRING(out)
            with nogil:
                err = pf_ring_take(self.ptr, to, size)
            if err != PF_EAGAIN:
                return <int>err, out

    @property
    def lost(self):
        """Records for which a ring buffer had no room; 0 of other maps."""
        return pf_ring_lost(self.ptr) if self.ptr.def_.type == PF_MAP_RINGBUF else 0

    def count(self):
        cdef uint64_t n
        with nogil:
            n = pf_map_count(self.ptr)
        return n

    def freeze(self):
        pf_map_freeze(self.ptr)

    def bind_program(self, const unsigned char[::1] key not None, ProgRef prog not None, uint64_t flags):
        """Errno; raises where the program does not fit."""
        return _bind(self.ptr, key, <pf_ref *>prog.ptr, flags)

    def bind_map(self, const unsigned char[::1] key not None, MapRef inner not None, uint64_t flags):
        return _bind(self.ptr, key, <pf_ref *>inner.ptr, flags)

    def bind_port(self, const unsigned char[::1] key not None, uint32_t first, ProgRef prog, uint64_t flags):
        """Errno of the update of a port map's entry; prog None: none."""
        cdef pf_ref *obj = <pf_ref *>prog.ptr if prog is not None else NULL
        cdef uint32_t number = <uint32_t>prog.ptr.id if prog is not None else 0
        cdef const void *k = &key[0]
        cdef pf_diag diag
        cdef pf_err err
        with nogil:
            err = pf_map_bind_port(self.ptr, k, first, obj, number, flags, NULL, &diag)
        return <int>err

    def bound_port(self, const unsigned char[::1] key not None):
        """The program of a port map's entry, or None."""
        cdef pf_ref *ref = pf_map_bound_port(self.ptr, &key[0])
        return ProgRef.wrap(<pf_prog *>ref) if ref is not NULL else None

    def unbind(self, const unsigned char[::1] key not None):
        return _bind(self.ptr, key, NULL, 0)

    def bound_program(self, const unsigned char[::1] key not None):
        cdef pf_ref *ref = pf_map_bound(self.ptr, &key[0])
        return ProgRef.wrap(<pf_prog *>ref) if ref is not NULL else None

    def bound_map(self, const unsigned char[::1] key not None):
        cdef pf_ref *ref = pf_map_bound(self.ptr, &key[0])
        return MapRef.wrap(<pf_map *>ref) if ref is not NULL else None
