# Declarations of csrc/isa/isa.h.
from libc.stdint cimport int16_t, int32_t, uint8_t, uint32_t

from pktfilter._core.c_tables cimport pf_diag, pf_err, pf_op


cdef extern from "isa/isa.h" nogil:
    struct pf_insn:
        uint8_t code
        uint8_t dst
        uint8_t src
        int16_t off
        int32_t imm

    enum pf_form:
        PF_FORMS

    enum pf_selector:
        PF_SELECT_NONE
        PF_SELECT_OFF
        PF_SELECT_IMM
        PF_SELECT_SRC

    enum pf_field:
        PF_FIELD_DST
        PF_FIELD_SRC
        PF_FIELD_OFF
        PF_FIELD_IMM
        PF_FIELD_IMM2

    struct pf_op_info:
        const char *name
        const char *text
        const char *group
        uint8_t opcode
        pf_selector selector
        int32_t value
        pf_form form

    struct pf_isa_names:
        void *user
        int (*map)(void *user, uint32_t number, char *out, size_t size) noexcept nogil

    int PF_ISA_TEXT_MAX
    int PF_MAX_INSNS

    const pf_op_info *pf_isa_info(pf_op op)
    unsigned pf_isa_fields(pf_op op)
    const char *pf_isa_form_name(pf_form form)
    pf_op pf_isa_op(pf_insn insn)
    pf_err pf_isa_check(const pf_insn *insns, uint32_t count, int strict, pf_diag *diag)
    size_t pf_isa_text(
        const pf_insn *insn, const pf_insn *next, const pf_isa_names *names, char *out, size_t size
    )
