/* events.h - events that programs send to their user: bpf_perf_event_output, and the records of ring buffers.
 *
 * Terms
 *   event    bytes that a program handed over, and so many of its packet behind them as it asked for; or a record
 *   record   struct pf_event, its bytes, and padding to 8
 *
 * Invariants
 *   V1 Records fill a buffer from its start, in the order of the calls, used <= capacity. One that does not fit is not
 *      kept in part: it is counted in lost, and the program gets ENOSPC, as from a full perf buffer in Linux.
 *   V2 Whoever drains sets used and lost to 0.
 *   V3 While there is a buffer, slot i of every perf_event_array is listened to, for events of CPU i, as Linux's readers
 *      open them. Without one no slot is: ENOENT.
 *   V4 While there is a buffer, its owner reads the ring buffers, without delay: every committed record that no busy one is in
 *      front of has left its ring when the helper returns. What finds no room is lost, as in V1, and the program is not told.
 *      Without one the records stay in their rings, for who reads those.
 *
 * Threads: a buffer belongs to one worker; its owner drains it while the worker is offline.
 */
#ifndef PF_EVENTS_H
#define PF_EVENTS_H

#include <stdint.h>

#include "../tables/tables.h"

struct pf_event {
	uint64_t packet;  /* index */
	uint64_t time_ns;
	uint32_t cpu;
	uint32_t size;       /* bytes from the program */
	uint32_t packet_len; /* bytes of the packet behind them */
	uint32_t bytes;      /* the record's, header and padding included */
	char map[PF_NAME_MAX];
};

struct pf_events {
	uint64_t used, capacity, lost;
	_Alignas(8) uint8_t records[];
};

/* NULL where there is no memory; free() ends it. */
PF_API struct pf_events *pf_events_create(uint64_t capacity);

struct pf_exec;
struct pf_map;
/* Adds `size` bytes and the packet's first `packet_len`; ENOSPC (V1). */
enum pf_err pf_events_keep(struct pf_exec *x, const struct pf_map *map, const uint8_t *from, uint64_t size, uint32_t packet_len);

#endif
