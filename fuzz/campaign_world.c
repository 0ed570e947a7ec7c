/* campaign_world.c - what programs run in: maps with contents, tail call targets, packets; and the corpus. */
#include <malloc.h>

#include "campaign.h"
#include "map/hash.h"

uint64_t pf_rng_edge(struct pf_rng *r)
{
	static const uint64_t edges[] = { 0, 1, 2, 7, 8, 15, 16, 31, 32, 63, 64, 127, 128, 255, 256, 511, 0x7fff, 0x8000, 0xffff,
					  0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, INT64_MAX, UINT64_C(1) << 63,
					  UINT64_MAX, UINT64_MAX - 1, 0xffffffff80000000, 0xffffffff7fffffff, 0x7fffffff80000000 };
	const uint64_t n = pf_rng_next(r);
	switch (n & 3) {
	case 0:
		return edges[(n >> 8) % (sizeof(edges) / sizeof(edges[0]))] + (n >> 40) % 5 - 2;
	case 1:
		return (n >> 8) & 255;
	case 2:
		return (n >> 8) >> (n >> 2 & 31);
	}
	return pf_rng_next(r);
}

/* ---- maps ---- */

const struct pf_map_def pf_pool_defs[PF_POOLS] = {
	[PF_POOL_ARRAY] = { PF_MAP_ARRAY, 4, 64, 4, 0 },
	[PF_POOL_DIRECT] = { PF_MAP_ARRAY, 4, 256, 1, 0 },
	[PF_POOL_HASH] = { PF_MAP_HASH, 4, 16, 4, 0 },
	[PF_POOL_WIDE_HASH] = { PF_MAP_HASH, 8, 48, 4, 0 },
	[PF_POOL_PERCPU_ARRAY] = { PF_MAP_PERCPU_ARRAY, 4, 32, 2, 0 },
	[PF_POOL_PERCPU_HASH] = { PF_MAP_PERCPU_HASH, 4, 24, 4, 0 },
	[PF_POOL_LRU] = { PF_MAP_LRU_HASH, 4, 16, 4, 0 },
	[PF_POOL_LPM] = { PF_MAP_LPM_TRIE, 8, 8, 4, PF_MAP_F_NO_PREALLOC },
	[PF_POOL_BIG] = { PF_MAP_ARRAY, 4, 4096, 1, 0 },
	[PF_POOL_RODATA] = { PF_MAP_ARRAY, 4, 64, 1, PF_MAP_F_RDONLY_PROG },
	[PF_POOL_PROGS] = { PF_MAP_PROG_ARRAY, 4, 4, 4, 0 },
	[PF_POOL_OUTER] = { PF_MAP_ARRAY_OF_MAPS, 4, 4, 2, 0 },
	[PF_POOL_DEVMAP] = { PF_MAP_DEVMAP, 4, 4, 2, 0 },
};
const struct pf_map_def pf_pool_inner = { PF_MAP_ARRAY, 4, 40, 2, 0 };

static bool is_binding(const struct pf_map *map)
{
	return map->def.type == PF_MAP_PROG_ARRAY || map->def.type == PF_MAP_ARRAY_OF_MAPS ||
	       map->def.type == PF_MAP_HASH_OF_MAPS;
}

static bool is_port(const struct pf_map *map)
{
	return map->def.type == PF_MAP_DEVMAP || map->def.type == PF_MAP_DEVMAP_HASH || map->def.type == PF_MAP_CPUMAP;
}

static bool is_array(const struct pf_map *map)
{
	return map->def.type == PF_MAP_ARRAY || map->def.type == PF_MAP_PERCPU_ARRAY;
}

/* The bindings as they stand become the world's. */
static void bind(struct pf_world *w)
{
	w->bindings.mask = 4 * PF_CAMPAIGN_MAPS - 1;
	w->bindings.slots = w->slots;
	for (uint32_t m = 0; m < w->map_count; m++) {
		struct pf_map *map = w->maps[m].map;
		if (!is_binding(map))
			continue;
		uint32_t i = pf_bindings_start(&w->bindings, map);
		while (w->slots[i].map)
			i = (i + 1) & w->bindings.mask;
		w->slots[i] = (struct pf_bindings_slot){ map, pf_map_binding(map) };
	}
}

/* ---- contents ---- */

static void fill_bytes(uint8_t *to, uint64_t size, struct pf_rng *rng)
{
	for (uint64_t at = 0; at < size; at += 8) {
		const uint64_t n = pf_rng_edge(rng);
		memcpy(to + at, &n, size - at < 8 ? size - at : 8);
	}
}

