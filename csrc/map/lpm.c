/* lpm.c - lpm_trie: a binary trie with compressed paths. A key is a prefix length (u32) and data, most significant bit
 * first.
 *
 * Terms
 *   node        children (one for each next bit), prefix length, kind, data words, value; numbered from 1
 *   real        a node that the user inserted; intermediate: one where two branches part, always with two children
 *   host bits   data behind the prefix: ignored by lookup, kept as the last update gave them, shown by next_key
 *
 * Invariants
 *   L1 A child's prefix is longer than its parent's and begins with it; so a lookup takes at most one step a bit.
 *   L2 Intermediate nodes are fewer than real ones: 2 * max_entries nodes always suffice. max_entries counts real ones.
 *   L3 Changes are made under the vlock and become visible by one release store each (a link or a kind); removed nodes
 *      raise its version before they are reused (V1, V2), so lookups take no lock.
 */
#include "map_impl.h"

#include <stdlib.h>

#define DATA_WORDS_MAX 32
#define NEXT_LEVELS 2050 /* 256 bytes of data, the root, and one to spare */

enum kind { KIND_FREE, KIND_REAL, KIND_INTERMEDIATE };

struct node {
	uint32_t child[2];
	uint32_t prefix;
	uint32_t kind;
	uint64_t data[];
};

struct lpm {
	uint32_t vlock;
	uint32_t root;
	uint32_t data_size;
	uint32_t words;
	uint32_t max_prefix;
	uint32_t free;  /* linked through child[0] */
	uint32_t fresh; /* nodes used so far */
	uint32_t count; /* real nodes */
};

/* A key in comparable form: big-endian words. */
struct prefix {
	uint32_t length;
	uint64_t data[DATA_WORDS_MAX];
};

static inline uint64_t big_endian(uint64_t word)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return __builtin_bswap64(word);
#else
	return word;
#endif
}

static inline struct node *node_at(const struct pf_map *map, uint32_t number)
{
	return (struct node *)(void *)(map->arena + (uint64_t)(number - 1) * map->stride);
}

static inline uint32_t get(const uint32_t *field) { return __atomic_load_n(field, __ATOMIC_ACQUIRE); }
static inline void set(uint32_t *field, uint32_t value) { __atomic_store_n(field, value, __ATOMIC_RELEASE); }

static enum pf_err lpm_create(struct pf_map *map, struct pf_diag *diag)
{
	struct lpm *t = calloc(1, sizeof(*t));
	if (!t)
		return pf_diag_set(diag, PF_ENOMEM, PF_DIAG_MAP_NOMEM, 0, 0, sizeof(*t), 0, NULL);
	map->impl = t;
	t->data_size = map->def.key_size - 4;
	t->words = (uint32_t)(pf_round8(t->data_size) / 8);
	t->max_prefix = t->data_size * 8;
	map->value_offset = (uint32_t)sizeof(struct node) + t->words * 8;
	map->elements = (uint64_t)map->def.max_entries * 2;
	map->stride = map->value_offset + (uint64_t)map->value_step;
	map->arena = pf_arena_alloc(map->elements, map->stride, diag);
	return map->arena ? PF_OK : PF_ENOMEM;
}

static void lpm_destroy(struct pf_map *map)
{
	pf_arena_free(map->arena, map->elements, map->stride);
	free(map->impl);
}

/* 0 when the prefix is longer than the data. */
static inline int parse_key(const struct lpm *t, const void *key, struct prefix *p)
{
	const uint8_t *bytes = key;

	p->length = pf_index_of(key);
	if (p->length > t->max_prefix)
		return 0;
	for (uint32_t i = 0; i < t->words; i++)
		p->data[i] = big_endian(pf_key_word(bytes + 4, t->data_size, i));
	return 1;
}

static inline uint32_t bit_of(const struct prefix *p, uint32_t bit)
{
	return p->data[bit / 64] >> (63 - bit % 64) & 1;
}

