/* campaign_judge.c - one program: verified, and if accepted run until something is wrong with it. */
#include "campaign.h"

uint32_t pf_named_maps(const struct pf_world *w, const struct pf_insn *insns, uint32_t count)
{
	uint32_t named = 0;
	for (uint32_t i = 0; i < count; i++) {
		const struct pf_insn *insn = &insns[i];
		if (insn->code != 0x18)
			continue;
		if (insn->src && insn->src != 4 && (uint32_t)insn->imm < w->map_count)
			named |= 1u << insn->imm;
		i++;
	}
	return named;
}

bool pf_fact_says_nothing(const struct pf_fact *f)
{
	return f->kind == PF_FACT_ANY || f->kind == PF_FACT_UNREACHED ||
	       (f->kind == PF_FACT_SCALAR && f->range.t.mask == UINT64_MAX && f->range.umin == 0 &&
		f->range.umax == UINT64_MAX && f->range.smin == INT64_MIN && f->range.smax == INT64_MAX &&
		f->range.u32max - f->range.u32min == UINT32_MAX && f->range.s32min == INT32_MIN &&
		f->range.s32max == INT32_MAX);
}

/* Which registers have facts worth comparing; true: some access goes through a pointer with a variable offset. */
static bool survey(struct pf_judge *j, const struct pf_sample *s, const struct pf_fact *facts)
{
	bool variable = false;
	for (uint32_t i = 0; i < s->count; i++) {
		const struct pf_insn *insn = &s->insns[i];
		uint16_t set = 0;
		for (uint32_t r = 0; r < 11; r++)
			if (!pf_fact_says_nothing(&facts[i * 11 + r]))
				set |= (uint16_t)(1u << r);
		j->interesting[i] = set;
		const uint32_t class = insn->code & 7;
		if (class == 0)
			j->interesting[++i] = 0;
		if (class < 1 || class > 3)
			continue;
		const struct pf_fact *base = &facts[i * 11 + (class == 1 ? insn->src : insn->dst)];
		variable |= base->kind > PF_FACT_SCALAR && base->range.t.mask != 0;
	}
	return variable;
}

struct outcome {
	uint64_t r0;
	uint32_t length;
	uint8_t bytes[PF_PACKET_LINEAR + 256];
};

static void start(struct pf_judge *j, const struct pf_sample *s, uint32_t named, uint64_t seed)
{
	uint8_t *data = j->packet + 64;
	struct pf_exec *x = j->x;
	const uint32_t length = pf_world_packet(data, seed);

	pf_world_fill(s->world, named, seed ^ 0xabcdef);
	x->time_ns = 0;
	x->seed = seed;
	x->cpu = seed >> 7 & 1;
	x->budget = PF_CAMPAIGN_BUDGET;
	x->bindings = &s->world->bindings;
	pf_exec_begin(x, 1, seed & 0xffffffffff);
	pf_packet_init(&x->packet, data, length, PF_PACKET_LINEAR);
	x->packet.ingress_ifindex = 1 + (seed >> 9 & 7);
	x->packet.rx_queue_index = seed >> 13 & 3;
}

static void finish(struct pf_judge *j, uint64_t r0, struct outcome *out)
{
	const struct pf_packet *p = &j->x->packet;
	out->r0 = r0;
	out->length = (uint32_t)(p->data_end - p->data_meta);
	PF_REQUIRE(out->length <= sizeof(out->bytes));
	memcpy(out->bytes, p->data_meta, out->length);
}

static bool same(const struct outcome *a, const struct outcome *b)
{
	return (uint32_t)a->r0 == (uint32_t)b->r0 && a->length == b->length && !memcmp(a->bytes, b->bytes, a->length);
}

void pf_fact_describe(char *out, size_t size, const struct pf_machine *ref)
{
	const struct pf_fact *f = &ref->result->facts[(size_t)ref->insn * 11 + ref->reg];
	snprintf(out, size, "insn %u: r%u is %#llx, its fact has kind %u, bits %#llx/%#llx, u64 %llu..%llu, s64 %lld..%lld, "
		 "proved %u", ref->insn, ref->reg, (unsigned long long)ref->value, f->kind,
		 (unsigned long long)f->range.t.value, (unsigned long long)f->range.t.mask,
		 (unsigned long long)f->range.umin, (unsigned long long)f->range.umax, (long long)f->range.smin,
		 (long long)f->range.smax, f->proved);
}

