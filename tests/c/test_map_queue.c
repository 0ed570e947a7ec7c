/* test_map_queue.c - queue, stack and bloom_filter: sizes around every edge, and threads at both ends of one map. */
#include <pthread.h>
#include <sched.h>

#include "map_util.h"

#define PRODUCERS 2u
#define CONSUMERS 2u
#define SERIALS 20000u

struct item {
	uint64_t owner, serial, check;
};

static struct item item_of(uint64_t owner, uint64_t serial)
{
	return (struct item){ owner, serial, (owner << 32 ^ serial) * 0x9e3779b97f4a7c15u };
}

/* Every value size to 40, every fill, both orders; the bytes behind the value stay. */
static void test_order(enum pf_map_type type)
{
	for (uint32_t size = 1; size <= 40; size++) {
		struct pf_map *map = make(type, 0, size, 3, 0, 1);
		uint8_t model[64][40], value[41], out[44];
		uint32_t first = 0, count = 0;

		for (int step = 0; step < 200; step++) {
			const int at = step % 3; /* every alignment of what is given back */
			memset(out, 0xee, sizeof(out));
			if (rnd(2)) {
				const uint64_t flags = rnd(2) ? EXIST : ANY;
				for (uint32_t i = 0; i < size; i++)
					value[i] = (uint8_t)rnd(256);
				const enum pf_err err = pf_map_push(map, value, flags);
				CHECK_EQ(err, count == 3 && flags == ANY ? PF_E2BIG : PF_OK);
				if (err)
					continue;
				if (count == 3)
					first++, count--;
				memcpy(model[(first + count++) % 64], value, size);
				continue;
			}
			const int take = (int)rnd(2);
			const enum pf_err err = take ? pf_map_pop(map, out + at) : pf_map_peek(map, out + at);
			CHECK_EQ(err, count ? PF_OK : PF_ENOENT);
			const uint8_t *expected = model[(type == PF_MAP_QUEUE ? first : first + count - 1) % 64];
			for (uint32_t i = 0; i < size; i++)
				CHECK_EQ(out[(uint32_t)at + i], err ? 0 : expected[i]);
			CHECK_EQ(out[(uint32_t)at + size], 0xee);
			if (take && !err) {
				count--;
				first += type == PF_MAP_QUEUE;
			}
			CHECK_EQ(pf_map_count(map), count);
		}
		CHECK_EQ(pf_map_contains(map, map, 1), 0);
		CHECK(!pf_map_lookup(map, value, 0));
		CHECK_EQ(pf_map_user_delete(map, value), PF_EINVAL);
		CHECK_EQ(pf_map_user_next_key(map, NULL, value), PF_EINVAL);
		CHECK_EQ(pf_map_user_lookup(map, value, value, 0), PF_EINVAL);
		CHECK_EQ(pf_map_push(map, value, NOEXIST), PF_EINVAL);
		CHECK_EQ(pf_map_push(map, value, 3), PF_EINVAL);
		pf_map_put(map);
	}
}

struct task {
	struct pf_map *map;
	uint64_t number, sum, taken;
	uint64_t *left;
};

static void *produce(void *arg)
{
	struct task *t = arg;

	for (uint64_t serial = 1; serial <= SERIALS; serial++) {
		const struct item item = item_of(t->number, serial);
		while (pf_map_push(t->map, &item, ANY) == PF_E2BIG)
			sched_yield();
		t->sum += item.check;
	}
	return NULL;
}

