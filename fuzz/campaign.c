/* campaign.c - makes or mutates programs, has them verified and judged, and reports what it found.
 *
 * usage: campaign [--seed S] [--first I] [--programs N] [--seconds T] [--facts] [--corpus FILE] [--mutate PERCENT]
 *                 [--dump DIR] [--dump-every K] [--stop-on-finding] [--show I] [--json] [--plant N]
 *
 * Program i of seed s is the same whenever it is made, so that a finding is reproduced by --seed s --first i --programs 1.
 * --dump writes for kernel_sample.py, with verdicts under PF_CAMPAIGN_PATIENCE: DIR/programs.bin, of each kept program four
 * words (instructions; world; 0 refused, 1 accepted, 2 not proved within the budget; code of the refusal) and its
 * instructions; DIR/maps.txt, the worlds' maps; DIR/refusals.txt, the texts of the codes.
 * Exit status 1 when something was found, 2 for wrong usage.
 */
#include <errno.h>
#include <time.h>

#include "campaign.h"

#define STEPS 4096u /* of the histogram; the last counts everything above */
#define CORPUS 4096u
#define FINDINGS 20u /* that are shrunk and shown */

struct options {
	uint64_t seed, first, programs;
	double seconds;
	const char *corpus, *dump;
	uint32_t mutate, dump_every;
	bool facts, stop, json, show;
};

struct totals {
	uint64_t programs, mutated, accepted, accepted_mutated, runs, maps, variable, budget, addresses, dumped;
	uint64_t found[5], refusals[PF_DIAGS];
	uint64_t steps[STEPS];
	double seconds;
};

#ifdef PF_PLANT
int pf_plant; /* plant.h: 0 plants nothing */
#endif

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- showing ---- */

static void show(const struct pf_sample *s)
{
	for (uint32_t i = 0; i < s->count; i++) {
		char text[PF_ISA_TEXT_MAX];
		pf_isa_text(&s->insns[i], i + 1 < s->count ? &s->insns[i + 1] : NULL, NULL, text, sizeof(text));
		printf("  %3u: %s\n", i, text);
		i += s->insns[i].code == 0x18;
	}
}

static const char *finding_text(enum pf_finding f)
{
	static const char *const texts[] = { "nothing", "fault", "value outside the facts", "unreached instruction reached",
					     "engines differ" };
	return texts[f];
}

/* ---- dumping ---- */

static FILE *dump_file(const char *dir, const char *name)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	FILE *file = fopen(path, "wb");
	if (!file) {
		fprintf(stderr, "campaign: cannot write %s: %s\n", path, strerror(errno));
		exit(2);
	}
	return file;
}

static void dump_map(FILE *file, uint32_t world, int place, const struct pf_map_def *d)
{
	fprintf(file, "%u %d %u %u %u %u %u\n", world, place, (unsigned)d->type, d->key_size, d->value_size,
		d->max_entries, d->flags);
}

/* A line a map: world, place (-1: the inner map of the next line's), type, key size, value size, entries, flags. */
static void dump_world(FILE *file, uint32_t number, const struct pf_world *w)
{
	for (uint32_t m = 0; m < w->map_count; m++) {
		const struct pf_map *map = w->maps[m].map;
		if (map->def.type == PF_MAP_ARRAY_OF_MAPS || map->def.type == PF_MAP_HASH_OF_MAPS)
			dump_map(file, number, -1, &map->inner);
		dump_map(file, number, (int)m, &map->def);
	}
}

static void dump(FILE *file, const struct pf_sample *s, uint32_t world, const struct pf_judged *j)
{
	const struct pf_judged all = j->refusal == PF_DIAG_VER_BUDGET ? pf_judge_patiently(s) : *j;
	const uint32_t head[4] = { s->count, world, all.accepted ? 1 : all.refusal == PF_DIAG_VER_BUDGET ? 2 : 0, all.refusal };
	fwrite(head, sizeof(head), 1, file);
	fwrite(s->insns, sizeof(s->insns[0]), s->count, file);
}

/* ---- the campaign ---- */

struct campaign {
	struct options o;
	struct totals t;
	struct pf_world *pool, *worlds[CORPUS];
	uint32_t world_count;
	struct pf_judge judge;
	FILE *dump;
};

static void dump_begin(struct campaign *c)
{
	FILE *maps = dump_file(c->o.dump, "maps.txt"), *refusals = dump_file(c->o.dump, "refusals.txt");
	dump_world(maps, 0, c->pool);
	for (uint32_t w = 0; w < c->world_count; w++)
		dump_world(maps, w + 1, c->worlds[w]);
	for (uint32_t d = 0; d < PF_DIAGS; d++)
		fprintf(refusals, "%u %s\n", d, pf_diag_text((enum pf_diag_code)d));
	fclose(maps);
	fclose(refusals);
	c->dump = dump_file(c->o.dump, "programs.bin");
}

