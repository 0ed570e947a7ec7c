/* prog.c - making a program: what must hold before any form of its code is built. */
#include "prog.h"

#include <stdlib.h>
#include <string.h>

struct pf_map *pf_prog_map_by_number(const struct pf_prog *prog, uint32_t number)
{
	for (uint32_t i = 0; i < prog->map_count; i++)
		if (prog->maps[i].number == number)
			return prog->maps[i].map;
	return NULL;
}

struct pf_map *pf_prog_insn_map(const struct pf_prog *prog, uint32_t at)
{
	const struct pf_insn insn = prog->insns[at];
	const uint32_t imm = (uint32_t)insn.imm;
	const enum pf_op op = pf_isa_op(insn);
	if (op == PF_OP_LDDW_MAP || op == PF_OP_LDDW_VALUE)
		return pf_prog_map_by_number(prog, imm);
	if (op == PF_OP_LDDW_MAP_IDX || op == PF_OP_LDDW_VALUE_IDX)
		return imm < prog->map_count ? prog->maps[imm].map : NULL;
	return NULL;
}

static enum pf_err check_map(const struct pf_prog *prog, uint32_t at, int value, struct pf_diag *diag)
{
	struct pf_map *map = pf_prog_insn_map(prog, at);
	if (!map)
		return pf_diag_set(diag, PF_EINVAL, PF_DIAG_PROG_MAP_FD, at, 0, (uint32_t)prog->insns[at].imm, 0, NULL);
	if (!value)
		return PF_OK;
	const uint32_t offset = (uint32_t)prog->insns[at + 1].imm;
	if (pf_map_direct_value(map, offset))
		return PF_OK;
	if (!pf_map_direct_value(map, 0))
		return pf_diag_set(diag, PF_EINVAL, PF_DIAG_PROG_VALUE_MAP, at, 0, offset, 0, map->name);
	return pf_diag_set(diag, PF_EINVAL, PF_DIAG_PROG_VALUE_RANGE, at, 0, offset, map->def.value_size, map->name);
}

static int needs_packet(const struct pf_helper_info *info)
{
	for (int i = 0; i < 5; i++)
		if (info->args[i] == PF_ARG_CTX)
			return 1;
	return 0;
}

static enum pf_err check_call(struct pf_prog *prog, uint32_t at, enum pf_op op, struct pf_diag *diag)
{
	const uint32_t number = (uint32_t)prog->insns[at].imm;
	const struct pf_helper_info *info = pf_prog_call_row(op, prog->insns[at]);
	if (!info && op == PF_OP_CALL_KFUNC)
		return pf_diag_set(diag, PF_EOPNOTSUPP, PF_DIAG_PROG_KFUNC, at, 0, number, 0, NULL);
	if (!info)
		return pf_diag_set(diag, PF_EINVAL, PF_DIAG_PROG_HELPER_UNKNOWN, at, 0, number, 0, NULL);
	if (!info->supported)
		return pf_diag_set(diag, PF_EOPNOTSUPP, PF_DIAG_PROG_HELPER, at, 0, number, 0, info->name);
	if (prog->type == PF_PROG_PCAP || (prog->type == PF_PROG_MEMORY && needs_packet(info)))
		return pf_diag_set(diag, PF_EINVAL, PF_DIAG_PROG_HELPER_TYPE, at, 0, number, 0, info->name);
	if (info->flags & PF_HELPER_MOVES_PACKET)
		prog->moves_packet = 1;
	if (number == PF_HELPER_ID_tail_call)
		prog->tail_calls = 1;
	if (number >= PF_HELPER_ID_xdp_ct_lookup && number <= PF_HELPER_ID_ct_change_status)
		prog->tracks = 1;
	if (number == PF_HELPER_ID_redirect || number == PF_HELPER_ID_redirect_map)
		prog->redirects = 1;
	return PF_OK;
}

static enum pf_err check_insns(struct pf_prog *prog, struct pf_diag *diag)
{
	for (uint32_t at = 0; at < prog->count; at++) {
		const uint32_t imm = (uint32_t)prog->insns[at].imm;
		const enum pf_op op = pf_isa_op(prog->insns[at]);
		enum pf_err err = PF_OK;
		if (op == PF_OP_LDDW_MAP || op == PF_OP_LDDW_MAP_IDX)
			err = check_map(prog, at, 0, diag);
		else if (op == PF_OP_LDDW_VALUE || op == PF_OP_LDDW_VALUE_IDX)
			err = check_map(prog, at, 1, diag);
		else if (op == PF_OP_LDDW_BTF_ID)
			err = pf_diag_set(diag, PF_EOPNOTSUPP, PF_DIAG_PROG_BTF_VAR, at, 0, imm, 0, NULL);
		else if (pf_prog_calls_row(op))
			err = check_call(prog, at, op, diag);
		if (err)
			return err;
		if (prog->insns[at].code == 0x18)
			at++; /* the second half is data */
	}
	return PF_OK;
}

