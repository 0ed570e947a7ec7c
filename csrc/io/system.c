/* system.c - system call failures as results. */
#include "system.h"

#include <string.h>

enum pf_err pf_system_err(int number)
{
	switch (number) {
#define PF_ERR(name, value, text)                                                                                      \
	case value:                                                                                                    \
		return PF_##name;
#include "../tables/err.def"
#undef PF_ERR
	}
	return PF_EIO;
}

void pf_system_text(int number, char text[PF_NAME_MAX])
{
	char buffer[128];
	const char *found = strerror_r(number, buffer, sizeof buffer); /* GNU: may point at constant text */
	size_t n = strnlen(found, PF_NAME_MAX - 1);

	memcpy(text, found, n);
	text[n] = '\0';
}
