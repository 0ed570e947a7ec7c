/* histogram.h - times in buckets: bounded memory, every sample counted, quantiles to 1 in 64.
 *
 * A bucket holds values that agree in their highest 7 bits; below 64 every value has its own. A quantile is the upper
 * edge of the bucket it falls into, and never above the greatest value seen, which is exact.
 *
 * Threads: one at a time.
 */
#ifndef PF_HISTOGRAM_H
#define PF_HISTOGRAM_H

#include <stdint.h>

#define PF_HISTOGRAM_BITS 6
#define PF_HISTOGRAM_SUB (1u << PF_HISTOGRAM_BITS)
#define PF_HISTOGRAM_BUCKETS ((64 - PF_HISTOGRAM_BITS + 1) * PF_HISTOGRAM_SUB)

struct pf_histogram {
	uint64_t count, max;
	uint64_t bucket[PF_HISTOGRAM_BUCKETS];
};

static inline uint32_t pf_histogram_index(uint64_t value)
{
	if (value < PF_HISTOGRAM_SUB)
		return (uint32_t)value;
	unsigned shift = 63u - (unsigned)__builtin_clzll(value) - PF_HISTOGRAM_BITS;
	return shift * PF_HISTOGRAM_SUB + (uint32_t)(value >> shift);
}

/* Greatest value of the bucket. */
static inline uint64_t pf_histogram_edge(uint32_t index)
{
	if (index < 2 * PF_HISTOGRAM_SUB)
		return index;
	unsigned shift = index / PF_HISTOGRAM_SUB - 1;
	uint64_t top = index - (uint64_t)shift * PF_HISTOGRAM_SUB;
	return (top << shift) + ((UINT64_C(1) << shift) - 1);
}

static inline void pf_histogram_add(struct pf_histogram *h, uint64_t value)
{
	h->count++;
	h->bucket[pf_histogram_index(value)]++;
	if (value > h->max)
		h->max = value;
}

static inline void pf_histogram_merge(struct pf_histogram *into, const struct pf_histogram *from)
{
	into->count += from->count;
	if (from->max > into->max)
		into->max = from->max;
	for (uint32_t i = 0; i < PF_HISTOGRAM_BUCKETS; i++)
		into->bucket[i] += from->bucket[i];
}

/* The least edge with at least part/whole of all values at or below it; 0 when there is none. */
static inline uint64_t pf_histogram_quantile(const struct pf_histogram *h, uint64_t part, uint64_t whole)
{
	uint64_t need = (h->count * part + whole - 1) / whole, seen = 0;
	for (uint32_t i = 0; i < PF_HISTOGRAM_BUCKETS && h->count; i++) {
		seen += h->bucket[i];
		if (seen >= need && seen)
			return pf_histogram_edge(i) < h->max ? pf_histogram_edge(i) : h->max;
	}
	return h->max;
}

#endif
