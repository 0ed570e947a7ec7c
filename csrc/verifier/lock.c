/* lock.c - bpf_spin_lock regions. */
#include "lock.h"

#include "../map/spin.h"

const struct pf_map_lock *pf_lock_of(const struct pf_verifier *v, const struct pf_vreg *r)
{
	if (r->kind != PF_V_VALUE)
		return NULL;
	const struct pf_verify_map *map = &v->in->maps[r->map];
	const struct pf_map_lock *lock = r->inner ? &map->inner_lock : &map->lock;
	return lock->present ? lock : NULL;
}

enum pf_err pf_lock_check_access(struct pf_verifier *v, const struct pf_vreg *r, const struct pf_access *a)
{
	const struct pf_map_lock *lock = pf_lock_of(v, r);

	if (!lock)
		return PF_OK;
	const int64_t off = (int64_t)r->off + a->off, start = lock->offset;
	if (off + (int64_t)r->s.umax + a->size <= start || off + r->s.smin >= start + PF_SPIN_BYTES)
		return PF_OK;
	pf_v_help(v, "bytes %lld to %lld of this value are its bpf_spin_lock: only bpf_spin_lock() and bpf_spin_unlock() touch "
		  "them", (long long)start, (long long)start + PF_SPIN_BYTES - 1);
	return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_LOCK_ACCESS, off + r->s.smin, start, NULL);
}

enum pf_err pf_lock_check_free(struct pf_verifier *v, enum pf_diag_code code, const char *what)
{
	if (!v->cur.lock.held)
		return PF_OK;
	return pf_v_refuse(v, PF_EINVAL, code, v->cur.lock.taken_at, 0, what);
}

static enum pf_err check_argument(struct pf_verifier *v, const struct pf_vreg *r, const char *helper)
{
	const struct pf_map_lock *lock = pf_lock_of(v, r);

	if (r->null) {
		pf_v_help(v, "check r1 against NULL before using its lock");
		return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_NULL, 1, 0, pf_v_kind_text(r));
	}
	if (!lock) {
		if (r->kind == PF_V_VALUE)
			pf_v_help(v, "no lock is known in this value: its map must be of type hash or array, and the BTF of the value must "
				  "name one struct bpf_spin_lock");
		else
			pf_v_help(v, "argument 1 of bpf_%s must be the address of a bpf_spin_lock in a map value; r1 holds a %s", helper,
				  pf_v_kind_text(r));
		return pf_v_refuse(v, PF_EINVAL, PF_DIAG_VER_ARGUMENT, 1, r->kind, helper);
	}
	if (!pf_scalar_is_const(&r->s))
		return pf_v_refuse(v, PF_EINVAL, PF_DIAG_VER_LOCK_OFFSET, r->off, lock->offset, "a variable offset");
	if ((int64_t)r->off + (int64_t)r->s.t.value != lock->offset)
		return pf_v_refuse(v, PF_EINVAL, PF_DIAG_VER_LOCK_OFFSET, r->off, lock->offset, "another offset");
	return PF_OK;
}

enum pf_err pf_lock_check_call(struct pf_verifier *v, uint32_t helper)
{
	const struct pf_vreg *r = pf_v_reg(v, 1);
	const bool take = helper == PF_HELPER_ID_spin_lock;
	const struct pf_vlock *held = &v->cur.lock;
	enum pf_err err = check_argument(v, r, take ? "spin_lock" : "spin_unlock");

	if (err || take) /* that none is held yet is a rule of every call */
		return err;
	if (!held->held)
		return pf_v_refuse(v, PF_EINVAL, PF_DIAG_VER_LOCK_NOT_HELD, 0, 0, NULL);
	if (held->id != r->id || held->map != r->map || held->inner != r->inner)
		return pf_v_refuse(v, PF_EINVAL, PF_DIAG_VER_LOCK_OTHER, held->taken_at, 0, NULL);
	return PF_OK;
}

void pf_lock_transfer_call(struct pf_verifier *v, uint32_t helper)
{
	const struct pf_vreg *r = pf_v_reg(v, 1);

	if (helper == PF_HELPER_ID_spin_lock)
		v->cur.lock = (struct pf_vlock){ .id = r->id, .taken_at = v->cur.at, .map = r->map, .inner = r->inner, .held = 1 };
	else
		v->cur.lock.held = 0;
}