static void *consume(void *arg)
{
	struct task *t = arg;
	uint64_t last[PRODUCERS] = { 0 };

	while (__atomic_load_n(t->left, __ATOMIC_RELAXED)) {
		struct item item;
		if (pf_map_pop(t->map, &item)) {
			sched_yield();
			continue;
		}
		CHECK(item.owner < PRODUCERS);
		CHECK_EQ(item.check, item_of(item.owner, item.serial).check);
		if (t->map->def.type == PF_MAP_QUEUE)
			CHECK(item.serial > last[item.owner]); /* what one end takes, it takes in order */
		last[item.owner] = item.serial;
		t->sum += item.check;
		t->taken++;
		__atomic_fetch_sub(t->left, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* Nothing is lost, doubled, torn, or out of order. */
static void test_threads(enum pf_map_type type)
{
	struct pf_map *map = make(type, 0, sizeof(struct item), 16, 0, 1);
	pthread_t threads[PRODUCERS + CONSUMERS];
	struct task tasks[PRODUCERS + CONSUMERS];
	uint64_t left = PRODUCERS * SERIALS, balance = 0, taken = 0;

	for (uint32_t i = 0; i < PRODUCERS + CONSUMERS; i++) {
		tasks[i] = (struct task){ .map = map, .number = i, .left = &left };
		CHECK(!pthread_create(&threads[i], NULL, i < PRODUCERS ? produce : consume, &tasks[i]));
	}
	for (uint32_t i = 0; i < PRODUCERS + CONSUMERS; i++) {
		CHECK(!pthread_join(threads[i], NULL));
		balance += i < PRODUCERS ? tasks[i].sum : -tasks[i].sum;
		taken += tasks[i].taken;
	}
	CHECK_EQ(balance, 0);
	CHECK_EQ(taken, PRODUCERS * SERIALS);
	CHECK_EQ(pf_map_count(map), 0);
	pf_map_put(map);
}

static void *add(void *arg)
{
	struct task *t = arg;

	for (uint64_t serial = 0; serial < 2000; serial++) {
		struct item item = item_of(t->number, serial);
		CHECK_EQ(pf_map_push(t->map, &item, ANY), PF_OK);
		CHECK_EQ(pf_map_peek(t->map, &item), PF_OK);
	}
	return NULL;
}

static void test_bloom_threads(void)
{
	struct pf_map *map = make(PF_MAP_BLOOM_FILTER, 0, sizeof(struct item), 8000, 0, 1);
	pthread_t threads[4];
	struct task tasks[4];
	uint32_t wrong = 0;

	for (uint32_t i = 0; i < 4; i++) {
		tasks[i] = (struct task){ .map = map, .number = i };
		CHECK(!pthread_create(&threads[i], NULL, add, &tasks[i]));
	}
	for (uint32_t i = 0; i < 4; i++)
		CHECK(!pthread_join(threads[i], NULL));
	for (uint64_t serial = 0; serial < 10000; serial++) {
		struct item item = item_of(serial % 5, serial / 5);
		if (serial % 5 < 4)
			CHECK_EQ(pf_map_peek(map, &item), PF_OK);
		else
			wrong += pf_map_peek(map, &item) == PF_OK;
	}
	CHECK(wrong < 200); /* of 2,000; 5 hashes over 64 Ki bits of which 40,000 were set: 1.9 % expected */
	CHECK_EQ(pf_map_count(map), 8000);
	CHECK_EQ(pf_map_pop(map, &(struct item){ 0 }), PF_EOPNOTSUPP);
	pf_map_put(map);
}

static void test_read_only(void)
{
	uint64_t value = 0;
	struct pf_map *map = make(PF_MAP_QUEUE, 0, 8, 2, PF_MAP_F_RDONLY_PROG, 1);
	CHECK_EQ(pf_map_push(map, &value, ANY), PF_EPERM);
	CHECK_EQ(pf_map_pop(map, &value), PF_EPERM);
	CHECK_EQ(pf_map_user_push(map, &value, ANY), PF_OK);
	CHECK_EQ(pf_map_peek(map, &value), PF_OK);
	CHECK_EQ(pf_map_user_pop(map, &value, PF_MAP_F_LOCK), PF_EINVAL);
	pf_map_put(map);
	map = make(PF_MAP_ARRAY, 4, 8, 2, 0, 1);
	CHECK_EQ(pf_map_push(map, &value, ANY), PF_EOPNOTSUPP);
	CHECK_EQ(pf_map_pop(map, &value), PF_EOPNOTSUPP);
	CHECK_EQ(pf_map_peek(map, &value), PF_EOPNOTSUPP);
	pf_map_put(map);
}

int main(void)
{
	test_order(PF_MAP_QUEUE);
	test_order(PF_MAP_STACK);
	test_threads(PF_MAP_QUEUE);
	test_threads(PF_MAP_STACK);
	test_bloom_threads();
	test_read_only();
	return 0;
}
