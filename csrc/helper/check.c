/* check.c - helper arguments in a checked run: does what the program passes fit the helper's row? */
#include "dynptr.h"
#include "exec.h"
#include "sockets.h"

#include <stddef.h>

#define MEM_MAX (1u << 29) /* Linux: BPF_MAX_VAR_SIZ, above every size of an argument */
#define WORK_UNIT 64u

/* What a helper may do with the map, which the verifier knows of an accepted program. */
static int map_fits(const struct pf_map *map, uint32_t helper)
{
	const int writes = helper == PF_HELPER_ID_map_update_elem || helper == PF_HELPER_ID_map_delete_elem ||
			   helper == PF_HELPER_ID_map_push_elem || helper == PF_HELPER_ID_map_pop_elem;
	return pf_helper_takes_map(helper, map->def.type) && (!writes || pf_map_prog_writable(map));
}

/* The slot of a subprogram that some ld_imm64 could have produced: inside the program and no second half. */
static int is_func(const struct pf_prog *prog, uint64_t value)
{
	const uint32_t pc = (uint32_t)value;
	return (value & PF_FUNC_MASK) == PF_FUNC_TAG && pc < prog->count && prog->insns[pc].code != 0;
}

/* A helper's work counts as instructions, one for so many bytes or buckets: the budget bounds the time of a run. */
static void charge(struct pf_exec *x, uint64_t units)
{
	x->left -= (int64_t)(units / WORK_UNIT);
}

static int sized(struct pf_exec *x, uint64_t address, uint64_t size, int write)
{
	if (size >= MEM_MAX)
		return 0;
	charge(x, size);
	return size == 0 || (write ? pf_exec_writable(x, address, size) : pf_exec_readable(x, address, size));
}

static int map_argument_fits(struct pf_exec *x, const struct pf_helper_info *info, uint64_t value)
{
	const struct pf_map *map = pf_exec_map(x, value);
	if (!map || !map_fits(map, info->number))
		return 0;
	if (info->number == PF_HELPER_ID_for_each_map_elem) /* empty buckets are looked at as well */
		charge(x, map->def.max_entries);
	return 1;
}

static int argument_fits(struct pf_exec *x, const struct pf_helper_info *info, const uint64_t args[5], int i)
{
	const uint64_t value = args[i];
	const uint64_t next = i < 4 ? args[i + 1] : 0;
	/* pf_exec_map has accepted args[0] when a MAP_KEY or MAP_VALUE comes up. */
	const struct pf_map *map = (const struct pf_map *)(uintptr_t)args[0];
	switch ((enum pf_helper_arg)info->args[i]) {
	case PF_ARG_NONE:
	case PF_ARG_ANYTHING:
	case PF_ARG_CONST_SIZE:
		return 1;
	case PF_ARG_CTX:
		return x->prog->type == PF_PROG_XDP && value == (uint64_t)(uintptr_t)&x->packet;
	case PF_ARG_MAP:
	case PF_ARG_PROG_ARRAY:
	case PF_ARG_PORT_MAP:
		return map_argument_fits(x, info, value);
	case PF_ARG_MAP_KEY:
		return sized(x, value, map->def.key_size, 0);
	case PF_ARG_MAP_VALUE:
		return sized(x, value, map->def.value_size, 0);
	case PF_ARG_MAP_VALUE_OUT:
		return sized(x, value, map->def.value_size, map->def.type != PF_MAP_BLOOM_FILTER);
	case PF_ARG_MEM_READ:
		return sized(x, value, next, 0);
	case PF_ARG_MEM_READ_OR_NULL:
		return value == 0 ? next == 0 : sized(x, value, next, 0);
	case PF_ARG_MEM_WRITE:
		return sized(x, value, next, 1);
	case PF_ARG_OUT_16:
	case PF_ARG_OUT_32:
	case PF_ARG_OUT_64:
		return pf_exec_writable(x, value, pf_helper_arg_bytes(info->args[i]));
	case PF_ARG_MEM_UPDATE:
		return sized(x, value, next, 0) && sized(x, value, next, 1);
	case PF_ARG_MEM_UPDATE_OR_NULL:
		return value == 0 ? next == 0 : sized(x, value, next, 0) && sized(x, value, next, 1);
	case PF_ARG_MEM_UPDATE_4:
		return sized(x, value, 4, 0) && sized(x, value, 4, 1);
	case PF_ARG_MEM_READ_20:
	case PF_ARG_MEM_READ_40:
		return sized(x, value, pf_helper_arg_bytes(info->args[i]), 0);
	case PF_ARG_SIZE:
		return value > 0 && value < MEM_MAX;
	case PF_ARG_SIZE_OR_ZERO:
		return value < MEM_MAX;
	case PF_ARG_FUNC:
		return is_func(x->prog, value);
	case PF_ARG_SOCKET: /* or what a lookup in an xskmap gives */
		return pf_net_socket(x->net, value) || pf_exec_readable(x, value, 4);
	case PF_ARG_DYNPTR:
		return pf_dynptr_usable(x, value);
	case PF_ARG_DYNPTR_NEW_XDP:
	case PF_ARG_DYNPTR_NEW_LOCAL:
	case PF_ARG_DYNPTR_NEW_CLONE:
		return pf_exec_on_stack(x, value, PF_DYNPTR_BYTES);
	case PF_ARG_SLICE_BUFFER:
		return value == 0 || sized(x, value, next, 1);
	case PF_ARG_RECORD:
		return pf_exec_record(x, value) != NULL;
	case PF_ARG_CONN:
	case PF_ARG_CONN_INIT:
		return pf_exec_holds_conn(x, value, info->args[i] == PF_ARG_CONN_INIT);
	case PF_ARG_SPIN_LOCK:
		return pf_exec_is_lock(x, value);
	case PF_ARG_CALLBACK_CTX: /* Linux takes a stack pointer with any offset; only the callback follows it, checked */
		return 1;
	}
	return 0;
}

/* E9: what the verifier asks of regions. */
static enum pf_err check_lock(struct pf_exec *x, const struct pf_helper_info *info, uint64_t lock, uint32_t insn)
{
	if (info->number == PF_HELPER_ID_spin_unlock)
		return x->lock && (uint64_t)(uintptr_t)x->lock == lock ?
			PF_OK : pf_exec_fault(x, PF_DIAG_VM_LOCK_NOT_HELD, insn, info->number, 0, info->name);
	return x->lock ? pf_exec_fault(x, PF_DIAG_VM_LOCK_CALL, insn, info->number, 0, info->name) : PF_OK;
}

enum pf_err pf_helper_check(struct pf_exec *x, const struct pf_helper_info *info, const uint64_t args[5], uint32_t insn)
{
	const enum pf_err err = check_lock(x, info, args[0], insn);
	if (err)
		return err;
	for (int i = 0; i < 5; i++) {
		if (argument_fits(x, info, args, i))
			continue;
		if (info->args[i] == PF_ARG_CTX && x->prog->type != PF_PROG_XDP)
			return pf_exec_fault(x, PF_DIAG_VM_HELPER_CONTEXT, insn, info->number, 0, info->name);
		return pf_exec_fault(x, PF_DIAG_VM_HELPER_ARG, insn, (uint64_t)i + 1, 0, info->name);
	}
	return PF_OK;
}
