/* observed.c - the checked loop with an observer (observe.h). */
#define PF_VM_CHECKED 1
#define PF_VM_OBSERVED 1
#define INTERP pf_interp_observed
#define ENGINE PF_ENGINE_CHECKED
#include "loop.h"
