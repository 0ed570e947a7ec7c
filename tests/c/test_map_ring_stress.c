/* test_map_ring_stress.c - ringbuf: every size at every place of the ring, and writers and readers of one ring at the same time. */
#include <pthread.h>
#include <sched.h>

#include "map/ring.h"
#include "map_util.h"

#define SIZE 4096u
#define WRITERS 3u
#define READERS 2u
#define SERIALS 20000u

static uint8_t byte_of(uint64_t number, uint64_t at) { return (uint8_t)((number * 0x9e3779b97f4a7c15u >> 32) + at); }

static void fill(uint8_t *record, uint64_t number, uint32_t size)
{
	for (uint32_t i = 0; i < size; i++)
		record[i] = byte_of(number, i);
}

static void check_next(struct pf_map *map, uint64_t number, uint32_t expected)
{
	static uint8_t data[SIZE];
	uint32_t size = 0;

	CHECK_EQ(pf_ring_next_size(map, &size), PF_OK);
	CHECK_EQ(size, expected);
	CHECK_EQ(pf_ring_take(map, data, size + 1), PF_EAGAIN);
	CHECK_EQ(pf_ring_take(map, data, size), PF_OK);
	for (uint32_t i = 0; i < size; i++)
		CHECK_EQ(data[i], byte_of(number, i));
}

static uint64_t rounded(uint64_t size) { return (size + 8 + 7) / 8 * 8; }

/* Against a model of the positions: what fits, what is given back, what is counted. */
static void test_model(void)
{
	struct pf_map *map = make(PF_MAP_RINGBUF, 0, 0, SIZE, 0, 1);
	uint64_t producer = 0, consumer = 0, lost = 0, numbers[1024], first = 0, count = 0;
	uint32_t sizes[1024];

	for (uint64_t step = 0; step < 20000; step++) {
		const uint64_t size = rnd(8) ? rnd(300) : rnd(SIZE + 20);
		const int fits = producer + rounded(size) - consumer < SIZE, discard = !rnd(4);
		uint8_t *record = pf_ring_reserve(map, size);
		CHECK_EQ(record != NULL, fits);
		if (record) {
			CHECK_EQ((uintptr_t)record & 7, 0);
			CHECK(pf_ring_contains(map, (uint64_t)(uintptr_t)record, size));
			fill(record, step, (uint32_t)size);
			CHECK(pf_ring_commit(record, discard) == map);
			producer += rounded(size);
			/* A discarded one is skipped when the next that is not is read. */
			numbers[(first + count) % 1024] = discard ? UINT64_MAX : step;
			sizes[(first + count++) % 1024] = (uint32_t)size;
		} else {
			lost++;
		}
		CHECK_EQ(pf_ring_lost(map), lost);
		CHECK_EQ(pf_ring_ask(map, PF_RING_PROD_POS), producer);
		CHECK_EQ(pf_ring_ask(map, PF_RING_CONS_POS), consumer);
		CHECK_EQ(pf_ring_ask(map, PF_RING_AVAIL_DATA), producer - consumer);
		CHECK_EQ(pf_ring_ask(map, PF_RING_SIZE), SIZE);
		CHECK_EQ(pf_ring_ask(map, 4), 0);
		while (count && !rnd(3)) {
			for (; count && numbers[first % 1024] == UINT64_MAX; count--)
				consumer += rounded(sizes[first++ % 1024]);
			if (count) {
				check_next(map, numbers[first % 1024], sizes[first % 1024]);
				consumer += rounded(sizes[first++ % 1024]);
				count--;
			} else {
				uint32_t none;
				CHECK_EQ(pf_ring_next_size(map, &none), PF_ENODATA);
			}
		}
	}
	CHECK(lost > 100);
	pf_map_put(map);
}

static void test_busy_ones_stop_the_reader(void)
{
	struct pf_map *map = make(PF_MAP_RINGBUF, 0, 0, SIZE, 0, 1);
	uint8_t *first = pf_ring_reserve(map, 5), *second = pf_ring_reserve(map, 6);
	uint32_t size;

	fill(first, 1, 5);
	fill(second, 2, 6);
	pf_ring_commit(second, 0);
	CHECK_EQ(pf_ring_next_size(map, &size), PF_ENODATA);
	CHECK_EQ(pf_map_count(map), 1);
	pf_ring_commit(first, 0);
	CHECK_EQ(pf_map_count(map), 2);
	check_next(map, 1, 5);
	check_next(map, 2, 6);
	CHECK(!pf_ring_reserve(map, UINT64_MAX));
	CHECK(!pf_ring_reserve(map, UINT32_MAX));
	CHECK(!pf_ring_reserve(map, SIZE - 8));
	first = pf_ring_reserve(map, SIZE - 16);
	CHECK(first && !pf_ring_reserve(map, 0));
	pf_ring_commit(first, 1);
	CHECK_EQ(pf_ring_lost(map), 4);
	CHECK_EQ(pf_map_count(map), 0);
	pf_map_put(map);
}

