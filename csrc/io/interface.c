/* interface.c - packet sockets on an interface, and what may be wrong with it. */
#include "ring.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "system.h"

static enum pf_err refuse(struct pf_diag *diag, enum pf_diag_code code, uint32_t port, int number)
{
	char text[PF_NAME_MAX];

	pf_system_text(number, text);
	return pf_diag_set(diag, pf_system_err(number), code, port, 0, 0, 0, text);
}

enum pf_err pf_interface_lost(int fd, uint32_t ifindex, uint32_t port, struct pf_diag *diag)
{
	struct ifreq request = {.ifr_ifindex = (int)ifindex};
	int gone = ioctl(fd, SIOCGIFNAME, &request) < 0;

	return pf_diag_set(diag, PF_ENODEV, gone ? PF_DIAG_LIVE_GONE : PF_DIAG_LIVE_DOWN, port, 0, ifindex, 0,
			   gone ? NULL : request.ifr_name);
}

static enum pf_err check_interface(int fd, uint32_t ifindex, uint32_t port, struct pf_diag *diag)
{
	struct ifreq request = {.ifr_ifindex = (int)ifindex};

	if (ioctl(fd, SIOCGIFNAME, &request) < 0)
		return pf_interface_lost(fd, ifindex, port, diag);
	if (ioctl(fd, SIOCGIFHWADDR, &request) < 0)
		return refuse(diag, PF_DIAG_LIVE_SOCKET, port, errno);
	if (request.ifr_hwaddr.sa_family != ARPHRD_ETHER && request.ifr_hwaddr.sa_family != ARPHRD_LOOPBACK)
		return pf_diag_set(diag, PF_EOPNOTSUPP, PF_DIAG_LIVE_LINK, port, 0, request.ifr_hwaddr.sa_family,
				   ARPHRD_ETHER, NULL);
	if (ioctl(fd, SIOCGIFFLAGS, &request) < 0)
		return refuse(diag, PF_DIAG_LIVE_SOCKET, port, errno);
	return request.ifr_flags & IFF_UP ? PF_OK : pf_interface_lost(fd, ifindex, port, diag);
}

static enum pf_err bind_to(int fd, uint32_t ifindex, uint32_t port, struct pf_diag *diag)
{
	struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_ifindex = (int)ifindex};
	enum pf_err err = check_interface(fd, ifindex, port, diag);

	if (!err && bind(fd, (struct sockaddr *)&address, sizeof address))
		err = errno == ENODEV ? pf_interface_lost(fd, ifindex, port, diag)
				      : refuse(diag, PF_DIAG_LIVE_SOCKET, port, errno);
	return err;
}

int pf_packet_socket(uint32_t ifindex, uint32_t port, struct pf_diag *diag)
{
	/* Protocol 0 receives nothing until a bind names one. */
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (fd < 0) {
		refuse(diag, errno == EPERM ? PF_DIAG_LIVE_PERMISSION : PF_DIAG_LIVE_SOCKET, port, errno);
		return -1;
	}
	if (bind_to(fd, ifindex, port, diag)) {
		close(fd);
		return -1;
	}
	return fd;
}
