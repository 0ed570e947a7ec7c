/* ops_call.h - handlers of calls, tail calls, exit and the trap; inside the loop (loop.h). */

op_CALL_LOCAL: {
	if (PF_UNLIKELY(x->depth - x->floor + 1 >= PF_STACK_FRAMES))
		goto too_deep;
	struct pf_call *f = &x->calls[x->depth++];
	f->floor = x->floor;
	f->back = pc;
	f->code = code;
	f->prog = x->prog;
	__builtin_memcpy(f->saved, &r[6], sizeof(f->saved));
	r[10] -= PF_STACK_FRAME;
	pf_vm_zero_frame((uint8_t *)(uintptr_t)r[10], code);
	SET_STACK();
	CHARGE(pc->imm < 0 ? -(int64_t)pc->imm : 0);
	pc += pc->imm + 1;
	GO;
}

op_EXIT: {
	if (PF_LIKELY(x->depth == base)) {
		HOLDS_NOTHING();
		if (feed) {
			pf_vm_count(feed, (uint32_t)r[0]);
			if (PF_LIKELY(feed->done < feed->n))
				goto next_packet;
			return PF_OK;
		}
		*r0 = r[0];
		LEAVE(pc - code->insns);
		return PF_OK;
	}
	const struct pf_call *f = &x->calls[--x->depth];
	const struct pf_lowered *back = f->back;
	/* Between programs (a tail call below) indices do not compare: the whole is charged. */
	CHARGE(f->code != code ? pc - code->insns : pc > back ? pc - back : 0);
	if (PF_UNLIKELY(f->code != code))
		x->window_len = 0; /* it may show a map of the other program */
	pc = back;
	code = f->code;
	x->prog = f->prog;
	x->floor = f->floor;
	__builtin_memcpy(&r[6], f->saved, sizeof(f->saved));
	r[10] += PF_STACK_FRAME;
	SET_STACK();
	NEXT;
}

op_CALL_HELPER:
op_CALL_KFUNC:
	CHECK_HELPER((uint32_t)x->prog->insns[pc - code->insns].imm);
	r[0] = pf_lowered_fn(pc)(x, r[1], r[2], r[3], r[4], r[5]);
	AFTER_HELPER();
	NEXT;

op_TAIL_CALL: {
	CHECK_HELPER(PF_HELPER_ID_tail_call);
	const struct pf_code *target = pf_vm_tail_target(x, r[2], r[3], ENGINE);
	if (!target)
		NEXT;
	CHARGE(pc - code->insns + 1);
	code = target;
	x->floor = x->depth;
	pf_vm_zero_frame((uint8_t *)(uintptr_t)r[10], code);
	NEW_PROGRAM();
	pc = code->insns;
	GO;
}

/* Refused when the program was made (P1), or never reached (A2). */
op_LDDW_BTF_ID:
op_TRAP:
	goto trap;
