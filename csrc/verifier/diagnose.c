/* diagnose.c - what a refusal says: path, registers, help. */
#include <stdarg.h>
#include <stdio.h>

#include "liveness.h"
#include "path.h"
#include "work.h"

const char *pf_v_kind_text(const struct pf_vreg *r)
{
	switch ((enum pf_vkind)r->kind) {
	case PF_V_NONE:
		return "nothing";
	case PF_V_SCALAR:
		return "number";
	case PF_V_CTX:
		return "ctx pointer";
	case PF_V_PACKET:
		return "packet pointer";
	case PF_V_META:
		return "metadata pointer";
	case PF_V_END:
		return "packet end pointer (data_end)";
	case PF_V_STACK:
		return "stack pointer";
	case PF_V_MAP:
		return r->null ? "map pointer or NULL" : "map pointer";
	case PF_V_VALUE:
		return r->null ? "map value pointer or NULL" : "map value pointer";
	case PF_V_KEY:
		return "map key pointer";
	case PF_V_FUNC:
		return "function pointer";
	case PF_V_MEM:
		if (r->acquired)
			return r->null ? "record pointer or NULL" : "record pointer";
		if (r->map != PF_V_NO_MAP)
			return r->null ? "slice pointer or NULL" : "slice pointer";
		return r->null ? "memory pointer or NULL" : "memory pointer";
	case PF_V_SOCK:
		return r->null ? "socket pointer or NULL" : "socket pointer";
	case PF_V_SOCK_COMMON:
		return r->null ? "pointer to a socket of any state, or NULL" : "pointer to a socket of any state";
	case PF_V_DYNPTR:
		return "dynptr";
	case PF_V_CONN:
		return r->null ? "connection pointer or NULL" : "connection pointer";
	case PF_V_CONN_INIT:
		return r->null ? "pointer to an allocated connection, or NULL" : "pointer to an allocated connection";
	case PF_V_KINDS:
		break;
	}
	return "";
}

const char *pf_v_callee(const struct pf_verifier *v, uint32_t call)
{
	const struct pf_helper_info *info = pf_prog_calls_row(v->at[call].op) ?
		pf_helper_info((uint32_t)v->insns[call].imm) : NULL;
	return info ? info->name : "a global function";
}

static size_t range_text(const struct pf_scalar *s, char *out, size_t size)
{
	int n;
	if (pf_scalar_is_const(s))
		n = snprintf(out, size, "%lld", (long long)s->t.value);
	else if (s->umin == 0 && s->umax == UINT64_MAX && s->smin == INT64_MIN && s->smax == INT64_MAX)
		n = snprintf(out, size, "anything");
	else if (s->umax <= INT64_MAX || s->smin == INT64_MIN)
		n = snprintf(out, size, "%llu..%llu", (unsigned long long)s->umin, (unsigned long long)s->umax);
	else
		n = snprintf(out, size, "%lld..%lld", (long long)s->smin, (long long)s->smax);
	return n < 0 ? 0 : (size_t)n < size ? (size_t)n : size - 1;
}

size_t pf_v_reg_text(const struct pf_verifier *v, const struct pf_vreg *r, char *out, size_t size)
{
	char range[64];
	int n;

	range_text(&r->s, range, sizeof(range));
	if (r->kind == PF_V_SCALAR)
		n = snprintf(out, size, "number %s%s", range, r->length ? " (length of the region)" : "");
	else if (r->kind == PF_V_NONE)
		n = snprintf(out, size, "never written");
	else if (pf_v_is_packet(r) && r->id)
		n = snprintf(out, size, "%s at %s + %d, %u bytes proved behind the variable part", pf_v_kind_text(r), range, r->off,
			     r->range);
	else if (pf_v_is_packet(r))
		n = snprintf(out, size, "%s at %d, %u bytes proved", pf_v_kind_text(r), r->off, r->range);
	else if (r->kind == PF_V_VALUE)
		n = snprintf(out, size, "%s at %s + %d of %u bytes", pf_v_kind_text(r), range, r->off, pf_v_map(v, r)->value_size);
	else if (r->kind == PF_V_STACK && pf_scalar_is_const(&r->s))
		n = snprintf(out, size, "stack pointer r10%+lld", (long long)(r->off + (int64_t)r->s.t.value));
	else if (r->kind == PF_V_STACK)
		n = snprintf(out, size, "stack pointer r10%+d plus %s", r->off, range);
	else if (r->kind == PF_V_END || r->kind == PF_V_CTX || r->kind == PF_V_MAP || r->kind == PF_V_FUNC || pf_v_is_socket(r) ||
		 pf_v_is_conn(r))
		n = snprintf(out, size, "%s", pf_v_kind_text(r));
	else
		n = snprintf(out, size, "%s at %s + %d of %u bytes", pf_v_kind_text(r), range, r->off, r->size);
	return n < 0 ? 0 : (size_t)n < size ? (size_t)n : size - 1;
}

