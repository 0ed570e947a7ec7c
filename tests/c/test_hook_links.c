/* test_hook_links.c - what a link remembers and how it goes back: link.h K1-K4, the rules of rollback, states, links that
 * were never attached, the place of a trial, and compare-and-swap by several threads. */
#include "hook_fixture.h"

#include "hook/clock.h"

#include <stdlib.h>
#include <string.h>

#define MANY 6

/* A lock that is no more is refused by the C library, which nobody would notice. */
int __real_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);

int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
	int refused = __real_pthread_mutex_lock(mutex);
	CHECK_EQ(refused, 0);
	return refused;
}

struct kit {
	struct pf_datapath *dp;
	struct pf_prog *progs[MANY];
	struct pf_link *link; /* progs[0] */
};

static struct kit kit_create(uint32_t history)
{
	struct kit k = { .dp = datapath_of(2) };
	for (int i = 0; i < MANY; i++)
		k.progs[i] = returning(i % PF_ACTIONS);
	k.link = attached(k.dp, 0, k.progs[0], 50, PF_CONTINUE_DEFAULT);
	CHECK_EQ(pf_link_set_history(k.link, history, NULL), PF_OK);
	return k;
}

/* Everything taken was given back: the programs are ours alone. */
static void kit_destroy(struct kit *k)
{
	CHECK_EQ(info_of(k->dp).worlds_live, 1);
	pf_link_put(k->link);
	pf_datapath_put(k->dp);
	for (int i = 0; i < MANY; i++) {
		CHECK_EQ(k->progs[i]->ref.count, 1);
		pf_prog_put(k->progs[i]);
	}
}

static struct pf_link_info look(struct pf_link *link)
{
	struct pf_link_info info;
	pf_link_info(link, &info);
	if (info.prog)
		pf_prog_put(info.prog); /* the kit holds one too */
	return info;
}

/* The rows, each with a reference that the kit holds as well. */
static uint32_t rows_of(struct pf_link *link, struct pf_generation *rows, uint32_t capacity)
{
	uint32_t count = pf_link_history(link, rows, capacity);
	for (uint32_t i = 0; i < count; i++)
		if (rows[i].prog)
			pf_prog_put(rows[i].prog);
	return count;
}

static struct pf_generation last_row(struct pf_link *link)
{
	struct pf_generation row;
	CHECK_EQ(rows_of(link, &row, 1), 1);
	return row;
}

static void update(struct kit *k, int prog)
{
	CHECK_EQ(pf_link_update(k->link, k->progs[prog], NULL, NULL, NULL), PF_OK);
}

static void back(struct kit *k, uint64_t to, int want, uint64_t restores)
{
	uint64_t generation = look(k->link).generation;
	struct pf_change change;
	CHECK_EQ(pf_link_rollback(k->link, to, NULL, &change, NULL), PF_OK);
	pf_prog_put(change.old);
	CHECK_EQ(change.generation, generation + 1);
	CHECK(look(k->link).prog == k->progs[want]);
	struct pf_generation row = last_row(k->link);
	CHECK_EQ(row.generation, generation + 1);
	CHECK_EQ(row.restores, restores);
	CHECK_EQ(row.cause, PF_CAUSE_ROLLBACK);
	CHECK(pf_datapath_world(k->dp)->chains[0].entries[0].prog == k->progs[want]);
}

static void nothing_before(struct kit *k)
{
	struct pf_datapath_info before = info_of(k->dp);
	struct pf_diag diag;
	CHECK_EQ(pf_link_rollback(k->link, 0, NULL, NULL, &diag), PF_ENOENT);
	CHECK_EQ(diag.code, PF_DIAG_HOOK_NOTHING_BEFORE);
	CHECK_EQ(info_of(k->dp).revision, before.revision);
}

