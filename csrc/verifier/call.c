/* call.c - helper calls against their rows, and the callbacks they make. */
#include "branch.h"
#include "dynptr.h"
#include "plant.h"
#include "lock.h"
#include "precision.h"
#include "prune.h"
#include "refs.h"
#include "step.h"

struct call {
	const struct pf_helper_info *info;
	uint32_t insn;
	const struct pf_vreg *map; /* NULL before a MAP argument was seen */
	int64_t key;               /* of a lookup, when constant; else -1 */
	uint32_t size;             /* that a CONST_SIZE argument says */
	uint32_t callback;         /* subprogram; UINT32_MAX: none */
};

enum pf_err pf_call_refuse_arg(struct pf_verifier *v, const struct pf_helper_info *info, uint32_t a, const char *expected)
{
	const struct pf_vreg *r = pf_v_reg(v, a + 1);

	if (r->kind == PF_V_SCALAR && r->size)
		return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_STALE, a + 1, r->size - 1, pf_v_callee(v, r->size - 1));
	pf_v_help(v, "argument %u of bpf_%s must be %s; r%u holds a %s", a + 1, info->name, expected, a + 1,
		  pf_v_kind_text(r));
	return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_ARGUMENT, a + 1, r->kind, info->name);
}

static enum pf_err refuse_arg(struct pf_verifier *v, const struct call *c, uint32_t a, const char *expected)
{
	return pf_call_refuse_arg(v, c->info, a, expected);
}

/* ---- maps ---- */

static bool is_outer(enum pf_map_type t) { return t == PF_MAP_ARRAY_OF_MAPS || t == PF_MAP_HASH_OF_MAPS; }

static enum pf_err check_map(struct pf_verifier *v, struct call *c, uint32_t a)
{
	const struct pf_vreg *r = pf_v_reg(v, a + 1);

	if (r->kind != PF_V_MAP || r->null || r->off)
		return refuse_arg(v, c, a, r->null ? "a map that was checked against NULL" : "a map");
	c->map = r;
	const struct pf_map_def *def = pf_v_map(v, r);
	if (!pf_helper_takes_map(c->info->number, def->type)) {
		pf_v_help(v, "bpf_%s works on other types of maps than %s: pass another map, or call the helper made for this type",
			  c->info->name, pf_map_type_text(def->type));
		return pf_v_refuse(v, PF_EINVAL, PF_DIAG_VER_MAP_TYPE, def->type, 0, c->info->name);
	}
	const bool writes = c->info->number == PF_HELPER_ID_map_update_elem ||
			    c->info->number == PF_HELPER_ID_map_delete_elem ||
			    c->info->number == PF_HELPER_ID_map_push_elem ||
			    c->info->number == PF_HELPER_ID_map_pop_elem;
	if (writes && (def->flags & PF_MAP_F_RDONLY_PROG))
		return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_MAP_READONLY, 0, 0, NULL);
	return PF_OK;
}

/* ---- memory ---- */

/* Helpers that take packet bytes as memory; Linux: pkt_access of the prototype. */
static bool takes_packet(uint32_t helper)
{
	switch (helper) {
	case PF_HELPER_ID_map_lookup_elem:
	case PF_HELPER_ID_map_update_elem:
	case PF_HELPER_ID_map_delete_elem:
	case PF_HELPER_ID_map_lookup_percpu_elem:
	case PF_HELPER_ID_map_push_elem:
	case PF_HELPER_ID_csum_diff:
	case PF_HELPER_ID_sk_lookup_tcp:
	case PF_HELPER_ID_sk_lookup_udp:
	case PF_HELPER_ID_skc_lookup_tcp:
	case PF_HELPER_ID_tcp_check_syncookie:
	case PF_HELPER_ID_tcp_gen_syncookie:
	case PF_HELPER_ID_tcp_raw_gen_syncookie_ipv4:
	case PF_HELPER_ID_tcp_raw_gen_syncookie_ipv6:
	case PF_HELPER_ID_tcp_raw_check_syncookie_ipv4:
	case PF_HELPER_ID_tcp_raw_check_syncookie_ipv6:
	case PF_HELPER_ID_xdp_ct_lookup:
	case PF_HELPER_ID_xdp_ct_alloc:
		return true;
	}
	return false;
}

