/* test_live_block.c - blocks of a TPACKET_V3 ring built by hand, right and hostile: what lies outside of the block is out of
 * bounds here (its own allocation; build with SAN=address), and every single number in it is turned into others. */
#include "check.h"
#include "io/transmit.h"

#include <linux/if_packet.h>
#include <sys/socket.h>
#include <string.h>

#define SIZE 4096u
#define MOST 64u
#define HEADER ((uint32_t)TPACKET_ALIGN(sizeof(struct tpacket3_hdr)))
#define FRONT (HEADER + (uint32_t)sizeof(struct sockaddr_ll))
#define MAC (FRONT + 14)

struct fixture {
	uint8_t *memory; /* SIZE bytes and no more */
	uint32_t at, n, last;
};

static struct fixture *begin(void)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct tpacket_block_desc desc = {.version = 1};

	CHECK(f);
	f->memory = malloc(SIZE);
	CHECK(f->memory);
	memset(f->memory, 0xa5, SIZE);
	desc.hdr.bh1.block_status = TP_STATUS_USER;
	desc.hdr.bh1.offset_to_first_pkt = f->at = sizeof desc;
	memcpy(f->memory, &desc, sizeof desc);
	return f;
}

static void end(struct fixture *f)
{
	free(f->memory);
	free(f);
}

static struct tpacket3_hdr add(struct fixture *f, uint32_t len, uint32_t status, uint8_t kind, uint8_t seed)
{
	struct tpacket_block_desc desc;
	struct sockaddr_ll from = {.sll_family = AF_PACKET, .sll_pkttype = kind};
	struct tpacket3_hdr frame = {
		.tp_next_offset = TPACKET_ALIGN(MAC + len),
		.tp_sec = 1000 + f->n,
		.tp_nsec = 7,
		.tp_snaplen = len,
		.tp_len = len + 3,
		.tp_status = TP_STATUS_USER | status,
		.tp_mac = MAC,
		.hv1 = {.tp_vlan_tci = 0x2064, .tp_vlan_tpid = 0x88a8},
	};

	CHECK(f->at + MAC + len <= SIZE);
	memcpy(f->memory + f->at, &frame, sizeof frame);
	memcpy(f->memory + f->at + HEADER, &from, sizeof from);
	for (uint32_t i = 0; i < len; i++)
		f->memory[f->at + MAC + i] = (uint8_t)(seed + i);
	f->last = f->at;
	f->at += frame.tp_next_offset;
	f->n++;
	memcpy(&desc, f->memory, sizeof desc);
	desc.hdr.bh1.num_pkts = f->n;
	memcpy(f->memory, &desc, sizeof desc);
	return frame;
}

static enum pf_err walk(struct fixture *f, const struct pf_block_options *options, struct pf_desc *desc, uint32_t capacity,
			struct pf_batch *batch, struct pf_block_counts *counts, struct pf_diag *diag)
{
	struct pf_block block;
	enum pf_err err = pf_block_open(&block, f->memory, SIZE, diag);

	*batch = (struct pf_batch){.desc = desc, .capacity = capacity};
	memset(counts, 0, sizeof *counts);
	while (!err && block.left && batch->n < capacity)
		err = pf_block_fill(&block, options, batch, counts, diag);
	return err;
}

static const struct pf_block_options plain = {.snaplen = PF_RING_SNAPLEN};

static void test_packets_are_found_in_place(void)
{
	struct fixture *f = begin();
	struct pf_desc desc[MOST];
	struct pf_batch batch;
	struct pf_block_counts counts;
	struct pf_diag diag;

	add(f, 60, 0, PACKET_HOST, 1);
	add(f, 14, 0, PACKET_OUTGOING, 2);
	add(f, 100, 0, PACKET_OTHERHOST, 3);
	CHECK_EQ(walk(f, &plain, desc, MOST, &batch, &counts, &diag), PF_OK);
	CHECK_EQ(batch.n, 2);
	CHECK_EQ(desc[0].caplen, 60);
	CHECK_EQ(desc[0].wire_len, 63);
	CHECK_EQ(desc[0].ts_ns, 1000 * 1000000000ll + 7);
	CHECK_EQ(desc[0].ts_raw, desc[0].ts_ns);
	CHECK_EQ(desc[0].flags, PF_DESC_INCOMING);
	CHECK_EQ(desc[0].data[59], 60);
	CHECK_EQ(desc[1].caplen, 100);
	CHECK_EQ(counts.packets, 2);
	CHECK_EQ(counts.bytes, 160);
	CHECK_EQ(counts.outgoing_left_out, 1);

	const struct pf_block_options all = {.snaplen = 20, .port = 1, .outgoing = 1};
	CHECK_EQ(walk(f, &all, desc, MOST, &batch, &counts, &diag), PF_OK);
	CHECK_EQ(batch.n, 3);
	CHECK_EQ(desc[1].flags, PF_DESC_OUTGOING);
	CHECK_EQ(desc[2].caplen, 20);
	CHECK_EQ(desc[2].wire_len, 103);
	CHECK_EQ(desc[2].iface, 1);
	CHECK_EQ(counts.bytes, 54);
	end(f);
}

