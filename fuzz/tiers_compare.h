/* tiers_compare.h - inside the comparison: what singles (tiers_run.c) and feeds (tiers_feed.c) share. Terms and invariants
 * are those of tiers.h.
 */
#ifndef PF_TIERS_COMPARE_H
#define PF_TIERS_COMPARE_H

#include "tiers.h"

#define BYTES (3u * PF_TIERS_MEMORY + 2048u)
#define ALTERNATES 3u
#define RESET 16u /* singles until the maps are filled anew */
#define GAP 32u   /* bytes between the packets of a feed, which nobody may touch */
#define CPUS 4u   /* ids that programs see; per-CPU maps have values for PF_CAMPAIGN_CPUS of them */

struct outcome {
	uint64_t r0, time_ns, redirect_flags;
	const struct pf_map *redirect_map;
	uint32_t meta, linear, extra, front, back, redirect, target, trace;
	uint64_t lost;
	uint8_t framed;
	uint8_t bytes[BYTES];
	char text[PF_TRACE_RING];
};

/* What one packet starts from. */
struct start {
	uint64_t seed, index, time_ns;
	uint32_t length, meta, limit, cpu;
	uint8_t packet[PF_TIERS_MEMORY], meta_bytes[64];
};

struct compared {
	struct pf_tier_program *p;
	const struct pf_tier_plan *plan;
	struct pf_tier_report *out;
	struct pf_exec *x, *elsewhere[ALTERNATES];
	uint8_t *memory, *before, *after; /* the packet; states of the maps */
	size_t state_capacity;
	struct pf_tier_source source;
	struct start start;
	struct outcome want;
	/* feeds */
	uint8_t *batch, *batch_before, *batch_after;
	size_t batch_size;
	struct pf_desc desc[PF_TIERS_FEED];
	struct pf_stamp stamps[PF_TIERS_FEED];
	uint32_t retvals[PF_TIERS_FEED], wanted[PF_TIERS_FEED];
};

/* The comparison that is being made. */
extern struct compared c;

void found(enum pf_tier_found what, uint32_t form, const char *text);
bool staged(enum pf_tier_form form);
const struct pf_prog *program_of(enum pf_tier_form form);
enum pf_engine engine_of(enum pf_tier_form form);
/* What a run finds in x, besides the packet. */
void begin(struct pf_exec *x, uint64_t seed, uint32_t cpu);
uint32_t first_difference(const uint8_t *a, const uint8_t *b, uint32_t n);
void one_feed(uint32_t k);

#endif