/* Linux knows what bpf_dynptr_slice gives in arguments of these kinds alone. */
static bool takes_slice(enum pf_helper_arg kind, bool read_only)
{
	if (kind == PF_ARG_MEM_READ || kind == PF_ARG_MEM_READ_OR_NULL || kind == PF_ARG_MEM_READ_20 || kind == PF_ARG_MEM_READ_40)
		return true;
	return !read_only && kind != PF_ARG_MAP_KEY && kind != PF_ARG_MAP_VALUE && kind != PF_ARG_MAP_VALUE_OUT;
}

static enum pf_err check_memory(struct pf_verifier *v, const struct call *c, uint32_t a, uint32_t size, bool write)
{
	const struct pf_vreg *r = pf_v_reg(v, a + 1);
	const struct pf_access access = { .regno = a + 1, .size = size, .write = write };

	if (r->kind != PF_V_STACK && !pf_v_is_packet(r) && r->kind != PF_V_VALUE && r->kind != PF_V_KEY &&
	    r->kind != PF_V_MEM)
		return refuse_arg(v, c, a, "a pointer to memory: stack, packet or map value");
	if (r->null)
		return refuse_arg(v, c, a, "a pointer that was checked against NULL");
	if (r->kind == PF_V_VALUE && pf_v_map(v, r)->type == PF_MAP_XSKMAP)
		return refuse_arg(v, c, a, "a pointer to memory, which an AF_XDP socket is not");
	if (r->kind == PF_V_MEM && r->slice && !takes_slice(c->info->args[a], r->read_only))
		return refuse_arg(v, c, a, "memory that is no slice: copy its bytes");
	if (pf_v_is_packet(r) && pf_prog_type_has_packet(v->in->type) && !takes_packet(c->info->number)) {
		pf_v_help(v, "copy the bytes to the stack first: bpf_%s does not take packet memory", c->info->name);
		return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_HELPER_PACKET, a + 1, 0, c->info->name);
	}
	return pf_check_region(v, r, &access);
}

static enum pf_err check_sized(struct pf_verifier *v, const struct call *c, uint32_t a, bool write)
{
	const struct pf_vreg *r = pf_v_reg(v, a + 1), *size = pf_v_reg(v, a + 2);
	const bool zero = c->info->args[a + 1] == PF_ARG_SIZE_OR_ZERO;

	if (size->kind != PF_V_SCALAR)
		return refuse_arg(v, c, a + 1, "a size");
	pf_prec_mark(v, size->node);
	if (size->s.smin < 0) {
		pf_v_help(v, "make the size unsigned, or mask it: `size &= 63`");
		return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_SIZE_NEGATIVE, a + 2, size->s.smin, c->info->name);
	}
	if (size->s.umin == 0 && !zero) {
		pf_v_help(v, "check that the size in r%u is not 0 before the call", a + 2);
		return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_SIZE_ZERO, a + 2, 0, c->info->name);
	}
	if (size->s.umax >= PF_V_MAX_OFF) {
		pf_v_help(v, "bound the size in r%u before the call: `if (size > LIMIT) return ...`", a + 2);
		return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_SIZE_UNBOUNDED, a + 2, 0, c->info->name);
	}
	const uint8_t kind = c->info->args[a];
	if ((kind == PF_ARG_MEM_READ_OR_NULL || kind == PF_ARG_MEM_UPDATE_OR_NULL) && pf_v_is_null(r) && size->s.umax == 0 && zero) {
		pf_prec_mark(v, r->node);
		return PF_OK;
	}
	return check_memory(v, c, a, (uint32_t)PF_PLANTED(39, size->s.umin, size->s.umax), write);
}

static enum pf_err check_fixed(struct pf_verifier *v, const struct call *c, uint32_t a)
{
	const enum pf_helper_arg kind = c->info->args[a];
	const enum pf_err err = check_memory(v, c, a, pf_helper_arg_bytes(kind), kind == PF_ARG_MEM_UPDATE_4);
	const struct pf_vreg *r = pf_v_reg(v, a + 1);
	/* What is updated is aligned, as an atomic operation is, and as every store to the stack: there a helper, which gets no
	 * value from it, may also read a part of a spilled pointer. */
	const struct pf_access aligned = { .regno = a + 1, .size = 4, .write = true, .atomic = r->kind != PF_V_STACK };
	return err || kind != PF_ARG_MEM_UPDATE_4 ? err : pf_check_access(v, r, &aligned);
}