/* A, B, C: back to B, to A, no further; an update begins anew; a number goes anywhere. */
static void test_rollback(void)
{
	struct kit k = kit_create(PF_HISTORY_DEFAULT);
	nothing_before(&k);
	update(&k, 1);
	update(&k, 2);
	back(&k, 0, 1, 2);
	back(&k, 0, 0, 1);
	nothing_before(&k);
	update(&k, 3); /* generation 6 */
	back(&k, 0, 0, 5); /* what ran before it: the A of generation 5 */
	back(&k, 0, 1, 4); /* and what ran before that */
	back(&k, 6, 3, 6);
	struct pf_change change;
	struct pf_datapath_info before = info_of(k.dp);
	CHECK_EQ(pf_link_rollback(k.link, 6, NULL, &change, NULL), PF_OK); /* is current already */
	pf_prog_put(change.old);
	CHECK_EQ(change.token + change.published_at, 0);
	CHECK_EQ(change.generation, 9);
	CHECK_EQ(info_of(k.dp).revision, before.revision);
	struct pf_diag diag;
	CHECK_EQ(pf_link_rollback(k.link, 10, NULL, NULL, &diag), PF_ENOENT);
	CHECK_EQ(diag.code, PF_DIAG_HOOK_NO_GENERATION);
	CHECK_EQ(pf_link_rollback(k.link, 1, NULL, NULL, &diag), PF_ENOENT); /* nine generations, eight kept */
	CHECK_EQ(diag.expected, 2);
	kit_destroy(&k);
}

/* Every combination of what can be wrong with a rollback or an update; the earliest rule wins. */
static void check_rules(int rollback, int detached, int program, int generation, int missing, int trial)
{
	struct kit k = kit_create(PF_HISTORY_DEFAULT);
	struct pf_prog *memory = memory_prog();
	update(&k, 1);
	if (detached)
		CHECK_EQ(pf_link_detach(k.link, NULL, NULL), PF_OK);
	struct pf_trial some = { .prog = k.progs[3] }; /* of which a refusal names the program, and nothing else */
	if (trial)
		k.link->trial = &some;
	struct pf_expect expect = { .program = program == 2 ? k.progs[3] : program ? k.progs[1] : NULL,
				    .generation = generation == 2 ? 1 : generation ? 2 : 0 };
	enum pf_err want = detached	    ? PF_ENOLINK
			   : program == 2    ? PF_EPERM
			   : generation == 2 ? PF_ESTALE
			   : missing	    ? (rollback ? PF_ENOENT : PF_EINVAL)
			   : trial	    ? PF_EBUSY
					    : PF_OK;
	struct pf_datapath_info before = info_of(k.dp);
	struct pf_link_info link = look(k.link);
	struct pf_generation row = last_row(k.link);
	struct pf_diag diag = { .code = PF_DIAG_NONE };
	struct pf_prog *new = missing ? memory : k.progs[2];
	if (!rollback)
		CHECK_EQ(pf_link_can_update(k.link, new, &expect, NULL), want);
	enum pf_err err = rollback ? pf_link_rollback(k.link, missing ? 77 : 0, &expect, NULL, &diag)
				   : pf_link_update(k.link, new, &expect, NULL, &diag);
	CHECK_EQ(err, want);
	CHECK_EQ(look(k.link).generation, link.generation + !err);
	CHECK_EQ(info_of(k.dp).revision, before.revision + !err);
	CHECK_EQ(last_row(k.link).generation, row.generation + !err);
	CHECK(!err || (diag.code != PF_DIAG_NONE && diag.err == err));
	k.link->trial = NULL;
	pf_prog_put(memory);
	kit_destroy(&k);
}

static void test_rules(void)
{
	for (int i = 0; i < 144; i++)
		check_rules(i & 1, i >> 1 & 1, i / 16 % 3, i / 48, i >> 2 & 1, i >> 3 & 1);
}

/* K3: the bound holds, what falls out is let go, the newest survive a change of the bound. */
static void test_bound(void)
{
	struct kit k = kit_create(3);
	struct pf_generation rows[8];
	CHECK_EQ(pf_link_set_history(k.link, 0, NULL), PF_EINVAL);
	CHECK_EQ(pf_link_set_history(k.link, PF_HISTORY_MAX + 1, NULL), PF_EINVAL);
	for (int i = 1; i < MANY; i++)
		update(&k, i);
	CHECK_EQ(pf_datapath_wait(k.dp, info_of(k.dp).token, UINT64_MAX, NULL, NULL), PF_OK);
	CHECK_EQ(rows_of(k.link, rows, 8), 3);
	for (uint32_t i = 0; i < 3; i++) {
		CHECK_EQ(rows[i].generation, 4 + i);
		CHECK(rows[i].prog == k.progs[3 + i]);
		CHECK_EQ(rows[i].restores, rows[i].generation);
		CHECK(rows[i].when_ns > UINT64_C(1500000000000000000));
		CHECK(!i || rows[i].token > rows[i - 1].token);
	}
	CHECK_EQ(k.progs[2]->ref.count, 1);
	CHECK_EQ(k.progs[3]->ref.count, 2);
	CHECK_EQ(pf_link_set_history(k.link, 5, NULL), PF_OK);
	update(&k, 0);
	CHECK_EQ(rows_of(k.link, rows, 8), 4);
	CHECK_EQ(rows_of(k.link, rows, 2), 2); /* the newest */
	CHECK(rows[0].prog == k.progs[5] && rows[1].prog == k.progs[0]);
	CHECK_EQ(pf_link_set_history(k.link, 2, NULL), PF_OK);
	CHECK_EQ(look(k.link).history, 2);
	CHECK_EQ(k.progs[4]->ref.count, 1);
	back(&k, 0, 5, 6);
	CHECK_EQ(pf_link_set_history(k.link, 1, NULL), PF_OK);
	nothing_before(&k);
	kit_destroy(&k);
}

