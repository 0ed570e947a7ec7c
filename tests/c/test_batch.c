/* test_batch.c - a batch that one program runs over in pieces (batch.c): what who wants verdicts is told. */
#include "hook_fixture.h"

#include "run/run.h"

#include <string.h>

struct piece_sink {
	struct pf_sink sink; /* first */
	uint32_t n;
};

/* Each packet where it lies, as the program left it, once and in order. */
static void piece_emit(struct pf_sink *sink, const struct pf_source *source, const struct pf_desc *desc,
		       const struct pf_packet *packet, const struct pf_verdict *verdict)
{
	struct piece_sink *s = (struct piece_sink *)sink;
	(void)source;
	CHECK(packet->data == desc->data && packet->data_end == desc->data + desc->caplen && !packet->framed);
	CHECK_EQ(desc->data[0] & 0x80, 0x80);
	CHECK_EQ(desc->ts_ns, s->n);
	CHECK_EQ(verdict->faulted, s->n % 7 == 3);
	CHECK_EQ(verdict->action, s->n % 7 == 3 ? PF_XDP_ABORTED : PF_XDP_PASS);
	CHECK_EQ(verdict->retval, s->n % 7 == 3 ? 0 : 2);
	CHECK(verdict->covered && verdict->engine == PF_ENGINE_CHECKED && !strcmp(verdict->program, "p"));
	s->n++;
}

static enum pf_err piece_flush(struct pf_sink *sink, struct pf_diag *diag)
{
	(void)sink, (void)diag;
	return PF_OK;
}

/* A batch of several pieces for somebody who wants verdicts: faults are of the packets that faulted. */
static void test_pieces(void)
{
	enum { N = 700 };
	/* Sets the first byte's top bit; then reads as far behind the packet as the second byte says. */
	const struct pf_insn insns[] = {
		LDX_W(2, 1, 0),	     LDX_B(3, 2, 0),  INSN(0x47, 3, 0, 0, 0x80), STX_B(2, 3, 0), LDX_B(4, 2, 1),
		INSN(0x0f, 2, 4, 0, 0), LDX_B(0, 2, 0), MOV_IMM(0, 2),	       EXIT(),
	};
	struct pf_prog *prog = prog_of(insns, COUNT(insns), NULL, 0, 0);
	struct pf_datapath *dp = datapath_of(1);
	struct pf_link *link = attached(dp, 0, prog, 50, PF_CONTINUE_DEFAULT);
	const struct pf_worker_options options = { 0 };
	struct pf_worker *w = NULL;
	struct pf_batch *batch = pf_batch_create(N);
	struct piece_sink sink = { .sink = { .emit = piece_emit, .flush = piece_flush } };
	struct pf_verdict *verdicts = calloc(N, sizeof(*verdicts));
	uint8_t *bytes = calloc(N, 16);
	uint32_t faults = 0;
	uint64_t total = 0;
	CHECK(verdicts && bytes && batch);
	CHECK_EQ(pf_worker_create(dp, 0, &options, &w, NULL), PF_OK);
	for (uint32_t i = 0; i < N; i++) {
		bytes[i * 16 + 1] = i % 7 == 3 ? 200 : 0;
		faults += i % 7 == 3;
		batch->desc[i] = (struct pf_desc){ .data = bytes + i * 16, .caplen = 14 + i % 3, .ts_ns = i };
		total += 14 + i % 3;
	}
	batch->n = N;
	pf_worker_run(w, batch, verdicts, NULL, &sink.sink);
	CHECK_EQ(sink.n, N);
	for (uint32_t i = 0; i < N; i++)
		CHECK_EQ(verdicts[i].faulted, i % 7 == 3);
	CHECK_EQ(w->stats.faults, faults);
	CHECK_EQ(w->stats.actions[PF_XDP_ABORTED], faults);
	CHECK_EQ(w->stats.actions[PF_XDP_PASS], N - faults);
	CHECK_EQ(w->stats.bytes, total);
	CHECK_EQ(w->first_fault_packet, 3);
	pf_worker_run(w, batch, NULL, NULL, NULL); /* the same, told nobody */
	CHECK_EQ(w->stats.actions[PF_XDP_ABORTED], 2 * faults);
	CHECK_EQ(w->stats.bytes, 2 * total);
	CHECK_EQ(w->stats.engine_packets[PF_ENGINE_CHECKED], 2 * N);
	free(verdicts);
	free(bytes);
	pf_batch_destroy(batch);
	pf_worker_destroy(w);
	pf_link_put(link);
	pf_datapath_put(dp);
	pf_prog_put(prog);
}

int main(void)
{
	test_pieces();
	return 0;
}