void pf_v_help(struct pf_verifier *v, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	(void)vsnprintf(v->out->help, sizeof(v->out->help), format, args);
	va_end(args);
}

void pf_v_show_register(struct pf_verifier *v, uint32_t number, const struct pf_vreg *r)
{
	if (v->out->register_count == 11)
		return;
	struct pf_verify_register *to = &v->out->registers[v->out->register_count++];
	to->number = (uint8_t)number;
	(void)pf_v_reg_text(v, r, to->text, sizeof(to->text));
}

/* Refusals that are about how the path got here, not about a value. */
static bool about_values(enum pf_diag_code code)
{
	return code != PF_DIAG_VER_UNINIT && code != PF_DIAG_VER_LOOP && code != PF_DIAG_VER_BUDGET && code != PF_DIAG_VER_MEMORY &&
	       code != PF_DIAG_VER_LOCK_LEFT && code != PF_DIAG_VER_LOCK_CALL && code != PF_DIAG_VER_LOCK_NOT_HELD && code != PF_DIAG_VER_REF_LEFT;
}

enum pf_err pf_v_refuse(struct pf_verifier *v, enum pf_err err, enum pf_diag_code code, int64_t found, int64_t expected,
			const char *name)
{
	struct pf_verify_result *out = v->out;

	if (out->diag.err)
		return out->diag.err; /* the first cause */
	(void)pf_diag_set(&out->diag, err, code, v->cur.at, (uint64_t)v->cur.at * sizeof(struct pf_insn), (uint64_t)found,
			  (uint64_t)expected, name);
	pf_path_set(v, about_values(code) ? pf_live_uses(v, v->cur.at) : 0);
	for (uint32_t left = pf_live_uses(v, v->cur.at); left; left &= left - 1) {
		const uint32_t r = (uint32_t)__builtin_ctz(left);
		pf_v_show_register(v, r, pf_v_reg(v, r));
	}
	return err;
}

/* One line for each register that matters here, then the instruction. */
void pf_v_log(struct pf_verifier *v, uint32_t i)
{
	char line[512], text[PF_ISA_TEXT_MAX];
	size_t n = 0;

	for (uint32_t left = v->at[i].live & 0x3ffu; left; left &= left - 1) {
		const uint32_t r = (uint32_t)__builtin_ctz(left);
		if (pf_v_reg(v, r)->kind == PF_V_NONE || n > sizeof(line) - PF_VERIFY_TEXT - 8)
			continue;
		n += (size_t)snprintf(line + n, sizeof(line) - n, "%sr%u: ", n ? "; " : "", r);
		n += pf_v_reg_text(v, pf_v_reg(v, r), line + n, sizeof(line) - n);
	}
	if (n)
		v->in->log(v->in->user, line, n);
	(void)pf_isa_text(&v->insns[i], i + 1 < v->count ? &v->insns[i + 1] : NULL, NULL, text, sizeof(text));
	const int written = snprintf(line, sizeof(line), "%u: (frame %u) %s", i, v->cur.depth, text);
	if (written > 0)
		v->in->log(v->in->user, line, (size_t)written < sizeof(line) ? (size_t)written : sizeof(line) - 1);
}
