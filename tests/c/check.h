/* check.h - assertions of the C tests: a failed CHECK prints where and what, and the program exits with 1. */
#ifndef CHECK_H
#define CHECK_H

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(cond)                                                                                                    \
	do {                                                                                                           \
		if (!(cond)) {                                                                                         \
			fprintf(stderr, "%s:%d: %s: not true: %s\n", __FILE__, __LINE__, __func__, #cond);             \
			exit(1);                                                                                       \
		}                                                                                                      \
	} while (0)

#define CHECK_EQ(got, want)                                                                                            \
	do {                                                                                                           \
		uint64_t check_got = (uint64_t)(got), check_want = (uint64_t)(want);                                   \
		if (check_got != check_want) {                                                                         \
			fprintf(stderr, "%s:%d: %s: %s is %" PRIu64 " (0x%" PRIx64 "), expected %" PRIu64              \
					" (0x%" PRIx64 ")\n",                                                          \
				__FILE__, __LINE__, __func__, #got, check_got, check_got, check_want, check_want);     \
			exit(1);                                                                                       \
		}                                                                                                      \
	} while (0)

#endif
