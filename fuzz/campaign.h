/* campaign.h - the campaign against the verifier: made and mutated programs, a verdict, and runs that judge it.
 *
 * Terms
 *   world      maps, tail call targets and packets that a program runs in
 *   judge      verification of one program and, if it is accepted, runs over several packets: in the reference
 *              interpreter (with the verifier's facts beside every instruction), the checked and the unchecked engine
 *   finding    an accepted program that faults, leaves the facts, reaches what cannot be reached, or gives different
 *              results in the three
 *   careless   a program whose maker now and then forgets a check, or gets it wrong by one
 *
 * Invariants
 *   C1 Program i of seed s, and all its runs, are functions of (s, i) and of the corpus alone.
 *   C2 Every program names maps by their place in its world: number == place.
 *   C3 The unchecked engine runs only what the checked one ran without a fault.
 *
 * Threads: one.
 */
#ifndef PF_CAMPAIGN_H
#define PF_CAMPAIGN_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "verifier/admit.h"
#include "vm/vm.h"

#define PF_CAMPAIGN_INSNS 640u
#define PF_CAMPAIGN_MAPS 16u
#define PF_CAMPAIGN_BUDGET 60000u   /* instructions of one run */
#define PF_CAMPAIGN_EXPLORE 8000u    /* instructions the verifier may process for a program */
#define PF_CAMPAIGN_PATIENCE 100000u /* the same, for a verdict that is compared with the kernel's */
#define PF_CAMPAIGN_RUNS 3u
#define PF_CAMPAIGN_CPUS 2u
#define PF_CAMPAIGN_PACKET 2048u

