/* dpdk_vm.c - one filter, three interpreters: pktfilter checked and unchecked, and librte_bpf's (DPDK), in one process.
 *
 * The filter is a plain-memory program: r1 is the address of a 64-byte frame. It parses Ethernet, IPv4 and TCP and
 * executes 64 instructions for the frame used here. Frames rotate through a 64 KiB buffer, so that loads come from the
 * cache, as in a batch.
 *
 * Build (Debian: libdpdk-dev), from the repository's root:
 *   gcc -std=gnu11 -O2 -D_GNU_SOURCE -Icsrc $(pkg-config --cflags libdpdk) -march=native \
 *       $(find csrc -name '*.c') bench/dpdk_vm.c -o build/dpdk_vm -lrte_bpf -lrte_eal -pthread
 * Without DPDK: -DNO_DPDK, and no libraries. Output: one JSON object, nanoseconds per run, the least of the rounds.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "vm/vm.h"

#ifndef NO_DPDK
#include <rte_bpf.h>
#endif

#define FRAMES 1024
#define RUNS 100000u
#define ROUNDS 60
#define FRAME_LEN 64u

#define I(code, dst, src, off, imm) { code, dst, src, off, imm }
#define LDB(d, s, o) I(0x71, d, s, o, 0)
#define LDH(d, s, o) I(0x69, d, s, o, 0)
#define LDW(d, s, o) I(0x61, d, s, o, 0)
#define MOV(d, s) I(0xbf, d, s, 0, 0)
#define MOVI(d, i) I(0xb7, d, 0, 0, i)
#define ADD(d, s) I(0x0f, d, s, 0, 0)
#define ADDI(d, i) I(0x07, d, 0, 0, i)
#define ANDI(d, i) I(0x57, d, 0, 0, i)
#define OR(d, s) I(0x4f, d, s, 0, 0)
#define XOR(d, s) I(0xaf, d, s, 0, 0)
#define LSHI(d, i) I(0x67, d, 0, 0, i)
#define RSHI(d, i) I(0x77, d, 0, 0, i)
#define BE(d, bits) I(0xdc, d, 0, 0, bits)
#define JEQI(d, i, o) I(0x15, d, 0, o, i)
#define JNEI(d, i, o) I(0x55, d, 0, o, i)
#define JLTI(d, i, o) I(0xa5, d, 0, o, i)
#define JGTI(d, i, o) I(0x25, d, 0, o, i)
#define JGEI(d, i, o) I(0x35, d, 0, o, i)
#define JEQ(d, s, o) I(0x1d, d, s, o, 0)
#define JSETI(d, i, o) I(0x45, d, 0, o, i)
#define EXIT I(0x95, 0, 0, 0, 0)
#define DROP_AT 66
#define D(at) (DROP_AT - (at)-1)

/* The left number is the slot; every jump to the drop leaves the path of 64. */
static const struct pf_insn filter[] = {
	/* 0 */ MOV(6, 1),
	/* 1 */ LDH(2, 6, 12),
	/* 2 */ BE(2, 16),
	/* 3 */ JNEI(2, 0x800, D(3)),
	/* 4 */ LDB(3, 6, 14),
	/* 5 */ MOV(4, 3),
	/* 6 */ RSHI(4, 4),
	/* 7 */ JNEI(4, 4, D(7)),
	/* 8 */ ANDI(3, 15),
	/* 9 */ JLTI(3, 5, D(9)),
	/* 10 */ LSHI(3, 2),
	/* 11 */ LDH(4, 6, 20),
	/* 12 */ BE(4, 16),
	/* 13 */ ANDI(4, 0x3fff),
	/* 14 */ JNEI(4, 0, D(14)),
	/* 15 */ LDB(5, 6, 22),
	/* 16 */ JLTI(5, 2, D(16)),
	/* 17 */ LDH(5, 6, 16),
	/* 18 */ BE(5, 16),
	/* 19 */ JLTI(5, 28, D(19)),
	/* 20 */ JGTI(5, 1500, D(20)),
	/* 21 */ LDW(7, 6, 26),
	/* 22 */ BE(7, 32),
	/* 23 */ MOV(2, 7),
	/* 24 */ RSHI(2, 24),
	/* 25 */ JEQI(2, 0, D(25)),
	/* 26 */ JEQI(2, 127, D(26)),
	/* 27 */ JGEI(2, 224, D(27)),
	/* 28 */ LDW(8, 6, 30),
	/* 29 */ BE(8, 32),
	/* 30 */ JEQ(7, 8, D(30)),
	/* 31 */ MOV(2, 8),
	/* 32 */ RSHI(2, 24),
	/* 33 */ JEQI(2, 127, D(33)),
	/* 34 */ LDB(9, 6, 23),
	/* 35 */ JEQI(9, 47, D(35)),
	/* 36 */ JEQI(9, 6, 2), /* taken: TCP */
	/* 37 */ JNEI(9, 17, D(37)),
	/* 38 */ JEQI(9, 17, 9), /* UDP: on to the ports */
	/* 39 */ LDB(4, 6, 47),
	/* 40 */ MOV(5, 4),
	/* 41 */ ANDI(5, 3),
	/* 42 */ JEQI(5, 3, D(42)),
	/* 43 */ JSETI(4, 4, D(43)),
	/* 44 */ LDB(5, 6, 46),
	/* 45 */ RSHI(5, 4),
	/* 46 */ JLTI(5, 5, D(46)),
	/* 47 */ JEQI(4, 0, D(47)),
	/* 48 */ LDH(2, 6, 34),
	/* 49 */ BE(2, 16),
	/* 50 */ LDH(3, 6, 36),
	/* 51 */ BE(3, 16),
	/* 52 */ JEQI(3, 445, D(52)),
	/* 53 */ JEQI(3, 23, D(53)),
	/* 54 */ JEQI(3, 11211, D(54)),
	/* 55 */ JEQI(2, 0, D(55)),
	/* 56 */ MOV(4, 7),
	/* 57 */ XOR(4, 8),
	/* 58 */ LSHI(2, 16),
	/* 59 */ OR(2, 3),
	/* 60 */ ADD(4, 2),
	/* 61 */ ANDI(4, 0xff),
	/* 62 */ JGTI(4, 255, D(62)),
	/* 63 */ MOVI(0, 2),
	/* 64 */ ADDI(0, 0),
	/* 65 */ EXIT,
	/* 66 */ MOVI(0, 1),
	/* 67 */ EXIT,
};
static const struct pf_insn empty[] = { MOVI(0, 2), EXIT };

