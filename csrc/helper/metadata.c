/* metadata.c - what the device said of a packet (kernel Documentation/networking/xdp-rx-metadata.rst): kernel functions. A
 * capture says when a packet came. Its hash, and a VLAN tag that the device had taken out, are in none. */
#include "groups.h"

#include <string.h>

/* The packet's time as the clocks of this run show it: never going back. */
PF_HELPER_FN(xdp_metadata_rx_timestamp)
{
	PF_UNUSED(r1, r3, r4, r5);
	if (!x->time_ns)
		return (uint64_t)-PF_ENODATA;
	memcpy((void *)(uintptr_t)r2, &x->time_ns, sizeof(x->time_ns));
	return 0;
}

PF_HELPER_FN(xdp_metadata_rx_hash)
{
	PF_UNUSED((uintptr_t)x, r1, r2, r3, r4, r5);
	return (uint64_t)-PF_EOPNOTSUPP;
}

PF_HELPER_FN(xdp_metadata_rx_vlan_tag)
{
	PF_UNUSED((uintptr_t)x, r1, r2, r3, r4, r5);
	return (uint64_t)-PF_EOPNOTSUPP;
}
