/* refs.c - references, and the sockets and connections that they are of. */
#include "refs.h"

#include "branch.h"
#include "../prog/conn.h"
#include "../prog/socket.h"

enum pf_err pf_refs_check_none(struct pf_verifier *v, const char *what)
{
	if (!v->cur.ref_count)
		return PF_OK;
	const uint32_t at = v->cur.refs[0].at;
	if (v->insns[at].imm == PF_HELPER_ID_ringbuf_reserve)
		pf_v_help(v, "commit the record on every path, where it is not NULL: bpf_ringbuf_submit() or bpf_ringbuf_discard()");
	if (v->insns[at].imm == PF_HELPER_ID_xdp_ct_alloc)
		pf_v_help(v, "put it into the table on every path, where it is not NULL: bpf_ct_insert_entry() is all that takes it");
	if (v->insns[at].imm == PF_HELPER_ID_xdp_ct_lookup || v->insns[at].imm == PF_HELPER_ID_ct_insert_entry)
		pf_v_help(v, "release it on every path, where it is not NULL: bpf_ct_release()");
	return pf_v_refuse(v, PF_EINVAL, PF_DIAG_VER_REF_LEFT, at, 0, what);
}

static bool is_held(const struct pf_verifier *v, uint32_t id)
{
	for (uint32_t i = 0; i < v->cur.ref_count; i++)
		if (v->cur.refs[i].id == id)
			return true;
	return false;
}

enum pf_err pf_refs_check_call(struct pf_verifier *v, const struct pf_helper_info *info)
{
	/* In a subprogram a tail call replaces that one alone: its callers are returned to, and release. */
	if (info->number == PF_HELPER_ID_tail_call && !v->cur.depth)
		return pf_refs_check_none(v, "a tail call");
	if ((info->flags & PF_HELPER_ACQUIRES) && v->cur.ref_count == PF_V_REFS)
		return pf_v_refuse(v, PF_E2BIG, PF_DIAG_VER_REF_MANY, PF_V_REFS + 1, PF_V_REFS, NULL);
	const struct pf_vreg *r = pf_v_reg(v, 1);
	if ((info->flags & PF_HELPER_RELEASES) && !(r->acquired && is_held(v, r->id)))
		return pf_v_refuse(v, PF_EINVAL, PF_DIAG_VER_REF_NOT_HELD, 1, r->kind, info->name);
	return PF_OK;
}

enum pf_err pf_refs_check_load(struct pf_verifier *v, const struct pf_vreg *r, const struct pf_access *a)
{
	if (a->write)
		return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_SOCKET_WRITE, a->off, a->size, pf_v_kind_text(r));
	if (pf_socket_field(a->off, a->size, r->kind == PF_V_SOCK))
		return PF_OK;
	return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_SOCKET_FIELD, a->off, a->size, pf_v_kind_text(r));
}

enum pf_err pf_refs_check_conn(struct pf_verifier *v, const struct pf_vreg *r, const struct pf_access *a)
{
	if (a->write && !pf_conn_writable(a->off, a->size))
		return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_CONN_WRITE, a->off, a->size, pf_v_kind_text(r));
	if (a->write || pf_conn_field(a->off, a->size))
		return PF_OK;
	return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_CONN_FIELD, a->off, a->size, pf_v_kind_text(r));
}

void pf_refs_acquire(struct pf_verifier *v, struct pf_vreg *r)
{
	r->id = pf_v_new_id(v);
	r->acquired = 1;
	v->cur.refs[v->cur.ref_count++] = (struct pf_vref){ .id = r->id, .at = v->cur.at };
}

void pf_refs_forget(struct pf_verifier *v, uint32_t id)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < v->cur.ref_count; i++)
		if (v->cur.refs[i].id != id)
			v->cur.refs[kept++] = v->cur.refs[i];
	v->cur.ref_count = kept;
}

static void invalidate(struct pf_verifier *v, struct pf_vreg *r, void *user)
{
	const uint32_t *id = user;

	if (pf_v_is_pointer(r) && r->acquired && r->id == *id)
		pf_v_set_unknown(v, r);
}

void pf_refs_release(struct pf_verifier *v, uint32_t id)
{
	pf_refs_forget(v, id);
	pf_v_each_reg(v, invalidate, &id);
}
