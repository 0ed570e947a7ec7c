/* tiers_library.c - what tiers.py calls: worlds, programs, compiled code, comparisons. Everything here aborts when the
 * machine has no memory; strings are written into the caller's buffer and end with NUL. */
#include "tiers.h"

#ifdef PF_PLANT
int pf_plant;
#endif

static struct {
	struct pf_corpus from;
	struct pf_world *worlds[4096];
	struct pf_sample sample;
	uint32_t dense;
} all;

/* Programs of the campaign are made in the pool's world; corpus: NULL for made programs only; dense: percent of programs
 * from tiers_gen.c. Returns the corpus' size. */
PF_TIERS_API uint32_t pf_tiers_open(const char *corpus, uint32_t mutate, uint32_t dense)
{
	all.dense = dense;
	all.from.pool = pf_world_pool();
	all.from.worlds = all.worlds;
	all.from.mutate = mutate;
	all.from.count = corpus ? pf_corpus_load(corpus, all.worlds, 4096) : 0;
	return all.from.count;
}

PF_TIERS_API struct pf_world *pf_tiers_pool(void) { return all.from.pool; }

/* ---- worlds ---- */

/* defs: five words a map; inner: five words. NULL: the maps cannot be made. */
PF_TIERS_API struct pf_world *pf_tiers_world(const uint32_t *defs, const uint32_t *inner, uint32_t count)
{
	struct pf_map_def all_defs[PF_CAMPAIGN_MAPS], one = { (enum pf_map_type)inner[0], inner[1], inner[2], inner[3], inner[4] };
	if (count > PF_CAMPAIGN_MAPS)
		return NULL;
	for (uint32_t m = 0; m < count; m++) {
		const uint32_t *d = defs + 5 * m;
		all_defs[m] = (struct pf_map_def){ (enum pf_map_type)d[0], d[1], d[2], d[3], d[4] };
	}
	return pf_world_create(all_defs, &one, count);
}

PF_TIERS_API void pf_tiers_world_free(struct pf_world *w) { pf_world_destroy(w); }

/* The only element of an array; freeze: nobody may change it any more. */
PF_TIERS_API int pf_tiers_data(struct pf_world *w, uint32_t place, const uint8_t *bytes, uint32_t length, int freeze)
{
	struct pf_map *map = w->maps[place].map;
	if (length != map->def.value_size || map->def.type != PF_MAP_ARRAY)
		return 0;
	memcpy(map->arena + map->value_offset, bytes, length);
	if (freeze)
		pf_map_freeze(map);
	return 1;
}

/* inner: of the inner maps. */
PF_TIERS_API int pf_tiers_lock(struct pf_world *w, uint32_t place, uint32_t offset, int inner)
{
	struct pf_map *map = w->maps[place].map;
	return (inner ? pf_map_set_inner_lock : pf_map_set_lock)(map, offset, NULL) == PF_OK;
}

PF_TIERS_API int pf_tiers_bind(struct pf_world *w, uint32_t place, uint32_t key, struct pf_tier_program *p)
{
	if (pf_map_bind(w->maps[place].map, &key, &p->prog->ref, 0, NULL, NULL) != PF_OK)
		return 0;
	pf_world_rebind(w);
	return 1;
}

/* Clears all slots of an array of programs, which would keep their programs. */
PF_TIERS_API void pf_tiers_unbind(struct pf_world *w, uint32_t place)
{
	struct pf_map *map = w->maps[place].map;
	for (uint32_t key = 0; key < map->def.max_entries; key++)
		(void)pf_map_user_delete(map, &key);
	pf_world_rebind(w);
}

/* What the translator may know: type, key size, value size, entries, flags, cpus, per CPU, stride, value_step, cpu_step,
 * offset of the lock or -1, 1 if its contents are fixed. Returns the contents, or NULL. */
PF_TIERS_API const uint8_t *pf_tiers_map(const struct pf_world *w, uint32_t place, int64_t out[12])
{
	struct pf_map *map = w->maps[place].map;
	const bool fixed = map->def.type == PF_MAP_ARRAY && map->def.max_entries == 1 && map->def.flags & PF_MAP_F_RDONLY_PROG &&
			   map->frozen;
	const int64_t values[12] = { map->def.type, map->def.key_size, map->def.value_size, map->def.max_entries,
				     map->def.flags, map->cpus, map->percpu, (int64_t)map->stride, map->value_step,
				     map->cpu_step, map->lock.present ? (int64_t)map->lock.offset : -1, fixed };
	memcpy(out, values, sizeof(values));
	return fixed ? map->arena + map->value_offset : NULL;
}

