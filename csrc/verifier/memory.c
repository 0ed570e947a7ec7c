/* memory.c - which accesses are allowed. */
#include "memory.h"

#include "dynptr.h"
#include "plant.h"
#include "lock.h"
#include "precision.h"
#include "refs.h"

#define STACK_BYTES 512

static enum pf_err too_negative(struct pf_verifier *v, const struct pf_vreg *r, const struct pf_access *a)
{
	pf_v_help(v, "prove that the offset added to the pointer in r%u is not negative: mask it (`off &= 63`) or make it unsigned",
		  a->regno);
	return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_NEGATIVE, r->s.smin, a->regno, pf_v_kind_text(r));
}

/* most: the largest offset that would do, of `there` bytes. */
static enum pf_err unbounded(struct pf_verifier *v, const struct pf_vreg *r, const struct pf_access *a, int64_t most,
			     int64_t there)
{
	if (most >= 0)
		pf_v_help(v, "bound the byte offset added to r%u before this access: `if (offset > %lld) return ...`, or mask it; %lld "
			  "bytes are there", a->regno, (long long)most, (long long)there);
	else
		pf_v_help(v, "bound the byte offset added to r%u before this access; %lld bytes are there", a->regno,
			  (long long)there);
	return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_UNBOUNDED, a->regno, PF_V_MAX_OFF, pf_v_kind_text(r));
}

/* Of memory whose length is known. */
static enum pf_err check_sized(struct pf_verifier *v, const struct pf_vreg *r, const struct pf_access *a, uint64_t limit)
{
	const int64_t off = (int64_t)r->off + a->off;

	if (r->s.smin < -PF_V_MAX_OFF || off + r->s.smin < 0)
		return too_negative(v, r, a);
	if (r->s.umax >= PF_V_MAX_OFF)
		return unbounded(v, r, a, (int64_t)limit - off - a->size, (int64_t)limit);
	if ((uint64_t)(off + (int64_t)r->s.umax) + PF_PLANTED(31, 1, a->size) > limit) {
		const int64_t end = off + (int64_t)r->s.umax + a->size;
		const int64_t most = (int64_t)limit - off - a->size;
		if (r->s.umin != r->s.umax && most >= 0)
			pf_v_help(v, "the byte offset added to r%u may be %llu, at most %lld is in bounds: check it before (`if (offset > "
				  "%lld) return ...`), or mask it", a->regno, (unsigned long long)r->s.umax, (long long)most,
				  (long long)most);
		else
			pf_v_help(v, "access bytes 0 to %lld only, or make the memory larger", (long long)limit - 1);
		return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_OUTSIDE, end, (int64_t)limit, pf_v_kind_text(r));
	}
	return PF_OK;
}

static enum pf_err check_packet(struct pf_verifier *v, const struct pf_vreg *r, const struct pf_access *a)
{
	const int64_t off = (int64_t)r->off + a->off, end = off + a->size;
	const bool meta = r->kind == PF_V_META;
	const char *edge = v->in->type == PF_PROG_MEMORY ? "r1 + r2" : meta ? "data" : "data_end";

	if (r->s.smin < 0)
		return too_negative(v, r, a);
	if (off < 0)
		pf_v_help(v, "a comparison with `%s` proves bytes behind a pointer, never before it", edge);
	if (off < 0)
		return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_BEFORE, -off, a->regno, pf_v_kind_text(r));
	if (end <= r->range + PF_PLANTED(27, 1, 0) && !r->edge) {
		pf_prec_mark(v, r->node);
		return PF_OK;
	}
	if (r->id)
		pf_v_help(v, "compare `r%u + %lld` with `%s` after the variable offset was added, before this access: %u bytes "
			  "are proved, %lld are needed", a->regno, (long long)(end - r->off), edge, r->range, (long long)end);
	else
		pf_v_help(v, "compare `%s + %lld` with `%s` before this access: %u bytes are proved, %lld are needed",
			  v->in->type == PF_PROG_MEMORY ? "r1" : meta ? "data_meta" : "data", (long long)end, edge, r->range,
			  (long long)end);
	return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_PACKET, r->range, end, pf_v_kind_text(r));
}

static enum pf_err check_stack(struct pf_verifier *v, const struct pf_vreg *r, const struct pf_access *a)
{
	const int64_t off = (int64_t)r->off + a->off;

