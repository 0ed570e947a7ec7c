/* connections.c - the connection table: entries in one block, found through chains by the hash of each of their tuples. */
#include "connections.h"

#include "network.h"
#include "../map/spin.h"

#include <stdlib.h>
#include <string.h>

#define KEY_BYTES offsetof(struct pf_ct_tuple, dir) /* which way a tuple goes is not part of the key */
#define NONE UINT32_MAX

/* A node is an entry's number * 2 + way. */
struct entry {
	struct pf_conn image;
	int32_t netns;
	uint32_t refs;    /* K2; 0: free */
	uint32_t next[2]; /* nodes: of the chain; [0] of a free entry: the next free one */
	uint8_t listed;
};

struct pf_connections {
	uint32_t lock;
	uint32_t max, fresh, free, used; /* entries from `fresh` on were never used */
	uint32_t soonest;                /* no listed entry expires before it */
	uint32_t mask;
	uint8_t started;                 /* K3 */
	uint8_t key[16];
	struct entry *entries;
	uint32_t *chains;                /* node + 1; 0: empty */
	int32_t *known;
	uint32_t known_count;
};

static struct entry *entry_of(struct pf_conn *conn)
{
	return (struct entry *)conn; /* the image comes first */
}

static uint32_t number_of(const struct pf_connections *t, const struct entry *e)
{
	return (uint32_t)(e - t->entries);
}

static uint32_t chain_of(const struct pf_connections *t, const struct pf_ct_tuple *tuple)
{
	return (uint32_t)pf_siphash(t->key, tuple, KEY_BYTES) & t->mask;
}

static uint16_t zone_id(struct pf_conn_zone zone, uint32_t way)
{
	return zone.dir >> way & 1 ? zone.id : 0;
}

static struct pf_conn_zone zone_of(const struct entry *e)
{
	return (struct pf_conn_zone){ e->image.zone, e->image.zone_dir };
}

/* Relaxed, as a program's load of it is (K4). */
static void set_time(struct entry *e, uint32_t jiffies)
{
	__atomic_store_n(&e->image.timeout, jiffies, __ATOMIC_RELAXED);
}

static int expired(const struct entry *e, uint32_t now)
{
	return (int32_t)(e->image.timeout - now) <= 0;
}

static void release(struct pf_connections *t, struct entry *e)
{
	if (--e->refs)
		return;
	e->next[0] = t->free;
	t->free = number_of(t, e);
	t->used--;
}

static void list(struct pf_connections *t, struct entry *e)
{
	for (uint32_t way = 0; way < 2; way++) {
		uint32_t *head = &t->chains[chain_of(t, &e->image.way[way].tuple)];
		e->next[way] = *head;
		*head = number_of(t, e) * 2 + way + 1;
	}
	e->listed = 1;
	e->refs++;
	if (t->used == 1 || (int32_t)(e->image.timeout - t->soonest) < 0)
		t->soonest = e->image.timeout;
}

static void unlist(struct pf_connections *t, struct entry *e)
{
	for (uint32_t way = 0; way < 2; way++) {
		const uint32_t node = number_of(t, e) * 2 + way + 1;
		uint32_t *at = &t->chains[chain_of(t, &e->image.way[way].tuple)];
		while (*at != node) {
			const uint32_t i = *at - 1;
			at = &t->entries[i / 2].next[i % 2];
		}
		*at = e->next[way];
	}
	e->listed = 0;
	__atomic_fetch_or(&e->image.status, PF_CT_DYING, __ATOMIC_RELAXED);
	release(t, e);
}

/* Frees what has expired. Afterwards `soonest` is exact, so that a full table is swept once for each moment at most. */
static void sweep(struct pf_connections *t, uint32_t now)
{
	uint32_t soonest = now + INT32_MAX;
	if ((int32_t)(t->soonest - now) > 0)
		return;
	for (uint32_t i = 0; i < t->fresh; i++) {
		struct entry *e = &t->entries[i];
		if (!e->refs || !e->listed)
			continue;
		if (expired(e, now))
			unlist(t, e);
		else if ((int32_t)(e->image.timeout - soonest) < 0)
			soonest = e->image.timeout;
	}
	t->soonest = soonest;
}

