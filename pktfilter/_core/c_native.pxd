"""C declarations of csrc/native/native.h."""
from libc.stdint cimport uint32_t, uint64_t

from pktfilter._core.c_prog cimport pf_prog
from pktfilter._core.c_tables cimport pf_diag, pf_err


cdef extern from "native/native.h" nogil:
    struct pf_native_layout:
        const char *name
        uint64_t value
    const pf_native_layout *pf_native_layouts
    const uint32_t pf_native_layout_count
    pf_err pf_native_stage(pf_prog *prog, const void *object, size_t length, pf_diag *diag)
