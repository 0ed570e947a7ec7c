/* binding.c - prog_array, array_of_maps, hash_of_maps. See binding.h for the terms and B1 to B4. */
#include "map_impl.h"

#include <stdlib.h>

static void binding_destroy(struct pf_ref *ref)
{
	struct pf_binding *binding = (struct pf_binding *)(void *)ref;

	for (uint32_t i = 0; i < binding->capacity; i++)
		if (binding->objects[i])
			pf_ref_put(binding->objects[i]);
	free(binding->objects);
	free(binding->keys);
	free(binding);
}

/* Empty; for a hash with room for `entries` at a load of at most one half. */
static struct pf_binding *binding_new(const struct pf_map *map, uint32_t entries)
{
	struct pf_binding *binding = calloc(1, sizeof(*binding));
	if (!binding)
		return NULL;
	pf_ref_init(&binding->ref, binding_destroy);
	binding->key_size = map->def.key_size;
	binding->hashed = map->def.type == PF_MAP_HASH_OF_MAPS || map->ops != &pf_binding_ops; /* ports: sparse */
	uint32_t capacity = map->def.max_entries;
	if (binding->hashed) {
		capacity = 8;
		while (capacity < 2 * entries)
			capacity *= 2;
		binding->keys = calloc(capacity, binding->key_size);
	}
	binding->objects = calloc(capacity, sizeof(*binding->objects));
	binding->capacity = binding->objects ? capacity : 0;
	if (!binding->objects || (binding->hashed && !binding->keys)) {
		binding_destroy(&binding->ref);
		return NULL;
	}
	return binding;
}

static uint8_t *key_at(const struct pf_binding *binding, uint32_t slot)
{
	return binding->keys + (size_t)slot * binding->key_size;
}

/* The slot of the key, or the empty slot where it belongs; capacity when an index is out of range. */
static uint32_t slot_of(const struct pf_binding *binding, const void *key)
{
	if (!binding->hashed) {
		uint32_t index = pf_index_of(key);
		return index < binding->capacity ? index : binding->capacity;
	}
	uint32_t mask = binding->capacity - 1;
	uint32_t slot = pf_hash_key(key, binding->key_size, 0) & mask;
	while (binding->objects[slot] && memcmp(key_at(binding, slot), key, binding->key_size) != 0)
		slot = (slot + 1) & mask;
	return slot;
}

struct pf_ref *pf_binding_find(const struct pf_binding *binding, const void *key)
{
	uint32_t slot = slot_of(binding, key);
	return slot < binding->capacity ? binding->objects[slot] : NULL;
}

static void put_object(struct pf_binding *binding, const void *key, struct pf_ref *object)
{
	uint32_t slot = slot_of(binding, key);

	pf_ref_get(object);
	binding->objects[slot] = object;
	binding->count++;
	if (binding->hashed)
		memcpy(key_at(binding, slot), key, binding->key_size);
}

/* A copy of `old` in which key names object (NULL: nothing). */
static struct pf_binding *binding_with(const struct pf_map *map, const struct pf_binding *old, const void *key,
				       struct pf_ref *object)
{
	struct pf_binding *copy = binding_new(map, old->count + 1);
	if (!copy)
		return NULL;
	uint32_t changed = slot_of(old, key);
	for (uint32_t i = 0; i < old->capacity; i++) {
		if (!old->objects[i] || i == changed)
			continue;
		put_object(copy, old->hashed ? (const void *)key_at(old, i) : &i, old->objects[i]);
	}
	if (object)
		put_object(copy, key, object);
	return copy;
}

/* --- the box --- */

struct pf_binding *pf_map_binding(struct pf_map *map)
{
	pthread_mutex_lock(&map->box.lock);
	struct pf_binding *binding = map->box.current;
	pf_ref_get(&binding->ref);
	pthread_mutex_unlock(&map->box.lock);
	return binding;
}

struct pf_ref *pf_map_bound(struct pf_map *map, const void *key)
{
	if (map->ops != &pf_binding_ops)
		return NULL;
	pthread_mutex_lock(&map->box.lock);
	struct pf_ref *object = pf_binding_find(map->box.current, key);
	if (object)
		pf_ref_get(object);
	pthread_mutex_unlock(&map->box.lock);
	return object;
}

static enum pf_err refuse(struct pf_diag *diag, enum pf_err err)
{
	return pf_diag_set(diag, err, PF_DIAG_MAP_BIND, 0, 0, err, 0, pf_err_text(err));
}

/* What Linux answers, in its order (measured). */
static enum pf_err check_bind(const struct pf_map *map, const struct pf_binding *current, const void *key,
			      const struct pf_ref *object, uint64_t flags)
{
	if (object && flags > (current->hashed ? PF_MAP_EXIST : PF_MAP_ANY))
		return PF_EINVAL;
	if (!current->hashed && pf_index_of(key) >= current->capacity)
		return PF_E2BIG;
	int present = pf_binding_find(current, key) != NULL;
	if (!object)
		return present ? PF_OK : PF_ENOENT;
	if (present && flags == PF_MAP_NOEXIST)
		return PF_EEXIST;
	if (!present && flags == PF_MAP_EXIST)
		return PF_ENOENT;
	return !present && current->hashed && current->count >= map->def.max_entries ? PF_E2BIG : PF_OK;
}