static void test_a_batch_may_be_smaller_than_the_block(void)
{
	struct fixture *f = begin();
	struct pf_desc desc[2];
	struct pf_batch batch = {.desc = desc, .capacity = 2};
	struct pf_block_counts counts = {0};
	struct pf_block block;
	uint32_t seen = 0;

	for (uint8_t i = 0; i < 5; i++)
		add(f, 30, 0, PACKET_HOST, i);
	CHECK_EQ(pf_block_open(&block, f->memory, SIZE, NULL), PF_OK);
	while (block.left) {
		batch.n = 0;
		CHECK_EQ(pf_block_fill(&block, &plain, &batch, &counts, NULL), PF_OK);
		for (uint32_t i = 0; i < batch.n; i++)
			CHECK_EQ(desc[i].data[0], seen++);
	}
	CHECK_EQ(seen, 5);
	end(f);
}

static void test_tags_are_put_back(void)
{
	struct fixture *f = begin();
	struct pf_desc desc[MOST];
	struct pf_batch batch;
	struct pf_block_counts counts;
	struct pf_diag diag;

	add(f, 60, TP_STATUS_VLAN_VALID, PACKET_HOST, 1);
	add(f, 60, TP_STATUS_VLAN_VALID | TP_STATUS_VLAN_TPID_VALID, PACKET_HOST, 1);
	add(f, 11, TP_STATUS_VLAN_VALID, PACKET_HOST, 1); /* no place for a tag */
	CHECK_EQ(walk(f, &plain, desc, MOST, &batch, &counts, &diag), PF_OK);
	CHECK_EQ(batch.n, 3);
	CHECK_EQ(counts.vlan, 2);
	for (uint32_t i = 0; i < 2; i++) {
		const uint8_t tag[4] = {i ? 0x88 : 0x81, i ? 0xa8 : 0x00, 0x20, 0x64};

		CHECK_EQ(desc[i].caplen, 64);
		CHECK_EQ(desc[i].wire_len, 67);
		for (uint32_t k = 0; k < 12; k++)
			CHECK_EQ(desc[i].data[k], 1 + k);
		CHECK_EQ(memcmp(desc[i].data + 12, tag, 4), 0);
		for (uint32_t k = 16; k < 64; k++)
			CHECK_EQ(desc[i].data[k], 1 + k - 4);
	}
	CHECK_EQ(desc[2].caplen, 11);
	end(f);
}

/* An IPv4 or IPv6 packet with UDP or TCP, its checksum field wrong on purpose. */
static uint32_t transport(uint8_t *p, int six, int tags, uint8_t protocol, uint32_t payload)
{
	const uint32_t head = protocol == 6 ? 20 : 8, l4 = head + payload;
	uint32_t at = 12;

	for (uint32_t i = 0; i < 12; i++)
		p[i] = (uint8_t)i;
	for (int i = 0; i < tags; i++, at += 4)
		memcpy(p + at, "\x81\x00\x00\x05", 4);
	memcpy(p + at, six ? "\x86\xdd" : "\x08\x00", 2);
	at += 2;
	uint8_t *ip = p + at;
	if (six) {
		memset(ip, 0, 40);
		ip[0] = 0x60;
		ip[4] = (uint8_t)(l4 >> 8);
		ip[5] = (uint8_t)l4;
		ip[6] = protocol;
		ip[23] = 1;
		ip[39] = 2;
		at += 40;
	} else {
		memset(ip, 0, 20);
		ip[0] = 0x45;
		ip[2] = (uint8_t)((l4 + 20) >> 8);
		ip[3] = (uint8_t)(l4 + 20);
		ip[9] = protocol;
		memcpy(ip + 12, "\x0a\x00\x00\x01\x0a\x00\x00\x02", 8);
		at += 20;
	}
	for (uint32_t i = 0; i < l4; i++)
		p[at + i] = (uint8_t)(3 * i + 1);
	return at + l4;
}

/* One's complement sum of the whole pseudo header and segment, checksum included: 0xffff when it is right. */
static uint32_t verify(const uint8_t *p, int six, int tags, uint8_t protocol, uint32_t len)
{
	const uint8_t *ip = p + 14 + 4 * tags, *l4 = ip + (six ? 40 : 20);
	uint32_t n = len - (uint32_t)(l4 - p), total = protocol + n;

	for (const uint8_t *a = six ? ip + 8 : ip + 12; a < l4; a += 2)
		total += (uint32_t)a[0] << 8 | a[1];
	for (uint32_t i = 0; i < n; i++)
		total += i % 2 ? l4[i] : (uint32_t)l4[i] << 8;
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	return total;
}