/* Length of the common prefix of a node (of prefix length `length`) and a key. */
static inline uint32_t common(const struct node *n, uint32_t length, const struct prefix *p)
{
	uint32_t limit = length < p->length ? length : p->length;

	for (uint32_t bit = 0; bit < limit; bit += 64) {
		uint64_t differ = big_endian(__atomic_load_n(&n->data[bit / 64], __ATOMIC_ACQUIRE)) ^ p->data[bit / 64];
		if (differ) {
			uint32_t same = bit + (uint32_t)__builtin_clzll(differ);
			return same < limit ? same : limit;
		}
	}
	return limit;
}

static uint8_t *lpm_lookup(struct pf_map *map, const void *key, uint32_t cpu)
{
	struct lpm *t = map->impl;
	struct prefix p;

	(void)cpu;
	if (!parse_key(t, key, &p))
		return NULL;
	for (;;) {
		uint32_t begin = pf_vlock_begin(&t->vlock);
		uint32_t found = 0;
		for (uint32_t at = get(&t->root); at;) {
			const struct node *n = node_at(map, at);
			uint32_t length = get(&n->prefix);
			if (common(n, length, &p) < length)
				break;
			if (get(&n->kind) == KIND_REAL)
				found = at;
			if (length >= p.length || !pf_vlock_same(&t->vlock, begin))
				break;
			at = get(&n->child[bit_of(&p, length)]);
		}
		if (PF_LIKELY(pf_vlock_same(&t->vlock, begin)))
			return found ? (uint8_t *)node_at(map, found) + map->value_offset : NULL;
	}
}

/* --- under the vlock --- */

/* Where a key belongs: the link to the first node that is not a proper prefix of it (or to nothing), and the link to that
 * link's node. */
struct place {
	uint32_t *link;
	uint32_t *parent_link; /* NULL: link is the root's */
	uint32_t matched;      /* bits that the node at link shares with the key */
};

static struct place locate(const struct pf_map *map, const struct prefix *p)
{
	struct lpm *t = map->impl;
	struct place at = {.link = &t->root};

	while (*at.link) {
		struct node *n = node_at(map, *at.link);
		at.matched = common(n, n->prefix, p);
		if (at.matched < n->prefix || n->prefix == p->length)
			break;
		at.parent_link = at.link;
		at.link = &n->child[bit_of(p, n->prefix)];
	}
	return at;
}

/* The real node with exactly this prefix, or 0. */
static uint32_t exact(const struct pf_map *map, const struct prefix *p, const struct place *at)
{
	uint32_t number = *at->link;
	if (!number)
		return 0;
	const struct node *n = node_at(map, number);
	return n->prefix == p->length && at->matched == p->length && n->kind == KIND_REAL ? number : 0;
}

static uint32_t take(struct pf_map *map)
{
	struct lpm *t = map->impl;
	uint32_t number = t->free;

	if (number)
		t->free = node_at(map, number)->child[0];
	else if (!PF_BUG_ON(t->fresh >= map->elements)) /* L2 */
		number = ++t->fresh;
	return number;
}

static void give(struct pf_map *map, uint32_t number)
{
	struct lpm *t = map->impl;
	struct node *n = node_at(map, number);

	set(&n->kind, KIND_FREE);
	set(&n->child[0], t->free);
	t->free = number;
}

static void fill(struct pf_map *map, struct node *n, const struct prefix *p, const void *value)
{
	struct lpm *t = map->impl;

	for (uint32_t i = 0; i < t->words; i++)
		__atomic_store_n(&n->data[i], big_endian(p->data[i]), __ATOMIC_RELEASE);
	pf_words_store((uint8_t *)n + map->value_offset, value, map->def.value_size);
}