static void report(struct campaign *c, uint64_t index, const struct pf_sample *s, uint64_t seed,
		   const struct pf_judged *j)
{
	if (c->t.found[j->found]++ >= FINDINGS)
		return;
	printf("finding: %s, seed %llu program %llu (%s, %u instructions): %s\n", finding_text(j->found),
	       (unsigned long long)c->o.seed, (unsigned long long)index, s->mutated ? "mutated" : "made", s->count, j->text);
	struct pf_sample small = *s;
	struct pf_judged again;
	pf_judge_shrink(&c->judge, &small, seed, j->found);
	pf_judge_program(&c->judge, &small, seed, &again);
	printf("shrunk to %u instructions: %s\n", small.count, again.text);
	show(&small);
	fflush(stdout);
}

static void one(struct campaign *c, uint64_t index)
{
	struct pf_sample s;
	struct pf_judged j;
	uint32_t world;
	const struct pf_corpus from = { c->pool, c->worlds, c->world_count, c->o.mutate };
	const uint64_t seed = pf_campaign_sample(&from, c->o.seed, index, &s, &world);

	if (c->o.show)
		show(&s);
	pf_judge_program(&c->judge, &s, seed, &j);
	c->t.programs++;
	c->t.mutated += s.mutated;
	if (c->dump && index % c->o.dump_every == 0) {
		dump(c->dump, &s, world, &j);
		c->t.dumped++;
	}
	if (!j.accepted) {
		c->t.refusals[j.refusal < PF_DIAGS ? j.refusal : 0]++;
		if (c->o.show)
			printf("refused: %s\n", pf_diag_text(j.refusal));
		return;
	}
	c->t.accepted++;
	c->t.accepted_mutated += s.mutated;
	c->t.runs += j.runs;
	c->t.maps += j.maps;
	c->t.variable += j.variable;
	c->t.budget += j.budget;
	c->t.addresses += j.addresses;
	const uint64_t steps = j.runs ? j.executed / j.runs : 0;
	c->t.steps[steps < STEPS ? steps : STEPS - 1]++;
	if (j.found)
		report(c, index, &s, seed, &j);
}

static uint64_t findings(const struct totals *t)
{
	return t->found[1] + t->found[2] + t->found[3] + t->found[4];
}

static uint32_t median_steps(const struct totals *t)
{
	uint64_t seen = 0;
	for (uint32_t i = 0; i < STEPS; i++)
		if ((seen += t->steps[i]) * 2 >= t->accepted && t->accepted)
			return i;
	return 0;
}

static void summary(const struct campaign *c)
{
	const struct totals *t = &c->t;
	const double all = t->programs ? (double)t->programs : 1, in = t->accepted ? (double)t->accepted : 1;
	if (c->o.json) {
		printf("{\"seed\": %llu, \"programs\": %llu, \"mutated\": %llu, \"accepted\": %llu, \"accepted_mutated\": %llu, "
		       "\"runs\": %llu, \"median_executed\": %u, \"maps_share\": %.4f, \"variable_share\": %.4f, "
		       "\"budget\": %llu, \"addresses\": %llu, \"faults\": %llu, \"outside_facts\": %llu, \"unreached\": %llu, \"different\": %llu, "
		       "\"dumped\": %llu, \"seconds\": %.2f}\n",
		       (unsigned long long)c->o.seed, (unsigned long long)t->programs, (unsigned long long)t->mutated,
		       (unsigned long long)t->accepted, (unsigned long long)t->accepted_mutated, (unsigned long long)t->runs,
		       median_steps(t), (double)t->maps / in, (double)t->variable / in, (unsigned long long)t->budget,
		       (unsigned long long)t->addresses, (unsigned long long)t->found[1], (unsigned long long)t->found[2], (unsigned long long)t->found[3],
		       (unsigned long long)t->found[4], (unsigned long long)t->dumped, t->seconds);
		return;
	}
	printf("programs %llu (%.0f a second), mutated %llu, accepted %llu (%.1f %%; mutated %llu), runs %llu\n",
	       (unsigned long long)t->programs, all / (t->seconds > 0 ? t->seconds : 1), (unsigned long long)t->mutated,
	       (unsigned long long)t->accepted, 100 * (double)t->accepted / all, (unsigned long long)t->accepted_mutated,
	       (unsigned long long)t->runs);
	printf("of the accepted: median executed %u, with maps %.1f %%, with variable offsets %.1f %%, out of budget %llu, "
	       "not compared for addresses in their results %llu\n",
	       median_steps(t), 100 * (double)t->maps / in, 100 * (double)t->variable / in, (unsigned long long)t->budget,
	       (unsigned long long)t->addresses);
	printf("findings: faults %llu, outside the facts %llu, unreached %llu, different %llu\n",
	       (unsigned long long)t->found[1], (unsigned long long)t->found[2], (unsigned long long)t->found[3],
	       (unsigned long long)t->found[4]);
	printf("refusals:\n");
	for (uint32_t d = 0; d < PF_DIAGS; d++)
		if (t->refusals[d] * 200 > t->programs)
			printf("  %5.1f %%  %.100s\n", 100 * (double)t->refusals[d] / all, pf_diag_text((enum pf_diag_code)d));
}

