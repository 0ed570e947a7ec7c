/* test_map_binding.c - prog arrays and maps of maps: bindings, subscribers, fit of inner maps. */
#include "map_util.h"

static int destroyed;
static void count_destroyed(struct pf_ref *ref) { (void)ref; destroyed++; }

struct target {
	struct pf_map *map;
	int calls;
	enum pf_err answer;
	struct pf_ref *seen; /* what key 1 named at the last call */
};

static enum pf_err changed(void *target, struct pf_diag *diag)
{
	struct target *t = target;
	uint32_t key = 1;
	struct pf_binding *binding = pf_map_binding(t->map); /* B4: the box is not locked now */
	t->calls++;
	t->seen = pf_binding_find(binding, &key);
	pf_ref_put(&binding->ref);
	if (t->answer)
		return pf_diag_set(diag, t->answer, PF_DIAG_HOOK_WORKERS, 0, 0, 0, 0, NULL);
	return PF_OK;
}

static void test_prog_array(void)
{
	struct pf_map *map = make(PF_MAP_PROG_ARRAY, 4, 4, 3, 0, 1);
	struct pf_ref prog_a, prog_b;
	struct target t = {.map = map};
	struct pf_subscriber subscriber = {.target = &t, .changed = changed};
	uint32_t one = 1, far = 3, published = 9, next;
	struct pf_diag diag;

	destroyed = 0;
	pf_ref_init(&prog_a, count_destroyed);
	pf_ref_init(&prog_b, count_destroyed);
	pf_ref_init(&subscriber.ref, count_destroyed);
	pthread_mutex_init(&subscriber.lock, NULL);
	CHECK_EQ(pf_map_bind(map, &one, &prog_a, NOEXIST, NULL, &diag), PF_EINVAL);
	CHECK_EQ(pf_map_bind(map, &far, &prog_a, ANY, NULL, &diag), PF_E2BIG);
	CHECK_EQ(pf_map_bind(map, &far, NULL, ANY, NULL, &diag), PF_E2BIG);
	CHECK_EQ(pf_map_bind(map, &one, NULL, ANY, NULL, &diag), PF_ENOENT);
	CHECK_EQ(pf_map_bind(map, &one, &map->ref, ANY, NULL, &diag), PF_EINVAL); /* a map is no program */
	CHECK_EQ(pf_map_bind(map, &one, &prog_a, ANY, &published, &diag), PF_OK);
	CHECK_EQ(published, 0);
	CHECK_EQ(pf_map_subscribe(map, &subscriber), PF_OK);
	CHECK_EQ(pf_map_subscribe(map, &subscriber), PF_OK);
	struct pf_binding *snapshot = pf_map_binding(map);
	CHECK_EQ(pf_map_bind(map, &one, &prog_b, ANY, &published, &diag), PF_OK);
	CHECK(published == 1 && t.calls == 1 && t.seen == &prog_b);
	CHECK(pf_binding_find(snapshot, &one) == &prog_a); /* B1 */
	struct pf_ref *bound = pf_map_bound(map, &one);
	CHECK(bound == &prog_b);
	pf_ref_put(bound);
	CHECK_EQ(pf_map_count(map), 1);
	CHECK(pf_map_user_next_key(map, NULL, &next) == PF_OK && next == 0); /* every index, as in Linux */
	CHECK(!pf_map_lookup(map, &one, 0));
	CHECK_EQ(pf_map_update(map, &one, &one, ANY, 0), PF_EPERM);
	CHECK_EQ(pf_map_delete(map, &one), PF_EPERM);

	t.answer = PF_ENOMEM; /* a subscriber that cannot publish: nothing changes */
	CHECK_EQ(pf_map_bind(map, &one, &prog_a, ANY, &published, &diag), PF_ENOMEM);
	CHECK_EQ(published, 0);
	bound = pf_map_bound(map, &one);
	CHECK(bound == &prog_b);
	pf_ref_put(bound);
	subscriber.target = NULL; /* gone: not called */
	int calls = t.calls;
	CHECK_EQ(pf_map_user_delete(map, &one), PF_OK);
	CHECK(t.calls == calls && !pf_map_bound(map, &one));
	pf_map_freeze(map);
	CHECK_EQ(pf_map_bind(map, &one, &prog_a, ANY, NULL, &diag), PF_EPERM);

	pf_ref_put(&prog_b);
	CHECK_EQ(destroyed, 1);
	pf_ref_put(&prog_a);
	CHECK_EQ(destroyed, 1); /* the snapshot still holds it */
	pf_ref_put(&snapshot->ref);
	CHECK_EQ(destroyed, 2);
	pf_map_unsubscribe(map, &subscriber);
	pf_map_unsubscribe(map, &subscriber);
	pf_map_put(map);
	pf_ref_put(&subscriber.ref);
	CHECK_EQ(destroyed, 3);
	pthread_mutex_destroy(&subscriber.lock);
}

