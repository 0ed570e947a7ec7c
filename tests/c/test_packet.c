/* test_packet.c - packet geometry: the same operations give the same results in the chunk and in the frame (K3), K1 and
 * K2 hold after each, and the limits measured on Linux 6.18. */
#include "packet/packet.h"

#include <string.h>

#include "check.h"

static uint64_t state = 88172645463325252u;

static uint32_t random_below(uint32_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 11) % n;
}

static void fill(uint8_t *data, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		data[i] = (uint8_t)(i * 7 + 1) | 1;
}

struct pair {
	struct pf_packet chunk, frame;
	struct pf_frame frames[2];
	uint8_t *memory; /* exactly the packet's bytes, so that ASan sees any access outside (K3) */
};

static void setup(struct pair *p, uint32_t len, uint32_t limit)
{
	memset(p, 0, sizeof(*p));
	CHECK_EQ(pf_frame_init(&p->frames[0]), PF_OK);
	CHECK_EQ(pf_frame_init(&p->frames[1]), PF_OK);
	p->chunk.frame = &p->frames[0];
	p->frame.frame = &p->frames[1];
	p->memory = malloc(len);
	CHECK(p->memory != NULL);
	fill(p->memory, len);
	CHECK_EQ(pf_packet_load(&p->frame, p->memory, len, NULL, 0, limit), PF_OK);
	pf_packet_init(&p->chunk, p->memory, len, limit);
}

static void teardown(struct pair *p)
{
	pf_frame_destroy(&p->frames[0]);
	pf_frame_destroy(&p->frames[1]);
	free(p->memory);
}

static void check_geometry(const struct pf_packet *p)
{
	CHECK(p->hard_start <= p->data_meta && p->data_meta <= p->data);
	CHECK(p->data <= p->data_end && p->data_end <= p->hard_end);
	CHECK(p->data_meta >= p->origin - PF_PACKET_HEADROOM || !p->framed);
	CHECK_EQ(p->data_end - p->data + p->extra_len, pf_packet_length(p));
}

static void check_same(const struct pair *p)
{
	const struct pf_packet *a = &p->chunk, *b = &p->frame;
	CHECK_EQ(a->data - a->data_meta, b->data - b->data_meta);
	CHECK_EQ(a->data_end - a->data, b->data_end - b->data);
	CHECK_EQ(a->extra_len, b->extra_len);
	CHECK_EQ(memcmp(a->data_meta, b->data_meta, (size_t)(a->data_end - a->data_meta)), 0);
	CHECK_EQ(memcmp(a->extra, b->extra, a->extra_len), 0);
	check_geometry(a);
	check_geometry(b);
}

static int64_t apply(struct pf_packet *p, uint32_t what, int32_t by)
{
	uint8_t bytes[64] = { 0 };
	switch (what) {
	case 0:
		return pf_packet_adjust_head(p, by);
	case 1:
		return pf_packet_adjust_meta(p, by);
	case 2:
		return pf_packet_adjust_tail(p, by);
	}
	memset(bytes, 0xa0 + (by & 15), sizeof(bytes));
	return pf_packet_store_bytes(p, (uint32_t)by & 0x1fff, bytes, 1 + ((uint32_t)by & 63));
}

/* Random walks: what a program sees must not depend on where the packet lies. */
static void test_walks(void)
{
	static const uint32_t lengths[] = { 14, 15, 60, 64, 1500, 3500, 3520, 3521, 5000, 7616, 9000, 65000 };
	for (int round = 0; round < 4000; round++) {
		const uint32_t len = lengths[random_below(sizeof(lengths) / sizeof(lengths[0]))];
		struct pair p;
		setup(&p, len, random_below(4) ? PF_PACKET_LINEAR : UINT32_MAX);
		for (int step = 0; step < 8; step++) {
			static const int32_t spans[] = { 8, 60, 300, 4000, 70000 };
			const int32_t span = spans[random_below(5)];
			const uint32_t what = random_below(4);
			int32_t by = (int32_t)random_below((uint32_t)span * 2) - span;
			if (what == 1 && random_below(4))
				by &= ~3;
			const uint32_t before = pf_packet_length(&p.chunk);
			const int64_t result = apply(&p.chunk, what, by);
			CHECK_EQ(apply(&p.frame, what, by), result);
			check_same(&p);
			if (result)
				CHECK_EQ(pf_packet_length(&p.chunk), before);
			else if (what == 0 || what == 2)
				CHECK(pf_packet_length(&p.chunk) >= PF_PACKET_MIN);
		}
		teardown(&p);
	}
}