/* K1, K2: one row a commit, of the last edit that was not idle; a refused commit leaves no trace and says where. */
static void test_commit_rows(void)
{
	struct kit k = kit_create(4);
	struct pf_prog *memory = memory_prog(), *restored = NULL;
	struct pf_link *fresh = NULL;
	struct pf_generation rows[4];
	CHECK_EQ(pf_link_create(k.dp, 1, 0, 0, 4, &fresh, NULL), PF_OK);
	CHECK_EQ(look(fresh).state, PF_LINK_INITIAL);
	CHECK_EQ(pf_link_update(fresh, k.progs[1], NULL, NULL, NULL), PF_ENOLINK);
	struct pf_edit refused[] = {
		{ .kind = PF_EDIT_ATTACH, .link = fresh, .prog = k.progs[1] },
		{ .kind = PF_EDIT_UPDATE, .link = k.link, .prog = k.progs[2] },
		{ .kind = PF_EDIT_UPDATE, .link = fresh, .prog = memory },
	};
	CHECK_EQ(pf_datapath_commit(k.dp, refused, 3, NULL), PF_EINVAL);
	CHECK(!refused[0].refused && !refused[1].refused && refused[2].refused);
	CHECK_EQ(look(fresh).id, 0);
	CHECK_EQ(look(fresh).state, PF_LINK_INITIAL);
	CHECK_EQ(rows_of(fresh, rows, 4), 0);
	CHECK_EQ(rows_of(k.link, rows, 4), 1);
	struct pf_edit good[] = {
		{ .kind = PF_EDIT_ATTACH, .link = fresh, .prog = k.progs[1], .detail = "new" },
		{ .kind = PF_EDIT_UPDATE, .link = k.link, .prog = k.progs[2] },
		{ .kind = PF_EDIT_UPDATE, .link = k.link, .prog = k.progs[3], .cause = PF_CAUSE_WATCH },
		{ .kind = PF_EDIT_UPDATE, .link = k.link, .prog = k.progs[3], .cause = PF_CAUSE_GUARD },
	};
	CHECK_EQ(pf_datapath_commit(k.dp, good, 4, NULL), PF_OK);
	CHECK_EQ(look(fresh).id, 2);
	CHECK_EQ(look(fresh).state, PF_LINK_ATTACHED);
	CHECK_EQ(rows_of(fresh, rows, 4), 1);
	CHECK_EQ(rows[0].cause, PF_CAUSE_ATTACH);
	CHECK(!strcmp(rows[0].detail, "new"));
	CHECK_EQ(rows_of(k.link, rows, 4), 2);
	CHECK_EQ(rows[1].cause, PF_CAUSE_WATCH);
	CHECK(rows[1].prog == k.progs[3]);
	/* Two steps back in one commit: the second goes back from what the first restores. */
	update(&k, 4);
	struct pf_edit steps[] = {
		{ .kind = PF_EDIT_ROLLBACK, .link = k.link },
		{ .kind = PF_EDIT_ROLLBACK, .link = k.link, .restored = &restored },
	};
	CHECK_EQ(pf_datapath_commit(k.dp, steps, 2, NULL), PF_OK);
	CHECK(restored == k.progs[0]);
	pf_prog_put(restored);
	CHECK_EQ(last_row(k.link).restores, 1);
	CHECK_EQ(look(k.link).generation, 4);
	pf_link_put(fresh);
	pf_prog_put(memory);
	kit_destroy(&k);
}

