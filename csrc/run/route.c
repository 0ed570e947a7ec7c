/* route.c - following redirects: which ports, a copy for each, and out. Invariants in route.h. */
#include "route.h"

#include <stdlib.h>
#include <string.h>

#include "round.h"

/* A packet as the program left it: a copy of its bytes from hard_start on, at `at` in `bytes`. */
struct kept {
	size_t at;
	struct pf_packet packet; /* its pointers are those of the original: pf_kept_packet moves them */
	struct pf_verdict verdict;
	const struct pf_desc *desc;
};

struct departure {
	struct pf_port port;
	uint32_t kept;
};

struct pf_routes {
	uint32_t *ports; /* sorted */
	uint32_t port_count;
	struct pf_route_row *rows;
	uint32_t row_count, row_room;
	uint32_t last; /* row that was found last */
	struct pf_route_counts counts;
	/* Of the batch. */
	uint8_t *bytes;
	size_t used, size;
	struct kept *kept;
	uint32_t kept_count, kept_room;
	struct departure *departures;
	uint32_t count, room;
	uint32_t *keys; /* of one broadcast */
	uint32_t key_room;
};

static enum pf_err nomem(struct pf_diag *diag)
{
	return pf_diag_set(diag, PF_ENOMEM, PF_DIAG_RUN_NOMEM, 0, 0, 0, 0, NULL);
}

/* Room for one more of `count` items; 0: no memory. */
static int grow(void *array, uint32_t *room, uint32_t count, size_t size)
{
	void **items = array, *more;
	if (count < *room)
		return 1;
	const uint32_t larger = *room ? 2 * *room : 64;
	more = realloc(*items, larger * size);
	if (!more)
		return 0;
	*items = more;
	*room = larger;
	return 1;
}

static struct pf_routes *routes_of(struct pf_worker *w)
{
	if (PF_UNLIKELY(!w->routes))
		w->routes = calloc(1, sizeof(*w->routes));
	return w->routes;
}

void pf_routes_destroy(struct pf_routes *r)
{
	if (!r)
		return;
	free(r->ports);
	free(r->rows);
	free(r->bytes);
	free(r->kept);
	free(r->departures);
	free(r->keys);
	free(r);
}

