/* reader.c - the reader as a source: start, batches, interfaces, time. */
#include "state.h"

#include <stdlib.h>
#include <sys/stat.h>

__extension__ typedef __int128 wide;

#define NS_PER_S 1000000000

static uint64_t power_of_ten(unsigned n)
{
	uint64_t value = 1;

	while (n--)
		value *= 10;
	return value;
}

int64_t pf_reader_time(const struct pf_iface *iface, uint64_t raw)
{
	unsigned exponent = iface->tsresol & 0x7f;
	wide ns;

	if (iface->tsresol & 0x80)
		ns = ((wide)raw * NS_PER_S) >> exponent; /* below 2^94, and exponent is below 128 */
	else if (exponent <= 9)
		ns = (wide)raw * (wide)power_of_ten(9 - exponent);
	else if (exponent <= 9 + 19)
		ns = (wide)(raw / power_of_ten(exponent - 9));
	else
		ns = 0; /* units so small that 64 bits of them are less than a nanosecond */
	ns += (wide)iface->tsoffset * NS_PER_S;
	if (ns > INT64_MAX)
		return INT64_MAX;
	return ns < INT64_MIN ? INT64_MIN : (int64_t)ns;
}

enum pf_err pf_reader_refuse_linktype(const struct pf_reader *r, uint32_t index, struct pf_diag *diag)
{
	uint16_t linktype = pf_reader_iface_at(r, index)->linktype;

	return pf_diag_set(diag, PF_EOPNOTSUPP, PF_DIAG_IO_LINKTYPE, index, pf_input_offset(&r->in), linktype, 1,
			   pf_linktype_name(linktype));
}

enum pf_err pf_reader_await(struct pf_reader *r, uint32_t index, struct pf_diag *diag)
{
	const struct pf_iface *shown = &pf_reader_iface_at(r, index)->shown;

	r->awaited = index;
	return pf_diag_set(diag, PF_EUNATCH, PF_DIAG_IO_LINK_NEW, index, pf_input_offset(&r->in), shown->linktype, 0,
			   pf_linktype_name(shown->linktype));
}

uint32_t pf_reader_awaited(const struct pf_reader *reader) { return reader->awaited; }

void pf_reader_accept(struct pf_reader *reader, uint32_t index)
{
	if (index < reader->ifaces)
		pf_reader_iface_at(reader, index)->pending = false;
}

enum pf_err pf_reader_iface_add(struct pf_reader *r, const struct pf_iface *found, struct pf_diag *diag)
{
	struct pf_reader_iface **page = &r->page[r->ifaces / PF_IFACE_PAGE], *new;
	unsigned exponent = found->tsresol;

	if (!*page)
		*page = calloc(PF_IFACE_PAGE, sizeof **page);
	if (!*page)
		return pf_diag_set(diag, PF_ENOMEM, PF_DIAG_IO_READ, 0, pf_input_offset(&r->in), 0, 0,
				   pf_err_text(PF_ENOMEM));
	new = &(*page)[r->ifaces % PF_IFACE_PAGE];
	new->shown = *found;
	new->snaplen = found->snaplen;
	new->linktype = found->linktype;
	if (exponent <= 9 && !found->tsoffset) {
		new->unit_ns = power_of_ten(9 - exponent);
		new->unit_end = INT64_MAX / new->unit_ns + 1;
	}
	if (found->linktype != 1 && r->as_ethernet)
		new->wrap = pf_linktype_wrap(found->linktype);
	if (new->wrap != PF_WRAP_NONE) {
		new->shown.linktype = 1;
		new->shown.linktype_high = 0;
		new->shown.swapped = 0;
		/* Readers cut packets to the snap length: it has to leave room for the header we add. */
		if (found->snaplen)
			new->shown.snaplen = found->snaplen > UINT32_MAX - 14 ? UINT32_MAX : found->snaplen + 14;
	}
	new->refused = found->linktype != 1 && new->wrap == PF_WRAP_NONE && !r->any_linktype;
	new->flags = PF_LINK_KIND(new->shown.linktype, new->shown.swapped) << PF_DESC_LINK;
	new->pending = r->announce && !new->refused;
	r->ifaces++;
	return PF_OK;
}

/* Tells the format from its first bytes. Without an error and not started, more bytes are needed. */
static enum pf_err start(struct pf_reader *r, struct pf_diag *diag)
{
	uint32_t magic;

	r->need = 24;
	if (pf_input_left(&r->in) < 4)
		return PF_OK;
	magic = pf_load32(r->in.cur, false);
	if (magic == PF_MAGIC_SECTION) {
		r->format = PF_FORMAT_PCAPNG;
		r->started = true;
		return PF_OK;
	}
	if (!pf_pcap_magic(magic))
		return pf_diag_set(diag, PF_EINVAL, PF_DIAG_IO_MAGIC, 0, 0, __builtin_bswap32(magic), 0, NULL);
	r->format = PF_FORMAT_PCAP;
	if (pf_input_left(&r->in) < r->need)
		return PF_OK;
	return pf_pcap_start(r, diag);
}

