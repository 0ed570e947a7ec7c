/* dynptr.c - dynptrs of packets and of memory (kernel Documentation/bpf/kfuncs.rst, bpf-helpers(7)), with Linux's checks in
 * Linux's order.
 *
 * A dynptr lies on the program's stack, where only these functions write it in a verified program. A checked run may find
 * anything there: pf_dynptr_usable.
 */
#include "dynptr.h"
#include "groups.h"

#include <string.h>

#define READ_ONLY (UINT32_C(1) << 31)
#define TYPE (UINT32_C(7) << 28)
#define LOCAL (UINT32_C(1) << 28)
#define XDP (UINT32_C(4) << 28)
#define SIZE_MAX_OF_LOCAL ((UINT32_C(1) << 24) - 1) /* Linux: DYNPTR_MAX_SIZE */
#define SIZE_BITS ((UINT32_C(1) << 28) - 1)
#define FRAG 4096u /* a page: how Linux's test run cuts what lies behind the linear part */
#define POINTER_MAX 0xffffu

struct dynptr {
	uint64_t data; /* 0: null; of a packet: anything else */
	uint32_t size; /* with flags */
	uint32_t offset;
};
_Static_assert(sizeof(struct dynptr) == PF_DYNPTR_BYTES, "struct bpf_dynptr has 16 bytes");

static struct dynptr get(uint64_t r)
{
	struct dynptr d;
	memcpy(&d, pf_helper_mem(r), sizeof(d));
	return d;
}

static void put(uint64_t r, struct dynptr d)
{
	memcpy((void *)(uintptr_t)r, &d, sizeof(d));
}

static const struct dynptr null_dynptr;

static uint32_t size_of(const struct dynptr *d)
{
	return d->size & SIZE_BITS;
}

static int is_packet(const struct dynptr *d)
{
	return (d->size & TYPE) == XDP;
}

int pf_dynptr_usable(struct pf_exec *x, uint64_t address)
{
	if (!pf_exec_on_stack(x, address, PF_DYNPTR_BYTES)) /* elsewhere others could change it behind this check */
		return 0;
	const struct dynptr d = get(address);
	if (!d.data || is_packet(&d))
		return 1;
	return (d.size & TYPE) == LOCAL && pf_exec_writable(x, d.data + d.offset, size_of(&d));
}

static int inside(const struct dynptr *d, uint64_t offset, uint64_t len)
{
	return len <= size_of(d) && offset <= size_of(d) - len;
}

