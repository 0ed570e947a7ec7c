/* measure.c - rounds over packets in memory, with the clock around them. */
#include "measure.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

struct pf_measure {
	uint8_t *bytes;
	uint8_t *given; /* as it was at first */
	size_t size;
	struct pf_desc *desc;
	uint32_t n, stride, batch;
};

static uint64_t thread_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

enum pf_err pf_measure_create(const uint8_t *bytes, const uint32_t *lens, uint32_t n, uint32_t stride, uint32_t batch,
			      struct pf_measure **measure)
{
	struct pf_measure *m;
	if (!n || !batch || !stride)
		return PF_EINVAL;
	m = calloc(1, sizeof(*m));
	if (!m)
		return PF_ENOMEM;
	m->size = (size_t)n * stride;
	m->n = n;
	m->stride = stride;
	m->batch = batch;
	m->bytes = aligned_alloc(4096, (m->size + 4095) & ~(size_t)4095);
	m->given = malloc(m->size);
	m->desc = calloc(n, sizeof(*m->desc));
	if (!m->bytes || !m->given || !m->desc) {
		pf_measure_destroy(m);
		return PF_ENOMEM;
	}
	memcpy(m->given, bytes, m->size);
	memcpy(m->bytes, bytes, m->size);
	for (uint32_t i = 0; i < n; i++) {
		struct pf_desc *d = &m->desc[i];
		d->data = m->bytes + (size_t)i * stride;
		d->caplen = d->wire_len = lens[i] < stride ? lens[i] : stride;
		d->ts_ns = d->ts_raw = (int64_t)i * 1000;
	}
	*measure = m;
	return PF_OK;
}

void pf_measure_destroy(struct pf_measure *m)
{
	free(m->bytes);
	free(m->given);
	free(m->desc);
	free(m);
}

uint8_t *pf_measure_bytes(struct pf_measure *m)
{
	return m->bytes;
}

static void restore(struct pf_measure *m)
{
	if (memcmp(m->bytes, m->given, m->size))
		memcpy(m->bytes, m->given, m->size);
}

static void one_round(struct pf_measure *m, struct pf_worker *worker)
{
	struct pf_batch batch = { .capacity = m->batch };
	for (uint32_t at = 0; at < m->n; at += batch.n) {
		batch.desc = m->desc + at;
		batch.first = at;
		batch.n = m->n - at < m->batch ? m->n - at : m->batch;
		pf_worker_run(worker, &batch, NULL, NULL, NULL);
	}
}

void pf_measure_run(struct pf_measure *m, struct pf_worker *worker, uint32_t rounds, uint64_t *ns)
{
	uint64_t start = thread_ns(), total = 0;
	uint32_t done = 0;
	if (rounds) {
		one_round(m, worker);
		total = thread_ns() - start;
		done = 1;
	}
	if (done < rounds && !memcmp(m->bytes, m->given, m->size)) {
		/* Nothing was written: the others follow at once. */
		start = thread_ns();
		for (; done < rounds; done++)
			one_round(m, worker);
		total += thread_ns() - start;
	}
	for (; done < rounds; done++) {
		restore(m);
		start = thread_ns();
		one_round(m, worker);
		total += thread_ns() - start;
	}
	restore(m);
	*ns = total;
}

enum pf_err pf_measure_memory(struct pf_measure *m, const struct pf_prog *prog, enum pf_engine engine, uint32_t rounds,
			      uint64_t *ns, uint64_t *sum)
{
	struct pf_exec *x;
	enum pf_err err = pf_exec_create(&x);
	if (err)
		return err;
	*ns = *sum = 0;
	for (uint32_t round = 0; round < rounds && !err; round++) {
		const uint64_t start = thread_ns();
		for (uint32_t i = 0; i < m->n && !err; i++) {
			uint64_t r0 = 0;
			err = pf_vm_execute(x, prog, engine, m->bytes + (size_t)i * m->stride, m->stride, &r0);
			*sum += r0;
		}
		*ns += thread_ns() - start;
	}
	restore(m);
	pf_exec_destroy(x);
	return err;
}

enum pf_err pf_measure_read(struct pf_source *source, uint32_t capacity, uint64_t *packets, uint64_t *bytes,
			    uint64_t *ns, struct pf_diag *diag)
{
	struct pf_batch *batch = pf_batch_create(capacity);
	enum pf_err err;
	if (!batch)
		return PF_ENOMEM;
	*packets = *bytes = 0;
	const uint64_t start = thread_ns();
	do {
		batch->first += batch->n;
		batch->n = 0;
		err = source->next(source, batch, diag);
		*packets += batch->n;
		for (uint32_t i = 0; i < batch->n; i++)
			*bytes += batch->desc[i].caplen;
	} while (batch->n || err == PF_EINTR);
	*ns = thread_ns() - start;
	pf_batch_destroy(batch);
	return err;
}
