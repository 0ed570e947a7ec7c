"""Many keys of one map in one call (csrc/map/batch.h); the GIL is released around each."""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint64_t

from pktfilter._core.c_map cimport pf_map, pf_map_user_value_size
from pktfilter._core.c_tables cimport pf_err
from pktfilter._core.map cimport MapRef


cdef extern from "map/batch.h" nogil:
    pf_err pf_map_user_update_batch(pf_map *map, const uint8_t *keys, const uint8_t *values, uint64_t count,
                                    uint64_t flags, uint64_t *done)
    pf_err pf_map_user_delete_batch(pf_map *map, const uint8_t *keys, uint64_t count, uint64_t *done)
    pf_err pf_map_user_lookup_batch(pf_map *map, const uint8_t *keys, uint8_t *values, uint8_t *found, uint64_t count,
                                    uint64_t flags, uint64_t *done)
    pf_err pf_map_user_walk(pf_map *map, uint8_t *last, int *started, uint8_t *keys, uint8_t *values, uint64_t count,
                            uint64_t *got)


cdef uint64_t _count(MapRef map, bytes keys) except? 0:
    """How many keys `keys` are."""
    cdef uint64_t size = map.ptr.def_.key_size
    if not size or len(keys) % size:
        raise ValueError("keys are not whole")
    return len(keys) // size


def update(MapRef map not None, bytes keys not None, bytes values not None, uint64_t flags):
    """(errno, keys that were set); errno is about the key after those."""
    cdef uint64_t n = _count(map, keys), done = 0
    cdef const uint8_t *k = <const uint8_t *>PyBytes_AS_STRING(keys)
    cdef const uint8_t *v = <const uint8_t *>PyBytes_AS_STRING(values)
    cdef pf_err err
    if <uint64_t>len(values) != n * pf_map_user_value_size(map.ptr):
        raise ValueError("there is not one value for each key")
    with nogil:
        err = pf_map_user_update_batch(map.ptr, k, v, n, flags, &done)
    return <int>err, done


def delete(MapRef map not None, bytes keys not None):
    """(errno, keys that were removed)."""
    cdef uint64_t n = _count(map, keys), done = 0
    cdef const uint8_t *k = <const uint8_t *>PyBytes_AS_STRING(keys)
    cdef pf_err err
    with nogil:
        err = pf_map_user_delete_batch(map.ptr, k, n, &done)
    return <int>err, done


def lookup(MapRef map not None, bytes keys not None, uint64_t flags):
    """(errno, keys that were looked up, their values, a byte for each that is 1 where it was found)."""
    cdef uint64_t n = _count(map, keys), done = 0
    cdef const uint8_t *k = <const uint8_t *>PyBytes_AS_STRING(keys)
    cdef bytes values = PyBytes_FromStringAndSize(NULL, n * pf_map_user_value_size(map.ptr))
    cdef bytes found = PyBytes_FromStringAndSize(NULL, n)
    cdef uint8_t *v = <uint8_t *>PyBytes_AS_STRING(values)
    cdef uint8_t *f = <uint8_t *>PyBytes_AS_STRING(found)
    cdef pf_err err
    with nogil:
        err = pf_map_user_lookup_batch(map.ptr, k, v, f, n, flags, &done)
    return <int>err, done, values, found


def walk(MapRef map not None, last, uint64_t count):
    """(errno, key to go on after, entries, keys, values): at most `count` entries after `last`; None: from the start.

    ENOENT is the end; there may be entries before it.
    """
    cdef uint64_t got = 0, step = pf_map_user_value_size(map.ptr), key_size = map.ptr.def_.key_size
    cdef int started = last is not None
    # Its own copy: bytes that others hold are not written to.
    cdef bytearray at = bytearray(key_size) if last is None else bytearray(last)
    cdef bytes keys = PyBytes_FromStringAndSize(NULL, count * key_size)
    cdef bytes values = PyBytes_FromStringAndSize(NULL, count * step)
    cdef unsigned char[::1] view = at
    cdef uint8_t *a = &view[0]
    cdef uint8_t *k = <uint8_t *>PyBytes_AS_STRING(keys)
    cdef uint8_t *v = <uint8_t *>PyBytes_AS_STRING(values)
    cdef pf_err err
    if <uint64_t>len(at) != key_size:
        raise ValueError("the key has the wrong size")
    with nogil:
        err = pf_map_user_walk(map.ptr, a, &started, k, v, count, &got)
    return <int>err, bytes(at) if started else None, got, keys[:got * key_size], values[:got * step]
