"""Network snapshots (csrc/helper/network.h)."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from pktfilter._core.c_network cimport (
    PF_HZ, pf_address, pf_conn_row, pf_connections_list, pf_ct_tuple, pf_net_create, pf_net_hop, pf_net_link, pf_net_neighbour, pf_net_route, pf_net_rule, pf_net_socket,
    pf_net_source, pf_net_tables, pf_ref_put, pf_siphash, pf_sock,
)
from pktfilter._core.c_tables cimport PF_ENOMEM, pf_err


cdef int put(void *to, bytes what, size_t size) except -1:
    """`what`, which has at most `size` bytes, with zeros behind it."""
    if len(what) > size:
        raise ValueError(f"{len(what)} bytes for a field of {size}")
    memset(to, 0, size)
    memcpy(to, <const char *>what, len(what))
    return 0


cdef void *rows(count, size_t size) except NULL:
    cdef void *made = calloc(count + 1, size)
    if made is NULL:
        raise MemoryError
    return made


cdef int fill_links(pf_net_tables *t, list given) except -1:
    cdef pf_net_link *row
    t.links = row = <pf_net_link *>rows(len(given), sizeof(pf_net_link))
    t.link_count = len(given)
    for ifindex, mtu, header_len, mac, forward4, forward6, plain in given:
        row.ifindex, row.mtu, row.header_len = ifindex, mtu, header_len
        put(row.mac, mac, 6)
        row.forward4, row.forward6, row.plain = forward4, forward6, plain
        row += 1
    return 0


cdef int fill_hops(pf_net_tables *t, list given) except -1:
    cdef pf_net_hop *row
    t.hops = row = <pf_net_hop *>rows(len(given), sizeof(pf_net_hop))
    t.hop_count = len(given)
    for gateway, ifindex, weight, family, dead, encap in given:
        put(&row.gateway, gateway, sizeof(pf_address))
        row.ifindex, row.weight, row.family, row.dead, row.encap = ifindex, weight, family, dead, encap
        row += 1
    return 0


cdef int fill_routes(pf_net_tables *t, list given) except -1:
    cdef pf_net_route *row
    t.routes = row = <pf_net_route *>rows(len(given), sizeof(pf_net_route))
    t.route_count = len(given)
    for order, (family, to, prefix, kind, table, metric, mtu, hops, count, tos, scope, source, preference) in \
            enumerate(given):
        put(&row.to, to, sizeof(pf_address))
        put(&row.source, source or b"", sizeof(pf_address))
        row.has_source = source is not None
        row.family, row.prefix, row.type, row.table = family, prefix, kind, table
        row.metric, row.mtu, row.hops, row.hop_count = metric, mtu, hops, count
        row.tos, row.scope, row.preference, row.order = tos, scope, preference, order
        row += 1
    return 0


cdef int fill_neighbours(pf_net_tables *t, list given) except -1:
    cdef pf_net_neighbour *row
    t.neighbours = row = <pf_net_neighbour *>rows(len(given), sizeof(pf_net_neighbour))
    t.neighbour_count = len(given)
    for family, address, ifindex, mac in given:
        put(&row.address, address, sizeof(pf_address))
        put(row.mac, mac, 6)
        row.family, row.ifindex = family, ifindex
        row += 1
    return 0


cdef int fill_sources(pf_net_tables *t, list given) except -1:
    cdef pf_net_source *row
    t.sources = row = <pf_net_source *>rows(len(given), sizeof(pf_net_source))
    t.source_count = len(given)
    for family, address, prefix, ifindex, scope, deprecated in given:
        put(&row.address, address, sizeof(pf_address))
        row.family, row.prefix, row.ifindex = family, prefix, ifindex
        row.scope, row.deprecated = scope, deprecated
        row += 1
    return 0


cdef int fill_rules(pf_net_tables *t, list given) except -1:
    cdef pf_net_rule *row
    t.rules = row = <pf_net_rule *>rows(len(given), sizeof(pf_net_rule))
    t.rule_count = len(given)
    for order, (family, priority, source, source_prefix, to, to_prefix, mark, mask, iif, oif, tos, invert, action,
                table) in enumerate(given):
        put(&row.from_, source, sizeof(pf_address))
        put(&row.to, to, sizeof(pf_address))
        row.family, row.priority, row.order, row.table = family, priority, order, table
        row.from_prefix, row.to_prefix = source_prefix, to_prefix
        row.mark, row.mask, row.iif, row.oif = mark, mask, iif, oif
        row.tos, row.invert, row.action = tos, invert, action
        row += 1
    return 0


cdef int fill_sockets(pf_net_tables *t, list given) except -1:
    cdef pf_net_socket *row
    t.sockets = row = <pf_net_socket *>rows(len(given), sizeof(pf_net_socket))
    t.socket_count = len(given)
    for image, netns, only6, cookies in given:
        put(&row.image, image, sizeof(pf_sock))
        row.netns, row.only6, row.cookies = netns, only6, cookies
        row += 1
    return 0


cdef int fill_connections(pf_net_tables *t, list given) except -1:
    cdef pf_conn_row *row
    t.conns = row = <pf_conn_row *>rows(len(given), sizeof(pf_conn_row))
    t.conn_count = len(given)
    for original, reply, zone, ways, netns, status, mark, milliseconds in given:
        put(&row.way[0], original, sizeof(pf_ct_tuple))
        put(&row.way[1], reply, sizeof(pf_ct_tuple))
        row.zone.id, row.zone.dir, row.netns = zone, ways, netns
        row.status, row.mark, row.timeout = status, mark, milliseconds * PF_HZ // 1000
        row += 1
    return 0


cdef class NetRef:
    """A snapshot. Rows are tuples in the order of the C structs, addresses and MACs as bytes."""

    def __cinit__(self, *, links, hops, routes, neighbours, sources, rules, sockets, connections,
                  uint32_t connection_max, bint merged, cookie_keys):
        cdef pf_net_tables t
        cdef pf_err err
        memset(&t, 0, sizeof(t))
        t.merged = merged
        if len(cookie_keys) != 64:
            raise ValueError("four keys of 16 bytes")
        memcpy(t.cookie_keys, <const char *><bytes>cookie_keys, 64)
        try:
            fill_links(&t, links)
            fill_hops(&t, hops)
            fill_routes(&t, routes)
            fill_neighbours(&t, neighbours)
            fill_sources(&t, sources)
            fill_rules(&t, rules)
            fill_sockets(&t, sockets)
            fill_connections(&t, connections)
            t.conn_max = connection_max
            with nogil:
                err = pf_net_create(&t, &self.ptr)
        finally:
            free(t.links)
            free(t.hops)
            free(t.routes)
            free(t.neighbours)
            free(t.sources)
            free(t.rules)
            free(t.sockets)
            free(t.conns)
        if err == PF_ENOMEM:
            raise MemoryError
        if err:
            raise ValueError("the tables of a network do not fit together")

    def __dealloc__(self):
        if self.ptr is not NULL:
            pf_ref_put(&self.ptr.ref)

    def connections(self, uint64_t time_ns):
        """The connection table's rows at that time of the program's clock, as they are given."""
        cdef uint32_t now = <uint32_t>(time_ns // (1000000000 // PF_HZ)), room, found, i
        cdef pf_conn_row *listed
        if self.ptr.connections is NULL:
            return []
        room = pf_connections_list(self.ptr.connections, now, NULL, 0)
        listed = <pf_conn_row *>rows(room, sizeof(pf_conn_row))
        try:
            with nogil:
                found = pf_connections_list(self.ptr.connections, now, listed, room)
            return [
                (
                    (<char *>&listed[i].way[0])[:sizeof(pf_ct_tuple)],
                    (<char *>&listed[i].way[1])[:sizeof(pf_ct_tuple)],
                    listed[i].zone.id,
                    listed[i].zone.dir,
                    listed[i].netns,
                    listed[i].status,
                    listed[i].mark,
                    listed[i].timeout * 1000 // PF_HZ,
                )
                for i in range(min(room, found))
            ]
        finally:
            free(listed)


def siphash(bytes key not None, bytes data not None):
    """SipHash-2-4 of the data under a key of 16 bytes."""
    if len(key) != 16:
        raise ValueError("a key of 16 bytes")
    return <uint64_t>pf_siphash(<const uint8_t *><const char *>key, <const char *>data, len(data))
