/* test_observe.c - what an observer is told, what it keeps, and that its memory is bounded. */
#include "vm_fixture.h"
#include "vm/observe.h"

/* r0 = the sum of r2's bytes at r1, by a loop; one atomic operation on the first byte's word. */
static const struct pf_insn sum[] = {
	MOVI(0, 0),		    /* 0 */
	I(0x15, 2, 0, 5, 0),	    /* 1: if r2 == 0 goto 7 */
	LDX(SIZE_B, 3, 1, 0),	    /* 2 */
	I(0x0f, 0, 3, 0, 0),	    /* 3 */
	ADDI(1, 1),		    /* 4 */
	ADDI(2, -1),		    /* 5 */
	I(0x05, 0, 0, -6, 0),	    /* 6: goto 1 */
	I(0xdb, 10, 0, -8, 0),	    /* 7: lock *(u64 *)(r10 -8) += r0 */
	EXIT,			    /* 8 */
};

static struct pf_observer *watch(uint64_t steps, uint64_t bytes, int timed)
{
	struct pf_observer *o = pf_observer_create(steps, bytes, timed);
	CHECK(o);
	x->observer = o;
	return o;
}

static void end(struct pf_observer *o)
{
	x->observer = NULL;
	pf_observer_destroy(o);
}

static void test_counts(void)
{
	struct pf_prog *prog = load(PF_PROG_MEMORY, sum, COUNT(sum), NULL, 0, NULL);
	_Alignas(8) uint8_t memory[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	static const uint64_t ran[COUNT(sum)] = { 3, 19, 16, 16, 16, 16, 16, 3, 3 };
	struct pf_observer *o = watch(0, 0, 1);
	static const uint64_t lengths[] = { 0, 8, 8 };
	for (uint32_t i = 0; i < 3; i++) {
		uint64_t r0;
		CHECK_EQ(pf_vm_execute(x, prog, PF_ENGINE_CHECKED, memory, lengths[i], &r0), PF_OK);
		CHECK_EQ(r0, lengths[i] ? 36 : 0);
	}
	CHECK_EQ(o->prog_count, 1);
	CHECK(o->progs[0].prog == prog);
	for (uint32_t i = 0; i < COUNT(sum); i++)
		CHECK_EQ(o->progs[0].ran[i], ran[i]);
	CHECK_EQ(o->progs[0].taken[1], 3);
	CHECK_EQ(o->progs[0].taken[6], 0); /* not a conditional jump */
	CHECK_EQ(o->progs[0].ticks[8], 0); /* nothing comes behind */
	CHECK(o->progs[0].ticks[2] > 0);
	CHECK_EQ(o->step_count, 0);
	CHECK_EQ(o->lost, 0);
	pf_prog_put(prog); /* O4: the counts outlive the caller's reference */
	CHECK_EQ(o->progs[0].prog->count, COUNT(sum));
	end(o);
}

static void test_recording(void)
{
	struct pf_prog *prog = load(PF_PROG_MEMORY, sum, COUNT(sum), NULL, 0, NULL);
	uint8_t memory[8] = { 9 };
	uint64_t r0;
	struct pf_observer *o = watch(9, 16, 0);
	CHECK_EQ(pf_vm_execute(x, prog, PF_ENGINE_CHECKED, memory, 1, &r0), PF_OK);
	CHECK_EQ(r0, 9);
	CHECK_EQ(o->step_count, 9);
	static const uint32_t at[9] = { 0, 1, 2, 3, 4, 5, 6, 1, 7 };
	for (uint32_t i = 0; i < 9; i++)
		CHECK_EQ(o->steps[i].at, at[i]);
	CHECK_EQ(o->steps[3].regs[3], 9); /* loaded by the step before */
	CHECK_EQ(o->steps[8].regs[0], 9);
	CHECK_EQ(o->steps[8].memory_len, 16); /* what the atomic operation found: zero (V6) */
	CHECK_EQ(((const struct pf_piece *)(const void *)o->bytes)->arg, PF_OBSERVED_ATOMIC);
	CHECK_EQ(o->bytes[8], 0);
	CHECK_EQ(o->lost, 1); /* the exit found no room */
	CHECK_EQ(pf_vm_execute(x, prog, PF_ENGINE_CHECKED, memory, 1, &r0), PF_OK);
	CHECK_EQ(o->step_count, 9);
	CHECK_EQ(o->lost, 11);
	end(o);
	o = watch(100, 8, 0); /* no room for the piece */
	CHECK_EQ(pf_vm_execute(x, prog, PF_ENGINE_CHECKED, memory, 1, &r0), PF_OK);
	CHECK_EQ(o->step_count, 10);
	CHECK_EQ(o->lost, 1);
	CHECK_EQ(o->steps[8].memory_len, 0);
	end(o);
	pf_prog_put(prog);
}

/* A fault ends the run; the next one does not take its last step for its own first. */
static void test_after_a_fault(void)
{
	const struct pf_insn insns[] = { MOVI(0, 0), I(0x15, 2, 0, 1, 9), LDX(SIZE_DW, 0, 1, 8), EXIT };
	struct pf_prog *prog = load(PF_PROG_MEMORY, insns, COUNT(insns), NULL, 0, NULL);
	uint8_t memory[9] = { 0 };
	uint64_t r0;
	struct pf_observer *o = watch(0, 0, 1);
	CHECK_EQ(pf_vm_execute(x, prog, PF_ENGINE_CHECKED, memory, 8, &r0), PF_EFAULT);
	const uint64_t took = o->progs[0].ticks[2];
	CHECK_EQ(took, 0);
	CHECK_EQ(pf_vm_execute(x, prog, PF_ENGINE_CHECKED, memory, 9, &r0), PF_OK);
	CHECK_EQ(o->progs[0].ticks[2], 0);
	CHECK_EQ(o->progs[0].ran[2], 1);
	CHECK_EQ(o->progs[0].taken[1], 1);
	CHECK_EQ(o->progs[0].ran[3], 1);
	end(o);
	pf_prog_put(prog);
}

/* O3: programs beyond the limit are not counted, and that is. */
static void test_many_programs(void)
{
	const struct pf_insn insns[] = { MOVI(0, 1), EXIT };
	uint64_t r0;
	struct pf_observer *o = watch(0, 0, 0);
	for (uint32_t i = 0; i < PF_OBSERVED_PROGS + 3; i++) {
		struct pf_prog *prog = load(PF_PROG_MEMORY, insns, COUNT(insns), NULL, 0, NULL);
		CHECK_EQ(pf_vm_execute(x, prog, PF_ENGINE_CHECKED, NULL, 0, &r0), PF_OK);
		CHECK_EQ(r0, 1);
		pf_prog_put(prog);
	}
	CHECK_EQ(o->prog_count, PF_OBSERVED_PROGS);
	CHECK_EQ(o->lost, 6);
	end(o);
}

int main(void)
{
	new_exec();
	test_counts();
	test_recording();
	test_after_a_fault();
	test_many_programs();
	pf_exec_destroy(x);
	return 0;
}
