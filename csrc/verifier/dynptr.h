/* dynptr.h - dynptrs: places of the stack that name memory, and the slices that calls take of it.
 *
 * Terms
 *   dynptr   16 aligned bytes of a frame, two slots, which helpers and kernel functions alone write and read
 *   slice    memory of a constant size (PF_V_MEM) that a call gave for a dynptr; `map` is the dynptr's place
 *   place    frame and lower slot of a dynptr, as one number
 *   buffer   where bpf_dynptr_slice puts bytes that are not in one piece: the slice is the buffer then
 *
 * Invariants
 *   N1 All bytes of both slots are PF_V_DYNPTR_BYTE, and reg of each says kind PF_V_DYNPTR, the type (`map`) and which slot it is
 *      (`off`, 0 the lower); or none of that holds of either.
 *   N2 Whatever else is written into one of the two slots ends the dynptr. As in Linux that ends what bpf_dynptr_data gave
 *      (all copies become numbers); other slices do no harm, since their memory stays. A frame that ends leaves slices
 *      behind that no dynptr can end; those that may be a buffer of that frame (`frame`, one more than its number) end with it.
 *   N3 What bpf_dynptr_slice gave of a packet (`inner`; bpf_dynptr_data never gives any of it) ends as well where packet pointers do.
 *   N4 A slice may be its buffer. What is written through a slice is therefore not known of any byte of the stack that was a
 *      buffer (`buffers` of the frame). A record of a ring buffer cannot be one: it may be gone before the slice is.
 */
#ifndef PF_VERIFIER_DYNPTR_H
#define PF_VERIFIER_DYNPTR_H

#include "memory.h"

enum pf_vdynptr { PF_V_DYNPTR_XDP, PF_V_DYNPTR_LOCAL };

/* check: an argument of kind DYNPTR, DYNPTR_NEW_* (place for a new one) or SLICE_BUFFER, the size behind the latter known. */
enum pf_err pf_dynptr_check_arg(struct pf_verifier *v, const struct pf_helper_info *info, uint32_t a, uint32_t size);
/* check: an access of the stack touches no dynptr. */
enum pf_err pf_dynptr_check_access(struct pf_verifier *v, const struct pf_vreg *r, const struct pf_access *a);

/* transfer, before the registers of the call are clobbered: new dynptrs, and bytes that became a buffer. */
void pf_dynptr_transfer_call(struct pf_verifier *v, const struct pf_helper_info *info, uint32_t size);
/* transfer: *to is what the function gave for the dynptr that args[0] points to. */
void pf_dynptr_slice(struct pf_verifier *v, const struct pf_vreg args[5], uint32_t size, uint32_t function, struct pf_vreg *to);
/* transfer: slot i is written by something else (N2). */
void pf_dynptr_end(struct pf_verifier *v, uint32_t frame, uint32_t i);
/* transfer: something was written through a slice (N4); a frame ended (N2). */
void pf_dynptr_written(struct pf_verifier *v);
void pf_dynptr_leave(struct pf_verifier *v, uint32_t frame);

#endif
