/* test_map_lpm.c - LPM tries: all prefixes of 8 bits and long keys, against brute force. */
#include "map_util.h"

struct lpm_key { uint32_t prefix; uint8_t data[32]; };

static int covers(const struct lpm_key *p, const struct lpm_key *k)
{
	if (p->prefix > k->prefix)
		return 0;
	for (uint32_t bit = 0; bit < p->prefix; bit++)
		if ((p->data[bit / 8] ^ k->data[bit / 8]) >> (7 - bit % 8) & 1)
			return 0;
	return 1;
}

/* Children before parents, bit 0 before bit 1. */
static uint32_t postorder(const uint8_t present[9][256], uint32_t prefix, uint32_t data, struct lpm_key *out, uint32_t n)
{
	if (prefix < 8) {
		n = postorder(present, prefix + 1, data, out, n);
		n = postorder(present, prefix + 1, data | 0x80u >> prefix, out, n);
	}
	if (present[prefix][data])
		out[n++] = (struct lpm_key){prefix, {(uint8_t)data}};
	return n;
}

static void check_lpm_8(struct pf_map *map, const uint8_t present[9][256])
{
	struct lpm_key order[512], next;
	uint32_t n = postorder(present, 0, 0, order, 0);
	const void *at = NULL;

	CHECK_EQ(pf_map_count(map), n);
	for (uint32_t i = 0; i < n; i++) {
		CHECK_EQ(pf_map_user_next_key(map, at, &next), PF_OK);
		CHECK(next.prefix == order[i].prefix && next.data[0] == order[i].data[0]);
		at = &order[i];
	}
	CHECK_EQ(pf_map_user_next_key(map, at, &next), PF_ENOENT);
	for (uint32_t length = 0; length <= 8; length++)
		for (uint32_t data = 0; data < 256; data++) {
			struct lpm_key key = {length, {(uint8_t)data}};
			uint8_t *v = pf_map_lookup(map, &key, 0);
			int best = (int)length;
			while (best >= 0 && !present[best][data & (0xff00u >> best) & 255])
				best--;
			CHECK_EQ(v != NULL, best >= 0);
			if (v) {
				CHECK(v[0] == best && v[1] == (data & (0xff00u >> best) & 255));
				CHECK(pf_map_contains(map, v, 2) && !pf_map_contains(map, v - 1, 1));
			}
		}
}

static void test_lpm_exhaustive(void)
{
	struct pf_map *map = make(PF_MAP_LPM_TRIE, 5, 2, 511, 1, 1);
	uint8_t present[9][256] = {{0}};

	for (int round = 0; round < 3; round++) { /* fill up, empty at random, fill again: checked as it goes */
		for (int op = 0; op < 3000; op++) {
			uint32_t length = (uint32_t)rnd(9), data = (uint32_t)rnd(256) & (0xff00u >> length) & 255;
			struct lpm_key key = {length, {(uint8_t)data}};
			uint8_t value[2] = {(uint8_t)length, (uint8_t)data};
			if (rnd(10) < (round == 1 ? 2u : 8u)) {
				uint64_t flags = rnd(3);
				enum pf_err want = present[length][data] && flags == NOEXIST ? PF_EEXIST
						   : !present[length][data] && flags == EXIST ? PF_ENOENT : PF_OK;
				CHECK_EQ(pf_map_user_update(map, &key, value, flags), want);
				present[length][data] |= !want;
			} else {
				CHECK_EQ(pf_map_user_delete(map, &key), present[length][data] ? PF_OK : PF_ENOENT);
				present[length][data] = 0;
			}
			if (op % 50 == 0)
				check_lpm_8(map, present);
		}
	}
	for (uint32_t length = 0; length <= 8; length++) /* all 511 prefixes fit, no 512th key exists */
		for (uint32_t data = 0; data < 256; data++) {
			uint8_t value[2] = {(uint8_t)length, (uint8_t)data};
			struct lpm_key key = {length, {(uint8_t)data}};
			if (data & ~(0xff00u >> length) & 255)
				continue;
			CHECK_EQ(pf_map_update(map, &key, value, ANY, 0), PF_OK);
			present[length][data] = 1;
		}
	CHECK_EQ(pf_map_count(map), 511);
	check_lpm_8(map, present);
	struct lpm_key bad = {9, {0}};
	CHECK(!pf_map_lookup(map, &bad, 0));
	CHECK_EQ(pf_map_user_update(map, &bad, "xy", ANY), PF_EINVAL);
	CHECK_EQ(pf_map_user_delete(map, &bad), PF_EINVAL);
	pf_map_put(map);

	/* Host bits: ignored for matching, shown as last given. */
	map = make(PF_MAP_LPM_TRIE, 5, 2, 3, 1, 1);
	struct lpm_key a = {4, {0xff}}, b = {4, {0xf0}}, next;
	CHECK_EQ(pf_map_user_update(map, &a, "zz", ANY), PF_OK);
	CHECK_EQ(pf_map_user_update(map, &b, "yy", ANY), PF_OK);
	CHECK_EQ(pf_map_user_next_key(map, NULL, &next), PF_OK);
	CHECK(next.data[0] == 0xf0 && pf_map_count(map) == 1 && !memcmp(pf_map_lookup(map, &a, 0), "yy", 2));
	CHECK_EQ(pf_map_user_delete(map, &a), PF_OK);
	CHECK_EQ(pf_map_count(map), 0);
	pf_map_put(map);
}

/* Long keys (17 bytes of data, so that a prefix spans words) against brute force. */
static void test_lpm_long(void)
{
	enum { KEYS = 60 };
	struct pf_map *map = make(PF_MAP_LPM_TRIE, 4 + 17, 8, 40, 1, 1);
	struct lpm_key keys[KEYS];
	int present[KEYS] = {0};
	uint64_t value[KEYS] = {0}, count = 0;

	for (int i = 0; i < KEYS; i++) {
		int again;
		do {
			memset(&keys[i], 0xa5, sizeof(keys[i]));
			keys[i].prefix = (uint32_t)rnd(137);
			keys[i].data[rnd(17)] ^= (uint8_t)(1u << rnd(8));
			again = 0;
			for (int j = 0; j < i; j++)
				again |= keys[i].prefix == keys[j].prefix && covers(&keys[i], &keys[j]);
		} while (again);
	}
	for (int op = 0; op < 100000; op++) {
		int i = (int)rnd(KEYS), best = -1;
		uint64_t fresh = rnd(UINT64_MAX);
		if (rnd(2)) {
			enum pf_err want = !present[i] && count == 40 ? PF_ENOSPC : PF_OK;
			CHECK_EQ(pf_map_update(map, &keys[i], &fresh, ANY, 0), want);
			if (!want) {
				count += !present[i];
				present[i] = 1;
				value[i] = fresh;
			}
		} else {
			CHECK_EQ(pf_map_delete(map, &keys[i]), present[i] ? PF_OK : PF_ENOENT);
			count -= (uint64_t)present[i];
			present[i] = 0;
		}
		CHECK_EQ(pf_map_count(map), count);
		struct lpm_key *probe = &keys[rnd(KEYS)];
		for (int j = 0; j < KEYS; j++)
			if (present[j] && covers(&keys[j], probe) && (best < 0 || keys[j].prefix > keys[best].prefix))
				best = j;
		uint8_t *v = pf_map_lookup(map, probe, 0);
		CHECK_EQ(v != NULL, best >= 0);
		CHECK(!v || !memcmp(v, &value[best], 8));
	}
	pf_map_put(map);
}

int main(void)
{
	test_lpm_exhaustive();
	test_lpm_long();
	return 0;
}
