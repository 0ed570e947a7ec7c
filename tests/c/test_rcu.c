/* test_rcu.c - grace periods: nothing is freed while a worker can read it; waits time out with the worker's name. */
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <time.h>

#include "check.h"
#include "rcu/rcu.h"

#define READERS 3
#define UPDATES 3000
#define LIVE 0x11223344aabbccddu
#define POISON 0xdeaddeaddeaddeadu

struct object {
	struct pf_rcu_head head; /* first */
	uint64_t words[8];
};

struct shared {
	struct pf_rcu rcu;
	struct object *_Atomic slot;
	_Atomic int stop;
	_Atomic uint64_t batches;
};

/* Poisoned and kept on a list rather than freed, so that a reader that is too late is caught reading it. */
struct graveyard {
	struct pf_rcu_head *first;
	uint64_t count;
};
static struct graveyard graveyard;

static void bury(struct pf_rcu_head *head)
{
	struct object *object = (struct object *)(void *)head;
	for (int i = 0; i < 8; i++)
		object->words[i] = POISON;
	head->next = graveyard.first;
	graveyard.first = head;
	graveyard.count++;
}

static struct object *object_new(uint64_t number)
{
	struct object *object = calloc(1, sizeof(*object));
	CHECK(object);
	object->head.free = bury;
	for (int i = 0; i < 8; i++)
		object->words[i] = LIVE + number;
	return object;
}

static void read_batch(struct shared *s, uint64_t *last)
{
	struct object *object = atomic_load_explicit(&s->slot, PF_RCU_SC(memory_order_acquire));
	uint64_t first = object->words[0];

	CHECK(first != POISON && first >= *last); /* alive, and never older than what was seen before */
	for (int round = 0; round < 4; round++)
		for (int i = 0; i < 8; i++)
			CHECK_EQ(object->words[i], first);
	*last = first;
}

static void *reader(void *arg)
{
	struct shared *s = arg;
	struct pf_rcu_worker *w = pf_rcu_register(&s->rcu, "reader");
	uint64_t last = 0;

	CHECK(w);
	while (!atomic_load(&s->stop)) {
		pf_rcu_online(w);
		for (int i = 0; i < 20; i++) {
			read_batch(s, &last);
			atomic_fetch_add_explicit(&s->batches, 1, memory_order_relaxed);
			pf_rcu_quiescent(w);
		}
		pf_rcu_offline(w);
	}
	pf_rcu_unregister(w);
	return NULL;
}

static void test_readers_and_writer(void)
{
	struct shared *s = aligned_alloc(PF_CACHE_LINE, sizeof(*s));
	pthread_t threads[READERS];

	CHECK(s);
	graveyard = (struct graveyard){0};
	pf_rcu_init(&s->rcu);
	atomic_init(&s->slot, object_new(0));
	atomic_init(&s->stop, 0);
	atomic_init(&s->batches, 0);
	for (int i = 0; i < READERS; i++)
		CHECK(!pthread_create(&threads[i], NULL, reader, s));
	while (!atomic_load(&s->batches))
		;
	for (uint64_t n = 1; n <= UPDATES; n++) {
		struct object *old = atomic_exchange_explicit(&s->slot, object_new(n), PF_RCU_SC(memory_order_release));
		uint64_t token = pf_rcu_advance(&s->rcu);
		CHECK_EQ(token, n + 1);
		pf_rcu_retire(&s->rcu, &old->head, token);
		if (n % 4 == 0) {
			CHECK_EQ(pf_rcu_wait(&s->rcu, token, UINT64_MAX, NULL, NULL), PF_OK);
			/* A reader that was on its way online, with a token read before, may hold it up a little more. */
			while (pf_rcu_reclaim(&s->rcu))
				sched_yield();
			CHECK_EQ(graveyard.count, n);
		} else {
			pf_rcu_reclaim(&s->rcu);
		}
	}
	atomic_store(&s->stop, 1);
	for (int i = 0; i < READERS; i++)
		CHECK(!pthread_join(threads[i], NULL));
	CHECK_EQ(pf_rcu_reclaim(&s->rcu), 0);
	CHECK_EQ(s->rcu.freed_count, UPDATES);
	pf_rcu_destroy(&s->rcu);
	for (struct pf_rcu_head *h = graveyard.first, *next; h; h = next) {
		next = h->next;
		free(h);
	}
	free(atomic_load(&s->slot));
	free(s);
}

static uint64_t order[8];
static uint32_t ordered;
static void note(struct pf_rcu_head *head) { order[ordered++] = head->token; }

static void test_tokens(void)
{
	struct pf_rcu *rcu = aligned_alloc(PF_CACHE_LINE, sizeof(*rcu));
	struct pf_rcu_head heads[4] = {{.free = note}, {.free = note}, {.free = note}, {.free = note}};

	CHECK(rcu);
	pf_rcu_init(rcu);
	struct pf_rcu_worker *w = pf_rcu_register(rcu, "w");
	CHECK_EQ(atomic_load(&rcu->token), 1);
	pf_rcu_online(w);
	CHECK_EQ(atomic_load(&w->counter), 1);
	uint64_t two = pf_rcu_advance(rcu);
	CHECK_EQ(two, 2);
	pf_rcu_retire(rcu, &heads[0], two);
	CHECK(!pf_rcu_passed(rcu, two));
	CHECK_EQ(pf_rcu_reclaim(rcu), 1);
	pf_rcu_quiescent(w);
	CHECK(pf_rcu_passed(rcu, two));
	uint64_t three = pf_rcu_advance(rcu), four = pf_rcu_advance(rcu);
	pf_rcu_retire(rcu, &heads[1], four);
	pf_rcu_retire(rcu, &heads[2], three); /* late: belongs before */
	CHECK_EQ(pf_rcu_reclaim(rcu), 2);
	CHECK_EQ(ordered, 1);
	pf_rcu_offline(w);
	CHECK(pf_rcu_passed(rcu, four));
	CHECK_EQ(pf_rcu_reclaim(rcu), 0);
	CHECK_EQ(ordered, 3);
	CHECK(order[0] == 2 && order[1] == 3 && order[2] == 4);
	pf_rcu_retire(rcu, &heads[3], four);
	pf_rcu_unregister(w);
	pf_rcu_destroy(rcu); /* frees what is left */
	CHECK_EQ(ordered, 4);
	free(rcu);
}

