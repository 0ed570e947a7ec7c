/* ports.h - the sink that gives what leaves by a port to that port's own sink, and a sink that collects packets for its
 * owner.
 *
 * Invariants
 *   T1 Every port's sink is told what leaves by it and nothing else; the inner one, which may be NULL, is told verdicts as if
 *      it stood alone. A port without a sink takes packets and forgets them.
 *   T2 flush flushes all of them; the first error is reported, and `failed` says whose it was.
 *   T3 A collector holds copies from emit to flush, which hands them over: memory is bounded by what one batch lets through.
 *
 * Threads: one at a time, as their parts.
 */
#ifndef PF_IO_PORTS_H
#define PF_IO_PORTS_H

#include "../packet/batch.h"

struct pf_ports; /* its first member is struct pf_sink */

struct pf_port_sink {
	struct pf_port port;
	struct pf_sink *sink; /* NULL: forgets */
};

#define PF_PORTS_INNER UINT32_MAX
#define PF_PORTS_NONE (UINT32_MAX - 1)

/* The sinks stay the caller's. PF_ENOMEM. */
PF_API enum pf_err pf_ports_create(struct pf_sink *inner, const struct pf_port_sink *sinks, uint32_t count,
				   struct pf_ports **ports, struct pf_diag *diag);
PF_API void pf_ports_destroy(struct pf_ports *ports);
/* For the batches from now on, between flushes. */
PF_API void pf_ports_set_inner(struct pf_ports *ports, struct pf_sink *inner);
/* T2: index into sinks, PF_PORTS_INNER or PF_PORTS_NONE. */
PF_API uint32_t pf_ports_failed(const struct pf_ports *ports);
static inline struct pf_sink *pf_ports_sink(struct pf_ports *ports) { return (struct pf_sink *)ports; }

struct pf_collector; /* its first member is struct pf_sink */

/* In flush: one packet after another; 0 ends it, and flush reports PF_EINTR. */
typedef int (*pf_collector_take)(void *owner, const uint8_t *data, uint32_t len, int64_t ts_ns);
PF_API enum pf_err pf_collector_create(pf_collector_take take, void *owner, struct pf_collector **collector,
				       struct pf_diag *diag);
PF_API void pf_collector_destroy(struct pf_collector *collector);
static inline struct pf_sink *pf_collector_sink(struct pf_collector *collector) { return (struct pf_sink *)collector; }

#endif