	if (r->s.smin <= -PF_V_MAX_OFF || r->s.smax >= PF_V_MAX_OFF)
		return unbounded(v, r, a, -off - a->size, -off);
	const int64_t low = off + r->s.smin, high = off + r->s.smax + a->size;
	if (low < -STACK_BYTES || low > -1 || PF_PLANTED(38, 0, high) > 0) {
		pf_v_help(v, "a frame's stack is the %d bytes below r10; this access covers r10%+lld to r10%+lld", STACK_BYTES,
			  (long long)low, (long long)high);
		return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_STACK, low, high, NULL);
	}
	struct pf_vsub *sub = &v->subs[v->cur.frames[r->frame].subprog];
	if (-low > sub->depth)
		sub->depth = (uint32_t)-low;
	return PF_OK;
}

static enum pf_err check_map_flags(struct pf_verifier *v, const struct pf_vreg *r, bool write)
{
	const uint32_t flags = pf_v_map(v, r)->flags;

	if (PF_PLANTED(48, false, write) && (flags & PF_MAP_F_RDONLY_PROG))
		return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_MAP_READONLY, 0, 0, NULL);
	if (!write && (flags & PF_MAP_F_WRONLY_PROG))
		return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_MAP_WRITEONLY, 0, 0, NULL);
	return PF_OK;
}

static const struct {
	uint32_t offset, size;
	enum pf_vkind kind;
	uint32_t types;
} ctx_fields[] = {
#define KIND_PACKET PF_V_PACKET
#define KIND_PACKET_END PF_V_END
#define KIND_PACKET_META PF_V_META
#define KIND_SCALAR PF_V_SCALAR
#define PF_CTX_FIELD(name, offset, size, kind, access, types) { offset, size, KIND_##kind, PF_CTX_TYPES_##types },
#include "../tables/ctx_field.def"
#undef PF_CTX_FIELD
};

static enum pf_err check_ctx(struct pf_verifier *v, const struct pf_vreg *r, const struct pf_access *a)
{
	if (r->off || !pf_scalar_is_const(&r->s) || r->s.t.value)
		return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_CTX_MOVED, a->regno, r->off, NULL);
	if (a->write)
		return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_CTX_WRITE, a->off, 0, NULL);
	for (uint32_t f = 0; f < PF_CTX_FIELDS; f++) {
		if ((int64_t)ctx_fields[f].offset != a->off || ctx_fields[f].size != a->size ||
		    !(ctx_fields[f].types >> v->in->type & 1) ||
		    (a->sign && ctx_fields[f].kind != PF_V_SCALAR))
			continue;
		if (f == PF_CTX_egress_ifindex && !(v->in->want & PF_VERIFY_EGRESS))
			return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_CTX_EGRESS, a->off, 0, NULL);
		return PF_OK;
	}
	return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_CTX_FIELD, a->off, a->size, NULL);
}

static bool aligned(const struct pf_vreg *r, const struct pf_access *a)
{
	const struct pf_tnum at = pf_tnum_add(r->s.t, (struct pf_tnum){ (uint64_t)((int64_t)r->off + a->off), 0 });
	return ((at.value | at.mask) & (a->size - 1)) == 0;
}

/* Part of a spilled pointer is no value a program may compute with. */
static enum pf_err check_fill(struct pf_verifier *v, const struct pf_vreg *r, const struct pf_access *a)
{
	if (!pf_scalar_is_const(&r->s))
		return PF_OK;
	const int64_t off = (int64_t)r->off + a->off + (int64_t)r->s.t.value;
	const struct pf_vframe *frame = &v->cur.frames[r->frame];
	const uint32_t i = (uint32_t)(-(off + 1) / 8);
	if (i >= frame->slots || a->size == 8)
		return PF_OK;
	const struct pf_vslot *slot = &frame->stack[i];
	if (slot->byte[0] == PF_V_SPILL && pf_v_is_pointer(&slot->reg))
		return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_FILL_SIZE, a->size, 8, pf_v_kind_text(&slot->reg));
	return PF_OK;
}

/* What is followed is no pointer, or none that can be followed: what was it? */
static enum pf_err not_memory(struct pf_verifier *v, const struct pf_vreg *r, uint32_t regno)
{
	if (r->kind == PF_V_SCALAR && r->size)
		return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_STALE, regno, r->size - 1, pf_v_callee(v, r->size - 1));
	if (pf_v_is_null(r))
		pf_v_help(v, "r%u is NULL on this path, not a pointer: make the access on the other branch of the check", regno);
	else if (r->kind == PF_V_MAP)
		pf_v_help(v, "r%u points to a map, not to a value in it: bpf_map_lookup_elem gives a pointer to a value", regno);
	else if (r->kind == PF_V_END)
		pf_v_help(v, "data_end is there to compare packet pointers with: what it points at lies behind the packet");
	return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_NOT_MEMORY, regno, 0, pf_v_kind_text(r));
}