static void test_checksums_are_completed(void)
{
	uint8_t p[256];

	for (int six = 0; six < 2; six++)
		for (int tags = 0; tags < 3; tags++)
			for (uint32_t payload = 0; payload < 40; payload++)
				for (int tcp = 0; tcp < 2; tcp++) {
					uint8_t protocol = tcp ? 6 : 17;
					uint32_t len = transport(p, six, tags, protocol, payload);

					CHECK(verify(p, six, tags, protocol, len) != 0xffff);
					CHECK_EQ(pf_checksum_complete(p, len), 1);
					CHECK_EQ(verify(p, six, tags, protocol, len), 0xffff);
					for (uint32_t cut = 0; cut < len; cut++) {
						uint8_t *short_one = malloc(cut ? cut : 1);

						CHECK(short_one);
						memcpy(short_one, p, cut);
						CHECK_EQ(pf_checksum_complete(short_one, cut), 0);
						free(short_one);
					}
				}
	uint32_t len = transport(p, 0, 0, 17, 9);
	p[14 + 6] = 0x20; /* a fragment */
	CHECK_EQ(pf_checksum_complete(p, len), 0);
	len = transport(p, 0, 0, 1, 9); /* ICMP */
	CHECK_EQ(pf_checksum_complete(p, len), 0);
}

static void test_partial_checksums_by_option(void)
{
	struct pf_desc desc[MOST];
	struct pf_batch batch;
	struct pf_block_counts counts;
	struct pf_diag diag;

	for (enum pf_partial partial = PF_PARTIAL_MARK; partial <= PF_PARTIAL_COMPLETE; partial++) {
		struct fixture *f = begin();
		const struct pf_block_options options = {.snaplen = 40, .partial = partial};
		uint8_t packet[128];
		uint32_t len = transport(packet, 0, 0, 17, 30);

		add(f, 60, TP_STATUS_CSUMNOTREADY, PACKET_HOST, 0); /* no IP: cannot be completed */
		add(f, len, TP_STATUS_CSUMNOTREADY, PACKET_HOST, 0);
		memcpy(f->memory + f->last + MAC, packet, len);
		add(f, 20, 0, PACKET_HOST, 0);
		CHECK_EQ(walk(f, &options, desc, MOST, &batch, &counts, &diag), PF_OK);
		CHECK_EQ(batch.n, partial == PF_PARTIAL_SKIP ? 1 : 3);
		CHECK_EQ(counts.partial_left_out, partial == PF_PARTIAL_SKIP ? 2 : 0);
		CHECK_EQ(counts.partial_completed, partial == PF_PARTIAL_COMPLETE);
		CHECK_EQ(counts.partial, partial == PF_PARTIAL_MARK ? 2 : partial == PF_PARTIAL_COMPLETE);
		if (partial == PF_PARTIAL_COMPLETE) {
			CHECK_EQ(desc[0].flags, PF_DESC_INCOMING | PF_DESC_PARTIAL);
			CHECK_EQ(desc[1].flags, PF_DESC_INCOMING);
			CHECK_EQ(desc[1].caplen, 40); /* completed before it was cut */
			CHECK_EQ(verify(desc[1].data, 0, 0, 17, len), 0xffff);
		}
		end(f);
	}
}

/* G1, G2: any 32-bit number at any place. Descriptors must be inside, apart, and writable. */
static void check_walk(struct fixture *f, uint32_t capacity)
{
	const struct pf_block_options options = {.snaplen = PF_RING_SNAPLEN, .outgoing = 1, .partial = PF_PARTIAL_COMPLETE};
	struct pf_desc desc[MOST];
	struct pf_batch batch;
	struct pf_block_counts counts;
	struct pf_diag diag = {0};
	enum pf_err err = walk(f, &options, desc, capacity, &batch, &counts, &diag);
	const uint8_t *low = f->memory;

	CHECK(batch.n <= capacity);
	CHECK(err == PF_OK || err == PF_EBADMSG);
	CHECK_EQ(diag.code, err ? PF_DIAG_LIVE_BLOCK : PF_DIAG_NONE);
	for (uint32_t i = 0; i < batch.n; i++) {
		CHECK(desc[i].data >= low);
		CHECK(desc[i].data + desc[i].caplen <= f->memory + SIZE);
		CHECK(desc[i].wire_len >= desc[i].caplen);
		low = desc[i].data + desc[i].caplen;
		memset(desc[i].data, 0x5a, desc[i].caplen);
	}
}

