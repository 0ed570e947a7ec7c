/* sockets.h - the sockets of a network, and what a listening one needs to make SYN cookies.
 *
 * Terms
 *   image   what programs read: struct bpf_sock
 *
 * Invariants: as of network.h; a program's pointer to a socket is the address of a row's image.
 *
 * Threads: any.
 */
#ifndef PF_SOCKETS_H
#define PF_SOCKETS_H

#include "../prog/socket.h"
#include "network.h"

struct pf_exec;

/* image has the addresses of IPv4 sockets also in src_ip4, dst_ip4; a zero remote port: connected to nobody. */
struct pf_net_socket {
	struct pf_sock image;
	int32_t netns;             /* -1: the packet's own; else the id by which that knows another */
	uint8_t only6;             /* IPv6: takes no IPv4 */
	uint8_t cookies;           /* listening: Linux would make SYN cookies */
};

/* The socket that a program's pointer is of; NULL for any other address. */
const struct pf_net_socket *pf_net_socket(const struct pf_net *net, uint64_t address);

/* Of a listening socket; addresses and ports are the packet's. size: of the TCP header, options included. */
uint64_t pf_cookie_make(const struct pf_exec *x, int ipv6, uint64_t ip, uint64_t tcp, uint32_t size);
uint64_t pf_cookie_check(const struct pf_exec *x, int ipv6, uint64_t ip, uint64_t tcp);

#endif
