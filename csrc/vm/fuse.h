/* fuse.h - inside csrc/vm: pairs of instructions that one handler executes.
 *
 * What an interpreted instruction costs is fetching operands and dispatch. Compiled programs often make a value and use
 * it at once (load and swap, mask and test, copy and add); when both instructions have the same dst, one handler does
 * both and keeps the value in a machine register. The second instruction's slot keeps its own handler, for jumps that
 * land on it: indices stay as they are.
 */
#ifndef PF_VM_FUSE_H
#define PF_VM_FUSE_H

#define PF_FUSED_CHANGES(X, A)                                                                                         \
	X(A, ADD64_IMM) X(A, AND64_IMM) X(A, AND32_IMM) X(A, RSH64_IMM) X(A, LSH64_IMM) X(A, BE16) X(A, BE32)
#define PF_FUSED_TESTS(X, A)                                                                                           \
	X(A, JEQ64_IMM) X(A, JNE64_IMM) X(A, JEQ32_IMM) X(A, JNE32_IMM) X(A, JGT64_IMM) X(A, JLT64_IMM) X(A, JGT64_REG)

/* CHANGE and TEST take (first, second). */
#define PF_FUSED_PAIRS(CHANGE, TEST)                                                                                   \
	PF_FUSED_CHANGES(CHANGE, MOV64_REG) PF_FUSED_TESTS(TEST, MOV64_REG)                                            \
	PF_FUSED_CHANGES(CHANGE, MOV32_REG) PF_FUSED_TESTS(TEST, MOV32_REG)                                            \
	PF_FUSED_CHANGES(CHANGE, LDX_B) PF_FUSED_TESTS(TEST, LDX_B)                                                    \
	PF_FUSED_CHANGES(CHANGE, LDX_H) PF_FUSED_TESTS(TEST, LDX_H)                                                    \
	PF_FUSED_CHANGES(CHANGE, LDX_W) PF_FUSED_TESTS(TEST, LDX_W)                                                    \
	PF_FUSED_TESTS(TEST, ADD64_IMM) PF_FUSED_TESTS(TEST, AND64_IMM) PF_FUSED_TESTS(TEST, AND32_IMM)                \
	PF_FUSED_TESTS(TEST, RSH64_IMM) PF_FUSED_TESTS(TEST, BE16) PF_FUSED_TESTS(TEST, BE32)

#endif