static enum pf_finding ended_badly(const struct pf_machine *ref, char *text, size_t size)
{
	switch (ref->end) {
	case PF_REF_DONE:
	case PF_REF_BUDGET:
		break;
	case PF_REF_FAULT:
		snprintf(text, size, "insn %u: not allowed", ref->insn);
		return PF_FIND_FAULT;
	case PF_REF_UNREACHED:
		snprintf(text, size, "insn %u: the verifier says that no path comes here", ref->insn);
		return PF_FIND_UNREACHED;
	case PF_REF_FACT:
		pf_fact_describe(text, size, ref);
		return PF_FIND_FACT;
	}
	return PF_FIND_NONE;
}

/* One run of an engine, `shift` bytes further down the C stack than others. */
static enum pf_err run_engine(struct pf_judge *j, const struct pf_prog *prog, enum pf_engine engine, uint32_t shift,
			      uint64_t *r0)
{
	volatile uint8_t room[shift + 1];
	room[shift] = 0;
	return pf_vm_run(j->x, prog, engine, (uint64_t)(uintptr_t)&j->x->packet, room[shift], r0);
}

/* A program may make a number of a pointer. The copy of a key that a callback gets lies on the C stack, in another place
 * in each engine: what comes of its address is no difference between engines. */
static bool depends_on_addresses(struct pf_judge *j, const struct pf_sample *s, const struct pf_prog *prog,
				 uint32_t named, uint64_t seed, const struct outcome *checked)
{
	static struct outcome again;
	/* In steps of a little more than 256 bytes: what a program makes of an address, a remainder of it without the low
	 * byte, say, takes all its values. */
	for (uint32_t shift = 16; shift < 65536; shift += 272) {
		uint64_t r0 = 0;
		start(j, s, named, seed);
		if (run_engine(j, prog, PF_ENGINE_CHECKED, shift, &r0))
			return false;
		finish(j, r0, &again);
		if (!same(&again, checked))
			return true;
	}
	return false;
}

/* One packet through all three; false: a finding, or the budget. */
static bool run_packet(struct pf_judge *j, const struct pf_sample *s, struct pf_machine *ref, uint32_t named, uint64_t seed,
		       struct pf_judged *out)
{
	static struct outcome mine, checked, unchecked;
	const struct pf_prog *prog = ref->prog;
	uint64_t r0 = 0;

	start(j, s, named, seed);
	(void)pf_machine_run(ref, &r0);
	out->executed += ref->executed;
	out->runs++;
	out->found = ended_badly(ref, out->text, sizeof(out->text));
	out->budget = ref->end == PF_REF_BUDGET;
	if (out->found || out->budget)
		return false;
	finish(j, r0, &mine);

	start(j, s, named, seed);
	enum pf_err err = run_engine(j, prog, PF_ENGINE_CHECKED, 0, &r0);
	if (err) {
		out->budget = j->x->fault.diag.code == PF_DIAG_VM_BUDGET;
		if (out->budget)
			return false;
		out->found = PF_FIND_FAULT;
		snprintf(out->text, sizeof(out->text), "insn %u: the checked engine faults alone: %s", j->x->fault.diag.insn,
			 pf_diag_text(j->x->fault.diag.code));
		return false;
	}
	finish(j, r0, &checked);

	start(j, s, named, seed);
	(void)run_engine(j, prog, PF_ENGINE_INTERP, 0, &r0);
	finish(j, r0, &unchecked);
	if (same(&mine, &checked) && same(&checked, &unchecked))
		return true;
	out->addresses = depends_on_addresses(j, s, prog, named, seed, &checked);
	if (out->addresses)
		return true;
	out->found = PF_FIND_DIFFERENT;
	snprintf(out->text, sizeof(out->text), "r0 and length: reference %#llx %u, checked %#llx %u, unchecked %#llx %u",
		 (unsigned long long)mine.r0, mine.length, (unsigned long long)checked.r0, checked.length,
		 (unsigned long long)unchecked.r0, unchecked.length);
	return false;
}

static enum pf_err create(const struct pf_sample *s, struct pf_prog **prog, struct pf_diag *diag)
{
	const struct pf_prog_def def = { .type = PF_PROG_XDP, .name = "p", .insns = s->insns, .count = s->count,
					 .maps = s->world->maps, .map_count = s->world->map_count };
	return pf_prog_create(&def, prog, diag);
}

struct pf_judged pf_judge_patiently(const struct pf_sample *s)
{
	const struct pf_verify_input options = { .budget = PF_CAMPAIGN_PATIENCE, .cpus = PF_CAMPAIGN_CPUS, .gpl_compatible = 1 };
	struct pf_judged out = { .accepted = false };
	struct pf_verify_result result;
	struct pf_diag diag;
	struct pf_prog *prog;