/* The node of a listed entry with this tuple, whose zone is the asker's in the node's own way and `id` in the way that Linux
 * hashes by. Expired ones met on the way are freed. */
static uint32_t find(struct pf_connections *t, uint32_t now, int32_t netns, struct pf_conn_zone zone, uint16_t id,
		     const struct pf_ct_tuple *tuple)
{
	uint32_t node = t->chains[chain_of(t, tuple)];
	while (node) {
		const uint32_t way = (node - 1) % 2;
		struct entry *e = &t->entries[(node - 1) / 2];
		node = e->next[way];
		if (e->netns != netns || memcmp(&e->image.way[way].tuple, tuple, KEY_BYTES) ||
		    zone_id(zone_of(e), way) != zone_id(zone, way) || zone_id(zone_of(e), way) != id)
			continue;
		if (!expired(e, now))
			return number_of(t, e) * 2 + way;
		/* Both of an entry's nodes may be in one chain: begin again. */
		unlist(t, e);
		node = t->chains[chain_of(t, tuple)];
	}
	return NONE;
}

static struct entry *take(struct pf_connections *t, const struct pf_conn_row *row)
{
	const uint32_t at = t->free != NONE ? t->free : t->fresh;
	struct entry *e = &t->entries[at];
	if (at == t->fresh)
		t->fresh++;
	else
		t->free = e->next[0];
	t->used++;
	memset(e, 0, sizeof(*e));
	e->refs = 1;
	e->netns = row->netns;
	e->image.zone = row->zone.id;
	e->image.zone_dir = row->zone.dir;
	e->image.way[0].tuple = row->way[0];
	e->image.way[1].tuple = row->way[1];
	e->image.status = row->status;
	e->image.mark = row->mark;
	e->image.timeout = row->timeout;
	return e;
}

/* K3 */
static void enter(struct pf_connections *t, uint32_t now)
{
	pf_spin_acquire(&t->lock);
	if (t->started)
		return;
	for (uint32_t i = 0; i < t->fresh; i++)
		t->entries[i].image.timeout += now;
	t->soonest += now;
	t->started = 1;
}

static void leave(struct pf_connections *t)
{
	pf_spin_release(&t->lock);
}

static enum pf_err insert(struct pf_connections *t, uint32_t now, struct entry *e)
{
	const struct pf_conn_zone zone = zone_of(e);
	for (uint32_t way = 0; way < 2; way++)
		if (find(t, now, e->netns, zone, zone_id(zone, way), &e->image.way[way].tuple) != NONE)
			return PF_EEXIST;
	list(t, e);
	return PF_OK;
}

static enum pf_err fill(struct pf_connections *t, const struct pf_conn_row *rows, uint32_t count)
{
	t->soonest = INT32_MAX;
	for (uint32_t i = 0; i < count; i++) {
		if (rows[i].netns != PF_CT_HERE)
			t->known[t->known_count++] = rows[i].netns;
		if (!rows[i].timeout || rows[i].timeout > INT32_MAX)
			return PF_EINVAL;
		struct entry *e = take(t, &rows[i]);
		const enum pf_err err = insert(t, 0, e);
		release(t, e);
		if (err)
			return err;
	}
	return PF_OK;
}

enum pf_err pf_connections_create(const struct pf_conn_row *rows, uint32_t count, uint32_t max,
				  struct pf_connections **out)
{
	*out = NULL;
	if (!max || max > PF_CONNECTIONS_MAX || count > max)
		return PF_EINVAL;
	struct pf_connections *t = calloc(1, sizeof(*t));
	if (!t)
		return PF_ENOMEM;
	uint32_t chains = 16;
	while (chains < max)
		chains *= 2;
	t->max = max;
	t->mask = chains - 1;
	t->free = NONE;
	/* Where the table lies differs from run to run, so nobody can choose addresses that share a chain; what programs see
	 * does not depend on it. */
	memcpy(t->key, &t, sizeof(t));
	t->entries = calloc(max, sizeof(*t->entries));
	t->chains = calloc(chains, sizeof(*t->chains));
	t->known = calloc((size_t)count + 1, sizeof(*t->known));
	const enum pf_err err = t->entries && t->chains && t->known ? fill(t, rows, count) : PF_ENOMEM;
	if (err)
		pf_connections_destroy(t);
	else
		*out = t;
	return err;
}

