/* dynptr.h - what a checked run finds where a dynptr should be. */
#ifndef PF_DYNPTR_H
#define PF_DYNPTR_H

#include "exec.h"

#define PF_DYNPTR_BYTES 16u

/* Is there a dynptr that names nothing but memory of the run? */
int pf_dynptr_usable(struct pf_exec *x, uint64_t address);

#endif
