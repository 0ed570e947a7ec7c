/* outcome.c - what a worker leaves behind for the driver: verdicts by place in the block, copies of packets that moved. */
#include "pipeline_impl.h"

#include <stdlib.h>
#include <string.h>

#define PIECE (64u << 10)
#define NAMES_SEARCHED 8u
#define NAMES_MAX 65536u

/* Room in the share; NULL: no memory. */
static uint8_t *reserve(struct pf_pipeline *p, struct pf_share *share, size_t size)
{
	struct pf_piece *piece = share->pieces;
	if (!piece || piece->size - piece->used < size) {
		const size_t room = size > PIECE ? size : PIECE;
		piece = malloc(sizeof(*piece) + room);
		if (!piece)
			return NULL;
		piece->next = share->pieces;
		piece->used = 0;
		piece->size = room;
		share->pieces = piece;
		atomic_fetch_add_explicit(&p->copied, room, memory_order_relaxed);
	}
	piece->used += size;
	return piece->bytes + piece->used - size;
}

void pf_share_clear(struct pf_pipeline *p, struct pf_share *share, int all)
{
	size_t freed = 0;
	while (share->pieces && (all || share->pieces->next || share->pieces->size > PIECE)) {
		struct pf_piece *piece = share->pieces;
		share->pieces = piece->next;
		freed += piece->size;
		free(piece);
	}
	if (share->pieces)
		share->pieces->used = 0;
	if (freed)
		atomic_fetch_sub_explicit(&p->copied, freed, memory_order_relaxed);
	share->name_count = share->parting_count = share->parting_told = 0;
	share->lost = 0;
	if (all) {
		free(share->partings);
		share->partings = NULL;
		share->parting_room = 0;
		free(share->names);
		share->names = NULL;
		share->name_capacity = 0;
	}
}

/* The number of a program's name, which is valid only until the worker goes offline. Few programs run in a block, and
 * mostly the same one as before; one that is not found is entered again. 0: no memory. */
static int name_of(struct pf_share *share, const char *name, uint16_t *number)
{
	const uint32_t oldest = share->name_count > NAMES_SEARCHED ? share->name_count - NAMES_SEARCHED : 0;
	for (uint32_t i = share->name_count; i-- > oldest;) {
		if (!strcmp(share->names[i], name)) {
			*number = (uint16_t)i;
			return 1;
		}
	}
	if (share->name_count == NAMES_MAX)
		return 0;
	if (share->name_count == share->name_capacity) {
		const uint32_t capacity = share->name_capacity ? 2 * share->name_capacity : 4;
		void *names = realloc(share->names, capacity * sizeof(*share->names));
		if (!names)
			return 0;
		share->names = names;
		share->name_capacity = capacity;
	}
	*number = (uint16_t)share->name_count;
	memset(share->names[share->name_count], 0, PF_NAME_MAX);
	memcpy(share->names[share->name_count++], name, strnlen(name, PF_NAME_MAX - 1));
	return 1;
}

/* Q5. */
static int keep_bytes(struct pf_pipeline *p, struct pf_share *share, struct pf_outcome *o)
{
	const size_t size = (size_t)o->linear + o->extra_len;
	uint8_t *to = reserve(p, share, size);
	if (!to)
		return 0;
	memcpy(to, o->data, o->linear);
	if (o->extra_len)
		memcpy(to + o->linear, o->extra, o->extra_len);
	o->data = to;
	o->extra = to + o->linear;
	return 1;
}

static uint32_t place_of(const struct pf_lane *lane, const struct pf_desc *desc)
{
	return lane->places ? lane->places[desc - lane->desc] : (uint32_t)(desc - lane->block->desc);
}

