/* tiers.h - the differential test of the engines: one program in all its forms, over many packets, from equal states.
 *
 * Terms
 *   form     a way to run a program: an engine, and for compiled code whether the translator was given the facts
 *   single   one packet through pf_vm_run of every form, each from the same state
 *   feed     a batch through pf_vm_run_packets of every form, maps changing on the way; judged by pf_vm_run of the
 *            checked engine, packet after packet
 *   state    contents of the maps that the program names, of inner maps, and of the packet
 *   outcome  what a run leaves: r0 (32 bits, for type memory all 64), metadata, packet, geometry, redirect, trace text,
 *            clock, and the state of the maps, byte for byte, of all CPUs
 *   pair     one packet (of a single or of a feed) that every form agreed on
 *
 * Invariants
 *   T1 What is compared is a function of program, seed and world alone; a form that is not staged is left out.
 *   T2 The reference interpreter judges first: what it calls a fault, or a value outside its fact, ends the program, and
 *      compiled code runs only what it and the checked engine ended within the budget.
 *   T3 A difference counts only when the checked engine gives one result wherever its stack lies: it is run again with
 *      stacks in other places, of other alignment. A program that makes a number of a stack's address is counted apart.
 *   T4 A signal in a form (bad access, division, illegal instruction, too much time) is a finding, not the end.
 *
 * Threads: one.
 */
#ifndef PF_TIERS_H
#define PF_TIERS_H

#include "campaign.h"
#include "native/native.h"

#define PF_TIERS_MEMORY 4096u /* most bytes of a region of type memory, and of a packet here */
#define PF_TIERS_STRIDE 4608u /* of packets in a feed */
#define PF_TIERS_FEED 64u     /* packets */
#define PF_TIERS_KEPT 48u     /* packets that reached something new */
#define PF_TIERS_TEXT 384u

enum pf_tier_form {
	PF_TIER_FORM_CHECKED, PF_TIER_FORM_INTERP, PF_TIER_FORM_COMPILED, /* with facts */
	PF_TIER_FORM_PLAIN,                                     /* compiled without */
	PF_TIER_FORMS
};

/* A program in all forms. Compiled code belongs to a program, so there are two of them. */
struct pf_tier_program {
	struct pf_world *world;
	struct pf_prog *prog, *plain;
	struct pf_verify_result result;
	uint32_t accepted, named; /* named: places of maps */
	uint16_t *interesting;    /* per slot (campaign.h) */
	uint8_t *covered;         /* per slot: the reference interpreter was there */
	enum pf_diag_code refusal;
};

struct pf_tier_plan {
	uint64_t seed;
	uint32_t singles, feeds; /* packets; batches */
	uint32_t feed;           /* packets of a batch */
	uint32_t forms;          /* set of forms to run besides the checked one */
	uint32_t limit_ms;       /* of processor time for the whole program; 0: none */
	const uint8_t *memory;   /* type memory: contents of the region, NULL: random */
	uint32_t memory_len;
};

struct pf_tier_report {
	uint64_t pairs, runs, executed; /* instructions, by the reference interpreter */
	uint64_t addresses, budget;     /* packets left out: results made of addresses; too long */
	uint32_t covered, reachable;    /* instructions */
	uint32_t found;                 /* enum pf_tier_found */
	uint32_t form, feed, packet;    /* of the finding */
	char text[PF_TIERS_TEXT];
};

enum pf_tier_found { PF_TIER_NOTHING, PF_TIER_DIFFERENT, PF_TIER_SIGNAL, PF_TIER_FAULT };

/* ---- programs (tiers_gen.c) ---- */

/* A program for the pool's world that computes much and shows all of it. */
void pf_tier_make_dense(struct pf_sample *s, struct pf_rng *rng);

/* ---- packets (tiers_packets.c) ---- */

/* What a program compares with and where it looks: what packets that reach its branches are made of. */
struct pf_tier_source {
	struct pf_rng rng;
	uint32_t count, offsets, kept, next;
	uint64_t constants[256];
	uint16_t offset[256];
	uint32_t length[PF_TIERS_KEPT];
	uint8_t bytes[PF_TIERS_KEPT][PF_TIERS_MEMORY];
};
void pf_tier_source_init(struct pf_tier_source *s, const struct pf_insn *insns, uint32_t count, uint64_t seed);
/* Writes a packet of 14 bytes or more (type memory: any); returns its length. */
uint32_t pf_tier_packet(struct pf_tier_source *s, uint8_t *to);
/* This one reached instructions that none before did. */
void pf_tier_keep(struct pf_tier_source *s, const uint8_t *packet, uint32_t length);

/* ---- state (tiers_state.c) ---- */

/* Bytes that the named maps and the inner maps behind them take. */
size_t pf_tier_state_size(const struct pf_world *w, uint32_t named);
void pf_tier_state_save(const struct pf_world *w, uint32_t named, uint8_t *to);
void pf_tier_state_restore(const struct pf_world *w, uint32_t named, const uint8_t *from);
/* Where the state as it is differs from a saved one: "map 3 byte 17"; NULL when it does not. */
const char *pf_tier_state_differs(const struct pf_world *w, uint32_t named, const uint8_t *saved, char *text, size_t size);

/* ---- comparing (tiers_run.c) ---- */

void pf_tier_compare(struct pf_tier_program *p, const struct pf_tier_plan *plan, struct pf_tier_report *out);

/* ---- for tiers.py (tiers_library.c) ---- */

#define PF_TIERS_API __attribute__((visibility("default")))

#endif