static enum pf_err at_end(const struct pf_reader *r, struct pf_diag *diag)
{
	size_t left = pf_input_left(&r->in);

	if (r->started && !left)
		return PF_OK;
	if (!left)
		return pf_diag_set(diag, PF_EINVAL, PF_DIAG_IO_EMPTY, 0, 0, 0, 24, NULL);
	return pf_diag_set(diag, PF_EBADMSG, r->started ? PF_DIAG_IO_CUT_RECORD : PF_DIAG_IO_CUT_HEADER, 0,
			   pf_input_offset(&r->in), left, r->need, NULL);
}

/* Whole records in memory; before the header was read there are none. */
static enum pf_err reader_fill(struct pf_source *source, struct pf_batch *batch, struct pf_diag *diag)
{
	struct pf_reader *r = (struct pf_reader *)source;
	enum pf_err err;

	batch->n = 0;
	if (!r->started)
		return PF_OK;
	err = r->format == PF_FORMAT_PCAP ? pf_pcap_fill(r, batch, diag) : pf_pcapng_fill(r, batch, diag);
	r->packets += batch->n;
	return err;
}

static enum pf_err reader_renew(struct pf_source *source, struct pf_chunk *chunk, struct pf_diag *diag)
{
	struct pf_reader *r = (struct pf_reader *)source;

	if (pf_input_exchange(&r->in, chunk))
		return pf_diag_set(diag, PF_ENOMEM, PF_DIAG_IO_READ, 0, pf_input_offset(&r->in), 0, 0,
				   pf_err_text(PF_ENOMEM));
	return PF_OK;
}

static enum pf_err reader_next(struct pf_source *source, struct pf_batch *batch, struct pf_diag *diag)
{
	struct pf_reader *r = (struct pf_reader *)source;
	enum pf_err err;

	batch->n = 0;
	if (PF_BUG_ON(!batch->capacity))
		return pf_diag_set(diag, PF_EINVAL, PF_DIAG_IO_OPEN, 0, 0, 0, 0, pf_err_text(PF_EINVAL));
	for (;;) {
		if (!r->started) {
			err = start(r, diag);
			if (err)
				return err;
		}
		err = reader_fill(source, batch, diag);
		if (err || batch->n)
			return err;
		if (!r->in.eof) {
			err = pf_input_refill(&r->in, diag);
			if (err)
				return err;
		}
		if (r->in.eof)
			return at_end(r, diag);
	}
}

static const struct pf_iface *reader_iface(const struct pf_source *source, uint32_t index)
{
	const struct pf_reader *r = (const struct pf_reader *)source;

	return index < r->ifaces ? &pf_reader_iface_at(r, index)->shown : NULL;
}

enum pf_err pf_reader_open(int fd, const struct pf_reader_options *options, struct pf_reader **reader,
			   struct pf_diag *diag)
{
	static const struct pf_reader_options defaults;
	struct pf_reader *r = calloc(1, sizeof *r);
	struct stat stat;
	enum pf_err err;

	*reader = NULL;
	if (!options)
		options = &defaults;
	if (!r)
		return pf_diag_set(diag, PF_ENOMEM, PF_DIAG_IO_OPEN, 0, 0, 0, 0, pf_err_text(PF_ENOMEM));
	err = pf_input_open(&r->in, fd, options->chunk, diag);
	if (err) {
		free(r);
		return err;
	}
	pf_input_put_back(&r->in, options->head, options->head_len);
	r->source.next = reader_next;
	r->source.iface = reader_iface;
	r->source.fill = reader_fill;
	r->source.renew = reader_renew;
	r->source.heads = PF_INPUT_SLACK >= PF_SOURCE_HEAD; /* B1 */
	r->source.prompt = !fstat(fd, &stat) && S_ISREG(stat.st_mode);
	r->as_ethernet = options->as_ethernet;
	r->any_linktype = options->any_linktype;
	r->announce = options->announce;
	r->awaited = UINT32_MAX;
	*reader = r;
	return PF_OK;
}

void pf_reader_close(struct pf_reader *reader)
{
	if (!reader)
		return;
	pf_input_close(&reader->in);
	for (uint32_t i = 0; i < PF_READER_IFACES / PF_IFACE_PAGE; i++)
		free(reader->page[i]);
	free(reader);
}

void pf_reader_info(const struct pf_reader *reader, struct pf_reader_info *info)
{
	memset(info, 0, sizeof *info);
	info->format = reader->format;
	info->started = reader->started;
	info->swapped = reader->swapped;
	info->ifaces = reader->ifaces;
	info->bytes_read = reader->in.bytes_read;
	info->packets = reader->packets;
	info->skipped_blocks = reader->skipped_blocks;
	info->read_ns = reader->in.read_ns;
}