static enum pf_err check_key(struct pf_verifier *v, struct call *c, uint32_t a)
{
	const struct pf_map_def *def = pf_v_map(v, c->map);
	enum pf_err err = check_memory(v, c, a, PF_PLANTED(40, 1, def->key_size), false);
	uint64_t key;

	if (!err && c->info->number == PF_HELPER_ID_map_lookup_elem && def->key_size == 4 &&
	    (def->type == PF_MAP_ARRAY || def->type == PF_MAP_PERCPU_ARRAY) && pf_v_reg(v, a + 1)->kind == PF_V_STACK &&
	    !(c->map->inner && (def->flags & PF_MAP_F_INNER_MAP)) && pf_memory_known(v, pf_v_reg(v, a + 1), 4, &key))
		c->key = (int64_t)key;
	return err;
}

static enum pf_err check_callback(struct pf_verifier *v, struct call *c, uint32_t a)
{
	const struct pf_vreg *r = pf_v_reg(v, a + 1);

	if (r->kind != PF_V_FUNC || r->off || !pf_scalar_is_const(&r->s) || r->s.t.value)
		return refuse_arg(v, c, a, "a callback: the address of a static function of this program");
	if (r->size == 0 || v->subs[r->size].global)
		return pf_v_refuse(v, PF_EINVAL, PF_DIAG_VER_CALLBACK, r->size, 0, c->info->name);
	c->callback = r->size;
	return PF_OK;
}

static enum pf_err check_const_size(struct pf_verifier *v, struct call *c, uint32_t a)
{
	const struct pf_vreg *r = pf_v_reg(v, a + 1);

	if (r->kind != PF_V_SCALAR || !pf_scalar_is_const(&r->s))
		return refuse_arg(v, c, a, "a number that is known when the program is loaded");
	pf_prec_mark(v, r->node);
	c->size = (uint32_t)r->s.t.value; /* what the callee takes, or less than it, where it takes 64 bits and refuses as many */
	return PF_OK;
}

static enum pf_err check_socket(struct pf_verifier *v, const struct call *c, uint32_t a)
{
	const struct pf_vreg *r = pf_v_reg(v, a + 1);
	const bool xsk = r->kind == PF_V_VALUE && pf_v_map(v, r)->type == PF_MAP_XSKMAP;

	if (!(pf_v_is_socket(r) || xsk) || r->null)
		return refuse_arg(v, c, a, r->null ? "a socket that was checked against NULL" : "a socket");
	return PF_OK;
}

static enum pf_err check_record(struct pf_verifier *v, const struct call *c, uint32_t a)
{
	const struct pf_vreg *r = pf_v_reg(v, a + 1);

	if (r->kind != PF_V_MEM || !r->acquired || r->null || r->off || !pf_scalar_is_const(&r->s) || r->s.t.value)
		return refuse_arg(v, c, a, r->null ? "a record that was checked against NULL" :
						     "a record as bpf_ringbuf_reserve gave it");
	return PF_OK;
}

/* bpf_map_peek_elem on a bloom filter asks about the value. */
static bool out_reads(struct pf_verifier *v, const struct call *c)
{
	return pf_v_map(v, c->map)->type == PF_MAP_BLOOM_FILTER;
}

/* What was allocated and what is in the table have functions of their own, as in Linux. */
static enum pf_err check_conn(struct pf_verifier *v, const struct call *c, uint32_t a)
{
	const struct pf_vreg *r = pf_v_reg(v, a + 1);
	const bool fresh = c->info->args[a] == PF_ARG_CONN_INIT;
	if (r->kind == (fresh ? PF_V_CONN_INIT : PF_V_CONN) && !r->null)
		return PF_OK;
	return refuse_arg(v, c, a, pf_v_is_conn(r) && r->null ? "a connection that was checked against NULL" :
				   fresh ? "a connection as bpf_xdp_ct_alloc gave it, not in the table yet" :
					   "a connection in the table, as bpf_xdp_ct_lookup gave it");
}

static enum pf_err check_arg(struct pf_verifier *v, struct call *c, uint32_t a)
{
	const struct pf_vreg *r = pf_v_reg(v, a + 1);