/* What a lookup in an xskmap gives (struct bpf_xdp_sock): the number of its queue can be read, and nothing else. */
static enum pf_err check_socket(struct pf_verifier *v, const struct pf_vreg *r, const struct pf_access *a)
{
	const int64_t at = (int64_t)r->off + a->off;

	if (a->write)
		return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_MAP_READONLY, 0, 0, NULL);
	if (at || a->size != 4 || !pf_scalar_is_const(&r->s) || r->s.t.value) {
		pf_v_help(v, "read the 4 bytes of queue_id at the beginning of an AF_XDP socket: nothing else of it can be read");
		return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_OUTSIDE, at + a->size, 4, pf_v_kind_text(r));
	}
	return PF_OK;
}

static enum pf_err check_bounds(struct pf_verifier *v, const struct pf_vreg *r, const struct pf_access *a)
{
	enum pf_err err;

	switch ((enum pf_vkind)r->kind) {
	case PF_V_PACKET:
	case PF_V_META:
		return check_packet(v, r, a);
	case PF_V_STACK:
		return check_stack(v, r, a);
	case PF_V_VALUE:
		if (pf_v_map(v, r)->type == PF_MAP_XSKMAP)
			return check_socket(v, r, a);
		err = check_map_flags(v, r, a->write);
		if (!err)
			err = check_sized(v, r, a, pf_v_map(v, r)->value_size);
		return err ? err : pf_lock_check_access(v, r, a);
	case PF_V_KEY:
	case PF_V_MEM:
		if (a->write && r->kind == PF_V_KEY)
			return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_KEY_WRITE, a->regno, 0, NULL);
		if (a->write && r->read_only)
			return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_SLICE_WRITE, a->regno, 0, NULL);
		return check_sized(v, r, a, r->size);
	case PF_V_SOCK:
	case PF_V_SOCK_COMMON:
		return pf_refs_check_load(v, r, a);
	case PF_V_CONN:
	case PF_V_CONN_INIT:
		return pf_refs_check_conn(v, r, a);
	case PF_V_CTX:
	case PF_V_NONE:
	case PF_V_SCALAR:
	case PF_V_END:
	case PF_V_MAP:
	case PF_V_FUNC:
	case PF_V_DYNPTR:
	case PF_V_KINDS:
		break;
	}
	return not_memory(v, r, a->regno);
}

enum pf_err pf_check_access(struct pf_verifier *v, const struct pf_vreg *r, const struct pf_access *a)
{
	if (PF_PLANTED(28, false, r->null)) {
		pf_v_help(v, "check r%u against NULL before using it", a->regno);
		return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_NULL, a->regno, 0, pf_v_kind_text(r));
	}
	if (a->atomic && (r->kind == PF_V_CTX || pf_v_is_socket(r) || (pf_v_is_packet(r) && pf_prog_type_has_packet(v->in->type))))
		return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_ATOMIC, a->regno, 0, pf_v_kind_text(r));
	if (r->kind == PF_V_CTX)
		return check_ctx(v, r, a);
	if ((a->atomic || r->kind == PF_V_STACK) && a->size > 1 && !aligned(r, a))
		return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_ALIGN, (int64_t)r->off + a->off, a->size, pf_v_kind_text(r));
	enum pf_err err = check_bounds(v, r, a);
	if (!err && a->atomic && a->write) {
		struct pf_access read = *a;
		read.write = false;
		err = check_bounds(v, r, &read);
	}
	if (err || r->kind != PF_V_STACK || (a->write && !a->atomic))
		return err;
	err = check_fill(v, r, a);
	return err ? err : pf_dynptr_check_access(v, r, a);
}

enum pf_err pf_check_region(struct pf_verifier *v, const struct pf_vreg *r, const struct pf_access *a)
{
	const enum pf_err err = check_bounds(v, r, a);
	return err || r->kind != PF_V_STACK ? err : pf_dynptr_check_access(v, r, a);
}

/* ---- transfer ---- */

static struct pf_vslot *slot_at(struct pf_vframe *frame, uint32_t i)
{
	while (frame->slots <= i)
		memset(frame->stack[frame->slots++].byte, PF_V_MISC, 8);
	return &frame->stack[i];
}

static uint32_t spilled(const struct pf_vslot *slot)
{
	uint32_t n = 0;
	while (n < 8 && slot->byte[n] == PF_V_SPILL)
		n++;
	return n;
}

