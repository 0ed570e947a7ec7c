/* helper_maps.c - which types of maps each helper takes (kernel Documentation/bpf/map_*.rst). */
#include "prog.h"

static int is_outer(enum pf_map_type t) { return t == PF_MAP_ARRAY_OF_MAPS || t == PF_MAP_HASH_OF_MAPS; }
static int is_port(enum pf_map_type t)
{
	return t == PF_MAP_DEVMAP || t == PF_MAP_DEVMAP_HASH || t == PF_MAP_CPUMAP || t == PF_MAP_XSKMAP;
}
static int is_percpu(enum pf_map_type t)
{
	return t == PF_MAP_PERCPU_ARRAY || t == PF_MAP_PERCPU_HASH || t == PF_MAP_LRU_PERCPU_HASH;
}
static int iterates(enum pf_map_type t)
{
	return t == PF_MAP_ARRAY || t == PF_MAP_HASH || t == PF_MAP_LRU_HASH || is_percpu(t);
}

static int is_keyless(enum pf_map_type t)
{
	return t == PF_MAP_QUEUE || t == PF_MAP_STACK || t == PF_MAP_BLOOM_FILTER;
}

static int asks_ring(uint32_t helper)
{
	return helper == PF_HELPER_ID_ringbuf_output || helper == PF_HELPER_ID_ringbuf_reserve ||
	       helper == PF_HELPER_ID_ringbuf_query;
}

int pf_helper_takes_map(uint32_t helper, enum pf_map_type t)
{
	if (t == PF_MAP_PERF_EVENT_ARRAY || helper == PF_HELPER_ID_perf_event_output)
		return t == PF_MAP_PERF_EVENT_ARRAY && helper == PF_HELPER_ID_perf_event_output;
	if (t == PF_MAP_RINGBUF || asks_ring(helper))
		return t == PF_MAP_RINGBUF && asks_ring(helper);
	switch (helper) {
	case PF_HELPER_ID_tail_call:
		return t == PF_MAP_PROG_ARRAY;
	case PF_HELPER_ID_redirect_map:
		return is_port(t);
	case PF_HELPER_ID_map_push_elem:
	case PF_HELPER_ID_map_peek_elem:
		return is_keyless(t);
	case PF_HELPER_ID_map_pop_elem:
		return is_keyless(t) && t != PF_MAP_BLOOM_FILTER;
	case PF_HELPER_ID_map_lookup_elem:
		return !is_keyless(t) && t != PF_MAP_PROG_ARRAY && t != PF_MAP_CPUMAP;
	case PF_HELPER_ID_map_lookup_percpu_elem:
		return is_percpu(t);
	case PF_HELPER_ID_for_each_map_elem:
		return iterates(t);
	}
	return t != PF_MAP_PROG_ARRAY && !is_outer(t) && !is_port(t) && !is_keyless(t);
}