static void test_hostile_numbers(void)
{
	static const uint32_t values[] = {0,	1,	  2,	   4,	    8,		11,	    16,		  48,	  64,
					  68,	72,	  255,	   256,	    SIZE - 100, SIZE - 70,  SIZE - 1,	  SIZE,	  SIZE + 1,
					  65535, 65536, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff - SIZE, 0xfffffffe, 0xffffffff};
	uint8_t copy[SIZE];
	struct fixture *f = begin();

	add(f, 60, TP_STATUS_VLAN_VALID, PACKET_HOST, 1);
	add(f, 300, TP_STATUS_CSUMNOTREADY, PACKET_OUTGOING, 2);
	add(f, 14, TP_STATUS_VLAN_VALID | TP_STATUS_CSUMNOTREADY, PACKET_HOST, 3);
	memcpy(copy, f->memory, SIZE);
	for (uint32_t at = 0; at + 4 <= f->at; at++)
		for (uint32_t v = 0; v < sizeof values / sizeof *values; v++) {
			memcpy(f->memory, copy, SIZE);
			memcpy(f->memory + at, &values[v], 4);
			check_walk(f, MOST);
		}
	end(f);
}

static void test_random_blocks(void)
{
	uint64_t state = 88172645463325252u;
	struct fixture *f = begin();

	for (unsigned round = 0; round < 200000; round++) {
		struct tpacket_block_desc desc = {.version = 1};

		f->at = sizeof desc;
		f->n = 0;
		for (uint32_t i = 0; i < 4; i++) {
			state ^= state << 13, state ^= state >> 7, state ^= state << 17;
			add(f, (uint32_t)(state >> 8) % 500, (uint32_t)(state >> 20) & 0x58, state >> 30 & 7, (uint8_t)state);
		}
		desc.hdr.bh1.offset_to_first_pkt = sizeof desc;
		desc.hdr.bh1.num_pkts = round % 7;
		memcpy(f->memory, &desc, sizeof desc);
		for (unsigned k = 0; k < round % 4; k++) {
			state ^= state << 13, state ^= state >> 7, state ^= state << 17;
			f->memory[(state >> 20) % f->at] = (uint8_t)(state >> 50);
		}
		check_walk(f, round % 3 ? MOST : 2);
	}
	end(f);
}

static void test_a_block_smaller_than_its_header(void)
{
	uint8_t small[8] = {0};
	struct pf_block block;
	struct pf_diag diag;

	CHECK_EQ(pf_block_open(&block, small, sizeof small, &diag), PF_EBADMSG);
	CHECK_EQ(diag.code, PF_DIAG_LIVE_BLOCK);
}

/* ---- the tee ---- */

struct counting {
	struct pf_sink sink;
	uint32_t emitted, flushed;
	enum pf_err err;
};

static void counting_emit(struct pf_sink *sink, const struct pf_source *source, const struct pf_desc *desc,
			  const struct pf_packet *packet, const struct pf_verdict *verdict)
{
	(void)source, (void)desc, (void)packet, (void)verdict;
	((struct counting *)sink)->emitted++;
}

static enum pf_err counting_flush(struct pf_sink *sink, struct pf_diag *diag)
{
	struct counting *c = (struct counting *)sink;

	c->flushed++;
	return c->err ? pf_diag_set(diag, c->err, PF_DIAG_IO_WRITE, 0, 0, c->err, 0, NULL) : PF_OK;
}

static void test_a_tee_feeds_and_flushes_both(void)
{
	struct counting a = {.sink = {.emit = counting_emit, .flush = counting_flush}}, b = a;
	struct pf_tee tee;
	struct pf_diag diag;

	pf_tee_init(&tee, &a.sink, &b.sink);
	tee.sink.emit(&tee.sink, NULL, NULL, NULL, NULL);
	CHECK_EQ(tee.sink.flush(&tee.sink, &diag), PF_OK);
	a.err = PF_EIO;
	CHECK_EQ(tee.sink.flush(&tee.sink, &diag), PF_EIO);
	b.err = PF_ENOSPC;
	CHECK_EQ(tee.sink.flush(&tee.sink, &diag), PF_EIO);
	CHECK_EQ(diag.found, PF_EIO);
	a.err = PF_OK;
	CHECK_EQ(tee.sink.flush(&tee.sink, &diag), PF_ENOSPC);
	CHECK_EQ(a.emitted + b.emitted, 2);
	CHECK_EQ(a.flushed + b.flushed, 8);
}

int main(void)
{
	test_packets_are_found_in_place();
	test_a_batch_may_be_smaller_than_the_block();
	test_tags_are_put_back();
	test_checksums_are_completed();
	test_partial_checksums_by_option();
	test_hostile_numbers();
	test_random_blocks();
	test_a_block_smaller_than_its_header();
	test_a_tee_feeds_and_flushes_both();
	return 0;
}