static bool all_zero(const struct pf_vslot *slot, uint32_t from, uint32_t size)
{
	for (uint32_t i = from; i < from + size; i++)
		if (slot->byte[i] != PF_V_ZERO)
			return false;
	return true;
}

static void load_stack(struct pf_verifier *v, const struct pf_vreg *r, const struct pf_access *a, struct pf_vreg *to)
{
	const struct pf_scalar unknown = a->size == 8 ? pf_scalar_unknown() : pf_scalar_loaded(a->size, false);

	if (!pf_scalar_is_const(&r->s)) {
		pf_v_set_scalar(v, to, &unknown);
		return;
	}
	struct pf_vframe *frame = &v->cur.frames[r->frame];
	const int64_t off = (int64_t)r->off + a->off + (int64_t)r->s.t.value;
	const uint32_t i = (uint32_t)(-(off + 1) / 8), in = (uint32_t)(off & 7);
	if (i >= frame->slots) {
		pf_v_set_scalar(v, to, &unknown);
		return;
	}
	const struct pf_vslot *slot = &frame->stack[i];
	const uint32_t n = spilled(slot);
	if (in == 0 && n >= a->size) {
		struct pf_vreg value = slot->reg;
		if (PF_PLANTED(35, false, a->size < 8 && value.s.umax >> (a->size * 8))) {
			value.s = pf_scalar_truncate(&value.s, a->size);
			value.id = 0;
			value.length = 0;
			value.node = pf_prec_node(v, value.node, 0);
		}
		*to = value;
	} else if (all_zero(slot, in, a->size)) {
		pf_v_set_const(v, to, 0);
	} else if (n >= in + a->size && slot->reg.kind == PF_V_SCALAR && pf_scalar_is_const(&slot->reg.s)) {
		const uint32_t node = slot->reg.node;
		const uint64_t part = slot->reg.s.t.value >> (in * 8);
		const uint64_t mask = a->size == 8 ? UINT64_MAX : (UINT64_C(1) << (a->size * 8)) - 1;
		pf_v_set_const(v, to, part & mask);
		to->node = pf_prec_node(v, node, 0);
	} else {
		pf_v_set_scalar(v, to, &unknown);
	}
}

static void load_ctx(struct pf_verifier *v, const struct pf_access *a, struct pf_vreg *to)
{
	for (uint32_t f = 0; f < PF_CTX_FIELDS; f++) {
		if ((int64_t)ctx_fields[f].offset != a->off)
			continue;
		if (ctx_fields[f].kind != PF_V_SCALAR) {
			pf_v_set_pointer(to, ctx_fields[f].kind);
			return;
		}
	}
	const struct pf_scalar word = pf_scalar_loaded(4, false);
	pf_v_set_scalar(v, to, &word);
}

static bool load_constant(const struct pf_verifier *v, const struct pf_vreg *r, const struct pf_access *a, uint64_t *value)
{
	if (r->kind != PF_V_VALUE || r->inner || !v->in->maps[r->map].contents || !pf_scalar_is_const(&r->s))
		return false;
	const struct pf_map_def *def = pf_v_map(v, r);
	if (!(def->flags & PF_MAP_F_RDONLY_PROG) || def->max_entries != 1)
		return false;
	const uint64_t off = (uint64_t)((int64_t)r->off + a->off) + r->s.t.value;
	*value = 0;
	memcpy(value, v->in->maps[r->map].contents + PF_PLANTED(49, off / 16 * 16, off), a->size);
	return true;
}

void pf_transfer_load(struct pf_verifier *v, struct pf_vreg r, const struct pf_access *a, bool sign, struct pf_vreg *to)
{
	uint64_t value;

	if (r.kind == PF_V_STACK) {
		load_stack(v, &r, a, to);
	} else if (r.kind == PF_V_CTX) {
		load_ctx(v, a, to);
	} else if (load_constant(v, &r, a, &value)) {
		pf_v_set_const(v, to, value);
	} else if (a->size == 8) {
		pf_v_set_unknown(v, to);
	} else {
		const struct pf_scalar s = pf_scalar_loaded(a->size, PF_PLANTED(14, false, sign));
		pf_v_set_scalar(v, to, &s);
		return;
	}
	if (sign && to->kind == PF_V_SCALAR && a->size < 8) {
		to->s = pf_scalar_sext(&to->s, a->size * 8, true);
		to->id = 0;
		to->off = 0;
		to->length = 0;
		to->node = pf_prec_node(v, to->node, 0);
	}
}