PF_TIERS_API uint32_t pf_tiers_map_count(const struct pf_world *w) { return w->map_count; }

/* The target of the pool's tail calls at this place, for compiling it; NULL: no more. */
PF_TIERS_API struct pf_prog *pf_tiers_target(const struct pf_world *w, uint32_t place, uint32_t key)
{
	struct pf_ref *ref = pf_map_bound(w->maps[place].map, &key);
	if (ref)
		pf_ref_put(ref);
	return (struct pf_prog *)ref;
}

PF_TIERS_API const void *pf_tiers_code_of(const struct pf_prog *prog, uint32_t *count, const uint8_t **types)
{
	*count = prog->count;
	*types = prog->types;
	return prog->insns;
}

/* ---- programs ---- */

static struct pf_prog *create(struct pf_world *w, const struct pf_prog_def *like, enum pf_diag_code *refusal)
{
	struct pf_prog_def def = *like;
	struct pf_prog *prog = NULL;
	struct pf_diag diag;
	def.maps = w->maps;
	def.map_count = w->map_count;
	if (pf_prog_create(&def, &prog, &diag))
		*refusal = diag.code;
	return prog;
}

static void survey(struct pf_tier_program *p)
{
	for (uint32_t i = 0; i < p->prog->count; i++) {
		for (uint32_t r = 0; r < 11 && p->result.facts; r++)
			if (!pf_fact_says_nothing(&p->result.facts[i * 11 + r]))
				p->interesting[i] |= (uint16_t)(1u << r);
		if (p->prog->insns[i].code == 0x18)
			p->interesting[++i] = 0;
	}
}

/* NULL when it is no legal program; accepted says what the verifier thinks. unverified: forms for a program that it
 * refused (type memory: the conformance vectors know their memory). */
PF_TIERS_API struct pf_tier_program *pf_tiers_program(struct pf_world *w, int type, int frags, const void *insns, uint32_t count,
						      int unverified)
{
	const struct pf_verify_input options = { .budget = insns == all.sample.insns ? PF_CAMPAIGN_PATIENCE : 0, .cpus = 4, .gpl_compatible = 1,
						 .want = PF_VERIFY_FACTS };
	const struct pf_prog_def def = { .type = (enum pf_prog_type)type, .name = "p", .insns = insns, .count = count,
					 .frags = (uint8_t)frags };
	struct pf_tier_program *p = calloc(1, sizeof(*p));
	PF_REQUIRE(p);
	p->world = w;
	p->prog = create(w, &def, &p->refusal);
	p->plain = create(w, &def, &p->refusal);
	if (!p->prog || !p->plain) {
		free(p);
		return NULL;
	}
	p->named = pf_named_maps(w, insns, count);
	for (uint32_t m = 0; m < w->map_count; m++)
		if (p->named >> m & 1 && w->maps[m].map->def.type == PF_MAP_PROG_ARRAY)
			p->named = (1u << w->map_count) - 1; /* what its targets name */
	p->interesting = calloc(count + 1, sizeof(*p->interesting));
	p->covered = calloc(count + 1, 1);
	PF_REQUIRE(p->interesting && p->covered);
	p->accepted = pf_verify_program(p->prog, &options, &p->result) == PF_OK;
	p->refusal = p->result.diag.code;
	if (!p->accepted && !unverified)
		return p;
	if (!p->accepted) {
		p->prog->types = calloc(count, 1);
		p->prog->verified = 1;
		PF_REQUIRE(p->prog->types);
	}
	survey(p);
	p->plain->types = malloc(count);
	PF_REQUIRE(p->plain->types);
	memcpy(p->plain->types, p->prog->types, count);
	p->plain->verified = 1;
	PF_REQUIRE(pf_vm_stage(p->prog, PF_ENGINE_CHECKED, NULL, NULL) == PF_OK);
	PF_REQUIRE(pf_vm_stage(p->prog, PF_ENGINE_INTERP, p->prog->types, NULL) == PF_OK);
	return p;
}

PF_TIERS_API void pf_tiers_program_free(struct pf_tier_program *p)
{
	pf_verify_free(&p->result);
	pf_prog_put(p->prog);
	pf_prog_put(p->plain);
	free(p->interesting);
	free(p->covered);
	free(p);
}

PF_TIERS_API int pf_tiers_accepted(const struct pf_tier_program *p, char *text, size_t size)
{
	snprintf(text, size, "%s", p->accepted ? "" : pf_diag_text(p->refusal));
	return (int)p->accepted;
}

PF_TIERS_API struct pf_prog *pf_tiers_prog(struct pf_tier_program *p, int plain) { return plain ? p->plain : p->prog; }