	switch ((enum pf_helper_arg)c->info->args[a]) {
	case PF_ARG_ANYTHING: /* kernel functions have types, and these are numbers */
		if (c->info->number >= PF_KFUNC_FIRST && r->kind != PF_V_SCALAR)
			return refuse_arg(v, c, a, "a number");
		return PF_OK;
	case PF_ARG_NONE:
	case PF_ARG_SIZE: /* with the memory before it */
	case PF_ARG_SIZE_OR_ZERO:
		return PF_OK;
	case PF_ARG_CTX:
		if (r->kind != PF_V_CTX || r->off || !pf_scalar_is_const(&r->s) || r->s.t.value)
			return refuse_arg(v, c, a, "the ctx as the program got it");
		return PF_OK;
	case PF_ARG_MAP:
	case PF_ARG_PROG_ARRAY:
	case PF_ARG_PORT_MAP:
		return check_map(v, c, a);
	case PF_ARG_MAP_KEY:
		return check_key(v, c, a);
	case PF_ARG_MAP_VALUE:
		return check_memory(v, c, a, pf_v_map(v, c->map)->value_size, false);
	case PF_ARG_MAP_VALUE_OUT:
		return check_memory(v, c, a, pf_v_map(v, c->map)->value_size, !out_reads(v, c));
	case PF_ARG_MEM_READ:
	case PF_ARG_MEM_READ_OR_NULL:
		return check_sized(v, c, a, false);
	case PF_ARG_MEM_WRITE: case PF_ARG_MEM_UPDATE: case PF_ARG_MEM_UPDATE_OR_NULL:
		if (c->info->number == PF_HELPER_ID_dynptr_from_mem && r->kind != PF_V_VALUE)
			return refuse_arg(v, c, a, "a pointer into a map value");
		return check_sized(v, c, a, true);
	case PF_ARG_OUT_16:
	case PF_ARG_OUT_32:
	case PF_ARG_OUT_64:
		return check_memory(v, c, a, pf_helper_arg_bytes(c->info->args[a]), true);
	case PF_ARG_MEM_UPDATE_4:
	case PF_ARG_MEM_READ_20:
	case PF_ARG_MEM_READ_40:
		return check_fixed(v, c, a);
	case PF_ARG_FUNC:
		return check_callback(v, c, a);
	case PF_ARG_CONST_SIZE:
		return check_const_size(v, c, a);
	case PF_ARG_SLICE_BUFFER: {
		const enum pf_err err = check_const_size(v, c, a + 1);
		return err ? err : pf_dynptr_check_arg(v, c->info, a, c->size);
	}
	case PF_ARG_DYNPTR:
	case PF_ARG_DYNPTR_NEW_XDP: case PF_ARG_DYNPTR_NEW_LOCAL: case PF_ARG_DYNPTR_NEW_CLONE:
		return pf_dynptr_check_arg(v, c->info, a, 0);
	case PF_ARG_SOCKET:
		return check_socket(v, c, a);
	case PF_ARG_RECORD:
		return check_record(v, c, a);
	case PF_ARG_CONN:
	case PF_ARG_CONN_INIT:
		return check_conn(v, c, a);
	case PF_ARG_SPIN_LOCK:
		return pf_lock_check_call(v, c->info->number);
	case PF_ARG_CALLBACK_CTX:
		if (pf_v_is_null(r))
			pf_prec_mark(v, r->node);
		else if (r->kind != PF_V_STACK)
			return refuse_arg(v, c, a, "a pointer to the stack, or NULL");
		return PF_OK;
	}
	return PF_OK;
}

/* trace_printk's further arguments need not be there: what is printed then is of no use, and harmless. */
static uint32_t required(const struct pf_helper_info *info)
{
	const uint32_t args = info->number == PF_HELPER_ID_trace_printk ? 2 : 5;
	uint32_t regs = 0;
	for (uint32_t a = 0; a < args; a++)
		if (info->args[a] != PF_ARG_NONE)
			regs |= 2u << a;
	return regs;
}

static bool in_callback(const struct pf_verifier *v)
{
	for (uint32_t f = 1; f <= v->cur.depth; f++)
		if (v->cur.frames[f].callback != PF_V_CALL)
			return true;
	return false;
}

