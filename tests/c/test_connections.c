/* test_connections.c - connections.h: random histories against a plain list of entries, over the point where 32-bit jiffies
 * wrap; a table that threads share. What the answers mean is compared with Linux in tests/test_conntrack.py. */
#include "check.h"

#include "helper/connections.h"

#include <pthread.h>
#include <string.h>

#define MAX 24u
#define STEPS 60000u
#define PORTS 7u

struct kept {
	struct pf_conn *conn;
	uint32_t from, to, until, holders;
	int listed;
};

static uint32_t next(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*seed >> 33);
}

static struct pf_ct_tuple tuple(uint32_t from, uint32_t to, uint8_t way)
{
	struct pf_ct_tuple t = { .family = 2, .protocol = 6, .dir = way };
	t.from_port[1] = (uint8_t)(way ? to : from);
	t.to_port[1] = (uint8_t)(way ? from : to);
	return t;
}

static struct pf_conn_row row(uint32_t from, uint32_t to, uint32_t timeout)
{
	return (struct pf_conn_row){ .way = { tuple(from, to, 0), tuple(from, to, 1) }, .zone = { 0, 3 }, .netns = PF_CT_HERE,
				     .timeout = timeout };
}

static int alive(const struct kept *k, uint32_t now)
{
	return k->listed && (int32_t)(k->until - now) > 0;
}

static struct kept *look(struct kept *all, uint32_t now, uint32_t from, uint32_t to)
{
	for (uint32_t i = 0; i < MAX; i++)
		if (alive(&all[i], now) &&
		    ((all[i].from == from && all[i].to == to) || (all[i].from == to && all[i].to == from)))
			return &all[i];
	return NULL;
}

/* What has expired and is held by nobody is not there. */
static struct kept *unused(struct kept *all, uint32_t now)
{
	struct kept *found = NULL;
	for (uint32_t i = 0; i < MAX; i++)
		if (!all[i].holders && !alive(&all[i], now))
			found = &all[i];
	return found;
}

static void enter(struct pf_connections *t, struct kept *all, uint32_t now, uint64_t *seed)
{
	const uint32_t from = next(seed) % PORTS, to = next(seed) % PORTS, timeout = 1 + next(seed) % 400;
	const struct pf_conn_row asked = row(from, to, timeout);
	struct kept *place = unused(all, now);
	struct pf_conn *conn = pf_connections_new(t, now, &asked);
	CHECK((conn != NULL) == (place != NULL));
	if (!conn)
		return;
	CHECK(pf_connections_at(t, (uint64_t)(uintptr_t)conn + 8) == conn);
	const int there = look(all, now, from, to) != NULL;
	CHECK_EQ(pf_connections_insert(t, now, conn), there ? PF_EEXIST : PF_OK);
	if (!there)
		*place = (struct kept){ conn, from, to, now + timeout, 1, 1 };
}

static void ask(struct pf_connections *t, struct kept *all, uint32_t now, uint64_t *seed)
{
	const uint32_t from = next(seed) % PORTS, to = next(seed) % PORTS;
	const struct pf_ct_tuple asked = tuple(from, to, 0);
	struct kept *want = look(all, now, from, to);
	uint8_t way = 9;
	struct pf_conn *got = pf_connections_find(t, now, PF_CT_HERE, (struct pf_conn_zone){ 0, 3 }, &asked, &way);
	CHECK(got == (want ? want->conn : NULL));
	if (!want)
		return;
	CHECK(want->from == want->to || way == (want->from != from));
	if (want->holders < 3)
		want->holders++;
	else
		pf_connections_put(t, got);
}

static void change(struct pf_connections *t, struct kept *k, uint32_t now, uint64_t *seed)
{
	if (!k->holders)
		return;
	if (next(seed) % 3) {
		pf_connections_put(t, k->conn);
		k->holders--;
		return;
	}
	const uint32_t timeout = next(seed) % 300;
	/* One that was found expired is not listed any more, so a later time does not bring it back. */
	if (!alive(k, now))
		return;
	pf_connections_set_timeout(t, now, k->conn, timeout);
	k->until = now + timeout;
}

