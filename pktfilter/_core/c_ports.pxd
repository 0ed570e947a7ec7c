"""C declarations of csrc/io/ports.h and csrc/run/route.h."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from pktfilter._core.c_io cimport pf_sink
from pktfilter._core.c_run cimport pf_worker
from pktfilter._core.c_tables cimport pf_diag, pf_err


cdef extern from "packet/batch.h" nogil:
    enum pf_port_kind:
        PF_PORT_IFINDEX
        PF_PORT_CPU
        PF_PORT_XSK
    struct pf_port:
        pf_port_kind kind
        uint32_t number


cdef extern from "io/ports.h" nogil:
    enum: PF_PORTS_INNER
    enum: PF_PORTS_NONE
    struct pf_ports:
        pass
    struct pf_port_sink:
        pf_port port
        pf_sink *sink
    pf_err pf_ports_create(pf_sink *inner, const pf_port_sink *sinks, uint32_t count, pf_ports **ports, pf_diag *diag)
    void pf_ports_destroy(pf_ports *ports)
    void pf_ports_set_inner(pf_ports *ports, pf_sink *inner)
    uint32_t pf_ports_failed(const pf_ports *ports)
    pf_sink *pf_ports_sink(pf_ports *ports)
    struct pf_collector:
        pass
    ctypedef int (*pf_collector_take)(void *owner, const uint8_t *data, uint32_t len, int64_t ts_ns) noexcept nogil
    pf_err pf_collector_create(pf_collector_take take, void *owner, pf_collector **collector, pf_diag *diag)
    void pf_collector_destroy(pf_collector *collector)
    pf_sink *pf_collector_sink(pf_collector *collector)


cdef extern from "run/route.h" nogil:
    struct pf_route_row:
        pf_port port
        uint64_t packets
        uint64_t bytes
        uint64_t dropped
    struct pf_route_counts:
        uint64_t followed
        uint64_t errors
        uint64_t dropped
    pf_err pf_worker_set_ports(pf_worker *worker, const uint32_t *ifindexes, uint32_t count, pf_diag *diag)
    const pf_route_row *pf_worker_routes(const pf_worker *worker, uint32_t *count, pf_route_counts *counts)
    enum: PF_ROUTE_STRANGERS
    struct pf_route_stranger:
        uint32_t ifindex
        uint64_t errors
    const pf_route_stranger *pf_worker_strangers(const pf_worker *worker, uint32_t *count)
