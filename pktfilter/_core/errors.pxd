from pktfilter._core.c_tables cimport pf_diag, pf_err


# Raises the exception that stands for a result other than PF_OK; does nothing for PF_OK. diag may be NULL.
cdef int raise_diag(pf_err err, const pf_diag *diag) except -1