#define PF_REQUIRE(cond)                                                                                               \
	do {                                                                                                           \
		if (!(cond)) {                                                                                         \
			fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #cond);                           \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

/* ---- random numbers: splitmix64 ---- */

struct pf_rng {
	uint64_t state;
};

static inline uint64_t pf_rng_next(struct pf_rng *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15u;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}
static inline uint32_t pf_rng_below(struct pf_rng *r, uint32_t n)
{
	return (uint32_t)((pf_rng_next(r) >> 32) * n >> 32);
}
static inline bool pf_rng_chance(struct pf_rng *r, uint32_t percent) { return pf_rng_below(r, 100) < percent; }
/* A number near an edge of some width, or any. */
uint64_t pf_rng_edge(struct pf_rng *r);

/* ---- programs ---- */

struct pf_sample {
	uint32_t count;
	bool mutated; /* of a corpus program; else made */
	struct pf_world *world;
	struct pf_insn insns[PF_CAMPAIGN_INSNS];
};

/* Places in the world of made programs. */
enum {
	PF_POOL_ARRAY, PF_POOL_DIRECT, PF_POOL_HASH, PF_POOL_WIDE_HASH, PF_POOL_PERCPU_ARRAY, PF_POOL_PERCPU_HASH,
	PF_POOL_LRU, PF_POOL_LPM, PF_POOL_BIG, PF_POOL_RODATA, PF_POOL_PROGS, PF_POOL_OUTER, PF_POOL_DEVMAP, PF_POOLS
};
extern const struct pf_map_def pf_pool_defs[PF_POOLS];
extern const struct pf_map_def pf_pool_inner;

void pf_campaign_make(struct pf_sample *s, struct pf_rng *rng);
/* Random changes to a few instructions. */
void pf_campaign_mutate(struct pf_sample *s, struct pf_rng *rng, uint32_t changes);

/* ---- worlds ---- */

struct pf_world {
	uint32_t map_count;
	struct pf_prog_map maps[PF_CAMPAIGN_MAPS];
	struct pf_map *inner; /* of the outer maps; NULL: none */
	uint8_t *saved[PF_CAMPAIGN_MAPS]; /* keyed maps as they were at the beginning */
	struct pf_bindings bindings;
	struct pf_bindings_slot slots[4 * PF_CAMPAIGN_MAPS];
	/* A program of the corpus. */
	uint32_t count;
	struct pf_insn *insns;
};

struct pf_world *pf_world_pool(void);
/* NULL when the map cannot be made here (a type that is not supported). */
struct pf_world *pf_world_create(const struct pf_map_def *defs, const struct pf_map_def *inner, uint32_t count);
/* Refills the maps in `named` (a set of places) with contents that are a function of seed. */
void pf_world_fill(struct pf_world *w, uint32_t named, uint64_t seed);
void pf_world_destroy(struct pf_world *w);
/* What is bound in its maps now becomes what programs see. */
void pf_world_rebind(struct pf_world *w);
/* Writes a packet that is a function of seed; returns its length (14 to 1600). */
uint32_t pf_world_packet(uint8_t *to, uint64_t seed);

/* The memory that holds a map's contents, all of it; none for maps that programs cannot write. Returns how many parts. */
#define PF_WORLD_PARTS 4u
struct pf_map_part {
	uint8_t *bytes;
	size_t size;
};
uint32_t pf_world_parts(struct pf_map *map, struct pf_map_part *parts);

/* What samples are made of: mutate, in percent, is the share of changed programs of the corpus. */
struct pf_corpus {
	struct pf_world *pool, **worlds;
	uint32_t count, mutate;
};
/* Program `index` of `seed` (C1). *world: 0 for the pool's, else 1 + place in the corpus. Returns the seed of its runs. */
uint64_t pf_campaign_sample(const struct pf_corpus *from, uint64_t seed, uint64_t index, struct pf_sample *s,
			    uint32_t *world);

/* Programs and map definitions that campaign_corpus.py wrote; returns how many. */
uint32_t pf_corpus_load(const char *path, struct pf_world **worlds, uint32_t capacity);

/* ---- the reference interpreter ---- */

enum pf_ref_end {
	PF_REF_DONE, PF_REF_BUDGET, PF_REF_FAULT, /* access or argument that is not allowed */
	PF_REF_UNREACHED,                         /* an instruction that no path reaches, or no instruction at all */
	PF_REF_FACT,                              /* a register outside its fact */
};

struct pf_machine {
	struct pf_exec *x;
	const struct pf_prog *prog;     /* that the facts are of */
	const struct pf_verify_result *result; /* facts NULL: none are compared */
	const uint16_t *interesting;    /* per slot: registers whose facts say something */
	uint8_t *covered;               /* per slot: becomes 1 when the program comes there; NULL: nobody asks */
	uint64_t executed;
	/* where and why it ended */
	enum pf_ref_end end;
	uint32_t insn, reg;
	uint64_t value;
};

/* Runs over x->packet, as pf_vm_run would; *r0 when the end is DONE. */
enum pf_ref_end pf_machine_run(struct pf_machine *ref, uint64_t *r0);

/* ---- the judge ---- */

enum pf_finding { PF_FIND_NONE, PF_FIND_FAULT, PF_FIND_FACT, PF_FIND_UNREACHED, PF_FIND_DIFFERENT };

struct pf_judged {
	bool accepted, maps, variable, budget;
	bool addresses; /* what it computes depends on where a key's copy lies */
	uint32_t runs;
	uint64_t executed; /* over all runs */
	enum pf_finding found;
	enum pf_diag_code refusal;
	char text[256];    /* of the finding */
};

struct pf_judge {
	struct pf_exec *x;
	bool facts;
	uint8_t packet[64 + PF_CAMPAIGN_PACKET];
	uint16_t interesting[PF_CAMPAIGN_INSNS];
};

void pf_judge_program(struct pf_judge *j, const struct pf_sample *s, uint64_t seed, struct pf_judged *out);
/* The verdict alone, under PF_CAMPAIGN_PATIENCE; no facts and no runs. */
struct pf_judged pf_judge_patiently(const struct pf_sample *s);
/* Makes s smaller while it shows a finding of the same kind. */
void pf_judge_shrink(struct pf_judge *j, struct pf_sample *s, uint64_t seed, enum pf_finding found);
/* Makes s smaller while `still` says that what matters is still there. */
typedef bool pf_sample_still(void *user, const struct pf_sample *s);
void pf_sample_shrink(struct pf_sample *s, pf_sample_still *still, void *user);
/* Places of the maps that instructions name, as a set. */
uint32_t pf_named_maps(const struct pf_world *w, const struct pf_insn *insns, uint32_t count);
/* Does the fact exclude any value? */
bool pf_fact_says_nothing(const struct pf_fact *f);
/* The register outside its fact that a machine ended at (PF_REF_FACT), as text. */
void pf_fact_describe(char *out, size_t size, const struct pf_machine *ref);

#endif
