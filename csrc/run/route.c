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
	uint64_t packet_index, time_ns;
	uint32_t random_calls;
};

struct departure {
	struct pf_port port;
	const struct pf_prog *prog; /* of the map's entry; NULL: none */
	uint32_t kept;
};

struct pf_routes {
	uint32_t *ports; /* sorted */
	uint32_t port_count;
	struct pf_route_row *rows;
	uint32_t row_count, row_room;
	uint32_t last; /* row that was found last */
	struct pf_route_counts counts;
	struct pf_route_stranger strangers[PF_ROUTE_STRANGERS]; /* sorted */
	uint32_t stranger_count;
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

const struct pf_route_stranger *pf_worker_strangers(const struct pf_worker *w, uint32_t *count)
{
	*count = w->routes ? w->routes->stranger_count : 0;
	return w->routes ? w->routes->strangers : NULL;
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

static const struct pf_binding *entries_of(const struct pf_exec *x, const struct pf_map *map)
{
	return x->bindings ? pf_bindings_of(x->bindings, map) : NULL;
}

static const struct pf_port_entry *entry_of(const struct pf_exec *x, const struct pf_map *map, uint32_t key)
{
	const struct pf_binding *entries = entries_of(x, map);
	return entries ? (const struct pf_port_entry *)pf_binding_find(entries, &key) : NULL;
}

/* Where an entry with this first word leads. */
static struct pf_port port_of(const struct pf_map *map, uint32_t key, uint32_t first)
{
	if (map->def.type == PF_MAP_CPUMAP)
		return (struct pf_port){ PF_PORT_CPU, key };
	if (map->def.type == PF_MAP_XSKMAP)
		return (struct pf_port){ PF_PORT_XSK, key };
	return (struct pf_port){ PF_PORT_IFINDEX, first };
}

static int add_departure(struct pf_routes *r, struct pf_port port, const struct pf_port_entry *entry)
{
	const struct pf_prog *prog = entry ? (const struct pf_prog *)entry->prog : NULL;
	if (!grow(&r->departures, &r->room, r->count, sizeof(*r->departures)))
		return 0;
	r->departures[r->count++] = (struct departure){ .port = port, .prog = prog, .kept = r->kept_count };
	return 1;
}

/* R7: where the rows are full, the highest of them gives way to a lower one. */
static void refuse(struct pf_routes *r, uint32_t ifindex)
{
	uint32_t low = 0, high = r->stranger_count;
	while (low < high) {
		const uint32_t middle = low + (high - low) / 2;
		if (r->strangers[middle].ifindex < ifindex)
			low = middle + 1;
		else
			high = middle;
	}
	struct pf_route_stranger *const at = &r->strangers[low];
	if (low < r->stranger_count && at->ifindex == ifindex) {
		at->errors++;
		return;
	}
	if (low == PF_ROUTE_STRANGERS) {
		r->counts.errors++;
		return;
	}
	if (r->stranger_count == PF_ROUTE_STRANGERS)
		r->counts.errors += r->strangers[--r->stranger_count].errors;
	memmove(at + 1, at, (r->stranger_count - low) * sizeof(*at));
	*at = (struct pf_route_stranger){ .ifindex = ifindex, .errors = 1 };
	r->stranger_count++;
}

/* Keys of the entries in ascending order; their number, UINT32_MAX: no memory. */
static uint32_t sorted_keys(struct pf_routes *r, const struct pf_binding *entries)
{
	uint32_t count = 0;
	for (uint32_t i = 0; entries && i < entries->capacity; i++) {
		if (!entries->objects[i])
			continue;
		if (!grow(&r->keys, &r->key_room, count, sizeof(*r->keys)))
			return UINT32_MAX;
		memcpy(&r->keys[count++], entries->keys + (size_t)i * sizeof(*r->keys), sizeof(*r->keys));
	}
	if (count)
		qsort(r->keys, count, sizeof(*r->keys), by_value);
	return count;
}

/* R4. Returns the number of departures. */
static uint32_t broadcast(struct pf_routes *r, const struct pf_exec *x)
{
	const uint32_t before = r->count, count = sorted_keys(r, entries_of(x, x->redirect_map));
	if (count == UINT32_MAX) {
		r->counts.errors++;
		return 0;
	}
	for (uint32_t i = 0; i < count; i++) {
		const struct pf_port_entry *entry = entry_of(x, x->redirect_map, r->keys[i]);
		const struct pf_port port = port_of(x->redirect_map, r->keys[i], entry->first);
		if (!exists(r, port) || (x->redirect_flags & PF_REDIRECT_EXCLUDE && port.number == x->packet.ingress_ifindex))
			continue;
		if (!add_departure(r, port, entry))
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
	const struct pf_port_entry *entry = NULL;
	if (x->redirect == PF_REDIRECT_NONE) {
		r->counts.errors++; /* no helper named a target */
		return 0;
	}
	if (x->redirect == PF_REDIRECT_MAP && x->redirect_flags & PF_REDIRECT_BROADCAST)
		return broadcast(r, x);
	if (x->redirect == PF_REDIRECT_MAP) {
		port = port_of(x->redirect_map, x->redirect_target, x->redirect_value);
		entry = entry_of(x, x->redirect_map, x->redirect_target);
	}
	if (!exists(r, port)) {
		refuse(r, port.number);
		return 0;
	}
	if (add_departure(r, port, entry))
		return 1;
	r->counts.errors++;
	return 0;
}

/* Copies. */

/* hard_start .. data_end, then extra. */
static int keep(struct pf_routes *r, const struct pf_exec *x, const struct pf_verdict *verdict,
		const struct pf_desc *desc)
{
	const struct pf_packet *const p = &x->packet;
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
	r->kept[r->kept_count++] = (struct kept){
		.at = r->used,
		.packet = *p,
		.verdict = *verdict,
		.desc = desc,
		.packet_index = x->packet_index,
		.time_ns = x->time_ns,
		.random_calls = x->random_calls,
	};
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

/* Departures for what x's redirect names; their number. */
static uint32_t follow(struct pf_routes *r, const struct pf_exec *x, const struct pf_verdict *verdict,
		       const struct pf_desc *desc)
{
	const uint32_t departures = find_targets(r, x);
	if (departures && !keep(r, x, verdict, desc)) {
		r->count -= departures;
		r->counts.errors++;
		return 0;
	}
	return departures;
}

void pf_route_packet(struct pf_worker *w, const struct round *round, uint32_t i, const struct pf_verdict *verdict)
{
	struct pf_routes *r = routes_of(w);
	if (!r)
		return; /* counted as not followed */
	r->counts.followed++;
	(void)follow(r, w->exec, verdict, &round->batch->desc[i]);
}

/* Secondary programs. */

static enum pf_engine engine_of(const struct pf_world *world, const struct pf_prog *prog)
{
	for (uint32_t i = 0; i < world->engine_count; i++)
		if (world->engines[i].prog == prog)
			return world->engines[i].engine;
	return PF_ENGINE_CHECKED;
}

/* The worker's second exec with the kept packet, as the main program's run left its state; NULL: no memory. */
static struct pf_exec *second_exec(struct pf_worker *w, const struct kept *kept, const struct pf_packet *packet)
{
	const struct pf_exec *x = w->exec;
	if (!w->second && pf_exec_create(&w->second))
		return NULL;
	struct pf_exec *y = w->second;
	y->bindings = x->bindings;
	y->net = x->net;
	y->seed = x->seed;
	y->cpu = x->cpu;
	y->budget = x->budget;
	y->time_ns = kept->time_ns;
	y->packet_index = kept->packet_index;
	y->random_calls = kept->random_calls;
	y->redirect = PF_REDIRECT_NONE;
	return pf_packet_copy(&y->packet, packet) ? NULL : y;
}

/* R6. The action; the packet is then in w->second. */
static uint32_t run_secondary(struct pf_worker *w, const struct pf_world *world, const struct departure *d,
			      const struct pf_packet *packet)
{
	uint64_t r0 = 0;
	struct pf_exec *const main = w->exec, *const y = second_exec(w, &w->routes->kept[d->kept], packet);
	if (!y)
		return PF_XDP_ABORTED;
	y->packet.rx_queue_index = 0;
	y->packet.egress_ifindex = d->port.kind == PF_PORT_IFINDEX ? d->port.number : 0;
	y->packet.frags = d->prog->frags;
	y->trace = main->trace;
	y->events = main->events;
	const enum pf_err err = pf_vm_run(y, d->prog, engine_of(world, d->prog), (uintptr_t)&y->packet, 0, &r0);
	y->trace = NULL;
	y->events = NULL;
	y->packet.egress_ifindex = 0;
	if (!err)
		return pf_action_of((uint32_t)r0);
	w->exec = y;
	pf_run_note_fault(w);
	w->exec = main;
	return PF_XDP_ABORTED;
}

/* Out. */

static void send(struct pf_routes *r, const struct round *round, const struct departure *d,
		 const struct pf_packet *packet)
{
	const struct kept *kept = &r->kept[d->kept];
	struct pf_route_row *row = row_of(r, d->port);
	if (!row) {
		r->counts.errors++;
		return;
	}
	row->packets++;
	row->bytes += pf_packet_length(packet);
	if (round->sink && round->sink->depart)
		round->sink->depart(round->sink, round->source, kept->desc, packet, &kept->verdict, d->port);
}

static void drop(struct pf_routes *r, struct pf_port port)
{
	struct pf_route_row *row = row_of(r, port);
	if (row)
		row->dropped++;
	else
		r->counts.errors++;
}

static void leave(struct pf_worker *w, const struct pf_world *world, const struct round *round, struct departure d,
		  uint32_t hops);

/* A cpumap's program redirected on, from w->second: depth first, so that each port's order is kept (R2). */
static void go_further(struct pf_worker *w, const struct pf_world *world, const struct round *round,
		       const struct departure *d, uint32_t hops)
{
	struct pf_routes *r = w->routes;
	const struct kept kept = r->kept[d->kept];
	const uint32_t before = r->count;
	if (hops == PF_ROUTE_HOPS) {
		r->counts.errors++;
		return;
	}
	const uint32_t count = follow(r, w->second, &kept.verdict, kept.desc);
	for (uint32_t n = 0; n < count; n++)
		leave(w, world, round, r->departures[before + n], hops + 1);
	r->count = before;
}

static void leave(struct pf_worker *w, const struct pf_world *world, const struct round *round, struct departure d,
		  uint32_t hops)
{
	struct pf_routes *r = w->routes;
	const struct pf_packet packet = kept_packet(r, &r->kept[d.kept]);
	if (!d.prog) {
		send(r, round, &d, &packet);
		return;
	}
	const uint32_t action = run_secondary(w, world, &d, &packet);
	if (action == PF_XDP_PASS)
		send(r, round, &d, &w->second->packet);
	else if (action == PF_XDP_REDIRECT && d.port.kind == PF_PORT_CPU)
		go_further(w, world, round, &d, hops);
	else
		drop(r, d.port);
}

void pf_route_depart(struct pf_worker *w, const struct pf_world *world, const struct round *round)
{
	struct pf_routes *r = w->routes;
	for (uint32_t n = 0, count = r->count; n < count; n++)
		leave(w, world, round, r->departures[n], 0);
	if (w->second)
		w->second->bindings = NULL;
	r->count = r->kept_count = 0;
	r->used = 0;
}
