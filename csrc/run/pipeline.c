/* pipeline.c - the driver: fills blocks, says who runs what, and emits what was run. */
#include "pipeline_impl.h"

#include "../hook/clock.h"
#include "../packet/flow_hash.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_LIMIT 256u             /* packets of the first blocks: nothing is known about the programs (Q9) */
#define CHUNK_KEPT (4u << 20)        /* a chunk that one long record made larger is not kept */

static enum pf_err nomem(struct pf_diag *diag)
{
	return pf_diag_set(diag, PF_ENOMEM, PF_DIAG_RUN_NOMEM, 0, 0, 0, 0, NULL);
}

static uint64_t filled_of(const struct pf_pipeline *p)
{
	return atomic_load_explicit(&p->filled, memory_order_relaxed); /* the driver's own */
}

static uint64_t emitted_of(const struct pf_pipeline *p)
{
	return atomic_load_explicit(&p->emitted, memory_order_relaxed);
}

/* Create and destroy. */

static int make_block(const struct pf_pipeline *p, struct pf_block *block)
{
	block->desc = calloc(PF_PIPELINE_BLOCK, sizeof(*block->desc));
	block->shares = calloc(p->count, sizeof(*block->shares));
	if (!block->desc || !block->shares)
		return 0;
	if (p->count == 1)
		return 1;
	block->times = calloc(PF_PIPELINE_BLOCK, sizeof(*block->times));
	block->owners = calloc(PF_PIPELINE_BLOCK, sizeof(*block->owners));
	return block->times && block->owners;
}

static int make_lane(struct pf_pipeline *p, uint32_t number, struct pf_worker *worker)
{
	struct pf_lane *lane = &p->lanes[number];
	lane->sink.emit = pf_outcome_keep;
	lane->sink.depart = pf_outcome_part;
	lane->pipeline = p;
	lane->number = number;
	lane->worker = worker;
	if (worker->exec->trace) {
		lane->spool = calloc(1, sizeof(*lane->spool));
		if (!lane->spool)
			return 0;
	}
	if (p->count == 1)
		return 1;
	lane->desc = calloc(p->batch, sizeof(*lane->desc));
	lane->stamps = calloc(p->batch, sizeof(*lane->stamps));
	lane->places = calloc(p->batch, sizeof(*lane->places));
	return lane->desc && lane->stamps && lane->places;
}

static int make_all(struct pf_pipeline *p, const struct pf_pipeline_config *config)
{
	p->lanes = aligned_alloc(PF_CACHE_LINE, p->count * sizeof(*p->lanes));
	p->blocks = calloc(p->block_count, sizeof(*p->blocks));
	if (!p->lanes || !p->blocks) {
		free(p->lanes);
		p->lanes = NULL;
		return 0;
	}
	memset(p->lanes, 0, p->count * sizeof(*p->lanes));
	for (uint32_t k = 0; k < p->count; k++)
		if (!make_lane(p, k, config->workers[k]))
			return 0;
	for (uint32_t i = 0; i < p->block_count; i++)
		if (!make_block(p, &p->blocks[i]))
			return 0;
	return 1;
}

static void prepare_waiting(struct pf_pipeline *p)
{
	pthread_condattr_t attributes;
	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&p->work, &attributes);
	pthread_cond_init(&p->room, &attributes);
	pthread_condattr_destroy(&attributes);
}

enum pf_err pf_pipeline_create(const struct pf_pipeline_config *config, struct pf_pipeline **out, struct pf_diag *diag)
{
	if (!config->count || config->count > PF_PIPELINE_WORKERS || !config->batch)
		return pf_diag_set(diag, PF_EINVAL, PF_DIAG_RUN_CREW, 0, 0, config->count, PF_PIPELINE_WORKERS, NULL);
	struct pf_pipeline *p = aligned_alloc(PF_CACHE_LINE, sizeof(*p));
	if (!p)
		return nomem(diag);
	memset(p, 0, sizeof(*p));
	p->count = config->count;
	p->batch = config->batch < PF_PIPELINE_BLOCK ? config->batch : PF_PIPELINE_BLOCK;
	p->block_count = !config->blocks ? PF_PIPELINE_BLOCKS : config->blocks < 2 ? 2 : config->blocks;
	p->unordered = config->unordered;
	p->next_packet = config->first;
	p->limit = FIRST_LIMIT;
	for (uint32_t k = 0; k < p->count; k++)
		if (p->clock_ns < config->workers[k]->exec->time_ns)
			p->clock_ns = config->workers[k]->exec->time_ns;
	prepare_waiting(p);
	enum pf_err err = make_all(p, config) ? pf_crew_start(p, diag) : nomem(diag);
	if (err)
		pf_pipeline_destroy(p);
	else
		*out = p;
	return err;
}