static void prog_destroy(struct pf_ref *ref)
{
	struct pf_prog *prog = (struct pf_prog *)ref;
	for (uint32_t i = 0; i < prog->map_count; i++)
		pf_map_put(prog->maps[i].map);
	struct pf_prog *next = atomic_load_explicit(&prog->members, memory_order_acquire);
	while (prog->link == PF_LINK_HEAD && next) {
		struct pf_prog *member = next;
		next = atomic_load_explicit(&member->members, memory_order_acquire);
		pf_prog_put(member); /* it may be the last: it has been left behind */
	}
	for (int engine = 0; engine < PF_ENGINES; engine++) {
		struct pf_code *code = atomic_load_explicit(&prog->code[engine], memory_order_acquire);
		if (code && code->destroy)
			code->destroy(code);
		else
			free(code);
	}
	free(prog->types);
	free(prog->maps);
	free(prog->insns);
	free(prog);
}

static struct pf_prog *prog_copy(const struct pf_prog_def *def)
{
	struct pf_prog *prog = calloc(1, sizeof(*prog));
	if (!prog)
		return NULL;
	pf_ref_init(&prog->ref, prog_destroy);
	prog->insns = malloc((size_t)def->count * sizeof(*prog->insns));
	prog->maps = malloc(def->map_count ? def->map_count * sizeof(*prog->maps) : 1);
	if (!prog->insns || !prog->maps) {
		prog_destroy(&prog->ref);
		return NULL;
	}
	memcpy(prog->insns, def->insns, (size_t)def->count * sizeof(*prog->insns));
	prog->count = def->count;
	for (; prog->map_count < def->map_count; prog->map_count++) {
		prog->maps[prog->map_count] = def->maps[prog->map_count];
		pf_map_get(prog->maps[prog->map_count].map);
	}
	prog->type = def->type;
	prog->id = def->id;
	prog->frags = def->frags;
	prog->link = def->type == PF_PROG_PCAP ? def->link : PF_LINK_ANY;
	memcpy(prog->name, def->name ? def->name : "", strnlen(def->name ? def->name : "", PF_NAME_MAX - 1));
	return prog;
}

enum pf_err pf_prog_create(const struct pf_prog_def *def, struct pf_prog **out, struct pf_diag *diag)
{
	*out = NULL;
	enum pf_err err = pf_isa_check(def->insns, def->count, 0, diag);
	if (err)
		return err;
	struct pf_prog *prog = prog_copy(def);
	if (!prog)
		return pf_diag_set(diag, PF_ENOMEM, PF_DIAG_NONE, 0, 0, 0, 0, NULL);
	err = check_insns(prog, diag);
	if (err) {
		pf_prog_put(prog);
		return err;
	}
	*out = prog;
	return PF_OK;
}

const struct pf_prog *pf_prog_member(const struct pf_prog *head, uint32_t link)
{
	/* Acquire: pairs with the release of pf_prog_join, so that a member found is complete (P5). */
	const struct pf_prog *member = atomic_load_explicit(&head->members, memory_order_acquire);
	while (member && member->link != link)
		member = atomic_load_explicit(&member->members, memory_order_acquire);
	return member;
}

enum pf_err pf_prog_join(struct pf_prog *head, struct pf_prog *member)
{
	if (head->link != PF_LINK_HEAD || member->link == PF_LINK_HEAD || member->link == PF_LINK_ANY ||
	    atomic_load_explicit(&member->members, memory_order_acquire))
		return PF_EINVAL;
	struct pf_prog *first = atomic_load_explicit(&head->members, memory_order_acquire);
	do {
		if (pf_prog_member(head, member->link))
			return PF_EINVAL;
		atomic_store_explicit(&member->members, first, memory_order_relaxed);
	} while (!atomic_compare_exchange_weak_explicit(&head->members, &first, member, memory_order_release,
							memory_order_acquire));
	pf_prog_get(member);
	return PF_OK;
}