static enum pf_err check_object(const struct pf_map *map, const struct pf_ref *object, struct pf_diag *diag)
{
	if (pf_map_is(object) != (map->def.type != PF_MAP_PROG_ARRAY))
		return refuse(diag, PF_EINVAL);
	if (map->def.type == PF_MAP_PROG_ARRAY)
		return PF_OK;
	return pf_map_fits_inner((const struct pf_map *)(const void *)object, map, diag);
}

static enum pf_err check_both(const struct pf_map *map, const struct pf_binding *current, const void *key,
			      const struct pf_ref *object, uint64_t flags, struct pf_diag *diag)
{
	const enum pf_err err = check_bind(map, current, key, object, flags);
	if (err)
		return refuse(diag, err);
	return object ? check_object(map, object, diag) : PF_OK;
}

enum pf_err pf_map_bind(struct pf_map *map, const void *key, struct pf_ref *object, uint64_t flags,
			uint32_t *published, struct pf_diag *diag)
{
	if (map->ops != &pf_binding_ops) {
		if (published)
			*published = 0;
		return refuse(diag, PF_EINVAL);
	}
	return pf_binding_change(map, key, object, flags, check_both, published, diag);
}

/* The subscribers at this moment, each with a reference (B4: they are called without the box's lock). */
static enum pf_err listeners(struct pf_map *map, struct pf_subscriber ***list, uint32_t *count)
{
	uint32_t n = 0;

	for (struct pf_subscription *s = map->box.subscriptions; s; s = s->next)
		n++;
	*count = 0;
	*list = malloc((n ? n : 1) * sizeof(**list));
	if (!*list)
		return PF_ENOMEM;
	for (struct pf_subscription *s = map->box.subscriptions; s; s = s->next) {
		pf_ref_get(&s->subscriber->ref);
		(*list)[(*count)++] = s->subscriber;
	}
	return PF_OK;
}

/* Tells the first `count` subscribers; stops at the first that fails, whose place is then *asked (else count). *told
 * counts those that published; a subscriber that is gone does not. */
static enum pf_err tell(struct pf_subscriber **list, uint32_t count, uint32_t *asked, uint32_t *told,
			struct pf_diag *diag)
{
	enum pf_err err = PF_OK;
	uint32_t i = 0;

	for (; i < count; i++) {
		pthread_mutex_lock(&list[i]->lock);
		if (list[i]->target) {
			err = list[i]->changed(list[i]->target, diag);
			*told += !err;
		}
		pthread_mutex_unlock(&list[i]->lock);
		if (err)
			break;
	}
	*asked = i;
	return err;
}

/* A subscriber could not publish: the old binding comes back, unless somebody wrote another meanwhile, and the `count`
 * in front of it, who have published the new one or are gone, are told again. */
static void take_back(struct pf_map *map, struct pf_binding *next, struct pf_binding *old, struct pf_subscriber **list,
		      uint32_t count)
{
	uint32_t asked = 0, told = 0;

	pthread_mutex_lock(&map->box.lock);
	int ours = map->box.current == next;
	if (ours) {
		pf_ref_get(&old->ref);
		map->box.current = old;
	}
	pthread_mutex_unlock(&map->box.lock);
	if (ours) {
		pf_ref_put(&next->ref);
		(void)tell(list, count, &asked, &told, NULL);
	}
}

enum pf_err pf_binding_change(struct pf_map *map, const void *key, struct pf_ref *object, uint64_t flags,
			      pf_binding_check check, uint32_t *published, struct pf_diag *diag)
{
	struct pf_binding *old, *next = NULL;
	struct pf_subscriber **list = NULL;
	uint32_t count = 0, asked = 0, told = 0;
	enum pf_err err = PF_OK;

	if (published)
		*published = 0;
	if (map->def.flags & PF_MAP_F_RDONLY || atomic_load_explicit(&map->frozen, memory_order_acquire))
		return refuse(diag, PF_EPERM);

	pthread_mutex_lock(&map->box.lock);
	old = map->box.current;
	err = check(map, old, key, object, flags, diag);
	if (!err) {
		next = binding_with(map, old, key, object);
		err = next ? listeners(map, &list, &count) : PF_ENOMEM;
		if (err)
			refuse(diag, err);
	}
	if (err) {
		pthread_mutex_unlock(&map->box.lock);
		if (next)
			pf_ref_put(&next->ref);
		return err;
	}
	pf_ref_get(&next->ref); /* one for the box, one for us; the box's reference to old becomes ours */
	map->box.current = next;
	pthread_mutex_unlock(&map->box.lock);

	err = tell(list, count, &asked, &told, diag);
	if (err)
		take_back(map, next, old, list, asked);
	else if (published)
		*published = told;
	for (uint32_t i = 0; i < count; i++)
		pf_ref_put(&list[i]->ref);
	free(list);
	pf_ref_put(&next->ref);
	pf_ref_put(&old->ref);
	return err;
}

