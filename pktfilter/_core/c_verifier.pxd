"""C declarations of csrc/verifier/verifier.h."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t, int32_t

from pktfilter._core.c_isa cimport pf_insn
from pktfilter._core.c_map cimport pf_map_def, pf_map_lock
from pktfilter._core.c_prog cimport pf_prog
from pktfilter._core.c_tables cimport pf_diag, pf_err, pf_prog_type


cdef extern from "verifier/scalar.h" nogil:
    struct pf_tnum:
        uint64_t value
        uint64_t mask
    struct pf_scalar:
        pf_tnum t
        uint64_t umin
        uint64_t umax
        int64_t smin
        int64_t smax
        uint32_t u32min
        uint32_t u32max
        int32_t s32min
        int32_t s32max


cdef extern from "verifier/admit.h" nogil:
    struct pf_verify_map:
        uint32_t number
        pf_map_def def_ "def"
        pf_map_def inner
        pf_map_lock lock
        pf_map_lock inner_lock
        const uint8_t *contents
    enum pf_verify_arg_kind:
        PF_VERIFY_ARG_SCALAR
        PF_VERIFY_ARG_CTX
        PF_VERIFY_ARG_MEM
    struct pf_verify_arg:
        pf_verify_arg_kind kind
        uint32_t size
        uint8_t nonnull
    struct pf_verify_func:
        uint32_t insn
        uint32_t args
        pf_verify_arg *arg
    enum pf_verify_want:
        PF_VERIFY_FACTS
        PF_VERIFY_FRAGS
        PF_VERIFY_EGRESS
    ctypedef void (*pf_verify_log)(void *user, const char *line, size_t length) noexcept nogil
    struct pf_verify_input:
        pf_prog_type type
        const pf_insn *insns
        uint32_t count
        const pf_verify_map *maps
        uint32_t map_count
        const pf_verify_func *funcs
        uint32_t func_count
        uint32_t cpus
        uint8_t gpl_compatible
        uint64_t memory_min
        uint64_t memory_max
        uint32_t budget
        size_t memory_limit
        unsigned want
        pf_verify_log log
        void *user
    struct pf_fact:
        uint8_t kind
        uint8_t maybe_null
        uint16_t map
        uint32_t proved
        pf_scalar range
    struct pf_verify_step:
        uint32_t insn
        uint8_t taken
    struct pf_verify_register:
        uint8_t number
        char *text
    struct pf_verify_result:
        int ok
        pf_diag diag
        char *help
        uint32_t path_count
        pf_verify_step *path
        uint32_t path_dropped
        uint32_t register_count
        pf_verify_register *registers
        uint32_t insns_processed
        uint32_t states_total
        uint32_t states_peak
        size_t memory_peak
        uint32_t stack_depth
        uint8_t *types
        pf_fact *facts
    pf_err pf_verify(const pf_verify_input *request, pf_verify_result *result)
    pf_err pf_verify_program(pf_prog *prog, const pf_verify_input *request, pf_verify_result *result)
    void pf_verify_free(pf_verify_result *result)
