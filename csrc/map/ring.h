/* ring.h - ringbuf maps: records of any size, from many programs to one reader, in the order of their reservation. Part of
 * map.h.
 *
 * Semantics: kernel Documentation/bpf/ringbuf.rst and bpf-helpers(7).
 *
 * Terms
 *   record    8 bytes of head (its size, and whether it is busy or discarded), then its data, padded to 8
 *   busy      reserved, not yet committed: a program is writing it
 *   position  bytes since the map was made; the place in the ring is the position modulo its size
 *
 * Invariants
 *   G1 consumer <= producer < consumer + size: at most size - 8 bytes are in use, as in Linux.
 *   G2 The ring is mapped twice, side by side, so that the data of every record is one range of addresses.
 *   G3 A busy record stops the reader: what was reserved after it waits. So every reservation is committed, by whoever made it,
 *      whatever ends its run (the verifier sees to it; checked runs: exec.h).
 *   G4 Data that nobody has read is never overwritten. A reservation that finds no room is counted in `lost`.
 *
 * Threads: any. Producers take turns for the reservation alone, readers for one record.
 */
#ifndef PF_MAP_RING_H
#define PF_MAP_RING_H

#include "def.h"

struct pf_map;

#define PF_RING_NO_WAKEUP (UINT64_C(1) << 0)
#define PF_RING_FORCE_WAKEUP (UINT64_C(1) << 1)
enum pf_ring_query { PF_RING_AVAIL_DATA, PF_RING_SIZE, PF_RING_CONS_POS, PF_RING_PROD_POS };

/* Program side. NULL: no room, or more than the ring can ever hold. The data of a new record is whatever was there before. */
uint8_t *pf_ring_reserve(struct pf_map *map, uint64_t size);
/* Ends what reserve gave: to the reader, or (discard) to nobody. Returns its map. */
struct pf_map *pf_ring_commit(uint8_t *record, int discard);
/* 0 for what it does not know. */
uint64_t pf_ring_ask(const struct pf_map *map, uint64_t what);
/* Is [address, address + size) within the records of the ring? For checks at run time. */
int pf_ring_contains(const struct pf_map *map, uint64_t address, uint64_t size);

/* The reader's side; EPERM where BPF_F_WRONLY does not let users read. Oldest record first. */
typedef void (*pf_ring_visit)(void *user, const uint8_t *data, uint32_t size);
/* Hands over and frees all records up to the first busy one. The visitor must not use the ring. */
void pf_ring_drain(struct pf_map *map, pf_ring_visit visit, void *user);
/* Bytes of the next record: ENODATA when there is none that is committed. */
PF_API enum pf_err pf_ring_next_size(struct pf_map *map, uint32_t *size);
/* Copies and frees the next record if it has just this size; else EAGAIN: another reader was faster. */
PF_API enum pf_err pf_ring_take(struct pf_map *map, void *data, uint32_t size);
/* Records that were not made for want of room, since the map was made. */
PF_API uint64_t pf_ring_lost(const struct pf_map *map);

#endif
