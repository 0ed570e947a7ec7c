/* socket.h - struct bpf_sock (uapi/linux/bpf.h), which programs read through what bpf_sk_lookup_tcp and its like return.
 *
 * Invariants
 *   S1 struct pf_sock has Linux's layout: a load from it gives what Linux's rewritten load gives. The 2 bytes behind
 *      dst_port are zero, so that its 4 bytes read as Linux lets old programs read them.
 *   S2 Sockets are rows of an immutable snapshot (network.h, N1): releasing one does nothing at run time.
 *
 * Threads: any.
 */
#ifndef PF_SOCKET_H
#define PF_SOCKET_H

#include <stddef.h>
#include <stdint.h>

struct pf_sock {
	uint32_t bound_dev_if, family, type, protocol, mark, priority;
	uint8_t src_ip4[4], src_ip6[16];
	uint32_t src_port;                  /* in the host's order */
	uint8_t dst_port[2], zero[2];       /* in network order */
	uint8_t dst_ip4[4], dst_ip6[16];
	uint32_t state;
	int32_t rx_queue_mapping;
};
_Static_assert(sizeof(struct pf_sock) == 80 && offsetof(struct pf_sock, src_port) == 44 &&
		       offsetof(struct pf_sock, dst_ip6) == 56 && offsetof(struct pf_sock, state) == 72,
	       "the layout of struct bpf_sock");

/* May a program read size bytes at off? Fields may be read in part from their first byte, addresses from any;
 * bound_dev_if, mark and priority only whole. full: of a full socket; others have no type, protocol, mark, priority. */
static inline int pf_socket_field(int64_t off, uint32_t size, int full)
{
	if (off < 0 || off >= (int64_t)sizeof(struct pf_sock) || off % size || size > 4)
		return 0;
	const uint32_t at = (uint32_t)off;
	if (!full && at >= offsetof(struct pf_sock, type) && at < offsetof(struct pf_sock, src_ip4))
		return 0;
	if (at == offsetof(struct pf_sock, family) || at == offsetof(struct pf_sock, type) ||
	    at == offsetof(struct pf_sock, protocol) || at == offsetof(struct pf_sock, state) ||
	    at == offsetof(struct pf_sock, rx_queue_mapping))
		return 1;
	if (at >= offsetof(struct pf_sock, zero) && at < offsetof(struct pf_sock, dst_ip4))
		return 0;
	return size == 4 || at == offsetof(struct pf_sock, src_port) ||
	       (at >= offsetof(struct pf_sock, src_ip4) && at < offsetof(struct pf_sock, src_port)) ||
	       (at >= offsetof(struct pf_sock, dst_port) && at < offsetof(struct pf_sock, state));
}

#endif
