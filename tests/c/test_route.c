/* test_route.c - redirects (run/route.h): targets, copies in order, programs of entries, counters. */
#include "hook_fixture.h"

#include "run/route.h"

#include <string.h>

enum { N = 300, LEN = 60 };

struct port_sink {
	struct pf_sink sink; /* first */
	uint32_t departed[8];
	int64_t last[8];
};

static void no_emit(struct pf_sink *sink, const struct pf_source *source, const struct pf_desc *desc,
		    const struct pf_packet *packet, const struct pf_verdict *verdict)
{
	(void)sink, (void)source, (void)desc, (void)packet, (void)verdict;
}

static enum pf_err no_flush(struct pf_sink *sink, struct pf_diag *diag)
{
	(void)sink, (void)diag;
	return PF_OK;
}

/* R2: each port's in the order of arrival. Entry 2's program stamps what leaves by 5, and nothing else. */
static void count(struct pf_sink *sink, const struct pf_source *source, const struct pf_desc *desc,
		  const struct pf_packet *packet, const struct pf_verdict *verdict, struct pf_port port)
{
	struct port_sink *s = (struct port_sink *)sink;
	uint32_t stamp;
	(void)source;
	CHECK(port.kind == PF_PORT_IFINDEX && port.number < 8 && packet->framed);
	CHECK_EQ(pf_packet_length(packet), LEN);
	CHECK_EQ(verdict->action, PF_XDP_REDIRECT);
	CHECK(desc->ts_ns > s->last[port.number]);
	memcpy(&stamp, packet->data + 20, sizeof(stamp));
	CHECK_EQ(stamp, port.number == 5 ? 77 : 0);
	s->last[port.number] = desc->ts_ns;
	s->departed[port.number]++;
}

/* redirect_map(map, first byte of the packet, second byte). */
static struct pf_prog *router(struct pf_map *map)
{
	const struct pf_insn insns[] = {
		LDX_W(4, 1, 0), LD_MAP(1, 7), LDX_B(2, 4, 0), LDX_B(3, 4, 1), CALL(51), EXIT(),
	};
	const struct pf_prog_map maps[] = { { 7, map } };
	return prog_of(insns, COUNT(insns), maps, 1, 0);
}

static struct pf_map *devmap(enum pf_map_type type)
{
	struct pf_map_def def = { .type = type, .key_size = 4, .value_size = 8, .max_entries = 16 };
	struct pf_map *map = NULL;
	CHECK_EQ(pf_map_create(&def, NULL, 1, "d", 0, &map, NULL), PF_OK);
	return map;
}

static void set_entry(struct pf_map *map, uint32_t key, uint32_t ifindex, struct pf_prog *prog)
{
	CHECK_EQ(pf_map_bind_port(map, &key, ifindex, prog ? &prog->ref : NULL, 9, PF_MAP_ANY, NULL, NULL), PF_OK);
}

/* Entries 0 -> 3, 1 -> 4, 2 -> 5 with a program, 3 -> 6, which does not exist. A third of the packets each names an entry,
 * broadcasts, and broadcasts but to where it came from (4). */
static void test_targets(enum pf_map_type type, uint32_t batch_size)
{
	const uint32_t ports[] = { 5, 3, 4 };
	struct pf_map *map = devmap(type);
	struct pf_prog *stamp = stamper(77, 20, 24, PF_XDP_PASS), *prog = router(map);
	struct pf_datapath *dp = datapath_of(1);
	struct port_sink sink = { .sink = { .emit = no_emit, .flush = no_flush, .depart = count } };
	const struct pf_worker_options options = { .ingress_ifindex = 4 };
	struct pf_worker *w = NULL;
	struct pf_batch *batch = pf_batch_create(batch_size);
	uint8_t *bytes = calloc(N, LEN);
	struct pf_route_counts counts;
	uint32_t rows, want[8] = { 0 };
	CHECK(batch && bytes);
	memset(sink.last, 0xff, sizeof(sink.last));
	set_entry(map, 1, 4, NULL);
	struct pf_link *link = attached(dp, 0, prog, 50, PF_CONTINUE_DEFAULT);
	set_entry(map, 0, 3, NULL); /* published: the world has it */
	set_entry(map, 2, 7, NULL);
	set_entry(map, 2, 5, stamp);
	set_entry(map, 3, 6, NULL);
	CHECK_EQ(pf_worker_create(dp, 0, &options, &w, NULL), PF_OK);
	CHECK_EQ(pf_worker_set_ports(w, ports, 3, NULL), PF_OK);
	for (uint32_t i = 0; i < N; i++) {
		const uint8_t flags[] = { 0, PF_REDIRECT_BROADCAST, PF_REDIRECT_BROADCAST | PF_REDIRECT_EXCLUDE };
		bytes[i * LEN] = (uint8_t)(i / 3 % 4);
		bytes[i * LEN + 1] = flags[i % 3];
		want[3] += i % 3 || i / 3 % 4 == 0;
		want[4] += i % 3 == 1 || (i % 3 == 0 && i / 3 % 4 == 1);
		want[5] += i % 3 || i / 3 % 4 == 2;
	}
	for (uint32_t at = 0; at < N; at += batch->n) {
		batch->first = at;
		batch->n = N - at < batch_size ? N - at : batch_size;
		for (uint32_t i = 0; i < batch->n; i++)
			batch->desc[i] = (struct pf_desc){
				.data = bytes + (at + i) * LEN, .caplen = LEN, .wire_len = LEN, .ts_ns = at + i };
		pf_worker_run(w, batch, NULL, NULL, &sink.sink);
	}
	const struct pf_route_row *row = pf_worker_routes(w, &rows, &counts);
	CHECK_EQ(counts.followed, N);
	CHECK_EQ(counts.errors, 0);
	CHECK_EQ(rows, 3);
	for (uint32_t i = 0; i < rows; i++) {
		CHECK_EQ(row[i].packets, want[row[i].port.number]);
		CHECK_EQ(row[i].bytes, (uint64_t)LEN * want[row[i].port.number]);
	}
	const struct pf_route_stranger *stranger = pf_worker_strangers(w, &rows);
	CHECK_EQ(rows, 1);
	CHECK_EQ(stranger->ifindex, 6);
	CHECK_EQ(stranger->errors, N / 3 / 4);
	for (uint32_t port = 0; port < 8; port++)
		CHECK_EQ(sink.departed[port], want[port]);
	pf_worker_destroy(w);
	pf_batch_destroy(batch);
	free(bytes);
	pf_link_put(link);
	pf_datapath_put(dp);
	pf_prog_put(prog);
	pf_prog_put(stamp);
	pf_map_put(map);
}

int main(void)
{
	for (uint32_t size = 1; size <= N; size = size * 7 + 1) {
		test_targets(PF_MAP_DEVMAP, size);
		test_targets(PF_MAP_DEVMAP_HASH, size);
	}
	return 0;
}