static const uint8_t frame[FRAME_LEN] = {
	2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0,                                /* Ethernet */
	0x45, 0, 0, 50, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 1, 2, 3, 192, 0, 2, 9, /* IPv4 */
	0x9c, 0x40, 1, 0xbb, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 0xff, 0xff,     /* TCP */
};

static uint8_t *frames;

static double now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static struct pf_prog *load(const struct pf_insn *insns, size_t count)
{
	struct pf_prog_def def = { .type = PF_PROG_MEMORY, .name = "bench", .insns = insns, .count = (uint32_t)count };
	struct pf_prog *prog;
	struct pf_diag diag = { 0 };
	if (pf_prog_create(&def, &prog, &diag) || pf_vm_stage(prog, PF_ENGINE_CHECKED, NULL, &diag) ||
	    pf_vm_stage(prog, PF_ENGINE_INTERP, NULL, &diag)) {
		fprintf(stderr, "refused at %u: %s\n", diag.insn, pf_diag_text(diag.code));
		exit(1);
	}
	return prog;
}

/* One round over all frames until RUNS; returns nanoseconds per run. */
static double round_ours(struct pf_exec *x, const struct pf_prog *prog, enum pf_engine engine, uint64_t want)
{
	uint64_t sum = 0;
	const double start = now_ns();
	for (uint32_t i = 0; i < RUNS; i++) {
		uint64_t r0 = 0;
		pf_vm_execute(x, prog, engine, frames + i % FRAMES * FRAME_LEN, FRAME_LEN, &r0);
		sum += r0;
	}
	const double elapsed = now_ns() - start;
	if (sum != want * RUNS) {
		fprintf(stderr, "engine %d: unexpected results\n", (int)engine);
		exit(1);
	}
	return elapsed / RUNS;
}