static void test_against_a_list(void)
{
	struct kept all[MAX] = { 0 };
	struct pf_connections *t;
	uint64_t seed = 5;
	uint32_t now = UINT32_MAX - 40000, most = 0;
	CHECK_EQ(pf_connections_create(NULL, 0, MAX, &t), PF_OK);
	for (uint32_t step = 0; step < STEPS; step++) {
		const uint32_t what = next(&seed) % 8;
		now += next(&seed) % 4;
		if (what < 3)
			enter(t, all, now, &seed);
		else if (what < 5)
			ask(t, all, now, &seed);
		else
			change(t, &all[next(&seed) % MAX], now, &seed);
		uint32_t count = 0;
		for (uint32_t i = 0; i < MAX; i++)
			count += (uint32_t)alive(&all[i], now);
		most = count > most ? count : most;
		CHECK_EQ(pf_connections_list(t, now, NULL, 0), count);
	}
	CHECK(now < UINT32_MAX - 40000);
	CHECK(most > MAX / 2);
	pf_connections_destroy(t);
}

static void test_bounds(void)
{
	const struct pf_conn_row rows[] = { row(1, 2, 10), row(2, 1, 10), row(3, 4, 0) };
	struct pf_connections *t;
	CHECK_EQ(pf_connections_create(rows, 1, 0, &t), PF_EINVAL);
	CHECK_EQ(pf_connections_create(rows, 2, 1, &t), PF_EINVAL);
	CHECK_EQ(pf_connections_create(rows, 1, PF_CONNECTIONS_MAX + 1, &t), PF_EINVAL);
	CHECK_EQ(pf_connections_create(rows, 2, 2, &t), PF_EEXIST);
	CHECK_EQ(pf_connections_create(rows + 2, 1, 1, &t), PF_EINVAL);
	CHECK_EQ(pf_connections_create(rows, 1, 1, &t), PF_OK);
	struct pf_conn_row listed;
	CHECK_EQ(pf_connections_list(t, 7, &listed, 1), 1);
	CHECK_EQ(listed.timeout, 10);
	CHECK(!pf_connections_new(t, 100, &rows[2])); /* full, and begins to age */
	CHECK_EQ(pf_connections_list(t, 109, &listed, 1), 1);
	CHECK_EQ(listed.timeout, 1);
	CHECK(pf_connections_new(t, 110, &rows[0]) != NULL);
	CHECK(!pf_connections_at(t, 8));
	pf_connections_destroy(t);
}

static void *hammer(void *user)
{
	struct pf_connections *t = user;
	uint64_t seed = (uint64_t)(uintptr_t)&t;
	for (uint32_t i = 0; i < 20000; i++) {
		const struct pf_conn_row one = row(next(&seed) % PORTS, next(&seed) % PORTS, 1 + next(&seed) % 9);
		uint8_t way;
		struct pf_conn *conn = pf_connections_find(t, i, PF_CT_HERE, one.zone, &one.way[0], &way);
		if (conn)
			pf_connections_set_timeout(t, i, conn, 20);
		else if ((conn = pf_connections_new(t, i, &one)) && pf_connections_insert(t, i, conn))
			continue;
		if (conn)
			pf_connections_put(t, conn);
	}
	return NULL;
}

static void test_threads(void)
{
	struct pf_connections *t;
	pthread_t threads[3];
	CHECK_EQ(pf_connections_create(NULL, 0, 8, &t), PF_OK);
	for (uint32_t i = 0; i < 3; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, hammer, t), 0);
	for (uint32_t i = 0; i < 3; i++)
		CHECK_EQ(pthread_join(threads[i], NULL), 0);
	/* Nobody holds one, so all places come free. */
	const struct pf_conn_row one = row(1, 2, 1);
	for (uint32_t i = 0; i < 8; i++)
		CHECK(pf_connections_new(t, 1000000, &one) != NULL);
	CHECK(!pf_connections_new(t, 1000000, &one));
	pf_connections_destroy(t);
}

int main(void)
{
	test_bounds();
	test_against_a_list();
	test_threads();
	return 0;
}
