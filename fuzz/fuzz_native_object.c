/* fuzz_native_object.c - any bytes as an object of compiled code: loading ends with sealed code or with a reason (csrc/native,
 * N2), twice with the same, and leaves nothing mapped. What loads is never run. Seeds: tests/c/build/plain/native. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "native/native.h"

#define REQUIRE(cond)                                                                                                  \
	do {                                                                                                           \
		if (!(cond)) {                                                                                         \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                                     \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct pf_map *map_of(enum pf_map_type type)
{
	const struct pf_map_def def = { .type = type, .key_size = 4, .value_size = 8, .max_entries = 8 };
	struct pf_map *map = NULL;
	REQUIRE(pf_map_create(&def, NULL, 1, "m", 0, &map, NULL) == PF_OK);
	return map;
}

/* A program with two maps, one that takes a function's address: every symbol and every entry may be asked for. */
static struct pf_prog *prog_of(enum pf_prog_type type)
{
	const struct pf_insn insns[] = {
		{ .code = 0x18, .dst = 2, .src = 4, .imm = 3 }, { .code = 0 }, { .code = 0xb7 }, { .code = 0x95 },
		{ .code = 0xb7 }, { .code = 0x95 },
	};
	struct pf_prog_map maps[] = { { 1, map_of(PF_MAP_ARRAY) }, { 2, map_of(PF_MAP_HASH) } };
	const int whole = type == PF_PROG_XDP;
	const struct pf_prog_def def = { .type = type, .name = "p", .insns = whole ? insns : insns + 4,
					 .count = whole ? 6 : 2, .maps = maps, .map_count = 2 };
	struct pf_prog *prog = NULL;
	REQUIRE(pf_prog_create(&def, &prog, NULL) == PF_OK);
	pf_map_put(maps[0].map);
	pf_map_put(maps[1].map);
	return prog;
}

static enum pf_err load(enum pf_prog_type type, const uint8_t *data, size_t size, struct pf_diag *diag)
{
	struct pf_prog *prog = prog_of(type);
	memset(diag, 0, sizeof(*diag));
	const enum pf_err err = pf_native_stage(prog, data, size, diag);
	const struct pf_code *code = pf_prog_code(prog, PF_ENGINE_JIT);
	REQUIRE(!err == (code != NULL));
	REQUIRE(!err || (diag->err == err && diag->code && memchr(diag->name, 0, sizeof(diag->name))));
	if (code) {
		const uint8_t *run = (const uint8_t *)(uintptr_t)code->native.run, *memory = code->native.memory;
		REQUIRE(code->native.size % 4096 == 0 && run >= memory && run < memory + code->native.size);
		REQUIRE(type == PF_PROG_MEMORY || (code->native.packets && code->native.call));
	}
	pf_prog_put(prog);
	return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pf_diag first, again;
	for (enum pf_prog_type type = PF_PROG_XDP; type <= PF_PROG_MEMORY; type++) {
		const enum pf_err err = load(type, data, size, &first);
		/* Where the image lies may decide whether a near relocation fits. */
		if (load(type, data, size, &again) != err)
			REQUIRE(first.code == PF_DIAG_NATIVE_RELOC_FAR || again.code == PF_DIAG_NATIVE_RELOC_FAR);
	}
	return 0;
}

#ifdef PF_FUZZ_FILES
int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		int fd = open(argv[i], O_RDONLY);
		off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
		uint8_t *data = size < 0 ? NULL : malloc((size_t)size + 1);

		if (!data || pread(fd, data, (size_t)size, 0) != size) {
			fprintf(stderr, "cannot read %s\n", argv[i]);
			return 1;
		}
		LLVMFuzzerTestOneInput(data, (size_t)size);
		free(data);
		close(fd);
	}
	return 0;
}
#endif