/* A new real node in front of, beside, or in place of nothing at the link. */
static enum pf_err insert(struct pf_map *map, const struct place *at, const struct prefix *p, const void *value)
{
	struct lpm *t = map->impl;
	uint32_t number = take(map), old = *at->link, top = number;

	if (!number)
		return PF_ENOMEM;
	struct node *n = node_at(map, number);
	fill(map, n, p, value);
	set(&n->prefix, p->length);
	set(&n->child[0], 0);
	set(&n->child[1], 0);
	set(&n->kind, KIND_REAL);
	if (old) {
		const struct node *below = node_at(map, old);
		uint32_t side = (uint32_t)(big_endian(below->data[at->matched / 64]) >> (63 - at->matched % 64)) & 1;
		if (at->matched == p->length) {
			set(&n->child[side], old);
		} else {
			top = take(map);
			if (!top) {
				give(map, number);
				return PF_ENOMEM;
			}
			struct node *fork = node_at(map, top);
			for (uint32_t i = 0; i < t->words; i++)
				__atomic_store_n(&fork->data[i], below->data[i], __ATOMIC_RELEASE);
			set(&fork->prefix, at->matched);
			set(&fork->child[side], old);
			set(&fork->child[!side], number);
			set(&fork->kind, KIND_INTERMEDIATE);
		}
	}
	set(at->link, top);
	return PF_OK;
}

static enum pf_err update_locked(struct pf_map *map, const struct prefix *p, const void *value, uint64_t flags)
{
	struct lpm *t = map->impl;
	struct place at = locate(map, p);
	uint32_t number = exact(map, p, &at);
	enum pf_err err = PF_OK;

	if (number) {
		if (flags == PF_MAP_NOEXIST)
			return PF_EEXIST;
		fill(map, node_at(map, number), p, value);
		return PF_OK;
	}
	if (flags == PF_MAP_EXIST)
		return PF_ENOENT;
	if (t->count == map->def.max_entries)
		return PF_ENOSPC;
	struct node *n = *at.link ? node_at(map, *at.link) : NULL;
	if (n && n->prefix == p->length && at.matched == p->length) { /* an intermediate node becomes real */
		fill(map, n, p, value);
		set(&n->kind, KIND_REAL);
	} else {
		err = insert(map, &at, p, value);
	}
	if (!err)
		__atomic_store_n(&t->count, t->count + 1, __ATOMIC_RELAXED);
	return err;
}

static enum pf_err lpm_update(struct pf_map *map, const void *key, const void *value, uint64_t flags, uint32_t cpu)
{
	struct lpm *t = map->impl;
	struct prefix p;

	(void)cpu;
	if (flags > PF_MAP_EXIST || !parse_key(t, key, &p))
		return PF_EINVAL;
	pf_vlock_lock(&t->vlock);
	enum pf_err err = update_locked(map, &p, value, flags);
	pf_vlock_unlock(&t->vlock);
	return err;
}

static enum pf_err lpm_remove(struct pf_map *map, const void *key)
{
	struct lpm *t = map->impl;
	struct prefix p;

	if (!parse_key(t, key, &p))
		return PF_EINVAL;
	pf_vlock_lock(&t->vlock);
	struct place at = locate(map, &p);
	uint32_t number = exact(map, &p, &at), fork = 0;
	if (!number) {
		pf_vlock_unlock(&t->vlock);
		return PF_ENOENT;
	}
	struct node *n = node_at(map, number);
	__atomic_store_n(&t->count, t->count - 1, __ATOMIC_RELAXED);
	if (n->child[0] && n->child[1]) {
		set(&n->kind, KIND_INTERMEDIATE);
		pf_vlock_unlock(&t->vlock);
		return PF_OK;
	}
	if (at.parent_link && !n->child[0] && !n->child[1]) {
		struct node *parent = node_at(map, *at.parent_link);
		if (parent->kind == KIND_INTERMEDIATE) {
			fork = *at.parent_link;
			set(at.parent_link, parent->child[at.link == &parent->child[0]]);
		}
	}
	if (!fork)
		set(at.link, n->child[0] ? n->child[0] : n->child[1]);
	/* The version rises before the nodes can be reused: both happen under the lock, so it must rise here (V2). */
	__atomic_store_n(&t->vlock, __atomic_load_n(&t->vlock, __ATOMIC_RELAXED) + 2, __ATOMIC_RELEASE);
	give(map, number);
	if (fork)
		give(map, fork);
	pf_vlock_unlock(&t->vlock);
	return PF_OK;
}

