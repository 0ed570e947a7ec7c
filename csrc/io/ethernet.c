/* ethernet.c - as_ethernet: an Ethernet header in place of another link header.
 *
 * The destination is always 02:00:00:00:00:01 and the source 02:00:00:00:00:02 (locally administered), but a Linux
 * cooked header gives the source when its address has 6 bytes. What has no Ethernet type gets 0xffff, which is reserved.
 * Sources: the LINKTYPE_NULL, LOOP, RAW, LINUX_SLL and LINUX_SLL2 pages of the link-type registry; arphrd numbers from
 * the Linux UAPI.
 */
#include "state.h"

#define ETHERNET_LEN 14u
#define TYPE_IPV4 0x0800u
#define TYPE_IPV6 0x86ddu
#define TYPE_NONE 0xffffu
#define TYPE_MIN 1536u /* smaller numbers are 802.3 lengths */

#define SLL_LEN 16u
#define SLL2_LEN 20u
#define SLL_8023 1u /* protocol: 802.3 without LLC */
#define SLL_8022 4u /* protocol: 802.2 LLC follows */

struct wrapped {
	uint32_t strip; /* bytes of the old link header */
	uint16_t type;
	bool length;    /* an 802.3 frame: the type field is the payload's length */
	const uint8_t *source;
};

static uint16_t be16(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }

static uint16_t ip_version_type(const uint8_t *data, uint32_t len)
{
	if (!len)
		return TYPE_NONE;
	switch (data[0] >> 4) {
	case 4:
		return TYPE_IPV4;
	case 6:
		return TYPE_IPV6;
	}
	return TYPE_NONE;
}

/* The address family is in the byte order of the capturing host, which nothing states: families are small numbers, so
 * the order in which it is small is the right one. IPv6 has as many numbers as there are BSDs. */
static uint16_t family_type(const uint8_t *data)
{
	uint32_t family = pf_load32(data, false);

	if (family > 0xffff)
		family = __builtin_bswap32(family);
	switch (family) {
	case 2:
		return TYPE_IPV4;
	case 10:
	case 24:
	case 28:
	case 30:
		return TYPE_IPV6;
	}
	return TYPE_NONE;
}

static void cooked(struct wrapped *w, uint16_t protocol, uint16_t arphrd, uint16_t address_len, const uint8_t *address)
{
	bool has_type = true;

	switch (arphrd) {
	case 801: /* IEEE 802.11, its prism and radiotap forms, and netlink put no Ethernet type there */
	case 802:
	case 803:
	case 824:
		has_type = false;
	}
	w->length = has_type && (protocol == SLL_8023 || protocol == SLL_8022);
	w->type = has_type && protocol >= TYPE_MIN ? protocol : TYPE_NONE;
	if (address_len == 6)
		w->source = address;
}

static struct wrapped take_apart(enum pf_wrap wrap, const uint8_t *data, uint32_t len)
{
	struct wrapped w = {0, TYPE_NONE, false, NULL};

	switch (wrap) {
	case PF_WRAP_NONE:
		break;
	case PF_WRAP_RAW:
		w.type = ip_version_type(data, len);
		break;
	case PF_WRAP_IPV4:
		w.type = TYPE_IPV4;
		break;
	case PF_WRAP_IPV6:
		w.type = TYPE_IPV6;
		break;
	case PF_WRAP_NULL:
		w.strip = 4;
		if (len >= w.strip)
			w.type = family_type(data);
		break;
	case PF_WRAP_SLL:
		w.strip = SLL_LEN;
		if (len >= w.strip)
			cooked(&w, be16(data + 14), be16(data + 2), be16(data + 4), data + 6);
		break;
	case PF_WRAP_SLL2:
		w.strip = SLL2_LEN;
		if (len >= w.strip)
			cooked(&w, be16(data), be16(data + 8), data[11], data + 12);
		break;
	}
	return w;
}

void pf_ethernet_wrap(enum pf_wrap wrap, struct pf_desc *desc)
{
	uint8_t header[ETHERNET_LEN] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2};
	struct wrapped w = take_apart(wrap, desc->data, desc->caplen);
	uint32_t stripped = w.strip < desc->caplen ? w.strip : desc->caplen;
	uint32_t payload = desc->wire_len > w.strip ? desc->wire_len - w.strip : 0;

	if (w.length)
		w.type = payload < TYPE_MIN ? (uint16_t)payload : TYPE_NONE;
	if (w.source)
		memcpy(header + 6, w.source, 6);
	header[12] = (uint8_t)(w.type >> 8);
	header[13] = (uint8_t)w.type;
	desc->data += stripped;
	desc->data -= ETHERNET_LEN;
	memcpy(desc->data, header, ETHERNET_LEN);
	desc->caplen = desc->caplen - stripped + ETHERNET_LEN;
	desc->wire_len = payload > UINT32_MAX - ETHERNET_LEN ? UINT32_MAX : payload + ETHERNET_LEN;
}
