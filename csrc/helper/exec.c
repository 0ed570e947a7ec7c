/* exec.c - the execution state, and the regions a checked run may touch (E5). */
#include "exec.h"
#include "sockets.h"

#include "../map/ring.h"
#include "../map/spin.h"

#include <stdlib.h>
#include <string.h>

enum pf_err pf_exec_create(struct pf_exec **out)
{
	*out = NULL;
	struct pf_exec *x = aligned_alloc(64, (sizeof(*x) + 63) / 64 * 64);
	if (!x)
		return PF_ENOMEM;
	memset(x, 0, sizeof(*x));
	x->budget = PF_EXEC_BUDGET;
	x->packet.frame = &x->frame;
	x->packet.ingress_ifindex = 1;
	enum pf_err err = pf_frame_init(&x->frame);
	if (err) {
		free(x);
		return err;
	}
	*out = x;
	return PF_OK;
}

void pf_exec_destroy(struct pf_exec *x)
{
	if (!x)
		return;
	pf_frame_destroy(&x->frame);
	free(x->grants);
	free(x);
}

struct pf_map *pf_exec_map(struct pf_exec *x, uint64_t address)
{
	for (uint32_t i = 0; i < x->prog->map_count; i++)
		if ((uint64_t)(uintptr_t)x->prog->maps[i].map == address)
			return x->prog->maps[i].map;
	for (uint32_t i = 0; i < x->grant_count; i++)
		if ((uint64_t)(uintptr_t)x->grants[i] == address)
			return (struct pf_map *)x->grants[i];
	return NULL;
}

enum pf_err pf_exec_grant(struct pf_exec *x, const struct pf_map *map)
{
	if (x->grant_last < x->grant_count && x->grants[x->grant_last] == map)
		return PF_OK;
	for (uint32_t i = 0; i < x->grant_count; i++) {
		if (x->grants[i] == map) {
			x->grant_last = i;
			return PF_OK;
		}
	}
	if (x->grant_count == x->grant_capacity) {
		const uint32_t capacity = x->grant_capacity ? x->grant_capacity * 2 : 16;
		const struct pf_map **grants = realloc(x->grants, capacity * sizeof(*grants));
		if (!grants)
			return PF_ENOMEM;
		x->grants = grants;
		x->grant_capacity = capacity;
	}
	x->grant_last = x->grant_count;
	x->grants[x->grant_count++] = map;
	return PF_OK;
}

/* Overflow-free: is [address, address + size) inside [start, start + len)? */
static int inside(uint64_t address, uint64_t size, uint64_t start, uint64_t len)
{
	return size <= len && address - start <= len - size;
}

static uint64_t at(const void *p)
{
	return (uint64_t)(uintptr_t)p;
}

static void set_window(struct pf_exec *x, uint64_t start, uint32_t len, int writable)
{
	x->window = start;
	x->window_len = len;
	x->window_writable = (uint8_t)writable;
}

static int prog_may_write(const struct pf_map *map)
{
	return !(map->def.flags & PF_MAP_F_RDONLY_PROG) && map->def.type != PF_MAP_DEVMAP &&
	       map->def.type != PF_MAP_DEVMAP_HASH && map->def.type != PF_MAP_CPUMAP;
}

/* Start of the value that address lies in; 0 when it is in none. */
static uint64_t value_start(const struct pf_map *map, uint64_t address)
{
	if (!map->arena || address - at(map->arena) >= map->elements * map->stride)
		return 0;
	const uint64_t offset = (address - at(map->arena)) % map->stride - map->value_offset;
	if (offset >= (uint64_t)map->value_step * map->cpus || offset % map->value_step >= map->def.value_size)
		return 0;
	return address - offset % map->value_step;
}

/* Sets the window to the value that holds the range, or to its part before or behind the lock. */
static int find_value(struct pf_exec *x, const struct pf_map *map, uint64_t address, uint64_t size)
{
	uint64_t start = value_start(map, address);
	uint32_t len = map->def.value_size;
	if (!start)
		return 0;
	if (map->lock.present) {
		const uint32_t behind = map->lock.offset + PF_SPIN_BYTES;
		const int first = address - start < map->lock.offset;
		len = first ? map->lock.offset : len - behind;
		start += first ? 0 : behind;
	}
	if (!inside(address, size, start, len))
		return 0;
	set_window(x, start, len, prog_may_write(map));
	return 1;
}

