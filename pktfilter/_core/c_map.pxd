"""C declarations of csrc/map/map.h and binding.h."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from pktfilter._core.c_tables cimport pf_diag, pf_err


cdef extern from "rcu/ref.h" nogil:
    struct pf_ref:
        pass
    void pf_ref_put(pf_ref *ref)
    uint64_t pf_ref_count(const pf_ref *ref)


cdef extern from "map/map.h" nogil:
    enum pf_map_type:
        PF_MAP_RINGBUF
    struct pf_map_def:
        pf_map_type type
        uint32_t key_size
        uint32_t value_size
        uint32_t max_entries
        uint32_t flags
    struct pf_map_lock:
        uint32_t offset
        uint8_t present
    struct pf_map:
        pf_map_def def_ "def"
        pf_map_lock lock
        pf_map_def inner
        pf_map_lock inner_lock
        char *name
        uint64_t id
        uint32_t cpus
        uint32_t percpu
        uint64_t elements
        uint64_t stride
        uint32_t value_step
        uint32_t cpu_step
    pf_err pf_map_create(const pf_map_def *definition, const pf_map_def *inner, uint32_t cpus, const char *name,
                         uint64_t id, pf_map **map, pf_diag *diag)
    void pf_map_get(pf_map *map)
    void pf_map_put(pf_map *map)
    size_t pf_map_user_value_size(const pf_map *map)
    pf_err pf_map_set_lock(pf_map *map, uint32_t offset, pf_diag *diag)
    pf_err pf_map_set_inner_lock(pf_map *map, uint32_t offset, pf_diag *diag)
    pf_err pf_map_user_lookup(pf_map *map, const void *key, void *value, uint64_t flags)
    pf_err pf_map_user_update(pf_map *map, const void *key, const void *value, uint64_t flags)
    pf_err pf_map_user_delete(pf_map *map, const void *key)
    pf_err pf_map_user_next_key(pf_map *map, const void *key, void *next_key)
    uint64_t pf_map_count(pf_map *map)
    void pf_map_freeze(pf_map *map)
    const uint8_t *pf_map_fixed_contents(pf_map *map)
    uint64_t pf_map_memory(const pf_map *map)
    pf_err pf_map_set_extra(pf_map *map, uint64_t extra, pf_diag *diag)
    pf_err pf_map_user_push(pf_map *map, const void *value, uint64_t flags)
    pf_err pf_map_user_pop(pf_map *map, void *value, uint64_t flags)
    pf_err pf_map_user_peek(pf_map *map, void *value, uint64_t flags)
    struct pf_map_inline:
        uint32_t add
        uint32_t mask
    int pf_map_inline_of(pf_map *map, pf_map_inline *out)


cdef extern from "map/ring.h" nogil:
    pf_err pf_ring_next_size(pf_map *map, uint32_t *size)
    pf_err pf_ring_take(pf_map *map, void *data, uint32_t size)
    uint64_t pf_ring_lost(const pf_map *map)


cdef extern from "map/binding.h" nogil:
    pf_err pf_map_bind(pf_map *map, const void *key, pf_ref *obj, uint64_t flags, uint32_t *published, pf_diag *diag)
    pf_ref *pf_map_bound(pf_map *map, const void *key)
    pf_err pf_map_bind_port(pf_map *map, const void *key, uint32_t first, pf_ref *prog, uint32_t prog_id, uint64_t flags,
                            uint32_t *published, pf_diag *diag)
    pf_ref *pf_map_bound_port(pf_map *map, const void *key)