/* What does not depend on arguments. */
static enum pf_err check_rules(struct pf_verifier *v, const struct pf_helper_info *info)
{
	if ((info->flags & PF_HELPER_GPL) && !v->in->gpl_compatible)
		return pf_v_refuse(v, PF_EINVAL, PF_DIAG_VER_LICENSE, info->number, 0, info->name);
	if (info->number == PF_HELPER_ID_spin_unlock)
		return PF_OK;
	return pf_lock_check_free(v, PF_DIAG_VER_LOCK_CALL, info->name);
}

static enum pf_err check_helper(struct pf_verifier *v, struct call *c)
{
	enum pf_err err = pf_check_read(v, required(c->info));

	/* A callback belongs to its helper, which must be able to go on. */
	if (!err && c->info->number == PF_HELPER_ID_tail_call && in_callback(v))
		err = pf_v_refuse(v, PF_EINVAL, PF_DIAG_VER_TAIL_CALLBACK, 0, 0, NULL);

	if (v->in->type == PF_PROG_PCAP)
		err = pf_v_refuse(v, PF_EINVAL, PF_DIAG_PROG_HELPER_TYPE, c->info->number, 0, c->info->name);
	else if (v->in->type != PF_PROG_XDP)
		for (uint32_t a = 0; a < 5 && !err; a++)
			if (c->info->args[a] == PF_ARG_CTX)
				err = pf_v_refuse(v, PF_EINVAL, PF_DIAG_PROG_HELPER_TYPE, c->info->number, 0, c->info->name);
	for (uint32_t a = 0; a < 5 && !err; a++)
		err = check_arg(v, c, a);
	if (!err)
		err = pf_refs_check_call(v, c->info);
	return err;
}

/* ---- what a call leaves behind ---- */

/* Bytes that the call writes behind an argument; 0 for one that it only reads. */
static uint32_t written_size(struct pf_verifier *v, const struct call *c, uint32_t a)
{
	const enum pf_helper_arg kind = c->info->args[a];
	if (kind == PF_ARG_MEM_WRITE || kind == PF_ARG_MEM_UPDATE || kind == PF_ARG_MEM_UPDATE_OR_NULL)
		return (uint32_t)pf_v_reg(v, a + 2)->s.umax;
	if (kind == PF_ARG_MAP_VALUE_OUT)
		return out_reads(v, c) ? 0 : pf_v_map(v, c->map)->value_size;
	return kind == PF_ARG_MEM_READ_20 || kind == PF_ARG_MEM_READ_40 ? 0 : pf_helper_arg_bytes(kind);
}

static void write_memory(struct pf_verifier *v, const struct call *c)
{
	for (uint32_t a = 0; a < 5; a++) {
		const struct pf_access access = { .size = written_size(v, c, a), .write = true };
		const struct pf_vreg *r = pf_v_reg(v, a + 1);
		if (PF_PLANTED(37, false, r->kind == PF_V_STACK || r->kind == PF_V_MEM) && access.size)
			pf_transfer_store(v, r, &access, NULL);
	}
}

/* args: the arguments as they were. */
static void set_result(struct pf_verifier *v, const struct call *c, struct pf_vreg map, const struct pf_vreg args[5])
{
	struct pf_vreg *r0 = pf_v_reg(v, 0);

	switch ((enum pf_helper_ret)c->info->ret) {
	case PF_RET_VOID:
		return;
	case PF_RET_INTEGER:
		pf_v_set_unknown(v, r0);
		if (c->info->number == PF_HELPER_ID_get_smp_processor_id && v->in->cpus)
			r0->s = pf_scalar_range(0, v->in->cpus - 1);
		return;
	case PF_RET_SOCKET_OR_NULL:
	case PF_RET_SOCK_COMMON_OR_NULL:
		pf_v_set_pointer(r0, c->info->ret == PF_RET_SOCKET_OR_NULL ? PF_V_SOCK : PF_V_SOCK_COMMON);
		r0->null = 1;
		pf_refs_acquire(v, r0);
		return;
	case PF_RET_CONN_OR_NULL:
	case PF_RET_CONN_INIT_OR_NULL:
		pf_v_set_pointer(r0, c->info->ret == PF_RET_CONN_OR_NULL ? PF_V_CONN : PF_V_CONN_INIT);
		r0->null = 1;
		pf_refs_acquire(v, r0);
		return;
	case PF_RET_RECORD_OR_NULL:
		pf_v_set_pointer(r0, PF_V_MEM);
		r0->size = c->size;
		r0->null = 1;
		pf_refs_acquire(v, r0);
		return;
	case PF_RET_SLICE_OR_NULL:
		pf_dynptr_slice(v, args, c->size, c->info->number, r0);
		return;
	case PF_RET_MAP_VALUE_OR_NULL:
		break;
	}
	const struct pf_map_def *def = pf_v_map(v, &map);
	const bool outer = is_outer(def->type) && !map.inner;
	pf_v_set_pointer(r0, outer ? PF_V_MAP : PF_V_VALUE);
	r0->map = map.map;
	r0->inner = outer || map.inner;
	r0->id = pf_v_new_id(v);
	if (c->key >= 0 && c->key < def->max_entries + PF_PLANTED(30, 1, 0)) {
		if (!pf_lock_of(v, r0))
			r0->id = 0;
		return;
	}
	r0->null = 1;
}