#ifndef NO_DPDK
static struct rte_bpf *load_dpdk(const struct pf_insn *insns, size_t count)
{
	struct rte_bpf_prm prm = {
		.ins = (const struct ebpf_insn *)insns,
		.nb_ins = (uint32_t)count,
		.prog_arg = { .type = RTE_BPF_ARG_PTR, .size = FRAME_LEN },
	};
	struct rte_bpf *bpf = rte_bpf_load(&prm);
	if (!bpf) {
		fprintf(stderr, "librte_bpf refuses the program\n");
		exit(1);
	}
	return bpf;
}

static double round_dpdk(const struct rte_bpf *bpf, uint64_t want)
{
	uint64_t sum = 0;
	const double start = now_ns();
	for (uint32_t i = 0; i < RUNS; i++)
		sum += rte_bpf_exec(bpf, frames + i % FRAMES * FRAME_LEN);
	const double elapsed = now_ns() - start;
	if (sum != want * RUNS) {
		fprintf(stderr, "librte_bpf: unexpected results\n");
		exit(1);
	}
	return elapsed / RUNS;
}
#endif

static double least(double a, double b)
{
	return a < b ? a : b;
}

int main(void)
{
	struct pf_exec *x;
	if (pf_exec_create(&x) || !(frames = malloc((size_t)FRAMES * FRAME_LEN)))
		return 1;
	for (size_t i = 0; i < FRAMES; i++)
		memcpy(frames + i * FRAME_LEN, frame, FRAME_LEN);
	struct pf_prog *prog = load(filter, sizeof(filter) / sizeof(filter[0]));
	struct pf_prog *pass = load(empty, sizeof(empty) / sizeof(empty[0]));
	double checked = 1e9, unchecked = 1e9, empty_checked = 1e9, empty_unchecked = 1e9, dpdk = 1e9, empty_dpdk = 1e9;
#ifndef NO_DPDK
	struct rte_bpf *theirs = load_dpdk(filter, sizeof(filter) / sizeof(filter[0]));
	struct rte_bpf *their_pass = load_dpdk(empty, sizeof(empty) / sizeof(empty[0]));
#endif
	/* Interleaved, so that a slow moment of the machine touches all. */
	for (int i = 0; i < ROUNDS; i++) {
		checked = least(checked, round_ours(x, prog, PF_ENGINE_CHECKED, 2));
		unchecked = least(unchecked, round_ours(x, prog, PF_ENGINE_INTERP, 2));
		empty_checked = least(empty_checked, round_ours(x, pass, PF_ENGINE_CHECKED, 2));
		empty_unchecked = least(empty_unchecked, round_ours(x, pass, PF_ENGINE_INTERP, 2));
#ifndef NO_DPDK
		dpdk = least(dpdk, round_dpdk(theirs, 2));
		empty_dpdk = least(empty_dpdk, round_dpdk(their_pass, 2));
#endif
	}
	printf("{\"checked_ns\": %.2f, \"unchecked_ns\": %.2f, \"empty_checked_ns\": %.2f, \"empty_unchecked_ns\": %.2f",
	       checked, unchecked, empty_checked, empty_unchecked);
#ifndef NO_DPDK
	printf(", \"dpdk_ns\": %.2f, \"empty_dpdk_ns\": %.2f, \"unchecked_to_dpdk\": %.3f", dpdk, empty_dpdk,
	       unchecked / dpdk);
	rte_bpf_destroy(theirs);
	rte_bpf_destroy(their_pass);
#endif
	printf(", \"checked_to_unchecked\": %.3f}\n", checked / unchecked);
	pf_prog_put(prog);
	pf_prog_put(pass);
	pf_exec_destroy(x);
	free(frames);
	return 0;
}