/* The slot's spilled register is overwritten in part: its other bytes are no longer known. */
static void scrub(struct pf_vslot *slot)
{
	for (uint32_t i = 0; i < 8; i++)
		if (slot->byte[i] == PF_V_SPILL)
			slot->byte[i] = PF_V_MISC;
}

static void store_known(struct pf_verifier *v, const struct pf_vreg *r, const struct pf_access *a,
			const struct pf_vreg *value)
{
	const int64_t off = (int64_t)r->off + a->off + (int64_t)r->s.t.value;
	const uint32_t in = (uint32_t)(off & 7);
	const uint32_t i = (uint32_t)(-(off + 1) / 8);
	struct pf_vslot *slot = slot_at(&v->cur.frames[r->frame], i);

	pf_dynptr_end(v, r->frame, i);
	if (PF_PLANTED(33, false, true))
		scrub(slot);
	if (value && in == 0 && (a->size == 8 || value->kind == PF_V_SCALAR)) {
		slot->reg = *value;
		memset(slot->byte, PF_V_SPILL, a->size);
		if (a->size < 8 && value->s.umax >> (a->size * 8)) {
			slot->reg.s = pf_scalar_truncate(&value->s, a->size);
			slot->reg.id = 0;
			slot->reg.length = 0;
			slot->reg.node = pf_prec_node(v, value->node, 0);
		}
		return;
	}
	const bool zero = value && pf_v_is_null(value);
	if (zero)
		pf_prec_mark(v, value->node);
	memset(slot->byte + in, zero ? PF_V_ZERO : PF_V_MISC, a->size);
}

/* Bytes low .. high of the frame may have been written. */
static void store_anywhere(struct pf_verifier *v, uint32_t f, int64_t low, int64_t high, bool zero)
{
	struct pf_vframe *frame = &v->cur.frames[f];

	for (uint32_t i = 0; i < frame->slots; i++) {
		const int64_t start = -8 * ((int64_t)i + 1);
		struct pf_vslot *slot = &frame->stack[i];
		if (start >= high || start + 8 <= low)
			continue;
		pf_dynptr_end(v, f, i);
		const uint32_t n = spilled(slot);
		const bool null = n && pf_v_is_null(&slot->reg) && zero;
		if (PF_PLANTED(34, false, !null))
			scrub(slot);
		for (uint32_t b = 0; b < 8; b++)
			if (start + b >= low && start + b < high && !zero)
				slot->byte[b] = PF_V_MISC;
	}
}

void pf_transfer_store(struct pf_verifier *v, const struct pf_vreg *r, const struct pf_access *a,
		       const struct pf_vreg *value)
{
	if (r->kind == PF_V_MEM && !r->acquired)
		pf_dynptr_written(v);
	if (r->kind != PF_V_STACK)
		return;
	const int64_t off = (int64_t)r->off + a->off;
	if (pf_scalar_is_const(&r->s) && a->size <= 8 && (a->size & (a->size - 1)) == 0 &&
	    ((off + (int64_t)r->s.t.value) & (a->size - 1)) == 0 && a->size) {
		store_known(v, r, a, value);
		return;
	}
	const bool zero = value && pf_v_is_null(value);
	if (zero)
		pf_prec_mark(v, value->node);
	store_anywhere(v, r->frame, off + r->s.smin, off + r->s.smax + a->size, zero);
}

bool pf_memory_known(struct pf_verifier *v, const struct pf_vreg *r, uint32_t size, uint64_t *value)
{
	if (r->kind == PF_V_VALUE) {
		const struct pf_access a = { .size = size };
		return size <= 8 && load_constant(v, r, &a, value);
	}
	if (r->kind != PF_V_STACK || !pf_scalar_is_const(&r->s) || !size || size > 8)
		return false;
	const struct pf_vframe *frame = &v->cur.frames[r->frame];
	const int64_t off = r->off + (int64_t)r->s.t.value;
	const uint32_t i = (uint32_t)(-(off + 1) / 8), in = (uint32_t)(off & 7);
	if (i >= frame->slots || in + size > 8)
		return false;
	const struct pf_vslot *slot = &frame->stack[i];
	*value = 0;
	if (all_zero(slot, in, size))
		return true;
	if (spilled(slot) < in + size || slot->reg.kind != PF_V_SCALAR || !pf_scalar_is_const(&slot->reg.s))
		return false;
	*value = slot->reg.s.t.value >> (in * 8);
	if (size < 8)
		*value &= (UINT64_C(1) << (size * 8)) - 1;
	pf_prec_mark(v, slot->reg.node);
	return true;
}
