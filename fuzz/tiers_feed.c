/* tiers_feed.c - batches through the engines' own loops over packets, judged by packet after packet. */
#include "tiers_compare.h"

static struct pf_vm_feed make_feed(uint32_t k)
{
	struct pf_rng rng = { c.plan->seed ^ 0xfeed0000 ^ k };
	uint64_t time_ns = 0;
	size_t at = GAP;
	struct pf_vm_feed feed = { .desc = c.desc, .retvals = c.retvals, .first = pf_rng_next(&rng) >> 40, .n = c.plan->feed };

	feed.stamps = pf_rng_chance(&rng, 50) ? c.stamps : NULL;
	feed.linear_limit = pf_rng_chance(&rng, 80) ? PF_PACKET_LINEAR : pf_rng_chance(&rng, 50) ? UINT32_MAX : 64 + pf_rng_below(&rng, 64);
	memset(c.batch, 0x5a, GAP);
	for (uint32_t i = 0; i < feed.n; i++) {
		const uint32_t length = pf_tier_packet(&c.source, c.batch + at);
		const int64_t ts = pf_rng_chance(&rng, 5) ? -1 : (int64_t)(pf_rng_next(&rng) >> 24);
		c.desc[i] = (struct pf_desc){ .data = c.batch + at, .caplen = length, .ts_ns = ts,
					      .wire_len = length + (pf_rng_chance(&rng, 30) ? pf_rng_below(&rng, 100) : 0) };
		time_ns += pf_rng_next(&rng) >> 34;
		c.stamps[i] = (struct pf_stamp){ .index = feed.first + 3 * i, .time_ns = time_ns };
		memset(c.batch + at + length, 0x5a, GAP);
		at += length + GAP;
	}
	c.batch_size = at;
	memcpy(c.batch_before, c.batch, at);
	c.start.seed = pf_rng_next(&rng);
	c.start.cpu = pf_rng_below(&rng, PF_CAMPAIGN_CPUS);
	pf_world_fill(c.p->world, c.p->named, c.start.seed);
	pf_tier_state_save(c.p->world, c.p->named, c.before);
	return feed;
}

static void begin_feed(struct pf_exec *x)
{
	begin(x, c.start.seed, c.start.cpu);
	pf_tier_state_restore(c.p->world, c.p->named, c.before);
	memcpy(c.batch, c.batch_before, c.batch_size);
	memset(c.retvals, 0xee, sizeof(c.retvals));
}

/* The judge: every packet on its own. false: a fault, or too long. */
static bool judge_feed(struct pf_exec *x, const struct pf_vm_feed *feed, uint32_t shift)
{
	volatile uint8_t room[shift + 1];
	room[shift] = 0;
	begin_feed(x);
	for (uint32_t i = 0; i < feed->n; i++) {
		const struct pf_stamp stamp = pf_stamp_of(feed->stamps, feed->first, feed->desc, i);
		uint64_t r0;
		pf_exec_begin(x, stamp.index, stamp.time_ns);
		pf_packet_init(&x->packet, c.desc[i].data, c.desc[i].caplen, feed->linear_limit);
		if (pf_vm_run(x, c.p->prog, PF_ENGINE_CHECKED, (uint64_t)(uintptr_t)&x->packet, room[shift], &r0))
			return false;
		c.retvals[i] = (uint32_t)r0;
	}
	return true;
}

