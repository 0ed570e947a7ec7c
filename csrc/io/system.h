/* system.h - system call failures as results.
 *
 * Threads: no state.
 */
#ifndef PF_IO_SYSTEM_H
#define PF_IO_SYSTEM_H

#include "../tables/tables.h"

/* The result that stands for an errno; PF_EIO for one that the table does not have. */
enum pf_err pf_system_err(int number);
/* Its text, for struct pf_diag.name. */
void pf_system_text(int number, char text[PF_NAME_MAX]);

#endif