static void test_flags(void)
{
	struct pf_map_def def = { .type = PF_MAP_RINGBUF, .max_entries = SIZE };
	struct pf_map *map;
	struct pf_diag diag;

	for (uint32_t bit = 0; bit < 32; bit++) {
		def.flags = UINT32_C(1) << bit;
		const enum pf_err err = pf_map_create(&def, NULL, 1, "ring", 1, &map, &diag);
		CHECK_EQ(err, def.flags == PF_MAP_F_NUMA_NODE ? PF_OK : PF_EINVAL);
		if (!err)
			pf_map_put(map);
	}
}

struct task {
	struct pf_map *map;
	uint64_t number, made;
	uint64_t *left;    /* writers still at work */
	uint64_t *seen;    /* by writer: records that readers took */
};

static void *write_records(void *arg)
{
	struct task *t = arg;

	for (uint64_t serial = 1; serial <= SERIALS; serial++) {
		const uint32_t size = 16 + (uint32_t)(serial * 7 + t->number) % 90;
		uint8_t *record;
		while (!(record = pf_ring_reserve(t->map, size)))
			sched_yield();
		fill(record, t->number << 32 | serial, size);
		memcpy(record, &(uint64_t[2]){ t->number, serial }, 16);
		t->made += serial % 5 != 0;
		pf_ring_commit(record, serial % 5 == 0);
	}
	__atomic_fetch_sub(t->left, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void take(void *user, const uint8_t *data, uint32_t size)
{
	const struct task *t = user;
	uint64_t head[2];

	memcpy(head, data, 16);
	CHECK(head[0] < WRITERS && head[1] <= SERIALS && head[1] % 5);
	CHECK_EQ(size, 16 + (head[1] * 7 + head[0]) % 90);
	for (uint32_t i = 16; i < size; i++)
		CHECK_EQ(data[i], byte_of(head[0] << 32 | head[1], i));
	__atomic_fetch_add(&t->seen[head[0]], 1, __ATOMIC_RELAXED);
}

static void *read_records(void *arg)
{
	struct task *t = arg;
	uint8_t data[128];
	uint32_t size;

	for (;;) {
		const int last = !__atomic_load_n(t->left, __ATOMIC_ACQUIRE);
		if (t->number) {
			pf_ring_drain(t->map, take, t);
		} else {
			while (!pf_ring_next_size(t->map, &size))
				if (size <= sizeof(data) && !pf_ring_take(t->map, data, size))
					take(t, data, size);
		}
		if (last)
			return NULL;
		sched_yield();
	}
}

static void test_threads(void)
{
	struct pf_map *map = make(PF_MAP_RINGBUF, 0, 0, SIZE, 0, 1);
	struct task tasks[WRITERS + READERS];
	pthread_t threads[WRITERS + READERS];
	uint64_t left = WRITERS, seen[WRITERS] = { 0 };

	for (uint32_t i = 0; i < WRITERS + READERS; i++) {
		const int writes = i < WRITERS;
		tasks[i] = (struct task){ map, writes ? i : i - WRITERS, 0, &left, seen };
		CHECK_EQ(pthread_create(&threads[i], NULL, writes ? write_records : read_records, &tasks[i]), 0);
	}
	for (uint32_t i = 0; i < WRITERS + READERS; i++)
		pthread_join(threads[i], NULL);
	for (uint32_t i = 0; i < WRITERS; i++)
		CHECK_EQ(seen[i], tasks[i].made);
	CHECK_EQ(pf_map_count(map), 0);
	CHECK_EQ(pf_ring_ask(map, PF_RING_AVAIL_DATA), 0);
	pf_map_put(map);
}

int main(void)
{
	test_model();
	test_busy_ones_stop_the_reader();
	test_flags();
	test_threads();
	return 0;
}
