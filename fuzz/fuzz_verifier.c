/* fuzz_verifier.c - any bytes as a program with maps: a verdict within the budget, without a crash, a leak or a hang.
 *
 * Input: one byte of options (program type, facts, frags), one byte with the number of maps, 10 bytes for each map (type,
 * key size, value size, entries, flags), the rest instructions. Map numbers in ld_imm64 are places. Map definitions are as
 * hostile as the rest. An accepted program must have facts when they were wanted, and every refusal a diagnostic (Y4); the
 * verdict of a second verification is the same (Y2).
 *
 * With libFuzzer (make) or, built with -DPF_FUZZ_FILES, as a program that runs the files given as arguments.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "verifier/verifier.h"

#define REQUIRE(cond)                                                                                                  \
	do {                                                                                                           \
		if (!(cond)) {                                                                                         \
			fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #cond);                           \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

#define MAPS 8u
#define MAP_BYTES 10u
#define INSNS 4096u
#define BUDGET 20000u
#define MEMORY ((size_t)64 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t word(const uint8_t *at) { return (uint32_t)at[0] | (uint32_t)at[1] << 8; }

static struct pf_verify_map map_of(const uint8_t *at, uint32_t number)
{
	struct pf_verify_map map = { .number = number };
	map.def = (struct pf_map_def){ (enum pf_map_type)(at[0] % 34), word(at + 1), word(at + 3), word(at + 5), word(at + 7) };
	map.inner = (struct pf_map_def){ PF_MAP_ARRAY, 4, at[9], 1, 0 };
	return map;
}

static enum pf_err verify(const struct pf_verify_input *input)
{
	struct pf_verify_result result;
	const enum pf_err err = pf_verify(input, &result);

	REQUIRE((err == PF_OK) == (result.ok != 0));
	REQUIRE(err == PF_OK || result.diag.code != PF_DIAG_NONE);
	REQUIRE(result.insns_processed <= BUDGET + 1);
	if (err == PF_OK)
		REQUIRE(result.types && (!(input->want & PF_VERIFY_FACTS) || result.facts));
	pf_verify_free(&result);
	return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pf_verify_map maps[MAPS];
	if (size < 2 + sizeof(struct pf_insn))
		return 0;
	const uint8_t options = data[0];
	uint32_t map_count = data[1] % (MAPS + 1);
	data += 2;
	size -= 2;
	if (size < map_count * MAP_BYTES)
		map_count = 0;
	for (uint32_t m = 0; m < map_count; m++)
		maps[m] = map_of(data + (size_t)m * MAP_BYTES, m);
	data += (size_t)map_count * MAP_BYTES;
	size -= (size_t)map_count * MAP_BYTES;
	uint32_t count = (uint32_t)(size / sizeof(struct pf_insn));
	count = count < INSNS ? count : INSNS;
	struct pf_insn *insns = malloc(count * sizeof(*insns) + 1);
	REQUIRE(insns);
	memcpy(insns, data, count * sizeof(*insns));
	const struct pf_verify_input input = {
		.type = options & 1 ? PF_PROG_MEMORY : PF_PROG_XDP,
		.insns = insns,
		.count = count,
		.maps = maps,
		.map_count = map_count,
		.budget = BUDGET,
		.memory_limit = MEMORY,
		.want = (options & 2 ? PF_VERIFY_FACTS : 0u) | (options & 4 ? PF_VERIFY_FRAGS : 0u) |
			(options & 8 ? PF_VERIFY_EGRESS : 0u),
	};
	const enum pf_err first = verify(&input);
	REQUIRE(verify(&input) == first);
	free(insns);
	return 0;
}

#ifdef PF_FUZZ_FILES
int main(int argc, char **argv)
{
	static uint8_t data[1 << 16];
	for (int i = 1; i < argc; i++) {
		FILE *file = fopen(argv[i], "rb");
		if (!file) {
			fprintf(stderr, "fuzz_verifier: %s cannot be read\n", argv[i]);
			return 2;
		}
		const size_t size = fread(data, 1, sizeof(data), file);
		fclose(file);
		(void)LLVMFuzzerTestOneInput(data, size);
	}
	return 0;
}
#endif