	PF_REQUIRE(create(s, &prog, &diag) == PF_OK);
	out.accepted = pf_verify_program(prog, &options, &result) == PF_OK;
	out.refusal = result.diag.code;
	pf_verify_free(&result);
	pf_prog_put(prog);
	return out;
}

void pf_judge_program(struct pf_judge *j, const struct pf_sample *s, uint64_t seed, struct pf_judged *out)
{
	const struct pf_verify_input options = { .budget = PF_CAMPAIGN_EXPLORE, .cpus = PF_CAMPAIGN_CPUS,
						 .gpl_compatible = 1, .want = j->facts ? PF_VERIFY_FACTS : 0 };
	struct pf_verify_result result;
	struct pf_diag diag;
	struct pf_prog *prog;

	memset(out, 0, offsetof(struct pf_judged, text) + 1);
	if (create(s, &prog, &diag)) {
		out->refusal = diag.code;
		return;
	}
	out->accepted = pf_verify_program(prog, &options, &result) == PF_OK;
	out->refusal = result.diag.code;
	if (out->accepted) {
		const uint32_t named = pf_named_maps(s->world, s->insns, s->count);
		struct pf_machine ref = { .x = j->x, .prog = prog, .result = &result };
		out->maps = named != 0;
		if (j->facts) {
			out->variable = survey(j, s, result.facts);
			ref.interesting = j->interesting;
		}
		PF_REQUIRE(pf_vm_stage(prog, PF_ENGINE_CHECKED, NULL, NULL) == PF_OK);
		PF_REQUIRE(pf_vm_stage(prog, PF_ENGINE_INTERP, prog->types, NULL) == PF_OK);
		for (uint32_t run = 0; run < PF_CAMPAIGN_RUNS; run++)
			if (!run_packet(j, s, &ref, named, seed + 0x1000003 * run, out))
				break;
	}
	pf_verify_free(&result);
	pf_prog_put(prog);
}

/* ---- shrinking ---- */

struct same_finding {
	struct pf_judge *judge;
	uint64_t seed;
	enum pf_finding found;
};

static bool finds_it_still(void *user, const struct pf_sample *s)
{
	const struct same_finding *f = user;
	struct pf_judged out;
	pf_judge_program(f->judge, s, f->seed, &out);
	return out.found == f->found;
}

static bool is_jump(struct pf_insn i)
{
	const uint32_t class = i.code & 7;
	return (class == 5 || class == 6) && i.code != 0x85 && i.code != 0x95;
}

/* Takes instruction `at` (and its second half) out; false when something would go beyond its field. */
static void take_out(struct pf_sample *s, uint32_t at)
{
	const uint32_t size = s->insns[at].code == 0x18 ? 2 : 1;
	for (uint32_t i = 0; i < s->count; i++) {
		struct pf_insn *insn = &s->insns[i];
		const bool far = insn->code == 0x06 || (insn->code == 0x85 && insn->src == 1) ||
				 (insn->code == 0x18 && insn->src == 4);
		if (far || is_jump(*insn)) {
			const int64_t to = (int64_t)i + 1 + (far ? insn->imm : insn->off);
			const int32_t by = (i < at && to > at) ? -(int32_t)size : (i > at && to <= at) ? (int32_t)size : 0;
			if (far)
				insn->imm += by;
			else
				insn->off = (int16_t)(insn->off + by);
		}
		i += insn->code == 0x18;
	}
	memmove(&s->insns[at], &s->insns[at + size], (s->count - at - size) * sizeof(s->insns[0]));
	s->count -= size;
}

void pf_sample_shrink(struct pf_sample *s, pf_sample_still *still, void *user)
{
	struct pf_sample try;
	for (bool smaller = true; smaller;) {
		smaller = false;
		for (uint32_t at = s->count; at-- > 0;) {
			if (at && s->insns[at - 1].code == 0x18)
				continue; /* a second half */
			try = *s;
			take_out(&try, at);
			if (try.count && still(user, &try)) {
				*s = try;
				smaller = true;
			} else if (s->insns[at].imm && s->insns[at].code != 0x85 && s->insns[at].code != 0x18) {
				try = *s;
				try.insns[at].imm /= 2;
				if (still(user, &try)) {
					*s = try;
					smaller = true;
				}
			}
			at = at > s->count ? s->count : at;
		}
	}
}

void pf_judge_shrink(struct pf_judge *j, struct pf_sample *s, uint64_t seed, enum pf_finding found)
{
	struct same_finding f = { j, seed, found };
	pf_sample_shrink(s, finds_it_still, &f);
}