static void fill_keyed(struct pf_map *map, struct pf_rng *rng)
{
	uint8_t key[256], value[1024];
	const size_t value_size = pf_map_user_value_size(map);

	if (map->def.key_size > sizeof(key) || value_size > sizeof(value))
		return;
	while (pf_map_user_next_key(map, NULL, key) == PF_OK)
		if (pf_map_user_delete(map, key))
			return;
	for (uint32_t k = 0; k < map->def.max_entries && k < 3; k++) {
		memset(key, 0, sizeof(key));
		key[0] = (uint8_t)(map->def.type == PF_MAP_LPM_TRIE ? 8 * k : k);
		fill_bytes(value, value_size, rng);
		(void)pf_map_user_update(map, key, value, 0);
	}
}

/* ---- putting keyed maps back: as they were when the world was made, element for element, so that a pointer that a
 * program returns is the same in every run ---- */

uint32_t pf_world_parts(struct pf_map *map, struct pf_map_part *parts)
{
	struct pf_hash *h = map->impl;
	uint32_t n = 0;

	if (is_binding(map) || is_port(map))
		return 0;
	parts[n++] = (struct pf_map_part){ map->arena, map->elements * map->stride };
	if (is_array(map))
		return n;
	if (map->def.type == PF_MAP_LPM_TRIE) {
		parts[n++] = (struct pf_map_part){ map->impl, malloc_usable_size(map->impl) };
		return n;
	}
	parts[n++] = (struct pf_map_part){ map->impl, sizeof(*h) };
	parts[n++] = (struct pf_map_part){ (uint8_t *)h->buckets, ((size_t)h->mask + 1) * sizeof(h->buckets[0]) };
	if (h->referenced)
		parts[n++] = (struct pf_map_part){ (uint8_t *)h->referenced, h->max_entries };
	return n;
}

/* save: into `saved`; else out of it. Returns the size; saved NULL: only that. */
static size_t move_map(struct pf_map *map, uint8_t *saved, bool save)
{
	struct pf_map_part parts[PF_WORLD_PARTS];
	const uint32_t n = pf_world_parts(map, parts);
	size_t at = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (saved)
			memcpy(save ? saved + at : parts[i].bytes, save ? parts[i].bytes : saved + at, parts[i].size);
		at += parts[i].size;
	}
	return at;
}

/* ---- worlds ---- */

struct pf_world *pf_world_create(const struct pf_map_def *defs, const struct pf_map_def *inner, uint32_t count)
{
	struct pf_world *w = calloc(1, sizeof(*w));
	PF_REQUIRE(w && count <= PF_CAMPAIGN_MAPS);
	for (uint32_t m = 0; m < count; m++) {
		const bool outer = defs[m].type == PF_MAP_ARRAY_OF_MAPS || defs[m].type == PF_MAP_HASH_OF_MAPS;
		w->maps[m].number = m;
		if (pf_map_create(&defs[m], outer ? inner : NULL, PF_CAMPAIGN_CPUS, "m", m + 1, &w->maps[m].map, NULL)) {
			pf_world_destroy(w);
			return NULL;
		}
		w->map_count++;
		if (!outer)
			continue;
		if (!w->inner && pf_map_create(inner, NULL, PF_CAMPAIGN_CPUS, "inner", 99, &w->inner, NULL)) {
			pf_world_destroy(w);
			return NULL;
		}
		uint8_t key[64] = { 0 };
		if (defs[m].key_size <= sizeof(key))
			(void)pf_map_bind(w->maps[m].map, key, &w->inner->ref, 0, NULL, NULL);
	}
	struct pf_rng rng = { 1 };
	for (uint32_t m = 0; m < count; m++) {
		struct pf_map *map = w->maps[m].map;
		if (is_binding(map) || is_array(map) || is_port(map))
			continue;
		fill_keyed(map, &rng);
		w->saved[m] = malloc(move_map(map, NULL, true));
		PF_REQUIRE(w->saved[m]);
		(void)move_map(map, w->saved[m], true);
	}
	bind(w);
	return w;
}

void pf_world_destroy(struct pf_world *w)
{
	for (uint32_t i = 0; i < 4 * PF_CAMPAIGN_MAPS; i++)
		if (w->slots[i].binding)
			pf_ref_put(&w->slots[i].binding->ref);
	for (uint32_t m = 0; m < w->map_count; m++) {
		pf_map_put(w->maps[m].map);
		free(w->saved[m]);
	}
	if (w->inner)
		pf_map_put(w->inner);
	free(w->insns);
	free(w);
}

