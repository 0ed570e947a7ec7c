/* schedule.h - when each packet of a timed replay is due, computed from the packets alone.
 *
 * Terms
 *   due    nanoseconds after the first packet
 *   rate   in billionths: of "times as fast", of packets a second, or of Mbit/s
 *   line   a stretch of capture time: `at` of it is due at `due` and part/rate of a nanosecond
 *   pass   all inputs once; a replay may have several
 *
 * Invariants
 *   S1 Due times never go backward, and are a function of the packets and the options: no clock is asked.
 *   S2 Nothing is rounded twice: what a division leaves over is carried to the next packet, so that there is no drift.
 *   S3 By time, a packet is due when the running maximum of its line is. Times within max_gap_ns of a line belong to it;
 *      others begin a new line, max_gap_ns later if they lie ahead, at once if they lie back. The line before is kept, so
 *      that one damaged time costs no more than one such gap.
 *   S4 By bits, a packet is due when all before it have had their time: bytes as on the wire, of which at most
 *      PF_SCHEDULE_BYTES are believed.
 *   S5 By time, a new pass begins the mean gap of the pass before after its end; by rate, passes change nothing.
 *
 * Threads: one at a time.
 */
#ifndef PF_SCHEDULE_H
#define PF_SCHEDULE_H

#include "../packet/batch.h"

#define PF_SCHEDULE_UNIT UINT64_C(1000000000) /* a rate of 1 */
#define PF_SCHEDULE_BYTES 262144u
#define PF_SCHEDULE_END (UINT64_C(1) << 62) /* nothing is due later */

enum pf_schedule_kind { PF_SCHEDULE_TIME, PF_SCHEDULE_PACKETS, PF_SCHEDULE_MBITS };

struct pf_schedule_options {
	enum pf_schedule_kind kind;
	uint64_t rate;       /* above 0 */
	uint64_t max_gap_ns; /* of capture time; UINT64_MAX: no limit */
};

struct pf_line {
	int64_t at;
	uint64_t due, part;
};

struct pf_schedule {
	struct pf_schedule_options options;
	struct pf_line line, before;
	uint8_t has_before;
	uint8_t new_pass;
	uint64_t bits;         /* of the packet before */
	uint64_t pass_packets; /* of this pass */
	uint64_t pass_due;     /* of its first packet */
	uint64_t shortened;    /* gaps that became max_gap_ns */
	uint64_t stepped_back; /* lines that began before the end of the one before */
};

PF_API void pf_schedule_init(struct pf_schedule *schedule, const struct pf_schedule_options *options);
/* When this packet, the next one, is due. */
PF_API uint64_t pf_schedule_due(struct pf_schedule *schedule, const struct pf_desc *desc);
/* The next packet begins a new pass. */
PF_API void pf_schedule_pass(struct pf_schedule *schedule);

/* Bits of a packet on the wire, as far as they are believed (S4). */
static inline uint64_t pf_schedule_bits(const struct pf_desc *desc)
{
	uint32_t bytes = desc->wire_len > desc->caplen ? desc->wire_len : desc->caplen;
	return 8 * (uint64_t)(bytes < PF_SCHEDULE_BYTES ? bytes : PF_SCHEDULE_BYTES);
}

#endif
