/* checked.c - the loop for any legal program: every access and helper argument is checked at run time. */
#define PF_VM_CHECKED 1
#define INTERP pf_interp_checked
#define ENGINE PF_ENGINE_CHECKED
#include "loop.h"
