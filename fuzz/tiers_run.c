/* tiers_run.c - running a program in all its forms, and comparing what they leave. */
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>

#include "tiers_compare.h"

struct compared c;
static sigjmp_buf escape;
static volatile sig_atomic_t guarded;

static const char *const form_names[PF_TIER_FORMS] = { "checked", "unchecked", "compiled with facts", "compiled without facts" };

/* ---- findings ---- */

void found(enum pf_tier_found what, uint32_t form, const char *text)
{
	if (c.out->found)
		return;
	c.out->found = what;
	c.out->form = form;
	snprintf(c.out->text, sizeof(c.out->text), "%s %u, %s: %s", c.out->feed ? "feed" : "packet", c.out->packet,
		 form_names[form], text);
}

static void on_signal(int number)
{
	if (!guarded)
		_exit(128 + number);
	siglongjmp(escape, number);
}

static void guard(uint32_t limit_ms)
{
	static char stack[65536];
	static const int numbers[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGVTALRM };
	const stack_t other = { .ss_sp = stack, .ss_size = sizeof(stack) };
	const struct itimerval timer = { .it_value = { limit_ms / 1000, limit_ms % 1000 * 1000 } };
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_ONSTACK | SA_NODEFER };

	guarded = 1;
	PF_REQUIRE(!sigaltstack(&other, NULL));
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		PF_REQUIRE(!sigaction(numbers[i], &action, NULL));
	PF_REQUIRE(!setitimer(ITIMER_VIRTUAL, &timer, NULL));
}

static void unguard(void)
{
	const struct itimerval none = { .it_interval = { 0, 0 } };
	PF_REQUIRE(!setitimer(ITIMER_VIRTUAL, &none, NULL));
	guarded = 0;
}

/* ---- execution states ---- */

static struct pf_exec *new_exec(void)
{
	struct pf_exec *x;
	PF_REQUIRE(pf_exec_create(&x) == PF_OK);
	x->trace = calloc(1, sizeof(*x->trace));
	PF_REQUIRE(x->trace);
	x->budget = PF_CAMPAIGN_BUDGET;
	return x;
}