#define I(code_, dst_, src_, off_, imm_) ((struct pf_insn){ (uint8_t)(code_), (dst_), (src_), (int16_t)(off_), (imm_) })

/* What a tail call may go to: one moves the start of the packet, one its end, and both return what no caller expects. */
static void add_targets(struct pf_world *w)
{
	static const struct pf_insn head[] = {
		I(0xb7, 2, 0, 0, 20), I(0x85, 0, 0, 0, PF_HELPER_ID_xdp_adjust_head), I(0x18, 0, 0, 0, -1),
		I(0, 0, 0, 0, 0x7fffffff), I(0x95, 0, 0, 0, 0),
	};
	static const struct pf_insn tail[] = {
		I(0xb7, 2, 0, 0, -30), I(0x85, 0, 0, 0, PF_HELPER_ID_xdp_adjust_tail), I(0xb7, 0, 0, 0, -1),
		I(0x95, 0, 0, 0, 0),
	};
	const struct pf_verify_input options = { .cpus = 0 };
	for (uint32_t k = 0; k < 2; k++) {
		const struct pf_prog_def def = { .type = PF_PROG_XDP, .name = "target", .insns = k ? tail : head,
						 .count = k ? 4 : 5 };
		struct pf_verify_result result;
		struct pf_prog *prog;
		PF_REQUIRE(pf_prog_create(&def, &prog, NULL) == PF_OK);
		PF_REQUIRE(pf_verify_program(prog, &options, &result) == PF_OK);
		pf_verify_free(&result);
		PF_REQUIRE(pf_vm_stage(prog, PF_ENGINE_CHECKED, NULL, NULL) == PF_OK);
		PF_REQUIRE(pf_vm_stage(prog, PF_ENGINE_INTERP, prog->types, NULL) == PF_OK);
		PF_REQUIRE(pf_map_bind(w->maps[PF_POOL_PROGS].map, &k, &prog->ref, 0, NULL, NULL) == PF_OK);
		pf_prog_put(prog);
	}
}

void pf_world_rebind(struct pf_world *w)
{
	for (uint32_t i = 0; i < 4 * PF_CAMPAIGN_MAPS; i++)
		if (w->slots[i].binding)
			pf_ref_put(&w->slots[i].binding->ref);
	memset(w->slots, 0, sizeof(w->slots));
	bind(w);
}

struct pf_world *pf_world_pool(void)
{
	struct pf_world *w = pf_world_create(pf_pool_defs, &pf_pool_inner, PF_POOLS);
	PF_REQUIRE(w);
	add_targets(w);
	pf_world_rebind(w);
	/* Contents that the verifier may know. */
	static const uint64_t known[8] = { 0, 1, 8, 40, 63, 200, UINT64_MAX, 0x8000000000000000 };
	memcpy(w->maps[PF_POOL_RODATA].map->arena + w->maps[PF_POOL_RODATA].map->value_offset, known, sizeof(known));
	pf_map_freeze(w->maps[PF_POOL_RODATA].map);
	(void)pf_map_user_update(w->maps[PF_POOL_DEVMAP].map, &(uint32_t){ 0 }, &(uint32_t){ 7 }, 0);
	return w;
}

/* Bytes that look like contents; one table for all worlds. */
static uint8_t table[1 << 16];

static void copy_bytes(uint8_t *to, uint64_t size, struct pf_rng *rng)
{
	if (!table[8]) {
		struct pf_rng own = { 0x7ab1e };
		fill_bytes(table, sizeof(table), &own);
		table[8] |= 1;
	}
	while (size) {
		const uint64_t n = size < sizeof(table) / 2 ? size : sizeof(table) / 2;
		memcpy(to, table + pf_rng_below(rng, sizeof(table) / 2), n);
		to += n;
		size -= n;
	}
}

