/* events.c - the buffer of events, and bpf_perf_event_output for XDP, with Linux's checks in Linux's order. */
#include "events.h"
#include "groups.h"

#include <stdlib.h>
#include <string.h>

#define INDEX_MASK UINT64_C(0xffffffff)    /* BPF_F_INDEX_MASK */
#define CURRENT_CPU UINT64_C(0xffffffff)   /* BPF_F_CURRENT_CPU */
#define LENGTH_MASK (UINT64_C(0xfffff) << 32) /* BPF_F_CTXLEN_MASK */

struct pf_events *pf_events_create(uint64_t capacity)
{
	struct pf_events *events = calloc(1, sizeof(*events) + capacity);
	if (events)
		events->capacity = capacity;
	return events;
}

static void append_packet(uint8_t *to, const struct pf_packet *p, uint32_t len)
{
	const uint32_t linear = (uint32_t)(p->data_end - p->data);
	const uint32_t first = len < linear ? len : linear;
	if (first)
		memcpy(to, p->data, first);
	if (len > first)
		memcpy(to + first, p->extra, len - first);
}

/* The program's bytes may be a map value, which others change meanwhile. */
enum pf_err pf_events_keep(struct pf_exec *x, const struct pf_map *map, const uint8_t *from, uint64_t size, uint32_t packet_len)
{
	struct pf_events *events = x->events;
	const uint64_t bytes = (sizeof(struct pf_event) + size + packet_len + 7) & ~UINT64_C(7);
	if (bytes > events->capacity - events->used) {
		events->lost++;
		return PF_ENOSPC;
	}
	uint8_t *to = events->records + events->used;
	struct pf_event *event = (void *)to;
	*event = (struct pf_event){ .packet = x->packet_index, .time_ns = x->time_ns, .cpu = x->cpu,
				    .size = (uint32_t)size, .packet_len = packet_len, .bytes = (uint32_t)bytes };
	memcpy(event->map, map->name, PF_NAME_MAX);
	to += sizeof(*event);
	for (uint64_t i = 0; i < size; i++)
		to[i] = __atomic_load_n(from + i, __ATOMIC_RELAXED);
	append_packet(to + size, &x->packet, packet_len);
	events->used += bytes;
	return PF_OK;
}

static enum pf_err output(struct pf_exec *x, const struct pf_map *map, uint64_t flags, const uint8_t *from, uint64_t size)
{
	const uint64_t len = (flags & LENGTH_MASK) >> 32;
	uint64_t index = flags & INDEX_MASK;
	if (flags & ~(INDEX_MASK | LENGTH_MASK))
		return PF_EINVAL;
	if (len > (uint64_t)(x->packet.data_end - x->packet.data) + x->packet.extra_len)
		return PF_EFAULT;
	if (index == CURRENT_CPU)
		index = x->cpu;
	if (index >= map->def.max_entries)
		return PF_E2BIG;
	if (!x->events)
		return PF_ENOENT;
	if (index != x->cpu)
		return PF_EOPNOTSUPP;
	return pf_events_keep(x, map, from, size, (uint32_t)len);
}

PF_HELPER_FN(perf_event_output)
{
	PF_UNUSED(r1);
	return (uint64_t) - (int64_t)output(x, pf_helper_map(r2), r3, pf_helper_mem(r4), r5);
}
