"""C declarations of csrc/hook/hook.h."""
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t

from pktfilter._core.c_prog cimport pf_engine, pf_prog
from pktfilter._core.c_tables cimport pf_diag, pf_err


cdef extern from "hook/hook.h" nogil:
    struct pf_datapath:
        pass
    struct pf_link:
        pass
    struct pf_rcu_worker:
        pass
    struct pf_datapath_info:
        uint64_t revision
        uint64_t generation
        uint64_t worlds_live
        uint32_t hooks
        uint32_t links
    struct pf_change:
        uint64_t generation
        uint64_t revision
        uint64_t token
        uint64_t publish_ns
        pf_prog *old
    struct pf_expect:
        const pf_prog *program
        uint64_t generation
    struct pf_link_info:
        uint64_t id
        uint64_t generation
        uint32_t hook
        int32_t priority
        uint32_t continue_on
        uint8_t detached
        pf_prog *prog
    pf_err pf_datapath_create(pf_datapath **dp, pf_diag *diag)
    void pf_datapath_get(pf_datapath *dp)
    void pf_datapath_put(pf_datapath *dp)
    pf_err pf_datapath_add_hook(pf_datapath *dp, uint32_t *hook, pf_diag *diag)
    pf_err pf_datapath_set_engine(pf_datapath *dp, pf_engine engine, pf_diag *diag)
    void pf_datapath_get_info "pf_datapath_info"(pf_datapath *dp, pf_datapath_info *info)
    pf_err pf_datapath_wait(pf_datapath *dp, uint64_t token, uint64_t timeout_ns, const pf_rcu_worker *self,
                            pf_diag *diag)
    pf_err pf_link_attach(pf_datapath *dp, uint32_t hook, pf_prog *prog, int32_t priority, uint32_t continue_on,
                          pf_link **link, pf_change *change, pf_diag *diag)
    pf_err pf_link_update(pf_link *link, pf_prog *prog, const pf_expect *expect, pf_change *change, pf_diag *diag)
    pf_err pf_link_detach(pf_link *link, pf_change *change, pf_diag *diag)
    void pf_link_put(pf_link *link)
    void pf_link_get_info "pf_link_info"(pf_link *link, pf_link_info *info)
