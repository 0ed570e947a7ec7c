/* fault.c - what stopped a checked run, in words. */
#include "exec.h"

#include <inttypes.h>
#include <stdio.h>

#define NEAR 65536u /* an address this far from a region is still named after it */

enum pf_err pf_exec_fault(struct pf_exec *x, enum pf_diag_code code, uint32_t insn, uint64_t found, uint64_t expected,
			  const char *name)
{
	if (x->fault.diag.err) /* the first one counts: a callback's fault is seen again by its caller */
		return PF_EFAULT;
	x->fault.prog = x->prog;
	return pf_diag_set(&x->fault.diag, PF_EFAULT, code, insn, 0, found, expected, name);
}

static int64_t distance(uint64_t address, const void *from)
{
	return (int64_t)(address - (uint64_t)(uintptr_t)from);
}

/* The region nearest to the address so far. */
struct place {
	uint64_t address;
	uint64_t gap;
	char name[PF_NAME_MAX];
};

/* Is [start, start + len) nearer than what was found before? */
static int nearer(struct place *p, const uint8_t *start, uint64_t len)
{
	const int64_t d = distance(p->address, start);
	const uint64_t gap = d < 0 ? 0 - (uint64_t)d : (uint64_t)d < len ? 0 : (uint64_t)d - len + 1;
	if (!start || gap >= p->gap)
		return 0;
	p->gap = gap;
	return 1;
}

static void try_bytes(struct place *p, const char *what, const uint8_t *start, uint64_t len)
{
	if (nearer(p, start, len))
		snprintf(p->name, PF_NAME_MAX, "%s%+" PRId64 " (length %" PRIu64 ")", what,
			 distance(p->address, start), len);
}

static void try_map(struct place *p, const struct pf_map *map)
{
	const int64_t end = (int64_t)(map->elements * map->stride);
	const int64_t d = distance(p->address, map->arena);
	if (!nearer(p, map->arena, (uint64_t)end))
		return;
	int64_t offset = d - map->value_offset;
	if (d >= 0 && d < end) {
		offset = d % (int64_t)map->stride - map->value_offset;
		if (offset >= 0 && map->percpu)
			offset %= map->value_step;
	}
	snprintf(p->name, PF_NAME_MAX, "map %.24s value%+" PRId64, map->name, offset);
}

/* A place a person can find: "packet+34 (length 34)", "stack-520", "null+8", "map NAME value+8", or the bare address. */
static void name_place(const struct pf_exec *x, struct place *p)
{
	const uint64_t frames = (uint64_t)(x->depth + 1) * PF_STACK_FRAME;
	const uint8_t *top = x->stack + sizeof(x->stack);
	if (p->address + NEAR < 2 * NEAR) {
		snprintf(p->name, PF_NAME_MAX, "null%+" PRId64, (int64_t)p->address);
		return;
	}
	snprintf(p->name, PF_NAME_MAX, "address 0x%" PRIx64, p->address);
	if (nearer(p, top - frames, frames))
		snprintf(p->name, PF_NAME_MAX, "stack%+" PRId64, distance(p->address, top - x->depth * PF_STACK_FRAME));
	if (x->prog->type == PF_PROG_MEMORY)
		try_bytes(p, "memory", x->memory, x->memory_len);
	else
		try_bytes(p, "packet", x->packet.data, (uint64_t)(x->packet.data_end - x->packet.data));
	for (uint32_t i = 0; i < x->prog->map_count; i++)
		try_map(p, x->prog->maps[i].map);
	for (uint32_t i = 0; i < x->grant_count; i++)
		try_map(p, x->grants[i]);
}

enum pf_err pf_exec_fault_access(struct pf_exec *x, enum pf_diag_code code, uint32_t insn, uint64_t address,
				 uint32_t size)
{
	const int64_t in_ctx = distance(address, &x->packet);
	struct place place = { .address = address, .gap = NEAR };
	if (pf_prog_type_has_packet(x->prog->type) && in_ctx > -(int64_t)size && in_ctx < (int64_t)sizeof(x->packet))
		return pf_exec_fault(x, PF_DIAG_VM_CTX, insn, (uint64_t)in_ctx, size, "ctx");
	name_place(x, &place);
	return pf_exec_fault(x, code, insn, address, size, place.name);
}