static void run(struct campaign *c)
{
	const double from = now();
	double told = from;
	for (uint64_t i = 0; i < c->o.programs; i++) {
		one(c, c->o.first + i);
		if (c->o.stop && findings(&c->t))
			break;
		if (i % 256)
			continue;
		const double at = now();
		if (c->o.seconds > 0 && at - from > c->o.seconds)
			break;
		if (at - told > 60) {
			told = at;
			fprintf(stderr, "%.0f s: programs %llu, accepted %llu, findings %llu\n", at - from,
				(unsigned long long)c->t.programs, (unsigned long long)c->t.accepted,
				(unsigned long long)findings(&c->t));
		}
	}
	c->t.seconds = now() - from;
}

static uint64_t number(const char *text)
{
	char *end;
	const uint64_t n = strtoull(text, &end, 0);
	if (*end || end == text) {
		fprintf(stderr, "campaign: '%s' is not a number\n", text);
		exit(2);
	}
	return n;
}

static struct options options_of(int argc, char **argv)
{
	struct options o = { .seed = 1, .programs = 100000, .mutate = 10, .dump_every = 1 };
	for (int i = 1; i < argc; i++) {
		const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
		bool *flag = !strcmp(name, "--facts") ? &o.facts : !strcmp(name, "--json") ? &o.json :
			     !strcmp(name, "--stop-on-finding") ? &o.stop : NULL;
		if (flag) {
			*flag = true;
			continue;
		}
		if (!value) {
			fprintf(stderr, "campaign: '%s' is no option, or has no value\n", name);
			exit(2);
		}
		i++;
		if (!strcmp(name, "--seed"))
			o.seed = number(value);
		else if (!strcmp(name, "--first"))
			o.first = number(value);
		else if (!strcmp(name, "--programs"))
			o.programs = number(value);
		else if (!strcmp(name, "--seconds"))
			o.seconds = (double)number(value);
		else if (!strcmp(name, "--mutate"))
			o.mutate = (uint32_t)number(value);
#ifdef PF_PLANT
		else if (!strcmp(name, "--plant"))
			pf_plant = (int)number(value);
#endif
		else if (!strcmp(name, "--corpus"))
			o.corpus = value;
		else if (!strcmp(name, "--dump"))
			o.dump = value;
		else if (!strcmp(name, "--dump-every"))
			o.dump_every = (uint32_t)number(value);
		else if (!strcmp(name, "--show")) {
			o.first = number(value);
			o.programs = 1;
			o.show = true;
		} else {
			fprintf(stderr, "campaign: '%s' is no option\n", name);
			exit(2);
		}
	}
	o.dump_every += !o.dump_every;
	return o;
}

int main(int argc, char **argv)
{
	static struct campaign c;
	c.o = options_of(argc, argv);
	c.judge.facts = c.o.facts;
	PF_REQUIRE(pf_exec_create(&c.judge.x) == PF_OK);
	c.pool = pf_world_pool();
	if (c.o.corpus) {
		c.world_count = pf_corpus_load(c.o.corpus, c.worlds, CORPUS);
		if (!c.world_count) {
			fprintf(stderr, "campaign: no program could be read from %s; make it with campaign_corpus.py\n", c.o.corpus);
			return 2;
		}
	}
	if (c.o.dump)
		dump_begin(&c);
	run(&c);
	summary(&c);
	if (c.dump)
		fclose(c.dump);
	for (uint32_t w = 0; w < c.world_count; w++)
		pf_world_destroy(c.worlds[w]);
	pf_exec_destroy(c.judge.x);
	return findings(&c.t) ? 1 : 0;
}