/* ---- callbacks ---- */

static enum pf_err push_callback(struct pf_verifier *v, const struct call *c)
{
	struct pf_vframe *caller = pf_v_frame(v);
	const bool each = c->info->number == PF_HELPER_ID_for_each_map_elem;

	if (!each) {
		const struct pf_vreg *rounds = &caller->regs[1];
		if (rounds->kind != PF_V_SCALAR)
			return refuse_arg(v, c, 0, "a number");
		/* bpf_loop takes the low 32 bits. */
		if (caller->rounds >= PF_PLANTED(47, rounds->s.u32min, rounds->s.u32max)) {
			pf_prec_mark(v, rounds->node);
			return PF_OK;
		}
	}
	if (v->cur.depth + 1 >= PF_V_FRAMES)
		return pf_v_refuse(v, PF_E2BIG, PF_DIAG_VER_FRAMES, PF_V_FRAMES + 1, PF_V_FRAMES, NULL);
	struct pf_vframe *frame = pf_call_enter(v, c->insn, c->callback, each ? PF_V_EACH : PF_V_LOOP);
	if (each) {
		const struct pf_vreg map = caller->regs[1];
		frame->regs[1] = map;
		pf_v_set_pointer(&frame->regs[2], PF_V_KEY);
		frame->regs[2].map = map.map;
		frame->regs[2].inner = map.inner;
		frame->regs[2].size = pf_v_map(v, &map)->key_size;
		pf_v_set_pointer(&frame->regs[3], PF_V_VALUE);
		frame->regs[3].map = map.map;
		frame->regs[3].inner = map.inner;
		if (pf_lock_of(v, &frame->regs[3]))
			frame->regs[3].id = pf_v_new_id(v);
		frame->regs[4] = caller->regs[3];
	} else {
		pf_v_set_unknown(v, &frame->regs[1]);
		frame->regs[2] = caller->regs[3];
	}
	enum pf_err err = pf_explore_push(v, v->subs[c->callback].start);
	v->cur.depth--;
	return err;
}

enum pf_err pf_call_helper(struct pf_verifier *v, uint32_t i)
{
	struct call c = { .info = pf_helper_info((uint32_t)v->insns[i].imm), .insn = i, .key = -1, .callback = UINT32_MAX };
	enum pf_err err = check_rules(v, c.info);

	if (!err)
		err = check_helper(v, &c);
	if (!err && c.callback != UINT32_MAX)
		err = push_callback(v, &c);
	if (err)
		return err;
	const struct pf_vreg map = c.map ? *c.map : (struct pf_vreg){ .kind = PF_V_NONE };
	struct pf_vreg args[5];
	memcpy(args, pf_v_reg(v, 1), sizeof(args));
	write_memory(v, &c);
	pf_dynptr_transfer_call(v, c.info, c.size);
	if (c.info->args[0] == PF_ARG_SPIN_LOCK)
		pf_lock_transfer_call(v, c.info->number);
	if (c.info->flags & PF_HELPER_RELEASES)
		pf_refs_release(v, pf_v_reg(v, 1)->id);
	if (c.info->flags & PF_HELPER_MOVES_PACKET)
		pf_call_forget_packet(v, i);
	pf_v_frame(v)->rounds = 0;
	pf_call_clobber(v);
	set_result(v, &c, map, args);
	v->cur.at = i + 1;
	return c.info->number == PF_HELPER_ID_tail_call && PF_PLANTED(46, 0, v->cur.depth) ? pf_call_return_from_tail(v) : PF_OK;
}