void pf_connections_destroy(struct pf_connections *t)
{
	if (!t)
		return;
	free(t->entries);
	free(t->chains);
	free(t->known);
	free(t);
}

int pf_connections_know(const struct pf_connections *t, int32_t netns)
{
	for (uint32_t i = 0; i < t->known_count; i++)
		if (t->known[i] == netns)
			return 1;
	return 0;
}

struct pf_conn *pf_connections_find(struct pf_connections *t, uint32_t now, int32_t netns, struct pf_conn_zone zone,
				    const struct pf_ct_tuple *tuple, uint8_t *way)
{
	struct pf_conn *found = NULL;
	enter(t, now);
	uint32_t node = find(t, now, netns, zone, zone_id(zone, 0), tuple);
	if (node == NONE && zone_id(zone, 0) != zone_id(zone, 1))
		node = find(t, now, netns, zone, zone_id(zone, 1), tuple);
	if (node != NONE) {
		struct entry *e = &t->entries[node / 2];
		e->refs++;
		*way = node % 2;
		found = &e->image;
	}
	leave(t);
	return found;
}

struct pf_conn *pf_connections_new(struct pf_connections *t, uint32_t now, const struct pf_conn_row *row)
{
	enter(t, now);
	if (t->used == t->max)
		sweep(t, now);
	struct entry *e = t->used < t->max ? take(t, row) : NULL;
	leave(t);
	return e ? &e->image : NULL;
}

enum pf_err pf_connections_insert(struct pf_connections *t, uint32_t now, struct pf_conn *conn)
{
	struct entry *e = entry_of(conn);
	enter(t, now);
	set_time(e, e->image.timeout + now);
	__atomic_fetch_or(&e->image.status, PF_CT_CONFIRMED, __ATOMIC_RELAXED);
	const enum pf_err err = insert(t, now, e);
	if (err)
		release(t, e);
	leave(t);
	return err;
}

void pf_connections_put(struct pf_connections *t, struct pf_conn *conn)
{
	pf_spin_acquire(&t->lock);
	release(t, entry_of(conn));
	leave(t);
}

void pf_connections_set_timeout(struct pf_connections *t, uint32_t now, struct pf_conn *conn, uint32_t jiffies)
{
	struct entry *e = entry_of(conn);
	enter(t, now);
	const int confirmed = (e->image.status & PF_CT_CONFIRMED) != 0;
	set_time(e, confirmed ? now + jiffies : jiffies);
	if (e->listed && (int32_t)(e->image.timeout - t->soonest) < 0)
		t->soonest = e->image.timeout;
	leave(t);
}

struct pf_conn *pf_connections_at(struct pf_connections *t, uint64_t address)
{
	const uint64_t offset = address - (uint64_t)(uintptr_t)t->entries;
	if (offset >= (uint64_t)t->max * sizeof(struct entry) || offset % sizeof(struct entry) >= sizeof(struct pf_conn))
		return NULL;
	struct entry *e = &t->entries[offset / sizeof(struct entry)];
	pf_spin_acquire(&t->lock);
	const uint32_t refs = e->refs;
	leave(t);
	return refs ? &e->image : NULL;
}

uint32_t pf_connections_list(struct pf_connections *t, uint32_t now, struct pf_conn_row *rows, uint32_t room)
{
	uint32_t found = 0;
	pf_spin_acquire(&t->lock);
	const uint32_t base = t->started ? now : 0;
	for (uint32_t i = 0; i < t->fresh; i++) {
		const struct entry *e = &t->entries[i];
		if (!e->refs || !e->listed || expired(e, base))
			continue;
		if (rows && found < room)
			rows[found] = (struct pf_conn_row){
				.way = { e->image.way[0].tuple, e->image.way[1].tuple },
				.zone = zone_of(e), .netns = e->netns, .status = (uint32_t)e->image.status,
				.mark = __atomic_load_n(&e->image.mark, __ATOMIC_RELAXED),
				.timeout = e->image.timeout - base,
			};
		found++;
	}
	leave(t);
	return found;
}