void pf_world_fill(struct pf_world *w, uint32_t named, uint64_t seed)
{
	struct pf_rng rng = { seed };

	for (uint32_t m = 0; m < w->map_count; m++) {
		struct pf_map *map = w->maps[m].map;
		if (!(named >> m & 1))
			continue;
		if (is_binding(map)) {
			if (w->inner && map->def.type != PF_MAP_PROG_ARRAY && is_array(w->inner))
				copy_bytes(w->inner->arena, w->inner->elements * w->inner->stride, &rng);
		} else if (is_array(map)) {
			if (!(map->def.flags & PF_MAP_F_RDONLY_PROG))
				copy_bytes(map->arena, map->elements * map->stride, &rng);
		} else if (w->saved[m]) {
			(void)move_map(map, w->saved[m], false);
			for (uint64_t e = 0; e < map->elements; e++)
				copy_bytes(map->arena + e * map->stride + map->value_offset, (uint64_t)map->value_step * map->cpus, &rng);
		}
	}
}

static uint32_t add_header(uint8_t *to, uint32_t at, struct pf_rng *rng)
{
	static const uint16_t types[] = { 0x0008, 0x0008, 0xdd86, 0x0081, 0x0608, 0xa888 };
	memcpy(to + at, &types[pf_rng_below(rng, 6)], 2);
	if (pf_rng_chance(rng, 80)) {
		to[at + 2] = 0x45 + (uint8_t)pf_rng_below(rng, 3);
		to[at + 11] = pf_rng_chance(rng, 50) ? 6 : 17;
	}
	return at;
}

uint32_t pf_world_packet(uint8_t *to, uint64_t seed)
{
	static const uint16_t lengths[] = { 14, 15, 20, 34, 42, 54, 60, 64, 66, 78, 100, 128, 256, 300, 512, 600, 1024, 1500,
					    1514, 1600, 1600, 1518, 1400, 900 };
	struct pf_rng rng = { seed };
	const uint32_t choice = pf_rng_below(&rng, 100);
	const uint32_t length = choice < 85 ? lengths[pf_rng_below(&rng, sizeof(lengths) / 2)] : 14 + pf_rng_below(&rng, 1587);

	copy_bytes(to, length, &rng);
	if (choice & 1)
		(void)add_header(to, 12, &rng);
	return length;
}

/* ---- the corpus ---- */

static bool take(FILE *file, void *to, size_t size)
{
	return fread(to, 1, size, file) == size;
}

uint32_t pf_corpus_load(const char *path, struct pf_world **worlds, uint32_t capacity)
{
	FILE *file = fopen(path, "rb");
	uint32_t found = 0, head[2];

	if (!file)
		return 0;
	while (found < capacity && take(file, head, sizeof(head)) && head[0] <= 1 << 20 && head[1] <= PF_CAMPAIGN_MAPS) {
		struct pf_map_def defs[PF_CAMPAIGN_MAPS], inner = { PF_MAP_ARRAY, 4, 8, 1, 0 };
		struct pf_insn *insns = calloc(head[0], sizeof(*insns));
		uint32_t raw[10];
		PF_REQUIRE(insns);
		for (uint32_t m = 0; m < head[1] && take(file, raw, sizeof(raw)); m++) {
			defs[m] = (struct pf_map_def){ (enum pf_map_type)raw[0], raw[1], raw[2], raw[3], raw[4] };
			if (raw[5])
				inner = (struct pf_map_def){ (enum pf_map_type)raw[5], raw[6], raw[7], raw[8], raw[9] };
		}
		const bool whole = take(file, insns, head[0] * sizeof(*insns));
		struct pf_world *w = whole && head[0] <= PF_CAMPAIGN_INSNS ? pf_world_create(defs, &inner, head[1]) : NULL;
		if (w) {
			w->insns = insns;
			w->count = head[0];
			worlds[found++] = w;
		} else {
			free(insns);
		}
	}
	fclose(file);
	return found;
}

uint64_t pf_campaign_sample(const struct pf_corpus *from, uint64_t seed, uint64_t index, struct pf_sample *s, uint32_t *world)
{
	struct pf_rng rng = { seed * 0x9e3779b97f4a7c15u + index };
	(void)pf_rng_next(&rng);
	rng.state ^= index << 32;
	if (from->count && pf_rng_chance(&rng, from->mutate)) {
		*world = 1 + pf_rng_below(&rng, from->count);
		struct pf_world *w = from->worlds[*world - 1];
		s->world = w;
		s->count = w->count;
		s->mutated = true;
		memcpy(s->insns, w->insns, w->count * sizeof(w->insns[0]));
		pf_campaign_mutate(s, &rng, 1 + pf_rng_below(&rng, 3));
	} else {
		*world = 0;
		s->world = from->pool;
		pf_campaign_make(s, &rng);
	}
	return pf_rng_next(&rng);
}