static void test_inner_maps(void)
{
	static const struct { struct pf_map_def inner, def; enum pf_err err; } fits[] = {
		{{PF_MAP_ARRAY, 4, 8, 2, 0}, {PF_MAP_ARRAY, 4, 8, 2, 0}, PF_OK},
		{{PF_MAP_ARRAY, 4, 8, 2, 0}, {PF_MAP_ARRAY, 4, 8, 3, 0}, PF_EINVAL},
		{{PF_MAP_ARRAY, 4, 8, 2, 0x1000}, {PF_MAP_ARRAY, 4, 8, 3, 0x1000}, PF_OK},
		{{PF_MAP_ARRAY, 4, 8, 2, 0x1000}, {PF_MAP_ARRAY, 4, 8, 2, 0}, PF_EINVAL},
		{{PF_MAP_ARRAY, 4, 8, 2, 0}, {PF_MAP_PERCPU_ARRAY, 4, 8, 2, 0}, PF_EINVAL},
		{{PF_MAP_PERCPU_ARRAY, 4, 8, 2, 0}, {PF_MAP_PERCPU_ARRAY, 4, 8, 3, 0}, PF_OK},
		{{PF_MAP_HASH, 4, 8, 2, 0}, {PF_MAP_HASH, 4, 8, 9, 0}, PF_OK},
		{{PF_MAP_HASH, 4, 8, 2, 0}, {PF_MAP_HASH, 4, 4, 2, 0}, PF_EINVAL},
		{{PF_MAP_HASH, 4, 8, 2, 0}, {PF_MAP_HASH, 8, 8, 2, 0}, PF_EINVAL},
		{{PF_MAP_DEVMAP, 4, 8, 2, 0}, {PF_MAP_DEVMAP, 4, 8, 2, 0}, PF_OK},
	};
	for (size_t i = 0; i < sizeof(fits) / sizeof(fits[0]); i++) {
		struct pf_map_def outer = {i % 2 ? PF_MAP_HASH_OF_MAPS : PF_MAP_ARRAY_OF_MAPS, 4, 4, 4, 0};
		struct pf_map *map, *inner = make(fits[i].def.type, fits[i].def.key_size, fits[i].def.value_size,
						  fits[i].def.max_entries, fits[i].def.flags, 1);
		struct pf_diag diag = {0};
		uint32_t key = 2;
		CHECK_EQ(pf_map_create(&outer, &fits[i].inner, 1, "outer", 2, &map, &diag), PF_OK);
		CHECK_EQ(pf_map_bind(map, &key, &inner->ref, ANY, NULL, &diag), fits[i].err);
		CHECK_EQ(diag.code, fits[i].err ? PF_DIAG_MAP_INNER_MISMATCH : PF_DIAG_NONE);
		pf_map_put(inner);
		if (!fits[i].err) { /* the binding keeps it alive */
			struct pf_ref *bound = pf_map_bound(map, &key);
			CHECK(bound == &inner->ref);
			pf_ref_put(bound);
		}
		pf_map_put(map);
	}
}

static void test_hash_of_maps(void)
{
	struct pf_map *map = make(PF_MAP_HASH_OF_MAPS, 3, 4, 40, 0, 1);
	struct pf_map *inner = make(PF_MAP_ARRAY, 4, 8, 2, 0, 1);
	uint8_t present[64] = {0};
	uint64_t count = 0;

	for (int op = 0; op < 20000; op++) {
		uint8_t number = (uint8_t)rnd(64), key[3] = {number, 7, 9}, next[3], *at = NULL;
		uint64_t flags = rnd(4), seen = 0;
		int removes = rnd(2) != 0;
		enum pf_err want = PF_OK;
		if (removes)
			want = present[number] ? PF_OK : PF_ENOENT;
		else if (flags > EXIST)
			want = PF_EINVAL;
		else if (present[number] ? flags == NOEXIST : flags == EXIST)
			want = present[number] ? PF_EEXIST : PF_ENOENT;
		else if (!present[number] && count == 40)
			want = PF_E2BIG;
		CHECK_EQ(removes ? pf_map_user_delete(map, key)
				 : pf_map_bind(map, key, &inner->ref, flags, NULL, NULL), want);
		if (!want) {
			count += (uint64_t)!removes - present[number];
			present[number] = !removes;
		}
		CHECK_EQ(pf_map_count(map), count);
		while (op % 16 == 0 && pf_map_user_next_key(map, at, next) == PF_OK) {
			at = next;
			CHECK(present[next[0]] && ++seen <= count);
		}
		CHECK(op % 16 || seen == count);
		struct pf_ref *bound = pf_map_bound(map, key);
		CHECK_EQ(bound != NULL, present[number]);
		if (bound)
			pf_ref_put(bound);
	}
	pf_map_put(map);
	CHECK_EQ(atomic_load(&inner->ref.count), 1);
	pf_map_put(inner);
}

/* Three subscribers: one is gone, one publishes, one cannot. The second has published what is taken back: it is told
 * again, and nobody else. */
static void test_taken_back(void)
{
	struct pf_map_def def = {.type = PF_MAP_PROG_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 2};
	struct pf_ref program;
	struct pf_map *map;
	uint32_t key = 1, published = 9;
	CHECK_EQ(pf_map_create(&def, NULL, 1, "progs", 1, &map, NULL), PF_OK);
	struct target targets[3] = {{.map = map}, {.map = map}, {.map = map, .answer = PF_ENOMEM}};
	struct pf_subscriber subscribers[3] = {{.target = NULL}, {.target = &targets[1]}, {.target = &targets[2]}};
	pf_ref_init(&program, count_destroyed);
	for (int i = 0; i < 3; i++) {
		subscribers[i].changed = changed;
		pf_ref_init(&subscribers[i].ref, count_destroyed);
		pthread_mutex_init(&subscribers[i].lock, NULL);
		CHECK_EQ(pf_map_subscribe(map, &subscribers[i]), PF_OK);
	}
	CHECK_EQ(pf_map_bind(map, &key, &program, PF_MAP_ANY, &published, NULL), PF_ENOMEM);
	CHECK_EQ(published, 0);
	CHECK_EQ(targets[1].calls, 2);
	CHECK_EQ(targets[1].seen, 0);
	CHECK_EQ(targets[2].calls, 1);
	CHECK(!pf_map_bound(map, &key));
	pf_map_put(map);
	for (int i = 0; i < 3; i++)
		pthread_mutex_destroy(&subscribers[i].lock);
}

int main(void)
{
	test_taken_back();
	test_prog_array();
	test_inner_maps();
	test_hash_of_maps();
	return 0;
}
