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
    enum: PF_HISTORY_DEFAULT
    enum: PF_HISTORY_MAX
    enum: PF_DETAIL_MAX
    enum pf_cause:
        PF_CAUSE_OF_KIND
        PF_CAUSES
    const char *pf_cause_text(pf_cause cause)
    struct pf_change:
        uint64_t generation
        uint64_t revision
        uint64_t token
        uint64_t publish_ns
        uint64_t published_at
        pf_prog *old
    struct pf_expect:
        const pf_prog *program
        uint64_t generation
    enum pf_edit_kind:
        PF_EDIT_ATTACH
        PF_EDIT_UPDATE
        PF_EDIT_ROLLBACK
        PF_EDIT_DETACH
    struct pf_edit:
        pf_edit_kind kind
        pf_link *link
        pf_prog *prog
        uint64_t generation
        const pf_expect *expect
        pf_cause cause
        const char *detail
        pf_change *change
        pf_prog **restored
        uint8_t refused
    enum pf_link_state:
        PF_LINK_INITIAL
        PF_LINK_ATTACHING
        PF_LINK_ATTACHED
        PF_LINK_DETACHING
        PF_LINK_DETACHED
    struct pf_generation:
        uint64_t generation
        uint64_t restores
        pf_prog *prog
        uint64_t when_ns
        uint64_t publish_ns
        uint64_t grace_ns
        pf_cause cause
        char *detail
    struct pf_link_info:
        uint64_t id
        uint64_t generation
        uint32_t hook
        int32_t priority
        uint32_t continue_on
        uint32_t history
        pf_link_state state
        uint8_t detached
        uint8_t trial
        pf_prog *prog
    pf_err pf_datapath_create(pf_datapath **dp, pf_diag *diag)
    void pf_datapath_get(pf_datapath *dp)
    void pf_datapath_put(pf_datapath *dp)
    pf_err pf_datapath_add_hook(pf_datapath *dp, uint32_t *hook, pf_diag *diag)
    pf_err pf_datapath_admits(pf_datapath *dp, pf_prog *prog, pf_diag *diag)
    pf_err pf_datapath_set_engine(pf_datapath *dp, pf_engine engine, pf_diag *diag)
    pf_err pf_hook_programs(pf_datapath *dp, pf_prog *prog, pf_prog ***progs, uint32_t *count, pf_diag *diag)
    pf_err pf_datapath_refresh(pf_datapath *dp, int *published, pf_diag *diag)
    void pf_datapath_get_info "pf_datapath_info"(pf_datapath *dp, pf_datapath_info *info)
    pf_err pf_datapath_wait(pf_datapath *dp, uint64_t token, uint64_t timeout_ns, const pf_rcu_worker *self,
                            pf_diag *diag)
    pf_err pf_datapath_commit(pf_datapath *dp, pf_edit *edits, uint32_t count, pf_diag *diag)
    pf_err pf_link_create(pf_datapath *dp, uint32_t hook, int32_t priority, uint32_t continue_on, uint32_t history,
                          pf_link **link, pf_diag *diag)
    pf_err pf_link_can_update(pf_link *link, pf_prog *prog, const pf_expect *expect, pf_diag *diag)
    pf_err pf_link_wait(pf_link *link, const pf_change *change, uint64_t timeout_ns, const pf_rcu_worker *self,
                        uint64_t *grace_ns, pf_diag *diag)
    uint32_t pf_link_history(pf_link *link, pf_generation *rows, uint32_t capacity)
    pf_err pf_link_set_history(pf_link *link, uint32_t capacity, pf_diag *diag)
    void pf_link_put(pf_link *link)
    void pf_link_get_info "pf_link_info"(pf_link *link, pf_link_info *info)
