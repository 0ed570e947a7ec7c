/* verifier.c - from input to result. */
#include "verifier.h"

#include <stdlib.h>

#include "cfg.h"
#include "explore.h"
#include "facts.h"
#include "liveness.h"
#include "precision.h"

static void release(struct pf_verifier *v)
{
	pf_explore_reset(v);
	free(v->work);
	free(v->saved);
	free(v->decisions);
	free(v->nodes);
	free(v->marks);
	free(v->mark_stack);
	free(v->links);
	free(v->link_heads);
	free(v->subs);
	free(v->at);
	free(v);
}

/* The second pass starts as the first did, but for the marks it keeps. */
static enum pf_err find_facts(struct pf_verifier *v)
{
	struct pf_verify_result *out = v->out;
	const struct pf_verify_result first = *out;
	const size_t size = (size_t)v->count * PF_V_REGS * sizeof(struct pf_fact);
	uint8_t *final = pf_v_realloc(v, NULL, 0, v->node_capacity);

	out->facts = pf_v_realloc(v, NULL, 0, size);
	if (!final || !out->facts) {
		pf_v_free(v, final, v->node_capacity);
		return pf_diag_set(&out->diag, PF_ENOMEM, PF_DIAG_VER_MEMORY, 0, 0, v->memory_limit, 0, NULL);
	}
	memset(out->facts, 0, size);
	const uint32_t capacity = v->node_capacity;
	if (capacity)
		memcpy(final, v->marks, capacity);
	pf_prec_finish(v, final);
	if (capacity)
		memset(v->marks, 0, capacity);
	pf_explore_reset(v);
	v->node_count = 1;
	v->link_count = v->link_capacity ? 1 : 0;
	if (v->link_heads)
		memset(v->link_heads, 0, PF_V_LINK_HEADS * sizeof(*v->link_heads));
	v->final_marks = final;
	v->facts = out->facts;
	enum pf_err err = pf_explore(v);
	v->facts = NULL;
	v->final_marks = NULL;
	pf_v_free(v, final, capacity);
	out->insns_processed = first.insns_processed;
	out->states_total = first.states_total;
	out->states_peak = first.states_peak;
	return err;
}

/* Of a jump out of the program pf_isa_check speaks as of any; a call deserves a word of its own. */
static void explain_encoding(struct pf_verifier *v)
{
	const struct pf_insn *insn = v->out->diag.insn < v->count ? &v->insns[v->out->diag.insn] : NULL;

	if (insn && insn->code == 0x85 && insn->src == 1 && v->out->diag.code == PF_DIAG_ISA_JUMP_RANGE)
		pf_v_help(v, "a call leads to the first instruction of a function of this program");
	else if (insn && insn->code == 0x18 && v->out->diag.code == PF_DIAG_ISA_RESERVED)
		pf_v_help(v, "set the field to 0: this form of a 64-bit load has no use for it");
}

static enum pf_err verify(struct pf_verifier *v)
{
	struct pf_verify_result *out = v->out;
	enum pf_err err = pf_isa_check(v->insns, v->count, 1, &out->diag);

	if (err)
		explain_encoding(v);
	if (err)
		return err;
	v->at = pf_v_realloc(v, NULL, 0, (size_t)v->count * sizeof(*v->at));
	out->types = calloc(v->count, 1);
	if (!v->at || !out->types)
		return PF_ENOMEM;
	memset(v->at, 0, (size_t)v->count * sizeof(*v->at));
	err = pf_cfg_build(v);
	if (!err)
		err = pf_live_compute(v);
	if (!err)
		err = pf_explore(v);
	out->insns_processed = v->processed;
	if (!err)
		err = pf_cfg_depths(v);
	if (!err && (v->in->want & PF_VERIFY_FACTS))
		err = find_facts(v);
	for (uint32_t i = 0; !err && i < v->count; i++)
		out->types[i] = v->at[i].type ? v->at[i].type - 1 : PF_VERIFY_PLAIN;
	return err;
}

enum pf_err pf_verify(const struct pf_verify_input *input, struct pf_verify_result *result)
{
	memset(result, 0, sizeof(*result));
	struct pf_verifier *v = calloc(1, sizeof(*v));
	if (!v)
		return pf_diag_set(&result->diag, PF_ENOMEM, PF_DIAG_VER_MEMORY, 0, 0, sizeof(*v), 0, NULL);
	v->in = input;
	v->out = result;
	v->insns = input->insns;
	v->count = input->count;
	v->memory_limit = input->memory_limit ? input->memory_limit : PF_VERIFY_MEMORY;
	enum pf_err err = verify(v);
	if (err && !result->diag.err)
		(void)pf_diag_set(&result->diag, err, PF_DIAG_VER_MEMORY, 0, 0, v->memory_limit, 0, NULL);
	result->ok = err == PF_OK;
	if (result->ok)
		result->help[0] = '\0';
	release(v);
	return err;
}

void pf_verify_free(struct pf_verify_result *result)
{
	free(result->types);
	free(result->facts);
	result->types = NULL;
	result->facts = NULL;
}