static void test_head(void)
{
	struct pair p;
	setup(&p, 64, PF_PACKET_LINEAR);
	CHECK_EQ(pf_packet_adjust_head(&p.chunk, -217), -PF_EINVAL);
	CHECK_EQ(p.chunk.framed, 0);
	CHECK_EQ(pf_packet_adjust_head(&p.chunk, 51), -PF_EINVAL);
	CHECK_EQ(pf_packet_adjust_head(&p.chunk, 50), 0);
	CHECK_EQ(pf_packet_length(&p.chunk), 14);
	CHECK_EQ(pf_packet_adjust_head(&p.chunk, -50), 0);
	CHECK_EQ(p.chunk.data[0], 1); /* bytes come back */
	CHECK_EQ(p.chunk.framed, 0);
	CHECK_EQ(pf_packet_adjust_head(&p.chunk, -216), 0);
	CHECK_EQ(p.chunk.framed, 1);
	for (int i = 0; i < 216; i++)
		CHECK_EQ(p.chunk.data[i], 0);
	CHECK_EQ(pf_packet_adjust_head(&p.chunk, -1), -PF_EINVAL);
	CHECK_EQ(pf_packet_adjust_head(&p.chunk, INT32_MIN), -PF_EINVAL);
	CHECK_EQ(pf_packet_adjust_head(&p.chunk, INT32_MAX), -PF_EINVAL);
	teardown(&p);
}

static void test_meta(void)
{
	struct pair p;
	setup(&p, 400, PF_PACKET_LINEAR);
	CHECK_EQ(pf_packet_adjust_meta(&p.chunk, 4), -PF_EINVAL);
	CHECK_EQ(pf_packet_adjust_meta(&p.chunk, -6), -PF_EACCES);
	CHECK_EQ(pf_packet_adjust_meta(&p.chunk, -220), -PF_EINVAL);
	CHECK_EQ(pf_packet_adjust_meta(&p.chunk, -32), 0);
	memset(p.chunk.data_meta, 0x77, 32);
	CHECK_EQ(pf_packet_adjust_head(&p.chunk, -185), -PF_EINVAL); /* 32 of 216 are taken */
	CHECK_EQ(pf_packet_adjust_head(&p.chunk, -184), 0);
	CHECK_EQ(p.chunk.data_meta[0], 0x77); /* metadata moves with the head */
	CHECK_EQ(p.chunk.data_meta[31], 0x77);
	CHECK_EQ(pf_packet_adjust_head(&p.chunk, 184 + 100), 0);
	CHECK_EQ(pf_packet_adjust_meta(&p.chunk, -224), -PF_EACCES); /* 256 bytes: more than 252 */
	CHECK_EQ(pf_packet_adjust_meta(&p.chunk, -220), 0);
	teardown(&p);
}

