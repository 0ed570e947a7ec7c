/* observe.c - counting and recording steps. */
#include "observe.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__x86_64__)
uint64_t pf_observe_ticks(void)
{
	return __builtin_ia32_rdtsc();
}
#else
uint64_t pf_observe_ticks(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
#endif

struct pf_observer *pf_observer_create(uint64_t steps, uint64_t bytes, int timed)
{
	struct pf_observer *o = calloc(1, sizeof(*o));
	if (!o)
		return NULL;
	o->progs = calloc(PF_OBSERVED_PROGS, sizeof(*o->progs));
	o->steps = steps ? calloc(steps, sizeof(*o->steps)) : NULL;
	o->bytes = bytes ? malloc(bytes) : NULL;
	o->step_limit = steps;
	o->bytes_limit = bytes;
	o->timed = timed != 0;
	if (!o->progs || (steps && !o->steps) || (bytes && !o->bytes)) {
		pf_observer_destroy(o);
		return NULL;
	}
	return o;
}

void pf_observer_destroy(struct pf_observer *o)
{
	for (uint32_t i = 0; i < o->prog_count; i++) {
		free(o->progs[i].ran);
		pf_prog_put(o->progs[i].prog);
	}
	free(o->progs);
	free(o->steps);
	free(o->bytes);
	free(o);
}

static struct pf_observed_prog *add(struct pf_observer *o, const struct pf_prog *prog)
{
	if (o->prog_count == PF_OBSERVED_PROGS)
		return NULL;
	uint64_t *counters = calloc(prog->count, 3 * sizeof(*counters));
	if (!counters)
		return NULL;
	struct pf_observed_prog *made = &o->progs[o->prog_count++];
	*made = (struct pf_observed_prog){ (struct pf_prog *)(uintptr_t)prog, counters, counters + prog->count,
					   counters + 2 * (size_t)prog->count };
	pf_prog_get(made->prog);
	return made;
}

static struct pf_observed_prog *find(struct pf_observer *o, const struct pf_prog *prog)
{
	if (o->last && o->last->prog == prog)
		return o->last;
	for (uint32_t i = 0; i < o->prog_count; i++)
		if (o->progs[i].prog == prog)
			return &o->progs[i];
	return add(o, prog);
}

static int is_conditional(struct pf_insn insn)
{
	const enum pf_form form = pf_isa_info(pf_isa_op(insn))->form;
	return form == PF_FORM_JMP_IMM || form == PF_FORM_JMP_REG;
}

/* The step before is over. Time from a return on is the caller's only where it goes on in a frame further up. */
static void settle(struct pf_observer *o, const struct pf_exec *x, uint32_t at, uint64_t now)
{
	struct pf_observed_prog *last = o->last;
	if (!last)
		return;
	const struct pf_insn insn = last->prog->insns[o->last_at];
	if (x->prog == last->prog && x->depth == o->last_depth && at != o->last_at + 1 && is_conditional(insn))
		last->taken[o->last_at]++;
	if (o->timed && (pf_isa_op(insn) != PF_OP_EXIT || x->depth < o->last_depth))
		last->ticks[o->last_at] += now - o->last_ticks;
}

/* Keeps a piece of memory with the step. Returns 0 where there is no room. */
static int keep(struct pf_observer *o, struct pf_step *s, uint32_t arg, const void *from, uint32_t len)
{
	const uint64_t room = sizeof(struct pf_piece) + ((len + 7u) & ~7u);
	if (o->bytes_limit - o->bytes_used < room)
		return 0;
	uint8_t *to = o->bytes + o->bytes_used;
	memcpy(to, &(struct pf_piece){ arg, len }, sizeof(struct pf_piece));
	memcpy(to + sizeof(struct pf_piece), from, len);
	o->bytes_used += room;
	s->memory_len += (uint32_t)room;
	return 1;
}

static uint32_t size_of(const struct pf_helper_info *info, uint32_t i, const struct pf_map *map, const uint64_t *r)
{
	switch ((enum pf_helper_arg)info->args[i]) {
	case PF_ARG_MAP_KEY:
		return map ? map->def.key_size : 0;
	case PF_ARG_MAP_VALUE:
		return map ? map->def.value_size : 0;
	case PF_ARG_MEM_READ:
	case PF_ARG_MEM_READ_OR_NULL:
	case PF_ARG_MEM_UPDATE_OR_NULL:
	case PF_ARG_MEM_UPDATE: {
		const uint64_t size = i < 4 ? r[i + 2] : 0; /* the next argument */
		return size < PF_OBSERVED_BYTES ? (uint32_t)size : PF_OBSERVED_BYTES;
	}
	case PF_ARG_MEM_READ_20:
	case PF_ARG_MEM_READ_40:
	case PF_ARG_MEM_UPDATE_4:
		return pf_helper_arg_bytes((enum pf_helper_arg)info->args[i]);
	case PF_ARG_NONE:
	case PF_ARG_ANYTHING:
	case PF_ARG_CTX:
	case PF_ARG_MAP:
	case PF_ARG_PROG_ARRAY:
	case PF_ARG_PORT_MAP:
	case PF_ARG_MEM_WRITE:
	case PF_ARG_SIZE:
	case PF_ARG_SIZE_OR_ZERO:
	case PF_ARG_FUNC:
	case PF_ARG_CALLBACK_CTX:
	case PF_ARG_SPIN_LOCK:
	case PF_ARG_SOCKET:
	case PF_ARG_RECORD:
	case PF_ARG_DYNPTR:
	case PF_ARG_DYNPTR_NEW_XDP:
	case PF_ARG_DYNPTR_NEW_LOCAL:
	case PF_ARG_DYNPTR_NEW_CLONE:
	case PF_ARG_SLICE_BUFFER:
	case PF_ARG_CONN:
	case PF_ARG_CONN_INIT:
	case PF_ARG_CONST_SIZE:
	case PF_ARG_OUT_16:
	case PF_ARG_OUT_32:
	case PF_ARG_OUT_64:
	case PF_ARG_MAP_VALUE_OUT:
		break;
	}
	return 0;
}

/* What the call's arguments say: maps by name, keys, values and memory that the helper reads. */
static int keep_arguments(struct pf_observer *o, struct pf_exec *x, struct pf_step *s,
			  const struct pf_helper_info *info, const uint64_t *r)
{
	const struct pf_map *map = NULL;
	for (uint32_t i = 0; info && i < 5; i++) {
		const enum pf_helper_arg kind = (enum pf_helper_arg)info->args[i];
		if (kind == PF_ARG_MAP || kind == PF_ARG_PROG_ARRAY || kind == PF_ARG_PORT_MAP) {
			map = pf_exec_map(x, r[i + 1]);
			if (map && !keep(o, s, i, map->name, (uint32_t)strlen(map->name)))
				return 0;
			continue;
		}
		uint32_t len = size_of(info, i, map, r);
		len = len < PF_OBSERVED_BYTES ? len : PF_OBSERVED_BYTES;
		if (len && pf_exec_readable(x, r[i + 1], len) &&
		    !keep(o, s, i, (const void *)(uintptr_t)r[i + 1], len))
			return 0;
	}
	return 1;
}

static int keep_memory(struct pf_observer *o, struct pf_exec *x, struct pf_step *s, const uint64_t *r)
{
	const struct pf_insn insn = x->prog->insns[s->at];
	const enum pf_op op = pf_isa_op(insn);
	if (pf_prog_calls_row(op))
		return keep_arguments(o, x, s, pf_prog_call_row(op, insn), r);
	if (pf_isa_info(op)->form == PF_FORM_ATOMIC) {
		const uint64_t address = r[insn.dst] + (uint64_t)(int64_t)insn.off;
		const uint32_t len = (insn.code & 0x18) == 0x18 ? 8 : 4; /* BPF_SIZE: BPF_DW or BPF_W */
		if (pf_exec_readable(x, address, len))
			return keep(o, s, PF_OBSERVED_ATOMIC, (const void *)(uintptr_t)address, len);
	}
	return 1;
}

static void record(struct pf_observer *o, struct pf_exec *x, uint32_t prog, uint32_t at, const uint64_t *r)
{
	if (o->step_count == o->step_limit) {
		o->lost++;
		return;
	}
	struct pf_step *s = &o->steps[o->step_count++];
	memcpy(s->regs, r, sizeof(s->regs));
	s->data_meta = (uint64_t)(uintptr_t)x->packet.data_meta;
	s->data = (uint64_t)(uintptr_t)x->packet.data;
	s->data_end = (uint64_t)(uintptr_t)x->packet.data_end;
	s->memory = o->bytes_used;
	s->prog = prog;
	s->at = at;
	s->depth = x->depth;
	if (!keep_memory(o, x, s, r))
		o->lost++;
}

void pf_observe_step(struct pf_exec *x, uint32_t at, const uint64_t *r)
{
	struct pf_observer *o = x->observer;
	const uint64_t now = o->timed ? pf_observe_ticks() : 0;
	settle(o, x, at, now);
	struct pf_observed_prog *p = find(o, x->prog);
	o->last = p;
	o->last_at = at;
	o->last_depth = x->depth;
	if (!p) {
		o->lost++;
		return;
	}
	p->ran[at]++;
	if (o->step_limit)
		record(o, x, (uint32_t)(p - o->progs), at, r);
	if (o->timed)
		o->last_ticks = pf_observe_ticks();
}
