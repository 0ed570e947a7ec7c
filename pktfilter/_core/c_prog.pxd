"""C declarations of csrc/prog/prog.h and csrc/vm/vm.h."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from pktfilter._core.c_isa cimport pf_insn
from pktfilter._core.c_map cimport pf_map
from pktfilter._core.c_tables cimport pf_diag, pf_err


cdef extern from "prog/prog.h" nogil:
    enum pf_prog_type:
        PF_PROG_XDP
        PF_PROG_MEMORY
        PF_PROG_PCAP
    enum pf_engine:
        PF_ENGINE_CHECKED
        PF_ENGINE_INTERP
        PF_ENGINE_JIT
    struct pf_prog_map:
        uint32_t number
        pf_map *map
    struct pf_prog:
        pf_prog_type type
        char *name
        uint64_t id
        uint32_t count
        pf_insn *insns
        uint32_t map_count
        pf_prog_map *maps
        uint8_t frags
        uint8_t tail_calls
        uint8_t tracks
        uint8_t verified
        uint8_t *types
        uint32_t link
    struct pf_prog_def:
        pf_prog_type type
        const char *name
        uint64_t id
        const pf_insn *insns
        uint32_t count
        const pf_prog_map *maps
        uint32_t map_count
        uint8_t frags
        uint32_t link
    pf_err pf_prog_create(const pf_prog_def *definition, pf_prog **prog, pf_diag *diag)
    struct pf_code:
        pass
    const pf_code *pf_prog_code(const pf_prog *prog, pf_engine engine)
    uint32_t PF_LINK_HEAD
    pf_err pf_prog_join(pf_prog *head, pf_prog *member)
    void pf_prog_get(pf_prog *prog)
    void pf_prog_put(pf_prog *prog)


cdef extern from "prog/registers.h" nogil:
    pf_err pf_prog_check_registers(const pf_prog *prog, pf_diag *diag)


cdef extern from "helper/exec.h" nogil:
    struct pf_events
    struct pf_observer
    struct pf_fault:
        pf_diag diag
        const pf_prog *prog
    struct pf_trace:
        uint32_t used
        uint64_t lost
        char *text
    struct pf_exec:
        uint64_t budget
        uint64_t seed
        pf_fault fault
        pf_trace *trace
        pf_events *events
        pf_observer *observer
    pf_err pf_exec_create(pf_exec **x)
    void pf_exec_destroy(pf_exec *x)


cdef extern from "vm/vm.h" nogil:
    pf_err pf_vm_stage(pf_prog *prog, pf_engine engine, const uint8_t *types, pf_diag *diag)
    pf_err pf_vm_execute(pf_exec *x, const pf_prog *prog, pf_engine engine, uint8_t *memory, uint64_t length,
                         uint64_t *r0)