static void test_tail(void)
{
	struct pair p;
	setup(&p, 64, PF_PACKET_LINEAR);
	CHECK_EQ(pf_packet_adjust_tail(&p.chunk, 3457), -PF_EINVAL);
	CHECK_EQ(pf_packet_adjust_tail(&p.chunk, -51), -PF_EINVAL);
	CHECK_EQ(pf_packet_adjust_tail(&p.chunk, -4), 0);
	CHECK_EQ(pf_packet_adjust_tail(&p.chunk, 4), 0);
	CHECK_EQ(p.chunk.data[63], 0); /* zero, though the packet had a byte there */
	CHECK_EQ(p.chunk.framed, 0);
	CHECK_EQ(pf_packet_adjust_tail(&p.chunk, 3456), 0);
	CHECK_EQ(pf_packet_length(&p.chunk), 3520);
	teardown(&p);
	setup(&p, 5000, PF_PACKET_LINEAR);
	CHECK_EQ(pf_packet_adjust_tail(&p.chunk, 2617), -PF_EINVAL);
	CHECK_EQ(pf_packet_adjust_tail(&p.chunk, 2616), 0);
	CHECK_EQ(pf_packet_length(&p.chunk), 7616);
	CHECK_EQ(pf_packet_adjust_tail(&p.chunk, -7602), 0);
	CHECK_EQ(p.chunk.extra_len, 0);
	CHECK_EQ(pf_packet_length(&p.chunk), 14);
	CHECK_EQ(pf_packet_adjust_tail(&p.chunk, INT32_MIN), -PF_EINVAL);
	CHECK_EQ(pf_packet_adjust_tail(&p.chunk, INT32_MAX), -PF_EINVAL);
	teardown(&p);
}

static void test_bytes(void)
{
	uint8_t got[64];
	struct pair p;
	setup(&p, 4000, PF_PACKET_LINEAR);
	CHECK_EQ(pf_packet_load_bytes(&p.chunk, 0x10000, got, 1), -PF_EFAULT);
	CHECK_EQ(pf_packet_load_bytes(&p.chunk, 3999, got, 2), -PF_EINVAL);
	CHECK_EQ(pf_packet_load_bytes(&p.chunk, 3500, got, 40), 0); /* across the end of the linear part */
	for (uint32_t i = 0; i < 40; i++)
		CHECK_EQ(got[i], (uint8_t)((3500 + i) * 7 + 1) | 1);
	memset(got, 0, sizeof(got));
	CHECK_EQ(pf_packet_store_bytes(&p.chunk, 3510, got, 20), 0);
	CHECK_EQ(pf_packet_load_bytes(&p.chunk, 3509, got, 22), 0);
	CHECK(got[0] && got[21] && !got[1] && !got[20]);
	teardown(&p);
}

static void test_small(void)
{
	struct pair p;
	setup(&p, 5, PF_PACKET_LINEAR); /* a runt may run, but its edges stay */
	CHECK_EQ(pf_packet_adjust_head(&p.chunk, 0), -PF_EINVAL);
	CHECK_EQ(pf_packet_adjust_tail(&p.chunk, 0), -PF_EINVAL);
	CHECK_EQ(pf_packet_adjust_tail(&p.chunk, 9), 0);
	CHECK_EQ(pf_packet_length(&p.chunk), 14);
	CHECK_EQ(pf_packet_load(&p.frame, p.memory, 5, p.memory, 3, PF_PACKET_LINEAR), PF_EINVAL);
	CHECK_EQ(pf_packet_load(&p.frame, p.memory, 5, p.memory, 220, PF_PACKET_LINEAR), PF_EINVAL);
	CHECK_EQ(pf_packet_load(&p.frame, p.memory, 5, p.memory, 4, PF_PACKET_LINEAR), PF_OK);
	CHECK_EQ(memcmp(p.frame.data_meta, p.memory, 4), 0);
	teardown(&p);
}

/* A copy behaves as its original from there on, at both ends, and shows the same bytes; one changed byte is found where it
 * is, whichever part it lies in. */
