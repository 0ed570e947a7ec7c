# Declarations of csrc/tables/tables.h and facts.h.
from libc.stdint cimport uint32_t, uint64_t


cdef extern from "tables/tables.h" nogil:
    enum pf_err:
        PF_OK
        PF_EPERM
        PF_ENOENT
        PF_EINTR
        PF_EIO
        PF_E2BIG
        PF_EAGAIN
        PF_EUNATCH
        PF_ENOMEM
        PF_EFAULT
        PF_EBUSY
        PF_EEXIST
        PF_ENODEV
        PF_EINVAL
        PF_EFBIG
        PF_ENOSPC
        PF_EPIPE
        PF_ERANGE
        PF_EDEADLK
        PF_ENOLINK
        PF_EBADMSG
        PF_EOPNOTSUPP
        PF_ETIMEDOUT
        PF_ESTALE

    enum pf_op:
        PF_OPS

    enum pf_diag_code:
        PF_DIAG_NONE
        PF_DIAGS

    enum pf_prog_type:
        PF_PROG_XDP
        PF_PROG_MEMORY
        PF_PROG_PCAP
    uint32_t PF_LINK_KIND(uint32_t linktype, uint32_t swapped)

    int PF_NAME_MAX

    struct pf_diag:
        pf_diag_code code
        pf_err err
        uint32_t insn
        uint64_t offset
        uint64_t found
        uint64_t expected
        char name[64]


cdef extern from "tables/facts.h" nogil:
    struct pf_fact_helper:
        const char *name
        const char **args
        const char *flags
        uint32_t number
        uint32_t supported

    struct pf_fact_map_type:
        const char *name
        const char *family
        uint32_t number
        uint32_t percpu
        uint32_t supported

    struct pf_fact_action:
        const char *name
        const char *text
        uint32_t value

    struct pf_fact_ctx_field:
        const char *name
        const char *kind
        const char *access
        const char *types
        uint32_t offset
        uint32_t size

    struct pf_fact_diag:
        const char *name
        const char *text
        const char *hint

    struct pf_fact_err:
        const char *name
        const char *text
        uint32_t value

    size_t pf_facts_helpers(const pf_fact_helper **rows)
    size_t pf_facts_map_types(const pf_fact_map_type **rows)
    size_t pf_facts_actions(const pf_fact_action **rows)
    size_t pf_facts_ctx_fields(const pf_fact_ctx_field **rows)
    size_t pf_facts_diags(const pf_fact_diag **rows)
    size_t pf_facts_errs(const pf_fact_err **rows)
    const char *pf_facts_helper_name(uint32_t number)
