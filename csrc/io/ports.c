/* ports.c - a sink a port, and packets collected for their owner. Invariants in ports.h. */
#include "ports.h"

#include <stdlib.h>
#include <string.h>

static enum pf_err nomem(struct pf_diag *diag)
{
	return pf_diag_set(diag, PF_ENOMEM, PF_DIAG_IO_WRITE, 0, 0, 0, 0, pf_err_text(PF_ENOMEM));
}

/* ---- one sink a port ---- */

struct pf_ports {
	struct pf_sink sink;
	struct pf_sink *inner;
	uint32_t count, failed;
	struct pf_port_sink sinks[];
};

#define NO_ACTION (1u << 31) /* of an enum pf_action that is none: nothing is told */

static void ports_emit(struct pf_sink *sink, const struct pf_source *source, const struct pf_desc *desc,
		       const struct pf_packet *packet, const struct pf_verdict *verdict)
{
	struct pf_ports *p = (struct pf_ports *)sink;

	if (p->inner)
		p->inner->emit(p->inner, source, desc, packet, verdict);
}

static void ports_depart(struct pf_sink *sink, const struct pf_source *source, const struct pf_desc *desc,
			 const struct pf_packet *packet, const struct pf_verdict *verdict, struct pf_port port)
{
	struct pf_ports *p = (struct pf_ports *)sink;

	for (uint32_t i = 0; i < p->count; i++) {
		const struct pf_port_sink *to = &p->sinks[i];

		if (to->port.kind != port.kind || to->port.number != port.number)
			continue;
		if (to->sink)
			to->sink->emit(to->sink, source, desc, packet, verdict);
		return;
	}
}

static enum pf_err ports_flush(struct pf_sink *sink, struct pf_diag *diag)
{
	struct pf_ports *p = (struct pf_ports *)sink;
	enum pf_err err = p->inner ? p->inner->flush(p->inner, diag) : PF_OK;

	p->failed = err ? PF_PORTS_INNER : PF_PORTS_NONE;
	for (uint32_t i = 0; i < p->count; i++) {
		struct pf_sink *one = p->sinks[i].sink;
		enum pf_err other = one ? one->flush(one, err ? NULL : diag) : PF_OK;

		if (other && !err) {
			err = other;
			p->failed = i;
		}
	}
	return err;
}

enum pf_err pf_ports_create(struct pf_sink *inner, const struct pf_port_sink *sinks, uint32_t count,
			    struct pf_ports **out, struct pf_diag *diag)
{
	struct pf_ports *p = calloc(1, sizeof *p + count * sizeof *sinks);

	*out = p;
	if (!p)
		return nomem(diag);
	p->sink.emit = ports_emit;
	p->sink.flush = ports_flush;
	p->sink.depart = ports_depart;
	p->count = count;
	p->failed = PF_PORTS_NONE;
	if (count)
		memcpy(p->sinks, sinks, count * sizeof *sinks);
	pf_ports_set_inner(p, inner);
	return PF_OK;
}

void pf_ports_set_inner(struct pf_ports *p, struct pf_sink *inner)
{
	p->inner = inner;
	p->sink.actions = inner ? inner->actions : NO_ACTION;
}

void pf_ports_destroy(struct pf_ports *p) { free(p); }

uint32_t pf_ports_failed(const struct pf_ports *p) { return p->failed; }

/* ---- collecting ---- */

struct collected {
	size_t at;
	uint32_t len;
	int64_t ts_ns;
};

struct pf_collector {
	struct pf_sink sink;
	pf_collector_take take;
	void *owner;
	uint8_t *bytes;
	size_t len, capacity;
	struct collected *packets;
	uint32_t count, room;
	struct pf_diag failed;
};

static int make_room(struct pf_collector *c, uint32_t len)
{
	if (c->count == c->room) {
		uint32_t room = c->room ? 2 * c->room : 256;
		struct collected *packets = realloc(c->packets, room * sizeof *packets);

		if (!packets)
			return 0;
		c->packets = packets;
		c->room = room;
	}
	if (c->capacity - c->len < len) {
		size_t capacity = c->capacity ? c->capacity : 64u << 10;
		uint8_t *bytes;

		while (capacity - c->len < len)
			capacity *= 2;
		bytes = realloc(c->bytes, capacity);
		if (!bytes)
			return 0;
		c->bytes = bytes;
		c->capacity = capacity;
	}
	return 1;
}

static void collector_emit(struct pf_sink *sink, const struct pf_source *source, const struct pf_desc *desc,
			   const struct pf_packet *packet, const struct pf_verdict *verdict)
{
	struct pf_collector *c = (struct pf_collector *)sink;
	uint32_t linear = (uint32_t)(packet->data_end - packet->data), len = pf_packet_length(packet);

	(void)source;
	(void)verdict;
	if (c->failed.err)
		return;
	if (!make_room(c, len)) {
		nomem(&c->failed);
		return;
	}
	memcpy(c->bytes + c->len, packet->data, linear);
	if (packet->extra_len)
		memcpy(c->bytes + c->len + linear, packet->extra, packet->extra_len);
	c->packets[c->count++] = (struct collected){.at = c->len, .len = len, .ts_ns = desc->ts_ns};
	c->len += len;
}

static enum pf_err collector_flush(struct pf_sink *sink, struct pf_diag *diag)
{
	struct pf_collector *c = (struct pf_collector *)sink;

	for (uint32_t i = 0; i < c->count && c->failed.err != PF_EINTR; i++)
		if (!c->take(c->owner, c->bytes + c->packets[i].at, c->packets[i].len, c->packets[i].ts_ns))
			pf_diag_set(&c->failed, PF_EINTR, PF_DIAG_IO_WRITE, 0, 0, 0, 0, pf_err_text(PF_EINTR));
	c->count = 0;
	c->len = 0;
	if (diag && c->failed.err)
		*diag = c->failed;
	return c->failed.err;
}

enum pf_err pf_collector_create(pf_collector_take take, void *owner, struct pf_collector **out, struct pf_diag *diag)
{
	struct pf_collector *c = calloc(1, sizeof *c);

	*out = c;
	if (!c)
		return nomem(diag);
	c->sink.emit = collector_emit;
	c->sink.flush = collector_flush;
	c->take = take;
	c->owner = owner;
	return PF_OK;
}

void pf_collector_destroy(struct pf_collector *c)
{
	if (!c)
		return;
	free(c->bytes);
	free(c->packets);
	free(c);
}