/* Bytes that others may change meanwhile, as those of a map value are. */
static void move(uint8_t *to, const uint8_t *from, uint64_t len)
{
	if (to <= from || to >= from + len)
		for (uint64_t i = 0; i < len; i++)
			__atomic_store_n(to + i, __atomic_load_n(from + i, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
	else
		for (uint64_t i = len; i-- > 0;)
			__atomic_store_n(to + i, __atomic_load_n(from + i, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
}

static uint8_t *place(const struct dynptr *d, uint64_t offset)
{
	return (uint8_t *)(uintptr_t)d->data + d->offset + offset;
}

PF_HELPER_FN(dynptr_from_xdp)
{
	PF_UNUSED(r1, r4, r5);
	const struct dynptr whole = { .data = 1, .size = pf_packet_length(&x->packet) | XDP };
	put(r3, r2 ? null_dynptr : whole);
	return r2 ? (uint64_t)-PF_EINVAL : 0;
}

PF_HELPER_FN(dynptr_from_mem)
{
	PF_UNUSED(r5);
	(void)x;
	const struct dynptr whole = { .data = r1, .size = (uint32_t)r2 | LOCAL };
	const int64_t err = r2 > SIZE_MAX_OF_LOCAL ? PF_E2BIG : r3 ? PF_EINVAL : 0;
	put(r4, err ? null_dynptr : whole);
	return (uint64_t)-err;
}

PF_HELPER_FN(dynptr_read)
{
	const struct dynptr d = get(r3);
	if (!d.data || r5)
		return (uint64_t)-PF_EINVAL;
	if (!inside(&d, r4, r2))
		return (uint64_t)-PF_E2BIG;
	if (is_packet(&d))
		return (uint64_t)pf_packet_load_bytes(&x->packet, d.offset + (uint32_t)r4, (void *)(uintptr_t)r1, (uint32_t)r2);
	move((uint8_t *)(uintptr_t)r1, place(&d, r4), r2);
	return 0;
}

PF_HELPER_FN(dynptr_write)
{
	const struct dynptr d = get(r1);
	if (!d.data || d.size & READ_ONLY)
		return (uint64_t)-PF_EINVAL;
	if (!inside(&d, r2, r4))
		return (uint64_t)-PF_E2BIG;
	if (r5)
		return (uint64_t)-PF_EINVAL;
	if (is_packet(&d))
		return (uint64_t)pf_packet_store_bytes(&x->packet, d.offset + (uint32_t)r2, pf_helper_mem(r3), (uint32_t)r4);
	move(place(&d, r2), pf_helper_mem(r3), r4);
	return 0;
}

PF_HELPER_FN(dynptr_data)
{
	PF_UNUSED(r4, r5);
	(void)x;
	const struct dynptr d = get(r1);
	if (!d.data || !inside(&d, r2, r3) || d.size & READ_ONLY || is_packet(&d))
		return 0;
	return (uint64_t)(uintptr_t)place(&d, r2);
}

/* Where len bytes of the packet are in one piece; NULL: nowhere, or not so (Linux: bpf_xdp_pointer). */
static uint8_t *piece(struct pf_packet *p, uint32_t offset, uint32_t len)
{
	const uint32_t linear = (uint32_t)(p->data_end - p->data);
	if (offset < linear)
		return len <= linear - offset ? p->data + offset : NULL;
	const uint32_t at = offset - linear;
	return len <= FRAG - at % FRAG ? p->extra + at : NULL;
}

/* bpf_dynptr_slice: memory of the caller's size, or 0. */
static uint64_t slice(struct pf_exec *x, uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4)
{
	const struct dynptr d = get(r1);
	const uint32_t offset = (uint32_t)r2, len = (uint32_t)r4;
	if (!d.data || !inside(&d, offset, len))
		return 0;
	if (!is_packet(&d))
		return (uint64_t)(uintptr_t)place(&d, offset);
	const uint32_t at = d.offset + offset;
	const int there = at <= POINTER_MAX && len <= POINTER_MAX && (uint64_t)at + len <= pf_packet_length(&x->packet);
	uint8_t *direct = there ? piece(&x->packet, at, len) : NULL;
	if (direct) {
		x->frags_open |= direct >= x->packet.data_end;
		return (uint64_t)(uintptr_t)direct;
	}
	/* The packet may be shorter than it was when the dynptr was made: Linux hands over the buffer all the same. */
	if (r3)
		pf_packet_copy_out(&x->packet, at, (void *)(uintptr_t)r3, len);
	return r3;
}

PF_HELPER_FN(dynptr_slice)
{
	PF_UNUSED(r5);
	return slice(x, r1, r2, r3, r4);
}

PF_HELPER_FN(dynptr_slice_rdwr)
{
	PF_UNUSED(r5);
	const struct dynptr d = get(r1);
	return !d.data || d.size & READ_ONLY ? 0 : slice(x, r1, r2, r3, r4);
}

PF_HELPER_FN(dynptr_size)
{
	PF_UNUSED(r2, r3, r4, r5);
	(void)x;
	const struct dynptr d = get(r1);
	return d.data ? size_of(&d) : (uint32_t)-PF_EINVAL;
}

PF_HELPER_FN(dynptr_is_null)
{
	PF_UNUSED(r2, r3, r4, r5);
	(void)x;
	return !get(r1).data;
}

PF_HELPER_FN(dynptr_is_rdonly)
{
	PF_UNUSED(r2, r3, r4, r5);
	(void)x;
	const struct dynptr d = get(r1);
	return d.data && d.size & READ_ONLY;
}

PF_HELPER_FN(dynptr_adjust)
{
	PF_UNUSED(r4, r5);
	(void)x;
	struct dynptr d = get(r1);
	const uint32_t start = (uint32_t)r2, end = (uint32_t)r3;
	if (!d.data || start > end)
		return (uint64_t)-PF_EINVAL;
	if (start > size_of(&d) || end > size_of(&d))
		return (uint64_t)-PF_ERANGE;
	d.offset += start;
	d.size = (d.size & ~SIZE_BITS) | (end - start);
	put(r1, d);
	return 0;
}

PF_HELPER_FN(dynptr_clone)
{
	PF_UNUSED(r3, r4, r5);
	(void)x;
	const struct dynptr d = get(r1);
	put(r2, d.data ? d : null_dynptr);
	return d.data ? 0 : (uint64_t)-PF_EINVAL;
}