static enum pf_err lpm_read(struct pf_map *map, const void *key, void *value, uint64_t flags)
{
	struct lpm *t = map->impl;

	pf_vlock_lock(&t->vlock);
	uint8_t *found = lpm_lookup(map, key, 0); /* the lock keeps the node from being reused */
	if (found)
		pf_values_load(map, value, found, flags);
	pf_vlock_unlock(&t->vlock);
	return found ? PF_OK : PF_ENOENT;
}

/* --- order: children before their parent, bit 0 before bit 1 (measured on Linux) --- */

struct path {
	uint32_t depth;
	uint32_t nodes[NEXT_LEVELS];
};

static void descend(const struct pf_map *map, uint32_t number, struct path *path)
{
	while (number && path->depth < NEXT_LEVELS) {
		const struct node *n = node_at(map, number);
		path->nodes[path->depth++] = number;
		number = n->child[0] ? n->child[0] : n->child[1];
	}
}

/* The path to the real node with this prefix; 0 when there is none. */
static int path_to(const struct pf_map *map, const struct prefix *p, struct path *path)
{
	const struct lpm *t = map->impl;

	for (uint32_t at = t->root; at && path->depth < NEXT_LEVELS;) {
		const struct node *n = node_at(map, at);
		if (common(n, n->prefix, p) < n->prefix)
			return 0;
		path->nodes[path->depth++] = at;
		if (n->prefix == p->length)
			return n->kind == KIND_REAL;
		at = n->child[bit_of(p, n->prefix)];
	}
	return 0;
}

/* From the last node of the path to its successor, real or not; an empty path at the end. */
static void step(const struct pf_map *map, struct path *path)
{
	uint32_t last = path->nodes[--path->depth];

	if (!path->depth)
		return;
	const struct node *parent = node_at(map, path->nodes[path->depth - 1]);
	if (last == parent->child[0])
		descend(map, parent->child[1], path);
}

static enum pf_err lpm_next_key(struct pf_map *map, const void *key, void *next)
{
	struct lpm *t = map->impl;
	struct path path = {.depth = 0};
	struct prefix p;
	int present = key && parse_key(t, key, &p);

	pf_vlock_lock(&t->vlock);
	if (present && path_to(map, &p, &path)) {
		step(map, &path);
	} else {
		path.depth = 0;
		descend(map, t->root, &path);
	}
	while (path.depth && node_at(map, path.nodes[path.depth - 1])->kind != KIND_REAL)
		step(map, &path);
	if (path.depth) {
		const struct node *n = node_at(map, path.nodes[path.depth - 1]);
		uint32_t length = n->prefix;
		memcpy(next, &length, 4);
		pf_words_load((uint8_t *)next + 4, (const uint8_t *)n->data, t->data_size);
	}
	pf_vlock_unlock(&t->vlock);
	return path.depth ? PF_OK : PF_ENOENT;
}

static uint64_t lpm_count(struct pf_map *map)
{
	return __atomic_load_n(&((struct lpm *)map->impl)->count, __ATOMIC_RELAXED);
}

const struct pf_map_ops pf_lpm_ops = {
	.create = lpm_create,
	.destroy = lpm_destroy,
	.lookup = lpm_lookup,
	.update = lpm_update,
	.remove = lpm_remove,
	.read = lpm_read,
	.next_key = lpm_next_key,
	.count = lpm_count,
};