/* Facts as ten 64-bit numbers each: kind, maybe_null, map, proved, umin, umax, smin, smax, known bits, unknown mask.
 * Returns how many instructions have them. */
PF_TIERS_API uint32_t pf_tiers_facts(const struct pf_tier_program *p, uint64_t *out)
{
	if (!p->result.facts)
		return 0;
	for (uint32_t i = 0; i < p->prog->count * 11; i++) {
		const struct pf_fact *f = &p->result.facts[i];
		const uint64_t row[10] = { f->kind, f->maybe_null, f->map, f->proved, f->range.umin, f->range.umax,
					   (uint64_t)f->range.smin, (uint64_t)f->range.smax, f->range.t.value,
					   f->range.t.mask };
		memcpy(out + 10 * (size_t)i, row, sizeof(row));
	}
	return p->prog->count;
}

/* Loads compiled code; 0, and why in text, when the loader refuses it. */
PF_TIERS_API int pf_tiers_stage(struct pf_prog *prog, const void *object, size_t length, char *text, size_t size)
{
	struct pf_diag diag = { .code = (enum pf_diag_code)0 };
	if (!pf_native_stage(prog, object, length, &diag))
		return 1;
	snprintf(text, size, "%s (name '%s', found %llu, expected %llu)", pf_diag_text(diag.code), diag.name,
		 (unsigned long long)diag.found, (unsigned long long)diag.expected);
	return 0;
}

PF_TIERS_API void pf_tiers_compare(struct pf_tier_program *p, const struct pf_tier_plan *plan, struct pf_tier_report *out)
{
	pf_tier_compare(p, plan, out);
}

/* ---- the campaign's programs ---- */

/* Program `index` of `seed` becomes the sample; *count instructions. Returns the seed of its runs. */
PF_TIERS_API uint64_t pf_tiers_sample(uint64_t seed, uint64_t index, uint32_t *count)
{
	struct pf_rng rng = { seed ^ index << 20 ^ 0xde45e };
	uint32_t world;
	(void)pf_rng_next(&rng);
	uint64_t runs = pf_rng_next(&rng);
	if (pf_rng_chance(&rng, all.dense)) {
		all.sample.world = all.from.pool;
		pf_tier_make_dense(&all.sample, &rng);
	} else {
		runs = pf_campaign_sample(&all.from, seed, index, &all.sample, &world);
	}
	*count = all.sample.count;
	return runs;
}

PF_TIERS_API struct pf_tier_program *pf_tiers_sample_program(void)
{
	return pf_tiers_program(all.sample.world, PF_PROG_XDP, 0, all.sample.insns, all.sample.count, 0);
}

PF_TIERS_API struct pf_world *pf_tiers_sample_world(void) { return all.sample.world; }

static bool call_still(void *user, const struct pf_sample *s)
{
	const struct pf_sample kept = all.sample;
	all.sample = *s;
	const bool still = (*(int (**)(void))user)() != 0;
	all.sample = kept;
	return still;
}

/* Makes the sample smaller while still() says that it is of interest; still looks at the sample's program. */
PF_TIERS_API void pf_tiers_shrink(int (*still)(void))
{
	struct pf_sample s = all.sample;
	pf_sample_shrink(&s, call_still, &still);
	all.sample = s;
}

/* The sample as text, one instruction a line; returns the length without the NUL. */
PF_TIERS_API uint32_t pf_tiers_show(const struct pf_insn *insns, uint32_t count, char *text, uint32_t size)
{
	uint32_t at = 0;
	for (uint32_t i = 0; i < count && at + 2 * PF_ISA_TEXT_MAX < size; i++) {
		char line[PF_ISA_TEXT_MAX];
		pf_isa_text(&insns[i], i + 1 < count ? &insns[i + 1] : NULL, NULL, line, sizeof(line));
		at += (uint32_t)snprintf(text + at, size - at, "  %3u: %s\n", i, line);
		i += insns[i].code == 0x18;
	}
	return at;
}

PF_TIERS_API const void *pf_tiers_sample_code(uint32_t *count)
{
	*count = all.sample.count;
	return all.sample.insns;
}

/* Sizes of the structures that tiers.py fills and reads, so that it notices when they change. */
PF_TIERS_API void pf_tiers_sizes(uint32_t out[2])
{
	out[0] = sizeof(struct pf_tier_plan);
	out[1] = sizeof(struct pf_tier_report);
}

/* Entry i of what compiled code takes as given about structures; NULL: no more. */
PF_TIERS_API const char *pf_tiers_layout(uint32_t i, uint64_t *value)
{
	if (i >= pf_native_layout_count)
		return NULL;
	*value = pf_native_layouts[i].value;
	return pf_native_layouts[i].name;
}