static void test_copy(void)
{
	static const uint32_t limits[] = { PF_PACKET_LINEAR, 600, UINT32_MAX };
	for (uint32_t round = 0; round < 3000; round++) {
		struct pair p;
		const uint32_t len = 14 + random_below(round % 3 ? 200 : 9000);
		setup(&p, len, limits[random_below(3)]);
		struct pf_packet *from = &p.chunk, *to = &p.frame;
		from->ingress_ifindex = 5;
		from->rx_queue_index = 6;
		from->egress_ifindex = 7;
		for (uint32_t i = 0; i < round % 6; i++) {
			(void)pf_packet_adjust_head(from, (int32_t)random_below(120) - 60);
			(void)pf_packet_adjust_meta(from, -4 * (int32_t)random_below(4));
			(void)pf_packet_adjust_tail(from, (int32_t)random_below(80) - 40);
		}
		CHECK_EQ(pf_packet_copy(to, from), PF_OK);
		CHECK_EQ(to->ingress_ifindex, 5);
		CHECK_EQ(to->rx_queue_index, 6);
		CHECK_EQ(to->egress_ifindex, 7);
		for (uint32_t i = 0; i < 6; i++) {
			const int32_t by = (int32_t)random_below(200) - 100;
			CHECK_EQ(pf_packet_difference(from, to), UINT32_MAX);
			CHECK_EQ(pf_packet_difference(to, from), UINT32_MAX);
			CHECK_EQ(to->data_end - to->data, from->data_end - from->data);
			CHECK_EQ(to->extra_len, from->extra_len);
			CHECK_EQ(pf_packet_adjust_head(from, by), pf_packet_adjust_head(to, by));
			CHECK_EQ(pf_packet_adjust_meta(from, by & ~3), pf_packet_adjust_meta(to, by & ~3));
			CHECK_EQ(pf_packet_adjust_tail(from, by), pf_packet_adjust_tail(to, by));
		}
		const uint32_t meta = (uint32_t)(to->data - to->data_meta), total = meta + pf_packet_length(to);
		const uint32_t at = random_below(total);
		const uint32_t front = (uint32_t)(to->data_end - to->data_meta);
		*(at < front ? to->data_meta + at : to->extra + (at - front)) ^= 0x80;
		CHECK_EQ(pf_packet_difference(from, to), at);
		teardown(&p);
	}
}

static void test_difference_of_edges(void)
{
	struct pair p;
	setup(&p, 100, PF_PACKET_LINEAR);
	CHECK_EQ(pf_packet_difference(&p.chunk, &p.frame), UINT32_MAX);
	CHECK_EQ(pf_packet_adjust_tail(&p.frame, -1), 0);
	CHECK_EQ(pf_packet_difference(&p.chunk, &p.frame), 99);
	CHECK_EQ(pf_packet_adjust_tail(&p.frame, 1), 0); /* now a zero */
	CHECK_EQ(pf_packet_difference(&p.chunk, &p.frame), 99);
	p.frame.data_end[-1] = p.chunk.data_end[-1];
	/* The same bytes, the first four of them metadata. */
	CHECK_EQ(pf_packet_adjust_head(&p.frame, 4), 0);
	p.frame.data_meta = p.frame.data - 4;
	CHECK_EQ(pf_packet_difference(&p.chunk, &p.frame), 100);
	CHECK_EQ(pf_packet_difference(&p.frame, &p.chunk), 100);
	/* Linear and extra parts may lie differently: the bytes count. */
	struct pair q;
	setup(&q, 5000, PF_PACKET_LINEAR);
	CHECK_EQ(pf_packet_load(&q.frame, q.memory, 5000, NULL, 0, 1000), PF_OK);
	memset(q.frame.data_end, 0, (size_t)(q.frame.hard_end - q.frame.data_end)); /* nothing to be found between */
	CHECK_EQ(pf_packet_difference(&q.chunk, &q.frame), UINT32_MAX);
	q.frame.extra[3500] ^= 1;
	CHECK_EQ(pf_packet_difference(&q.chunk, &q.frame), 4500);
	teardown(&q);
	teardown(&p);
}

int main(void)
{
	test_walks();
	test_head();
	test_meta();
	test_tail();
	test_bytes();
	test_small();
	test_copy();
	test_difference_of_edges();
	return 0;
}