static void free_block(struct pf_pipeline *p, struct pf_block *block)
{
	for (uint32_t k = 0; block->shares && k < p->count; k++)
		pf_share_clear(p, &block->shares[k], 1);
	free(block->shares);
	free(block->desc);
	free(block->times);
	free(block->owners);
	free(block->outcomes);
	free(block->chunk.memory);
}

void pf_pipeline_destroy(struct pf_pipeline *p)
{
	if (!p)
		return;
	pf_crew_stop(p);
	for (uint32_t i = 0; p->blocks && i < p->block_count; i++)
		free_block(p, &p->blocks[i]);
	for (uint32_t k = 0; p->lanes && k < p->count; k++) {
		free(p->lanes[k].desc);
		free(p->lanes[k].stamps);
		free(p->lanes[k].places);
		free(p->lanes[k].spool);
	}
	free(p->blocks);
	free(p->lanes);
	pthread_cond_destroy(&p->work);
	pthread_cond_destroy(&p->room);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

/* Emitting. */

/* What the sink was told up to here goes out; its error is kept (Q7). */
static void flush(struct pf_pipeline *p, struct pf_sink *sink)
{
	if (sink && !p->failed.err)
		(void)sink->flush(sink, &p->failed);
}

static void tell(struct pf_pipeline *p, const struct pf_block *block, uint32_t i, uint32_t worker, struct pf_sink *sink)
{
	if (PF_LIKELY(pf_outcome_tell(block, i, worker, sink) &&
		      (!block->ported || pf_outcome_tell_partings(block, i, worker, sink))))
		return;
	flush(p, sink); /* what came before is good */
	if (!p->failed.err)
		pf_diag_set(&p->failed, PF_ENOMEM, PF_DIAG_IO_WRITE, 0, 0, 0, 0, pf_err_text(PF_ENOMEM));
}

static void tell_block(struct pf_pipeline *p, const struct pf_block *block, struct pf_sink *sink)
{
	for (uint32_t i = 0; i < block->n && !p->failed.err; i++)
		tell(p, block, i, block->owners ? block->owners[i] : 0, sink);
}

static void tell_share(struct pf_pipeline *p, const struct pf_block *block, uint32_t worker, struct pf_sink *sink)
{
	for (uint32_t i = 0; i < block->n && !p->failed.err; i++)
		if (!block->owners || block->owners[i] == worker)
			tell(p, block, i, worker, sink);
}

/* Q9: the processor time of the slowest worker decides. */
static void adapt(struct pf_pipeline *p, const struct pf_block *block)
{
	uint64_t took = 0;
	for (uint32_t k = 0; k < p->count; k++)
		took = block->shares[k].took_ns > took ? block->shares[k].took_ns : took;
	if (took > PF_PIPELINE_BLOCK_NS && block->n <= p->limit)
		p->limit = block->n > 1 ? block->n / 2 : 1;
	else if (took < PF_PIPELINE_BLOCK_NS / 4 && p->limit < PF_PIPELINE_BLOCK)
		p->limit = 2 * p->limit < PF_PIPELINE_BLOCK ? 2 * p->limit : PF_PIPELINE_BLOCK;
}

/* The oldest block has been told of: it may be filled again. */
static void release(struct pf_pipeline *p)
{
	struct pf_block *block = &p->blocks[emitted_of(p) % p->block_count];
	adapt(p, block);
	for (uint32_t k = 0; k < p->count; k++)
		pf_share_clear(p, &block->shares[k], 0);
	if (block->chunk.capacity > CHUNK_KEPT) {
		free(block->chunk.memory);
		block->chunk = (struct pf_chunk){ NULL, 0 };
	}
	atomic_store(&p->emitted, emitted_of(p) + 1);
}

static void emit_shares(struct pf_pipeline *p, struct pf_sink *sink)
{
	for (uint32_t k = 0; k < p->count; k++) {
		struct pf_lane *lane = &p->lanes[k];
		const uint64_t done = atomic_load_explicit(&lane->done, memory_order_acquire);
		for (; lane->emitted < done; lane->emitted++)
			tell_share(p, &p->blocks[lane->emitted % p->block_count], k, sink);
	}
}

/* Everything that can be emitted now. */
static void emit_ready(struct pf_pipeline *p, struct pf_sink *sink)
{
	const uint64_t done = pf_crew_done(p), before = emitted_of(p);
	if (sink && p->unordered) {
		emit_shares(p, sink);
		flush(p, sink); /* a sink may hold on to packets' memory until then */
	}
	while (emitted_of(p) < done) {
		if (sink && !p->unordered)
			tell_block(p, &p->blocks[emitted_of(p) % p->block_count], sink);
		flush(p, sink);
		release(p);
	}
	if (emitted_of(p) != before)
		pf_crew_wake(p); /* who waits for memory by Q5 */
}

/* Filling. */

static uint64_t bytes_in_flight(const struct pf_pipeline *p)
{
	uint64_t bytes = 0;
	for (uint64_t b = emitted_of(p); b < filled_of(p); b++)
		bytes += p->blocks[b % p->block_count].chunk.capacity;
	return bytes;
}

static int has_room(const struct pf_pipeline *p)
{
	return filled_of(p) - emitted_of(p) < p->block_count && bytes_in_flight(p) <= PF_PIPELINE_BYTES;
}

/* Packets of a source that lends nothing. */
static enum pf_err copy_packets(struct pf_block *block, struct pf_diag *diag)
{
	size_t need = 0, at = 0;
	for (uint32_t i = 0; i < block->n; i++)
		need += block->desc[i].caplen;
	if (block->chunk.capacity < need) {
		uint8_t *memory = malloc(need);
		if (!memory)
			return nomem(diag);
		free(block->chunk.memory);
		block->chunk = (struct pf_chunk){ .memory = memory, .capacity = need };
	}
	for (uint32_t i = 0; i < block->n; i++) {
		struct pf_desc *d = &block->desc[i];
		if (d->caplen)
			memcpy(block->chunk.memory + at, d->data, d->caplen);
		d->data = block->chunk.memory + at;
		at += d->caplen;
	}
	return PF_OK;
}

/* What is whole in the source's memory joins the block. An error waits for the next call. */
static void fill_up(struct pf_source *source, struct pf_block *block, uint32_t room)
{
	struct pf_diag later;
	while (block->n < room) {
		struct pf_batch batch = { .desc = block->desc + block->n, .capacity = room - block->n };
		if (source->fill(source, &batch, &later) || !batch.n)
			return;
		block->n += batch.n;
	}
}

/* Q1, Q2. */
static void distribute(struct pf_pipeline *p, struct pf_block *block)
{
	uint64_t clock = p->clock_ns;
	for (uint32_t i = 0; i < block->n; i++) {
		const struct pf_desc *d = &block->desc[i];
		const uint64_t time = d->ts_ns > 0 ? (uint64_t)d->ts_ns : 0;
		clock = time > clock ? time : clock;
		block->times[i] = clock;
		block->owners[i] = pf_flow_owner(d->data, d->caplen, p->count);
	}
	p->clock_ns = clock;
}

static void hand_on(struct pf_pipeline *p, struct pf_block *block)
{
	block->first = p->next_packet;
	p->next_packet += block->n;
	if (p->count > 1)
		distribute(p, block);
	atomic_store(&p->filled, filled_of(p) + 1); /* before the look whether the crew sleeps */
	/* Waking somebody for each block costs more than a light program's run. Who is about to wait wakes the crew. */
	if (!block->source->prompt || filled_of(p) - emitted_of(p) >= p->block_count / 2)
		pf_crew_wake(p);
}

/* One block, of at most `room` packets; *n: how many. kept: whether it has its packets' memory. */
static enum pf_err fill_block(struct pf_pipeline *p, struct pf_source *source, struct pf_sink *sink, uint64_t room,
			      uint32_t *n, struct pf_diag *diag)
{
	struct pf_block *block = &p->blocks[filled_of(p) % p->block_count];
	const uint32_t most = room < p->limit ? (uint32_t)room : p->limit;
	struct pf_batch batch = { .desc = block->desc, .capacity = most, .first = p->next_packet };
	*n = 0;
	if (sink && !block->outcomes) {
		block->outcomes = aligned_alloc(PF_CACHE_LINE, PF_PIPELINE_BLOCK * sizeof(*block->outcomes));
		if (!block->outcomes)
			return nomem(diag);
	}
	block->n = 0;
	block->source = source;
	block->told = sink != NULL;
	block->ported = sink && sink->depart;
	block->actions = !sink || !sink->actions ? UINT32_MAX : sink->actions;
	enum pf_err err = source->next(source, &batch, diag);
	if (err || !batch.n)
		return err;
	if (PF_BUG_ON(batch.n > most))
		return PF_EINVAL;
	block->n = batch.n;
	block->ingress_ifindex = batch.ingress_ifindex;
	if (source->renew) {
		fill_up(source, block, most);
		err = source->renew(source, &block->chunk, diag);
	} else {
		err = copy_packets(block, diag);
	}
	*n = block->n;
	hand_on(p, block); /* after a failure too: the packets are in the source's memory, which nobody touches until a drain */
	return err;
}

/* The driver's loop. */

static enum pf_err report(const struct pf_pipeline *p, struct pf_diag *diag)
{
	if (p->failed.err && diag)
		*diag = p->failed;
	return p->failed.err;
}

enum pf_err pf_pipeline_drain(struct pf_pipeline *p, struct pf_source *source, struct pf_sink *sink, struct pf_diag *diag)
{
	(void)source;
	pf_crew_wake(p);
	emit_ready(p, sink);
	while (emitted_of(p) < filled_of(p)) {
		pf_crew_wait(p, filled_of(p), UINT64_MAX);
		emit_ready(p, sink);
	}
	return report(p, diag);
}

/* Sleeps until half of the ring is free. */
static void wait_for_room(struct pf_pipeline *p, uint64_t deadline_ns)
{
	const uint64_t flying = filled_of(p) - emitted_of(p);
	pf_crew_wake(p);
	pf_crew_wait(p, emitted_of(p) + (flying + 1) / 2, deadline_ns);
}

static enum pf_err finish(struct pf_pipeline *p, struct pf_source *source, struct pf_sink *sink, enum pf_err found,
			  enum pf_replay_end reached, enum pf_replay_end *end, struct pf_diag *diag)
{
	const enum pf_err err = pf_pipeline_drain(p, source, sink, found ? NULL : diag);
	if (found)
		return err ? report(p, diag) : found; /* the sink's came earlier in the data */
	*end = err ? PF_REPLAY_MORE : reached;
	return err;
}

enum pf_err pf_pipeline_step(struct pf_pipeline *p, struct pf_source *source, struct pf_sink *sink, uint64_t until,
			     uint64_t slice_ns, enum pf_replay_end *end, struct pf_diag *diag)
{
	const uint64_t start = pf_clock_ns();
	const uint64_t deadline = slice_ns > UINT64_MAX - start ? UINT64_MAX : start + slice_ns;
	*end = PF_REPLAY_MORE;
	do {
		emit_ready(p, sink);
		if (p->failed.err)
			return finish(p, source, sink, PF_OK, PF_REPLAY_MORE, end, diag);
		if (p->next_packet >= until)
			return finish(p, source, sink, PF_OK, PF_REPLAY_UNTIL, end, diag);
		if (!has_room(p)) {
			wait_for_room(p, deadline);
			continue;
		}
		uint32_t n;
		const enum pf_err err = fill_block(p, source, sink, until - p->next_packet, &n, diag);
		if (err == PF_EINTR || err == PF_EAGAIN)
			break;
		if (err == PF_EUNATCH)
			return finish(p, source, sink, PF_OK, PF_REPLAY_LINK, end, diag);
		if (err)
			return finish(p, source, sink, err, PF_REPLAY_MORE, end, diag);
		if (!n)
			return finish(p, source, sink, PF_OK, PF_REPLAY_DONE, end, diag);
	} while (deadline == UINT64_MAX || pf_clock_ns() < deadline);
	pf_crew_wake(p);
	return PF_OK;
}

uint64_t pf_pipeline_next_packet(const struct pf_pipeline *p)
{
	return p->next_packet;
}

void pf_pipeline_take_trace(struct pf_pipeline *p, uint32_t worker, struct pf_trace *trace)
{
	struct pf_trace *spool = p->lanes[worker].spool;
	trace->used = 0;
	trace->lost = 0;
	if (!spool)
		return;
	pthread_mutex_lock(&p->lock);
	trace->used = spool->used;
	trace->lost = spool->lost;
	memcpy(trace->text, spool->text, spool->used);
	spool->used = 0;
	spool->lost = 0;
	pthread_mutex_unlock(&p->lock);
}