static int by_value(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

enum pf_err pf_worker_set_ports(struct pf_worker *w, const uint32_t *ifindexes, uint32_t count, struct pf_diag *diag)
{
	struct pf_routes *r = routes_of(w);
	uint32_t *ports = malloc((count ? count : 1) * sizeof(*ports));
	if (!r || !ports) {
		free(ports);
		return nomem(diag);
	}
	if (count)
		memcpy(ports, ifindexes, count * sizeof(*ports));
	qsort(ports, count, sizeof(*ports), by_value);
	free(r->ports);
	r->ports = ports;
	r->port_count = count;
	return PF_OK;
}

const struct pf_route_row *pf_worker_routes(const struct pf_worker *w, uint32_t *count, struct pf_route_counts *counts)
{
	const struct pf_routes *r = w->routes;
	*count = r ? r->row_count : 0;
	*counts = r ? r->counts : (struct pf_route_counts){ 0 };
	return r ? r->rows : NULL;
}

/* Targets. */

static int exists(const struct pf_routes *r, struct pf_port port)
{
	return port.kind != PF_PORT_IFINDEX ||
	       (r->port_count && bsearch(&port.number, r->ports, r->port_count, sizeof(*r->ports), by_value));
}

/* NULL: no memory. */
static struct pf_route_row *row_of(struct pf_routes *r, struct pf_port port)
{
	for (uint32_t n = 0; n < r->row_count; n++) {
		struct pf_route_row *row = &r->rows[(r->last + n) % r->row_count];
		if (row->port.kind == port.kind && row->port.number == port.number) {
			r->last = (r->last + n) % r->row_count;
			return row;
		}
	}
	if (!grow(&r->rows, &r->row_room, r->row_count, sizeof(*r->rows)))
		return NULL;
	r->rows[r->row_count] = (struct pf_route_row){ .port = port };
	r->last = r->row_count;
	return &r->rows[r->row_count++];
}

/* Where an entry of this map leads. */
static struct pf_port port_of(const struct pf_map *map, uint32_t key, uint64_t value)
{
	uint32_t word[2];
	memcpy(word, &value, sizeof(word));
	if (map->def.type == PF_MAP_CPUMAP)
		return (struct pf_port){ PF_PORT_CPU, key };
	if (map->def.type == PF_MAP_XSKMAP)
		return (struct pf_port){ PF_PORT_XSK, key };
	return (struct pf_port){ PF_PORT_IFINDEX, word[0] };
}

static int add_departure(struct pf_routes *r, struct pf_port port)
{
	if (!grow(&r->departures, &r->room, r->count, sizeof(*r->departures)))
		return 0;
	r->departures[r->count++] = (struct departure){ .port = port, .kept = r->kept_count };
	return 1;
}

static void refuse(struct pf_routes *r, struct pf_port port)
{
	struct pf_route_row *row = row_of(r, port);
	if (row)
		row->errors++;
	else
		r->counts.errors++;
}

/* Keys of the map in ascending order; their number, UINT32_MAX: no memory. */
static uint32_t sorted_keys(struct pf_routes *r, struct pf_map *map)
{
	uint32_t count = 0, key, next;
	for (enum pf_err err = map->ops->next_key(map, NULL, &next); !err; err = map->ops->next_key(map, &key, &next)) {
		key = next;
		if (!pf_map_lookup(map, &key, 0))
			continue;
		if (!grow(&r->keys, &r->key_room, count, sizeof(*r->keys)))
			return UINT32_MAX;
		r->keys[count++] = key;
	}
	if (map->def.type == PF_MAP_DEVMAP_HASH)
		qsort(r->keys, count, sizeof(*r->keys), by_value);
	return count;
}

/* R4. Returns the number of departures. */
static uint32_t broadcast(struct pf_routes *r, const struct pf_exec *x)
{
	struct pf_map *map = (struct pf_map *)x->redirect_map;
	const uint32_t count = sorted_keys(r, map), before = r->count;
	if (count == UINT32_MAX) {
		r->counts.errors++;
		return 0;
	}
	for (uint32_t i = 0; i < count; i++) {
		const uint64_t *value = (const void *)pf_map_lookup(map, &r->keys[i], 0);
		if (!value)
			continue; /* deleted meanwhile */
		const struct pf_port port = port_of(map, r->keys[i], __atomic_load_n(value, __ATOMIC_RELAXED));
		if (!exists(r, port) || (x->redirect_flags & PF_REDIRECT_EXCLUDE && port.number == x->packet.ingress_ifindex))
			continue;
		if (!add_departure(r, port))
			r->counts.errors++;
	}
	if (r->count == before)
		r->counts.dropped++;
	return r->count - before;
}

/* Returns the number of departures that x's redirect makes. */
static uint32_t find_targets(struct pf_routes *r, const struct pf_exec *x)
{
	struct pf_port port = { PF_PORT_IFINDEX, x->redirect_target };
	if (x->redirect == PF_REDIRECT_NONE) {
		r->counts.errors++; /* no helper named a target */
		return 0;
	}
	if (x->redirect == PF_REDIRECT_MAP && x->redirect_flags & PF_REDIRECT_BROADCAST)
		return broadcast(r, x);
	if (x->redirect == PF_REDIRECT_MAP)
		port = port_of(x->redirect_map, x->redirect_target, x->redirect_value);
	if (exists(r, port) && add_departure(r, port))
		return 1;
	refuse(r, port);
	return 0;
}

/* Copies. */

/* hard_start .. data_end, then extra. */
static int keep(struct pf_routes *r, const struct pf_packet *p, const struct pf_verdict *verdict,
		const struct pf_desc *desc)
{
	const size_t head = (size_t)(p->data_end - p->hard_start), need = head + p->extra_len;
	if (!grow(&r->kept, &r->kept_room, r->kept_count, sizeof(*r->kept)))
		return 0;
	if (r->size - r->used < need) {
		size_t size = r->size ? r->size : 64u << 10;
		while (size - r->used < need)
			size *= 2;
		uint8_t *bytes = realloc(r->bytes, size);
		if (!bytes)
			return 0;
		r->bytes = bytes;
		r->size = size;
	}
	memcpy(r->bytes + r->used, p->hard_start, head);
	if (p->extra_len)
		memcpy(r->bytes + r->used + head, p->extra, p->extra_len);
	r->kept[r->kept_count++] = (struct kept){ .at = r->used, .packet = *p, .verdict = *verdict, .desc = desc };
	r->used += need;
	return 1;
}

/* The kept packet where it now lies. */
static struct pf_packet kept_packet(const struct pf_routes *r, const struct kept *kept)
{
	struct pf_packet p = kept->packet;
	uint8_t *const start = r->bytes + kept->at;
	const size_t head = (size_t)(p.data_end - p.hard_start);
	p.data = start + (p.data - p.hard_start);
	p.data_meta = start + (p.data_meta - p.hard_start);
	p.origin = start + (p.origin - p.hard_start);
	p.hard_end = start + (p.hard_end - p.hard_start);
	p.data_end = start + head;
	p.extra = start + head;
	p.hard_start = start;
	p.framed = 1;
	return p;
}

void pf_route_packet(struct pf_worker *w, const struct round *round, uint32_t i, const struct pf_verdict *verdict)
{
	struct pf_routes *r = routes_of(w);
	if (!r)
		return; /* counted as not followed */
	r->counts.followed++;
	const uint32_t departures = find_targets(r, w->exec);
	if (departures && !keep(r, &w->exec->packet, verdict, &round->batch->desc[i])) {
		r->count -= departures;
		r->counts.errors++;
	}
}

static void leave(struct pf_routes *r, const struct round *round, const struct departure *d)
{
	const struct kept *kept = &r->kept[d->kept];
	const struct pf_packet packet = kept_packet(r, kept);
	struct pf_route_row *row = row_of(r, d->port);
	if (!row) {
		r->counts.errors++;
		return;
	}
	row->packets++;
	row->bytes += pf_packet_length(&packet);
	if (round->sink && round->sink->depart)
		round->sink->depart(round->sink, round->source, kept->desc, &packet, &kept->verdict, d->port);
}

void pf_route_depart(struct pf_worker *w, const struct round *round)
{
	struct pf_routes *r = w->routes;
	for (uint32_t n = 0; n < r->count; n++)
		leave(r, round, &r->departures[n]);
	r->count = r->kept_count = 0;
	r->used = 0;
}