static bool same_feed(const struct pf_exec *x, const struct pf_vm_feed *feed, char *text, size_t size)
{
	for (uint32_t i = 0; i < feed->n; i++) {
		if (c.retvals[i] == c.wanted[i])
			continue;
		snprintf(text, size, "packet %u of the batch: %#x, expected %#x", i, c.retvals[i], c.wanted[i]);
		return false;
	}
	if (memcmp(c.batch, c.batch_after, c.batch_size)) {
		const uint32_t at = first_difference(c.batch, c.batch_after, (uint32_t)c.batch_size);
		snprintf(text, size, "byte %u of the batch is %#x, expected %#x", at, c.batch[at], c.batch_after[at]);
		return false;
	}
	if (x->time_ns != c.want.time_ns || x->trace->used != c.want.trace || x->trace->lost != c.want.lost ||
	    memcmp(x->trace->text, c.want.text, c.want.trace)) {
		snprintf(text, size, "clock %llu and %u bytes of trace, expected %llu and %u", (unsigned long long)x->time_ns,
			 x->trace->used, (unsigned long long)c.want.time_ns, c.want.trace);
		return false;
	}
	return !pf_tier_state_differs(c.p->world, c.p->named, c.after, text, size);
}

/* What the engine counted, of return values that are right. */
static bool same_sums(const struct pf_vm_feed *feed, char *text, size_t size)
{
	for (uint32_t a = 0; a < PF_ACTIONS; a++) {
		uint64_t sum = 0;
		for (uint32_t i = 0; i < feed->n; i++)
			if (pf_action_of(c.wanted[i]) == a)
				sum += PF_VM_ONE_PACKET + c.desc[i].caplen;
		if (sum == feed->sums[a])
			continue;
		snprintf(text, size, "action %u of the batch: counted %#llx, expected %#llx", a,
			 (unsigned long long)feed->sums[a], (unsigned long long)sum);
		return false;
	}
	return true;
}

static bool feed_is_of_addresses(const struct pf_vm_feed *feed)
{
	char text[PF_TIERS_TEXT];
	for (uint32_t i = 0; i < ALTERNATES + 8; i++) {
		struct pf_exec *x = i < ALTERNATES ? c.elsewhere[i] : c.x;
		if (!judge_feed(x, feed, i < ALTERNATES ? 0 : 16 + 1040 * i))
			return false;
		if (!same_feed(x, feed, text, sizeof(text)))
			return true;
	}
	return false;
}

void one_feed(uint32_t k)
{
	char text[PF_TIERS_TEXT];
	struct pf_vm_feed feed = make_feed(k);

	c.out->feed = 1;
	c.out->packet = k;
	c.out->form = PF_TIER_FORM_CHECKED;
	if (!judge_feed(c.x, &feed, 0)) {
		if (c.x->fault.diag.code != PF_DIAG_VM_BUDGET)
			found(PF_TIER_FAULT, PF_TIER_FORM_CHECKED, pf_diag_text(c.x->fault.diag.code));
		c.out->budget += feed.n;
		return;
	}
	c.want.time_ns = c.x->time_ns;
	c.want.trace = c.x->trace->used;
	c.want.lost = c.x->trace->lost;
	memcpy(c.want.text, c.x->trace->text, c.want.trace);
	memcpy(c.wanted, c.retvals, sizeof(c.wanted));
	memcpy(c.batch_after, c.batch, c.batch_size);
	pf_tier_state_save(c.p->world, c.p->named, c.after);
	for (uint32_t form = PF_TIER_FORM_CHECKED; form < PF_TIER_FORMS; form++) {
		if (form && !staged(form))
			continue;
		begin_feed(c.x);
		c.out->form = form;
		feed.done = 0;
		memset(feed.sums, 0, sizeof(feed.sums));
		(void)pf_vm_run_packets(c.x, program_of(form), engine_of(form), &feed);
		c.out->runs += feed.n;
		if (feed.done == feed.n && same_feed(c.x, &feed, text, sizeof(text))) {
			if (same_sums(&feed, text, sizeof(text)))
				continue;
			found(PF_TIER_DIFFERENT, form, text);
			return;
		}
		if (feed.done != feed.n)
			snprintf(text, sizeof(text), "stopped at packet %u of the batch", feed.done);
		else if (feed_is_of_addresses(&feed)) {
			c.out->addresses += feed.n;
			return;
		}
		found(PF_TIER_DIFFERENT, form, text);
		return;
	}
	c.out->pairs += feed.n;
}