enum pf_err pf_map_subscribe(struct pf_map *map, struct pf_subscriber *subscriber)
{
	struct pf_subscription *fresh = malloc(sizeof(*fresh));
	if (!fresh)
		return PF_ENOMEM;
	pthread_mutex_lock(&map->box.lock);
	struct pf_subscription **at = &map->box.subscriptions;
	while (*at && (*at)->subscriber != subscriber)
		at = &(*at)->next;
	if (!*at) {
		pf_ref_get(&subscriber->ref);
		*fresh = (struct pf_subscription){.subscriber = subscriber};
		*at = fresh;
		fresh = NULL;
	}
	pthread_mutex_unlock(&map->box.lock);
	free(fresh);
	return PF_OK;
}

void pf_map_unsubscribe(struct pf_map *map, struct pf_subscriber *subscriber)
{
	struct pf_subscription *gone = NULL;

	pthread_mutex_lock(&map->box.lock);
	struct pf_subscription **at = &map->box.subscriptions;
	while (*at && (*at)->subscriber != subscriber)
		at = &(*at)->next;
	if (*at) {
		gone = *at;
		*at = gone->next;
	}
	pthread_mutex_unlock(&map->box.lock);
	if (gone) {
		pf_ref_put(&gone->subscriber->ref);
		free(gone);
	}
}

/* --- the family --- */

enum pf_err pf_binding_create(struct pf_map *map, struct pf_diag *diag)
{
	pthread_mutex_init(&map->box.lock, NULL);
	pthread_mutex_init(&map->box.writing, NULL);
	map->box.current = binding_new(map, 0);
	if (!map->box.current)
		return pf_diag_set(diag, PF_ENOMEM, PF_DIAG_MAP_NOMEM, 0, 0,
				   (uint64_t)map->def.max_entries * sizeof(struct pf_ref *), PF_MAP_ARENA_MAX, NULL);
	return PF_OK;
}

void pf_binding_destroy(struct pf_map *map)
{
	while (map->box.subscriptions) {
		struct pf_subscription *s = map->box.subscriptions;
		map->box.subscriptions = s->next;
		pf_ref_put(&s->subscriber->ref);
		free(s);
	}
	if (map->box.current)
		pf_ref_put(&map->box.current->ref);
	pthread_mutex_destroy(&map->box.lock);
	pthread_mutex_destroy(&map->box.writing);
}

static uint8_t *binding_lookup(struct pf_map *map, const void *key, uint32_t cpu)
{
	(void)map, (void)key, (void)cpu;
	return NULL;
}

static enum pf_err binding_update(struct pf_map *map, const void *key, const void *value, uint64_t flags, uint32_t cpu)
{
	(void)map, (void)key, (void)value, (void)flags;
	return cpu == PF_MAP_ALL_CPUS ? PF_EOPNOTSUPP : PF_EPERM;
}

static enum pf_err binding_remove(struct pf_map *map, const void *key)
{
	(void)map, (void)key;
	return PF_EPERM; /* a program (M5); users come through pf_map_bind */
}

static enum pf_err binding_read(struct pf_map *map, const void *key, void *value, uint64_t flags)
{
	(void)map, (void)key, (void)value, (void)flags;
	return PF_EOPNOTSUPP;
}

/* Arrays: every index, occupied or not, as in Linux. */
static enum pf_err binding_next_key(struct pf_map *map, const void *key, void *next)
{
	struct pf_binding *binding = pf_map_binding(map);
	uint32_t slot = 0;
	enum pf_err err = PF_ENOENT;

	if (key) {
		uint32_t at = slot_of(binding, key);
		slot = at < binding->capacity && (!binding->hashed || binding->objects[at]) ? at + 1 : 0;
	}
	while (binding->hashed && slot < binding->capacity && !binding->objects[slot])
		slot++;
	if (slot < binding->capacity) {
		if (binding->hashed)
			memcpy(next, key_at(binding, slot), binding->key_size);
		else
			memcpy(next, &slot, 4);
		err = PF_OK;
	}
	pf_ref_put(&binding->ref);
	return err;
}

static uint64_t binding_count(struct pf_map *map)
{
	struct pf_binding *binding = pf_map_binding(map);
	uint64_t count = binding->count;
	pf_ref_put(&binding->ref);
	return count;
}

const struct pf_map_ops pf_binding_ops = {
	.create = pf_binding_create,
	.destroy = pf_binding_destroy,
	.lookup = binding_lookup,
	.update = binding_update,
	.remove = binding_remove,
	.read = binding_read,
	.next_key = binding_next_key,
	.count = binding_count,
};