void pf_outcome_keep(struct pf_sink *sink, const struct pf_source *source, const struct pf_desc *desc,
		     const struct pf_packet *packet, const struct pf_verdict *verdict)
{
	struct pf_lane *lane = (struct pf_lane *)sink;
	struct pf_block *block = lane->block;
	struct pf_share *share = &block->shares[lane->number];
	struct pf_outcome *o = &block->outcomes[place_of(lane, desc)];
	(void)source;
	o->action = verdict->action;
	if (!(block->actions >> verdict->action & 1))
		return; /* the sink would not take it: Q5 costs nothing for it */
	o->data = packet->data;
	o->extra = packet->extra;
	o->linear = (uint32_t)(packet->data_end - packet->data);
	o->extra_len = packet->extra_len;
	o->generation = verdict->generation;
	o->retval = verdict->retval;
	o->covered = verdict->covered;
	o->engine = verdict->engine;
	o->faulted = verdict->faulted;
	o->arm = verdict->arm;
	o->framed = packet->framed;
	o->lost = (verdict->program && !name_of(share, verdict->program, &o->name)) ||
		  (packet->framed && !keep_bytes(lane->pipeline, share, o));
}

int pf_outcome_tell(const struct pf_block *block, uint32_t place, uint32_t worker, struct pf_sink *sink)
{
	const struct pf_outcome *o = &block->outcomes[place];
	if (!(block->actions >> o->action & 1))
		return 1;
	if (o->lost)
		return 0;
	const struct pf_packet packet = {
		.data = o->data,
		.data_end = o->data + o->linear,
		.data_meta = o->data,
		.extra = o->extra,
		.extra_len = o->extra_len,
		.framed = o->framed,
	};
	const struct pf_verdict verdict = {
		.retval = o->retval,
		.action = o->action,
		.covered = o->covered,
		.engine = o->engine,
		.faulted = o->faulted,
		.arm = o->arm,
		.generation = o->generation,
		.program = o->covered ? block->shares[worker].names[o->name] : NULL,
	};
	sink->emit(sink, block->source, &block->desc[place], &packet, &verdict);
	return 1;
}

static struct pf_parting *new_parting(struct pf_share *share)
{
	if (share->parting_count == share->parting_room) {
		const uint32_t room = share->parting_room ? 2 * share->parting_room : 64;
		struct pf_parting *more = realloc(share->partings, room * sizeof(*more));
		if (!more)
			return NULL;
		share->partings = more;
		share->parting_room = room;
	}
	return &share->partings[share->parting_count];
}

void pf_outcome_part(struct pf_sink *sink, const struct pf_source *source, const struct pf_desc *desc,
		     const struct pf_packet *packet, const struct pf_verdict *verdict, struct pf_port port)
{
	struct pf_lane *lane = (struct pf_lane *)sink;
	struct pf_share *share = &lane->block->shares[lane->number];
	const uint32_t linear = (uint32_t)(packet->data_end - packet->data), len = linear + packet->extra_len;
	struct pf_parting *p = lane->block->ported ? new_parting(share) : NULL;
	uint8_t *to = p ? reserve(lane->pipeline, share, len) : NULL;
	(void)source;
	if (!lane->block->ported)
		return;
	if (!to || !name_of(share, verdict->program, &p->name)) {
		share->lost = 1;
		return;
	}
	memcpy(to, packet->data, linear);
	if (packet->extra_len)
		memcpy(to + linear, packet->extra, packet->extra_len);
	p->port = port;
	p->place = place_of(lane, desc);
	p->len = len;
	p->data = to;
	p->generation = verdict->generation;
	p->retval = verdict->retval;
	p->engine = verdict->engine;
	share->parting_count++;
}

int pf_outcome_tell_partings(const struct pf_block *block, uint32_t place, uint32_t worker, struct pf_sink *sink)
{
	struct pf_share *share = &block->shares[worker];
	for (; share->parting_told < share->parting_count; share->parting_told++) {
		const struct pf_parting *p = &share->partings[share->parting_told];
		uint8_t *const data = (uint8_t *)(uintptr_t)p->data, *const end = data + p->len;
		if (p->place != place)
			break;
		const struct pf_packet packet = {
			.data = data, .data_end = end, .data_meta = data, .extra = end, .framed = 1
		};
		const struct pf_verdict verdict = {
			.retval = p->retval,
			.action = PF_XDP_REDIRECT,
			.covered = 1,
			.engine = p->engine,
			.generation = p->generation,
			.program = share->names[p->name],
		};
		sink->depart(sink, block->source, &block->desc[place], &packet, &verdict, p->port);
	}
	return !share->lost;
}