/* T3: the same state far away, a multiple of 16 bytes off the alignment that it has elsewhere. */
static struct pf_exec *new_exec_at(uint64_t hint, uint32_t shift)
{
	struct pf_exec *x = new_exec();
	uint8_t *place = mmap((void *)(uintptr_t)hint, sizeof(*x) + 4096, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	PF_REQUIRE(place != MAP_FAILED);
	struct pf_exec *moved = (void *)(place + shift);
	memcpy((void *)moved, x, sizeof(*x));
	moved->packet.frame = &moved->frame;
	free(x); /* what it pointed to is the copy's */
	return moved;
}

static void prepare(void)
{
	if (c.x)
		return;
	c.x = new_exec();
	c.elsewhere[0] = new_exec_at(UINT64_C(0x0000010012340000), 16);
	c.elsewhere[1] = new_exec_at(UINT64_C(0x00000002fedc0000), 32);
	c.elsewhere[2] = new_exec_at(UINT64_C(0x00006e0089ab0000), 48);
	c.memory = malloc(PF_TIERS_MEMORY + 64);
	c.batch = calloc(3, PF_TIERS_FEED * PF_TIERS_STRIDE);
	PF_REQUIRE(c.memory && c.batch);
	c.batch_before = c.batch + PF_TIERS_FEED * PF_TIERS_STRIDE;
	c.batch_after = c.batch_before + PF_TIERS_FEED * PF_TIERS_STRIDE;
}

static void reserve_states(size_t size)
{
	if (size <= c.state_capacity)
		return;
	free(c.before);
	free(c.after);
	c.before = malloc(size);
	c.after = malloc(size);
	PF_REQUIRE(c.before && c.after);
	c.state_capacity = size;
}

static bool is_memory(void) { return c.p->prog->type == PF_PROG_MEMORY; }

void begin(struct pf_exec *x, uint64_t seed, uint32_t cpu)
{
	x->time_ns = 0;
	x->seed = seed;
	x->cpu = cpu;
	x->bindings = &c.p->world->bindings;
	x->redirect_flags = x->redirect_target = 0;
	x->redirect_map = NULL;
	x->trace->used = 0;
	x->trace->lost = 0;
	x->packet.frags = c.p->prog->frags;
	x->packet.ingress_ifindex = 1 + (seed >> 9 & 7);
	x->packet.rx_queue_index = seed >> 13 & 3;
	x->packet.egress_ifindex = 0;
}

static void begin_single(struct pf_exec *x)
{
	const struct start *s = &c.start;
	begin(x, s->seed, s->cpu);
	pf_exec_begin(x, s->index, s->time_ns);
	memcpy(c.memory, s->packet, s->length);
	if (is_memory()) {
		x->memory = c.memory;
		x->memory_len = s->length;
	} else if (s->meta) {
		PF_REQUIRE(pf_packet_load(&x->packet, c.memory, s->length, s->meta_bytes, s->meta, s->limit) == PF_OK);
	} else {
		pf_packet_init(&x->packet, c.memory, s->length, s->limit);
	}
	pf_tier_state_restore(c.p->world, c.p->named, c.before);
}

const struct pf_prog *program_of(enum pf_tier_form form) { return form == PF_TIER_FORM_PLAIN ? c.p->plain : c.p->prog; }

enum pf_engine engine_of(enum pf_tier_form form)
{
	static const enum pf_engine engines[PF_TIER_FORMS] = { PF_ENGINE_CHECKED, PF_ENGINE_INTERP, PF_ENGINE_JIT, PF_ENGINE_JIT };
	return engines[form];
}

bool staged(enum pf_tier_form form)
{
	return (c.plan->forms >> form & 1) && pf_prog_code(program_of(form), engine_of(form));
}

/* One run, `shift` bytes further down the C stack than others. */
static enum pf_err run(struct pf_exec *x, enum pf_tier_form form, uint32_t shift, uint64_t *r0)
{
	volatile uint8_t room[shift + 1];
	room[shift] = 0;
	if (is_memory())
		return pf_vm_execute(x, program_of(form), engine_of(form), c.memory, c.start.length + room[shift], r0);
	return pf_vm_run(x, program_of(form), engine_of(form), (uint64_t)(uintptr_t)&x->packet, room[shift], r0);
}

/* ---- outcomes ---- */

static void read_outcome(const struct pf_exec *x, uint64_t r0, struct outcome *o)
{
	const struct pf_packet *p = &x->packet;
	memset(o, 0, offsetof(struct outcome, bytes));
	o->r0 = is_memory() ? r0 : (uint32_t)r0;
	o->time_ns = x->time_ns;
	o->redirect = x->redirect;
	if (x->redirect != PF_REDIRECT_NONE) {
		o->target = x->redirect_target;
		o->redirect_flags = x->redirect_flags;
		o->redirect_map = x->redirect_map;
	}
	o->trace = x->trace->used;
	o->lost = x->trace->lost;
	memcpy(o->text, x->trace->text, o->trace);
	if (is_memory()) {
		o->linear = c.start.length;
		memcpy(o->bytes, c.memory, o->linear);
		return;
	}
	o->meta = (uint32_t)(p->data - p->data_meta);
	o->linear = (uint32_t)(p->data_end - p->data);
	o->extra = p->extra_len;
	o->front = (uint32_t)(p->data_meta - p->hard_start);
	o->back = (uint32_t)(p->hard_end - p->data_end);
	o->framed = p->framed;
	PF_REQUIRE(o->meta + o->linear + o->extra <= BYTES);
	memcpy(o->bytes, p->data_meta, o->meta + o->linear);
	if (o->extra)
		memcpy(o->bytes + o->meta + o->linear, p->extra, o->extra);
}

uint32_t first_difference(const uint8_t *a, const uint8_t *b, uint32_t n)
{
	uint32_t at = 0;
	while (at < n && a[at] == b[at])
		at++;
	return at;
}

/* false, and says how, when the two are not the same. */
static bool same_outcome(const struct outcome *got, const struct outcome *want, char *text, size_t size)
{
	const uint32_t n = want->meta + want->linear + want->extra;
	if (got->r0 != want->r0) {
		snprintf(text, size, "r0 is %#llx, expected %#llx", (unsigned long long)got->r0, (unsigned long long)want->r0);
	} else if (memcmp(got, want, offsetof(struct outcome, bytes))) {
		snprintf(text, size, "geometry, redirect, clock or trace: meta %u linear %u extra %u front %u back %u framed %u "
			 "redirect %u trace %u, expected %u %u %u %u %u %u %u %u", got->meta, got->linear, got->extra, got->front,
			 got->back, got->framed, got->redirect, got->trace, want->meta, want->linear, want->extra, want->front,
			 want->back, want->framed, want->redirect, want->trace);
	} else if (memcmp(got->bytes, want->bytes, n)) {
		const uint32_t at = first_difference(got->bytes, want->bytes, n);
		snprintf(text, size, "byte %u of %u is %#x, expected %#x", at, n, got->bytes[at], want->bytes[at]);
	} else if (memcmp(got->text, want->text, want->trace)) {
		snprintf(text, size, "trace '%.80s', expected '%.80s'", got->text, want->text);
	} else {
		return true;
	}
	return false;
}

/* T3. */
static bool single_is_of_addresses(void)
{
	static struct outcome other;
	char text[PF_TIERS_TEXT];
	uint64_t r0;
	for (uint32_t i = 0; i < ALTERNATES + 8; i++) {
		struct pf_exec *x = i < ALTERNATES ? c.elsewhere[i] : c.x;
		begin_single(x);
		if (run(x, PF_TIER_FORM_CHECKED, i < ALTERNATES ? 0 : 16 + 1040 * i, &r0))
			return false;
		read_outcome(x, r0, &other);
		if (!same_outcome(&other, &c.want, text, sizeof(text)) ||
		    pf_tier_state_differs(c.p->world, c.p->named, c.after, text, sizeof(text)))
			return true;
	}
	return false;
}

/* ---- singles ---- */

static void make_start(uint32_t k)
{
	struct start *s = &c.start;
	struct pf_rng rng = { c.plan->seed + 0x10001 * (uint64_t)(k + 1) };
	s->seed = pf_rng_next(&rng);
	s->index = k;
	s->time_ns = s->seed & 0xffffffffff;
	s->cpu = pf_rng_chance(&rng, 94) ? pf_rng_below(&rng, PF_CAMPAIGN_CPUS) : pf_rng_below(&rng, CPUS);
	s->limit = pf_rng_chance(&rng, 90) ? PF_PACKET_LINEAR : pf_rng_chance(&rng, 50) ? UINT32_MAX : 64 + pf_rng_below(&rng, 64);
	s->meta = pf_rng_chance(&rng, 85) ? 0 : 4 * pf_rng_below(&rng, 12);
	for (uint32_t i = 0; i < sizeof(s->meta_bytes); i++)
		s->meta_bytes[i] = (uint8_t)pf_rng_next(&rng);
	if (is_memory() && c.plan->memory) {
		s->length = c.plan->memory_len;
		memcpy(s->packet, c.plan->memory, s->length);
	} else {
		s->length = pf_tier_packet(&c.source, s->packet);
	}
	if (k % RESET == 0)
		pf_world_fill(c.p->world, c.p->named, s->seed ^ 0xabcdef);
	pf_tier_state_save(c.p->world, c.p->named, c.before);
}

/* The reference interpreter, with facts; learns whether the packet reached something new. false: no more of it. */
static bool reference(uint64_t *r0)
{
	struct pf_machine ref = { .x = c.x, .prog = c.p->prog, .result = &c.p->result,
				  .interesting = c.p->result.facts ? c.p->interesting : NULL, .covered = c.p->covered };
	char text[PF_TIERS_TEXT];
	uint32_t before = 0, after = 0;
	for (uint32_t i = 0; i < c.p->prog->count; i++)
		before += c.p->covered[i];
	begin_single(c.x);
	const enum pf_ref_end end = pf_machine_run(&ref, r0);
	for (uint32_t i = 0; i < c.p->prog->count; i++)
		after += c.p->covered[i];
	c.out->executed += ref.executed;
	if (after > before && !c.plan->memory)
		pf_tier_keep(&c.source, c.start.packet, c.start.length);
	c.out->budget += end == PF_REF_BUDGET;
	if (end == PF_REF_DONE || end == PF_REF_BUDGET)
		return end == PF_REF_DONE;
	if (c.start.cpu >= PF_CAMPAIGN_CPUS)
		return false; /* facts are about CPUs that the maps have values for */
	if (end == PF_REF_FACT)
		pf_fact_describe(text, sizeof(text), &ref);
	else
		snprintf(text, sizeof(text), "instruction %u: %s", ref.insn,
			 end == PF_REF_FAULT ? "not allowed" : "the verifier says that no path comes here");
	found(PF_TIER_FAULT, PF_TIER_FORM_CHECKED, text);
	return false;
}

static void single(uint32_t k)
{
	static struct outcome got;
	char text[PF_TIERS_TEXT];
	uint64_t r0 = 0, mine = 0;

	c.out->packet = k;
	make_start(k);
	if (c.p->accepted && !reference(&mine))
		return;
	if (c.p->accepted)
		read_outcome(c.x, mine, &got);
	begin_single(c.x);
	c.out->form = PF_TIER_FORM_CHECKED;
	const enum pf_err err = run(c.x, PF_TIER_FORM_CHECKED, 0, &r0);
	c.out->runs++;
	if (err) {
		if (c.p->accepted && c.x->fault.diag.code != PF_DIAG_VM_BUDGET)
			found(PF_TIER_FAULT, PF_TIER_FORM_CHECKED, pf_diag_text(c.x->fault.diag.code));
		c.out->budget++;
		return;
	}
	read_outcome(c.x, r0, &c.want);
	pf_tier_state_save(c.p->world, c.p->named, c.after);
	bool good = true;
	if (c.p->accepted && !same_outcome(&got, &c.want, text, sizeof(text))) {
		if (!single_is_of_addresses()) {
			found(PF_TIER_DIFFERENT, PF_TIER_FORM_CHECKED, text);
			return;
		}
		good = false;
	}
	for (uint32_t form = PF_TIER_FORM_INTERP; good && form < PF_TIER_FORMS; form++) {
		if (!staged(form))
			continue;
		begin_single(c.x);
		c.out->form = form;
		(void)run(c.x, form, 0, &r0);
		c.out->runs++;
		read_outcome(c.x, r0, &got);
		if (same_outcome(&got, &c.want, text, sizeof(text)) &&
		    !pf_tier_state_differs(c.p->world, c.p->named, c.after, text, sizeof(text)))
			continue;
		good = false;
		if (!single_is_of_addresses()) {
			found(PF_TIER_DIFFERENT, form, text);
			return;
		}
	}
	c.out->pairs += good;
	c.out->addresses += !good;
	pf_tier_state_restore(c.p->world, c.p->named, c.after);
}

/* ---- all of it ---- */

static void count_covered(void)
{
	const struct pf_prog *prog = c.p->prog;
	for (uint32_t i = 0; i < prog->count; i++) {
		const bool reached = !c.p->result.facts || c.p->result.facts[i * 11 + 10].kind != PF_FACT_UNREACHED;
		c.out->reachable += reached;
		c.out->covered += reached && c.p->covered[i];
		i += prog->insns[i].code == 0x18;
	}
}

void pf_tier_compare(struct pf_tier_program *p, const struct pf_tier_plan *plan, struct pf_tier_report *out)
{
	char text[64];
	memset(out, 0, sizeof(*out));
	prepare();
	c.p = p;
	c.plan = plan;
	c.out = out;
	reserve_states(pf_tier_state_size(p->world, p->named) + 1);
	memset(p->covered, 0, p->prog->count);
	memset(&c.start, 0, sizeof(c.start));
	memset(c.batch_before, 0, PF_TIERS_FEED * PF_TIERS_STRIDE);
	pf_tier_source_init(&c.source, p->prog->insns, p->prog->count, plan->seed);
	guard(plan->limit_ms);
	const int number = sigsetjmp(escape, 0);
	if (!number) {
		for (uint32_t k = 0; k < plan->singles && !out->found && out->budget < 4; k++)
			single(k);
		for (uint32_t k = 0; k < plan->feeds && !out->found && !is_memory() && p->accepted && out->budget < 4; k++)
			one_feed(k);
	} else {
		snprintf(text, sizeof(text), "signal %d (%s)", number, number == SIGVTALRM ? "too much time" : strsignal(number));
		found(PF_TIER_SIGNAL, out->form, text);
		c.x->lock = NULL;
	}
	unguard();
	count_covered();
}