static uint64_t now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void test_timeout_names_the_worker(void)
{
	struct pf_rcu *rcu = aligned_alloc(PF_CACHE_LINE, sizeof(*rcu));
	struct pf_diag diag = {0};

	CHECK(rcu);
	pf_rcu_init(rcu);
	struct pf_rcu_worker *fast = pf_rcu_register(rcu, "fast"), *slow = pf_rcu_register(rcu, "slow worker");
	pf_rcu_online(slow);
	uint64_t token = pf_rcu_advance(rcu);
	pf_rcu_online(fast);
	struct timespec cpu_before, cpu_after;
	uint64_t start = now_ns();
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu_before);
	CHECK_EQ(pf_rcu_wait(rcu, token, 50000000, NULL, &diag), PF_ETIMEDOUT);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu_after);
	uint64_t waited = now_ns() - start;
	uint64_t cpu = (uint64_t)(cpu_after.tv_sec - cpu_before.tv_sec) * 1000000000u + (uint64_t)cpu_after.tv_nsec -
		       (uint64_t)cpu_before.tv_nsec;
	CHECK(waited >= 50000000);
	CHECK(cpu < 25000000); /* asleep most of the time */
	CHECK_EQ(diag.code, PF_DIAG_HOOK_STALLED);
	CHECK(!strcmp(diag.name, "slow worker"));
	CHECK_EQ(pf_rcu_wait(rcu, token, 0, NULL, NULL), PF_ETIMEDOUT);
	CHECK_EQ(pf_rcu_wait(rcu, token, UINT64_MAX, slow, &diag), PF_EDEADLK);
	CHECK_EQ(diag.code, PF_DIAG_HOOK_SELF_WAIT);
	CHECK(!strcmp(diag.name, "slow worker"));
	pf_rcu_quiescent(slow);
	CHECK_EQ(pf_rcu_wait(rcu, token, 0, slow, &diag), PF_OK);
	pf_rcu_offline(slow);
	pf_rcu_offline(fast);
	pf_rcu_unregister(slow);
	pf_rcu_unregister(fast);
	pf_rcu_destroy(rcu);
	free(rcu);
}

struct sleeper {
	struct pf_rcu_worker *w;
	_Atomic int online;
};

static void *late_reader(void *arg)
{
	struct sleeper *s = arg;
	struct timespec pause = {.tv_nsec = 20000000};

	pf_rcu_online(s->w);
	atomic_store(&s->online, 1);
	nanosleep(&pause, NULL);
	pf_rcu_offline(s->w);
	return NULL;
}

static void test_a_sleeping_writer_is_woken(void)
{
	struct pf_rcu *rcu = aligned_alloc(PF_CACHE_LINE, sizeof(*rcu));
	struct sleeper sleeper = {0};
	pthread_t thread;

	CHECK(rcu);
	pf_rcu_init(rcu);
	sleeper.w = pf_rcu_register(rcu, "late");
	CHECK(!pthread_create(&thread, NULL, late_reader, &sleeper));
	while (!atomic_load(&sleeper.online))
		;
	CHECK_EQ(pf_rcu_wait(rcu, pf_rcu_advance(rcu), UINT64_MAX, NULL, NULL), PF_OK);
	CHECK_EQ(atomic_load(&sleeper.w->counter), 0);
	CHECK_EQ(atomic_load(&rcu->waiters), 0);
	CHECK(!pthread_join(thread, NULL));
	pf_rcu_unregister(sleeper.w);
	pf_rcu_destroy(rcu);
	free(rcu);
}

static void test_places(void)
{
	struct pf_rcu *rcu = aligned_alloc(PF_CACHE_LINE, sizeof(*rcu));
	struct pf_rcu_worker *workers[PF_RCU_WORKERS];

	CHECK(rcu);
	pf_rcu_init(rcu);
	for (int i = 0; i < PF_RCU_WORKERS; i++) {
		workers[i] = pf_rcu_register(rcu, "a name that is longer than the place for it in the worker");
		CHECK(workers[i]);
		CHECK_EQ(strlen(workers[i]->name), sizeof(workers[i]->name) - 1);
		CHECK_EQ((uintptr_t)workers[i] % PF_CACHE_LINE, 0);
	}
	CHECK(!pf_rcu_register(rcu, "one more"));
	pf_rcu_unregister(workers[7]);
	CHECK(pf_rcu_register(rcu, NULL) == workers[7]);
	pf_rcu_destroy(rcu);
	free(rcu);
}

int main(void)
{
	test_tokens();
	test_places();
	test_timeout_names_the_worker();
	test_a_sleeping_writer_is_woken();
	test_readers_and_writer();
	return 0;
}