static void test_misuse(void)
{
	struct kit k = kit_create(2), other = kit_create(2);
	struct pf_diag diag;
	struct pf_edit foreign[] = { { .kind = PF_EDIT_UPDATE, .link = k.link, .prog = k.progs[1] },
				     { .kind = PF_EDIT_DETACH, .link = other.link } };
	CHECK_EQ(pf_datapath_commit(k.dp, foreign, 2, &diag), PF_EINVAL);
	CHECK_EQ(diag.code, PF_DIAG_HOOK_FOREIGN);
	CHECK_EQ(look(k.link).generation, 1);
	struct pf_edit again = { .kind = PF_EDIT_ATTACH, .link = k.link, .prog = k.progs[1] };
	CHECK_EQ(pf_datapath_commit(k.dp, &again, 1, &diag), PF_EINVAL);
	CHECK_EQ(diag.code, PF_DIAG_HOOK_REATTACH);
	CHECK_EQ(pf_link_detach(k.link, NULL, NULL), PF_OK);
	CHECK_EQ(pf_datapath_commit(k.dp, &again, 1, &diag), PF_EINVAL); /* for good */
	CHECK_EQ(look(k.link).state, PF_LINK_DETACHED);
	struct pf_link *link = NULL;
	CHECK_EQ(pf_link_create(k.dp, 0, 0, 0, 0, &link, &diag), PF_EINVAL);
	CHECK(!link);
	CHECK(!strcmp(pf_cause_text(PF_CAUSE_ROLLBACK), "rollback"));
	CHECK(!strcmp(pf_cause_text(PF_CAUSE_OF_KIND), "") && !strcmp(pf_cause_text(PF_CAUSES), ""));
	kit_destroy(&k);
	kit_destroy(&other);
}

/* States follow the grace period; grace times are noted by the first wait for exactly that change. */
static void test_states_and_grace(void)
{
	struct kit k = kit_create(8);
	struct pf_rcu_worker *worker = pf_rcu_register(pf_datapath_rcu(k.dp), "slow");
	struct pf_change first, second;
	uint64_t grace = 0, again = 0;
	pf_rcu_online(worker);
	struct pf_link *late = attached(k.dp, 1, k.progs[1], 0, 0);
	CHECK_EQ(look(late).state, PF_LINK_ATTACHING);
	CHECK_EQ(look(k.link).state, PF_LINK_ATTACHED);
	CHECK_EQ(pf_link_update(k.link, k.progs[1], NULL, &first, NULL), PF_OK);
	CHECK_EQ(look(k.link).state, PF_LINK_ATTACHED); /* an update keeps it attached */
	CHECK_EQ(pf_link_wait(k.link, &first, 1000000, NULL, &grace, NULL), PF_ETIMEDOUT);
	pf_rcu_offline(worker);
	CHECK_EQ(look(late).state, PF_LINK_ATTACHED);
	CHECK_EQ(last_row(k.link).grace_ns, 0);
	CHECK_EQ(pf_link_wait(k.link, &first, UINT64_MAX, NULL, &grace, NULL), PF_OK);
	CHECK(grace >= 1000000); /* the wait that timed out is part of it */
	CHECK_EQ(last_row(k.link).grace_ns, grace);
	CHECK_EQ(pf_link_wait(k.link, &first, UINT64_MAX, NULL, &again, NULL), PF_OK);
	CHECK_EQ(again, grace); /* the first wait's */
	pf_rcu_online(worker);
	CHECK_EQ(pf_link_detach(k.link, &second, NULL), PF_OK);
	CHECK_EQ(look(k.link).state, PF_LINK_DETACHING);
	CHECK(look(k.link).detached);
	pf_rcu_offline(worker);
	CHECK_EQ(look(k.link).state, PF_LINK_DETACHED);
	CHECK_EQ(pf_link_wait(k.link, &second, UINT64_MAX, NULL, &grace, NULL), PF_OK);
	struct pf_generation row = last_row(k.link);
	CHECK(!row.prog && row.cause == PF_CAUSE_DETACH);
	CHECK_EQ(row.grace_ns, grace);
	CHECK(grace > 0);
	pf_prog_put(first.old);
	pf_prog_put(second.old);
	pf_rcu_unregister(worker);
	pf_link_put(late);
	kit_destroy(&k);
}

