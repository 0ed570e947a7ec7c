/* route.h - where redirected packets go: destinations, copies, counters.
 *
 * Terms
 *   target     what a REDIRECT names: a port (batch.h), or nothing that exists
 *   departure  one copy of a packet on its way to one port
 *
 * Invariants
 *   R1 A target is found right after the program that named it, as xdp_do_redirect does; the packet is copied then.
 *   R2 Departures go out when the batch's own programs have run, in the same world and still online, in the order of
 *      arrival, and for one packet in the order of keys. So each port's are in capture order.
 *   R3 An ifindex that nobody gave a port for does not exist: the packet is dropped and counted as an error, as by
 *      tracepoint xdp_redirect_err. A CPU of a cpumap entry always exists.
 *   R4 BPF_F_BROADCAST sends one copy to every entry of a device map whose device exists, BPF_F_EXCLUDE_INGRESS but the
 *      one the packet came in by; none left is a drop without error. As in Linux 6.18 (tests/test_ports_kernel.py).
 *   R6 The program of an entry of a device map runs on each copy before it leaves, with egress_ifindex and queue 0: PASS
 *      sends what it made of the packet, everything else drops. That of a cpumap's entry: PASS hands on to the stack,
 *      REDIRECT goes on from there (at most PF_ROUTE_HOPS times, then it is an error), everything else drops. Its CPU id is
 *      the worker's: per-CPU maps have one value for each that is leased. As in Linux 6.18 but for that.
 *   R5 Memory is bounded by what one batch redirects: a packet is kept once, however many copies leave.
 *   R7 Programs can name 2^32 interfaces that do not exist: the PF_ROUTE_STRANGERS lowest of them have rows, the errors of
 *      the others are totals. So any number of workers, summed and cut alike, gives the same rows.
 *
 * Threads: the worker's.
 */
#ifndef PF_ROUTE_H
#define PF_ROUTE_H

#include "run.h"

#define PF_ROUTE_HOPS 8u
#define PF_ROUTE_STRANGERS 256u

/* What became of the packets for one port. */
struct pf_route_row {
	struct pf_port port;
	uint64_t packets, bytes; /* left by it */
	uint64_t dropped;        /* by the entry's own program */
};

/* Totals: packets whose REDIRECT was followed, and those of them that named no target, or one without a row (R7), or no memory
 * was left for; and broadcasts that found nobody. */
struct pf_route_counts {
	uint64_t followed, errors, dropped;
};

/* An interface that does not exist (R7). */
struct pf_route_stranger {
	uint32_t ifindex;
	uint64_t errors;
};

struct pf_routes; /* route.c */

void pf_routes_destroy(struct pf_routes *routes);

/* The interfaces that exist (R3), in any order; copied. PF_ENOMEM. Before the worker runs. */
PF_API enum pf_err pf_worker_set_ports(struct pf_worker *worker, const uint32_t *ifindexes, uint32_t count,
				       struct pf_diag *diag);
/* Rows in the order in which ports were first met; valid while the worker does not run. */
PF_API const struct pf_route_row *pf_worker_routes(const struct pf_worker *worker, uint32_t *count,
						   struct pf_route_counts *counts);

/* In ascending order; likewise. */
PF_API const struct pf_route_stranger *pf_worker_strangers(const struct pf_worker *worker, uint32_t *count);

/* Inside a batch: packet i has ended with REDIRECT, and x says where to (R1). */
struct round;
void pf_route_packet(struct pf_worker *w, const struct round *round, uint32_t i, const struct pf_verdict *verdict);
/* After the batch's programs (R2). */
void pf_route_depart(struct pf_worker *w, const struct pf_world *world, const struct round *round);

#endif
