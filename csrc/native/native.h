/* native.h - native code of a verified program: from an ELF object in memory to sealed, callable pages.
 *
 * Terms
 *   object   a relocatable ELF64 object for x86-64 (ELF gABI 4.1; System V psABI for x86-64, section 4.4) that holds one
 *            program's code. It names what it needs of the process by symbol, so it is the same in every process.
 *   image    the memory that the object's loaded sections take: executable ones first, then, from a page's start,
 *            read-only ones
 *   entry    a function that the object defines for the core: pf_run, pf_packets, pf_call (struct pf_native, prog.h)
 *   seal     the change of the image from writable to what it stays: executable and readable, or readable
 *
 * Symbols that an object may need
 *   pf_helper_N         the implementation of helper N (pf_helper_fn)
 *   pf_map_I            the map at place I of the program's maps; pf_map_I_values: arena + value_offset;
 *                       pf_map_I_lookup: its family's lookup (struct pf_map_ops); pf_map_I_buckets: bucket.h
 *   pf_native_tail      below
 *   memcpy memset memmove memcmp bcmp   the C library's
 *
 * Invariants
 *   N1 No page is writable and executable at once: the image is mapped readable and writable, filled in, and sealed; it
 *      is never writable again. An object with a writable section that is not empty is refused.
 *   N2 Nothing of an object is believed before it was checked: whatever its bytes are, loading reads inside them, writes
 *      inside the image, and ends; memory taken is at most the object's size and a page for each loaded section, besides
 *      8 bytes for each of its symbols. (What its code does when called is up to whoever made it: objects come from our
 *      compiler, or from the cache, which checks who wrote them.)
 *   N3 Every symbol that is not in the list above and that the object does not define is refused by name. So is every
 *      relocation whose value does not fit its place.
 *   N4 The image belongs to struct pf_code, and that to the program: it is unmapped when the program's last reference
 *      goes, which a world holds until its grace period ended (hook.h, W2).
 *   N5 Entries are published with the code (prog.h, P1): who sees prog->code[PF_ENGINE_JIT] sees sealed code.
 *
 * Threads: pf_native_stage by any thread that holds a reference to the program (two at once make one form).
 */
#ifndef PF_NATIVE_H
#define PF_NATIVE_H

#include "../vm/vm.h"

#define PF_NATIVE_OBJECT_MAX (64u << 20)
#define PF_NATIVE_SECTIONS_MAX 256u

/* Loads an object and publishes it as prog->code[PF_ENGINE_JIT]; at once done if present. PF_EINVAL: the object is not
 * one that this loader takes. PF_EOPNOTSUPP: this machine runs no such code. */
PF_API enum pf_err pf_native_stage(struct pf_prog *prog, const void *object, size_t len, struct pf_diag *diag);

/* For compiled code: a tail call through the map at this index. NULL: not made; else the target's pf_run, and x->prog and
 * x->tail_calls are already the target's. The caller puts x->prog back when it returned. */
void *pf_native_tail(struct pf_exec *x, uint64_t map, uint64_t index);

/* What generated code knows of the core's structs: offsets and sizes by name ("exec.cpu", "sizeof.desc"). */
struct pf_native_layout {
	const char *name;
	uint64_t value;
};
PF_API extern const struct pf_native_layout pf_native_layouts[];
PF_API extern const uint32_t pf_native_layout_count;

#endif
