/* unchecked.c - the loop for verified programs. */
#define PF_VM_CHECKED 0
#define INTERP pf_interp_unchecked
#define ENGINE PF_ENGINE_INTERP
#include "loop.h"
