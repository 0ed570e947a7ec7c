"""C declarations of csrc/helper/network.h."""
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t

from pktfilter._core.c_tables cimport pf_err


cdef extern from "helper/sockets.h" nogil:
    struct pf_sock:
        pass
    struct pf_net_socket:
        pf_sock image
        int32_t netns
        uint8_t only6
        uint8_t cookies


cdef extern from "helper/exec.h" nogil:
    enum:
        PF_HZ


cdef extern from "helper/connections.h" nogil:
    struct pf_ct_tuple:
        pass
    struct pf_conn_zone:
        uint16_t id
        uint8_t dir
    struct pf_conn_row:
        pf_ct_tuple way[2]
        pf_conn_zone zone
        int32_t netns
        uint32_t status
        uint32_t mark
        uint32_t timeout
    struct pf_connections:
        pass
    uint32_t pf_connections_list(pf_connections *table, uint32_t now, pf_conn_row *rows, uint32_t room)


cdef extern from "helper/network.h" nogil:
    struct pf_ref:
        pass
    struct pf_address:
        uint8_t byte[16]
    struct pf_net_link:
        uint32_t ifindex
        uint32_t mtu
        uint16_t header_len
        uint8_t mac[6]
        uint8_t forward4
        uint8_t forward6
        uint8_t plain
    struct pf_net_hop:
        pf_address gateway
        uint32_t ifindex
        uint32_t weight
        uint8_t family
        uint8_t dead
        uint8_t encap
    struct pf_net_route:
        pf_address to
        pf_address source
        uint32_t table
        uint32_t metric
        uint32_t mtu
        uint32_t hops
        uint32_t hop_count
        uint32_t order
        uint8_t family
        uint8_t prefix
        uint8_t type "type"
        uint8_t tos
        uint8_t scope
        uint8_t has_source
        uint8_t preference
    struct pf_net_neighbour:
        pf_address address
        uint32_t ifindex
        uint8_t family
        uint8_t mac[6]
    struct pf_net_source:
        pf_address address
        uint32_t ifindex
        uint8_t family
        uint8_t prefix
        uint8_t scope
        uint8_t deprecated
    struct pf_net_rule:
        pf_address from_ "from"
        pf_address to
        uint32_t priority
        uint32_t order
        uint32_t table
        uint32_t mark
        uint32_t mask
        uint32_t iif
        uint32_t oif
        uint8_t family
        uint8_t from_prefix
        uint8_t to_prefix
        uint8_t tos
        uint8_t invert
        uint8_t action
    struct pf_net_tables:
        pf_net_link *links
        pf_net_hop *hops
        pf_net_route *routes
        pf_net_neighbour *neighbours
        pf_net_source *sources
        pf_net_rule *rules
        pf_net_socket *sockets
        pf_conn_row *conns
        uint32_t link_count
        uint32_t hop_count
        uint32_t route_count
        uint32_t neighbour_count
        uint32_t source_count
        uint32_t rule_count
        uint32_t socket_count
        uint32_t conn_count
        uint32_t conn_max
        uint8_t merged
        uint8_t cookie_keys[4][16]
    struct pf_net:
        pf_ref ref
        pf_connections *connections
    pf_err pf_net_create(const pf_net_tables *tables, pf_net **net)
    uint64_t pf_siphash(const uint8_t *key, const void *data, uint32_t size)


cdef extern from "rcu/ref.h" nogil:
    void pf_ref_put(pf_ref *ref)