static int locks_at(const struct pf_map *map, uint64_t address)
{
	const uint64_t start = map->lock.present ? value_start(map, address) : 0;
	return start && address - start == map->lock.offset;
}

int pf_exec_is_lock(const struct pf_exec *x, uint64_t address)
{
	for (uint32_t i = 0; i < x->prog->map_count; i++)
		if (locks_at(x->prog->maps[i].map, address))
			return 1;
	for (uint32_t i = 0; i < x->grant_count; i++)
		if (locks_at(x->grants[i], address))
			return 1;
	return 0;
}

static int in_maps(struct pf_exec *x, uint64_t address, uint64_t size)
{
	for (uint32_t i = 0; i < x->prog->map_count; i++)
		if (find_value(x, x->prog->maps[i].map, address, size))
			return 1;
	for (uint32_t i = x->grant_count; i-- > 0;)
		if (find_value(x, x->grants[i], address, size))
			return 1;
	return 0;
}

const struct pf_held *pf_exec_record(const struct pf_exec *x, uint64_t address)
{
	for (uint32_t i = 0; i < x->record_count; i++)
		if (at(x->records[i].data) == address)
			return &x->records[i];
	return NULL;
}

void pf_exec_forget_record(struct pf_exec *x, const uint8_t *record)
{
	for (uint32_t i = 0; i < x->record_count; i++)
		if (x->records[i].data == record) {
			x->records[i] = x->records[--x->record_count];
			break;
		}
	x->window_len = 0; /* it may show the record */
}

/* Unchecked runs keep no list: there it is enough to be within a ring. */
static int in_records(struct pf_exec *x, uint64_t address, uint64_t size)
{
	for (uint32_t i = 0; i < x->record_count; i++)
		if (inside(address, size, at(x->records[i].data), x->records[i].size)) {
			set_window(x, at(x->records[i].data), x->records[i].size, 1);
			return 1;
		}
	if (!x->checked)
		for (uint32_t i = 0; i < x->prog->map_count; i++) {
			const struct pf_map *map = x->prog->maps[i].map;
			if (map->def.type == PF_MAP_RINGBUF && pf_ring_contains(map, address, size))
				return 1;
		}
	return 0;
}

int pf_exec_on_stack(const struct pf_exec *x, uint64_t address, uint64_t size)
{
	if (x->native_stack) {
		const uint64_t here = at(__builtin_frame_address(0));
		return inside(address, size, here, x->native_stack - here);
	}
	const enum pf_engine engine = x->checked ? PF_ENGINE_CHECKED : PF_ENGINE_INTERP;
	const struct pf_code *code = atomic_load_explicit(&x->prog->code[engine], memory_order_acquire);
	uint64_t start, len = code ? pf_exec_stack(x, code, &start) : 0;
	return code && inside(address, size, start, len);
}

static int in_private(const struct pf_exec *x, uint64_t address, uint64_t size)
{
	if (pf_exec_on_stack(x, address, size))
		return 1;
	if (x->prog->type == PF_PROG_MEMORY)
		return inside(address, size, at(x->memory), x->memory_len);
	return inside(address, size, at(x->packet.data_meta), (uint64_t)(x->packet.data_end - x->packet.data_meta)) ||
	       (x->frags_open && inside(address, size, at(x->packet.extra), x->packet.extra_len));
}

int pf_exec_readable(struct pf_exec *x, uint64_t address, uint64_t size)
{
	if (inside(address, size, x->window, x->window_len) || in_private(x, address, size))
		return 1;
	for (const struct pf_visiting *v = x->visiting; v; v = v->outer)
		if (inside(address, size, at(v->key), v->key_size))
			return 1;
	if (in_maps(x, address, size) || in_records(x, address, size))
		return 1;
	const struct pf_net_socket *socket = pf_net_socket(x->net, address);
	return (socket && inside(address, size, at(&socket->image), sizeof(socket->image))) || pf_exec_conn(x, address, size, 0);
}

int pf_exec_writable(struct pf_exec *x, uint64_t address, uint64_t size)
{
	if (inside(address, size, x->window, x->window_len) || in_maps(x, address, size))
		return x->window_writable;
	return in_private(x, address, size) || in_records(x, address, size) || pf_exec_conn(x, address, size, 1);
}