#define THREADS 4
#define ROUNDS 4000

struct racer {
	struct kit *kit;
	pthread_t thread;
	uint64_t won, lost;
	int rolls;
};

/* Compare-and-swap by generation: whoever wins moves it by exactly one. */
static void *race(void *user)
{
	struct racer *r = user;
	struct kit *k = r->kit;
	struct pf_generation rows[4];
	for (int i = 0; i < ROUNDS; i++) {
		struct pf_expect expect = { .generation = look(k->link).generation };
		struct pf_change change;
		enum pf_err err =
			r->rolls ? pf_link_rollback(k->link, 0, &expect, &change, NULL)
				 : pf_link_update(k->link, k->progs[(expect.generation + 1) % MANY], &expect, &change, NULL);
		if (err == PF_ESTALE || (err == PF_ENOENT && r->rolls)) {
			r->lost++;
			continue;
		}
		CHECK_EQ(err, PF_OK);
		pf_prog_put(change.old);
		CHECK(change.generation == expect.generation + (change.token != 0));
		r->won += change.token != 0;
		uint32_t count = rows_of(k->link, rows, 4);
		for (uint32_t n = 1; n < count; n++)
			CHECK_EQ(rows[n].generation, rows[n - 1].generation + 1);
		if (i % 64 == 0)
			CHECK_EQ(pf_link_set_history(k->link, 3 + (uint32_t)i / 64 % 6, NULL), PF_OK);
	}
	return NULL;
}

static void test_race(void)
{
	struct kit k = kit_create(8);
	struct racer racers[THREADS];
	uint64_t won = 0;
	for (int i = 0; i < THREADS; i++) {
		racers[i] = (struct racer){ .kit = &k, .rolls = i == 0 };
		CHECK_EQ(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		CHECK_EQ(pthread_join(racers[i].thread, NULL), 0);
		won += racers[i].won;
	}
	CHECK(won > 0);
	CHECK_EQ(look(k.link).generation, 1 + won);
	CHECK_EQ(info_of(k.dp).generation, 1 + won);
	kit_destroy(&k);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

/* Figures only: exchange and advance, and a whole update. */
static void test_times(void)
{
	enum { N = 100000 };
	struct kit k = kit_create(8);
	uint64_t *publish = malloc(N * sizeof(*publish)), *whole = malloc(N * sizeof(*whole));
	CHECK(publish && whole);
	for (int i = 0; i < N; i++) {
		struct pf_change change;
		uint64_t start = pf_clock_ns();
		CHECK_EQ(pf_link_update(k.link, k.progs[1 + i % 2], NULL, &change, NULL), PF_OK);
		whole[i] = pf_clock_ns() - start;
		publish[i] = change.publish_ns;
		pf_prog_put(change.old);
	}
	qsort(publish, N, sizeof(*publish), by_value);
	qsort(whole, N, sizeof(*whole), by_value);
	printf("  publish: p50 %" PRIu64 " p99 %" PRIu64 " max %" PRIu64 " ns; update: p50 %" PRIu64 " p99 %" PRIu64
	       " max %" PRIu64 " ns\n",
	       publish[N / 2], publish[N / 100 * 99], publish[N - 1], whole[N / 2], whole[N / 100 * 99], whole[N - 1]);
	free(publish);
	free(whole);
	kit_destroy(&k);
}

/* The grace period of a change is over when the datapath is, and who holds the link may find that out. */
static void test_wait_after_the_end_of_the_datapath(void)
{
	struct pf_datapath *dp = datapath_of(1);
	struct pf_prog *a = returning(1), *b = returning(2);
	struct pf_link *link = attached(dp, 0, a, 0, 0);
	struct pf_change change;
	uint64_t grace = 0;
	CHECK_EQ(pf_link_update(link, b, NULL, &change, NULL), PF_OK);
	pf_prog_put(change.old);
	pf_datapath_put(dp);
	CHECK_EQ(pf_link_wait(link, &change, 0, NULL, &grace, NULL), PF_OK);
	CHECK(grace);
	pf_link_put(link);
	pf_prog_put(a);
	pf_prog_put(b);
}

int main(void)
{
	test_rollback();
	test_rules();
	test_bound();
	test_commit_rows();
	test_misuse();
	test_states_and_grace();
	test_race();
	test_times();
	test_wait_after_the_end_of_the_datapath();
	return 0;
}
