"""C declarations of csrc/packet/batch.h and csrc/io."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from pktfilter._core.c_tables cimport pf_diag, pf_err


cdef extern from "packet/batch.h" nogil:
    struct pf_desc:
        uint8_t *data
        uint32_t caplen
        uint32_t wire_len
        int64_t ts_ns
        int64_t ts_raw
        uint32_t iface
    struct pf_iface:
        uint16_t linktype
        uint16_t linktype_high
        uint32_t snaplen
        uint8_t tsresol
        int64_t tsoffset
        uint8_t swapped
    struct pf_batch:
        pf_desc *desc
        uint32_t n
        uint32_t capacity
        uint64_t first
    struct pf_verdict:
        uint32_t retval
        uint8_t action
        uint8_t covered
        uint8_t engine
        uint8_t faulted
        uint8_t arm
        uint64_t generation
    struct pf_source:
        const pf_iface *(*iface)(const pf_source *source, uint32_t index) noexcept nogil
        pf_err (*next)(pf_source *source, pf_batch *batch, pf_diag *diag) noexcept nogil
    struct pf_sink:
        pass


cdef extern from "io/reader.h" nogil:
    enum pf_format:
        PF_FORMAT_PCAP
        PF_FORMAT_PCAPNG
    struct pf_reader:
        pass
    struct pf_reader_options:
        uint32_t chunk
        uint8_t as_ethernet
        uint8_t any_linktype
        uint8_t announce
        uint8_t head_len
        uint8_t *head
    uint32_t pf_reader_awaited(const pf_reader *reader)
    void pf_reader_accept(pf_reader *reader, uint32_t index)
    struct pf_reader_info:
        pf_format format
        uint8_t started
        uint8_t swapped
        uint32_t ifaces
        uint64_t bytes_read
        uint64_t packets
        uint64_t skipped_blocks
        uint64_t read_ns
    pf_err pf_reader_open(int fd, const pf_reader_options *options, pf_reader **reader, pf_diag *diag)
    void pf_reader_close(pf_reader *reader)
    pf_source *pf_reader_source(pf_reader *reader)
    void pf_reader_get_info "pf_reader_info"(const pf_reader *reader, pf_reader_info *info)
    const char *pf_linktype_name(uint16_t linktype)


cdef extern from "io/writer.h" nogil:
    struct pf_writer:
        pass
    struct pf_writer_options:
        pf_format format
        uint32_t actions
        uint8_t comment
        uint32_t buffer_flush
    pf_err pf_writer_open(int fd, const pf_writer_options *options, pf_writer **writer, pf_diag *diag)
    pf_err pf_writer_finish(pf_writer *writer, const pf_iface *iface, pf_diag *diag)
    void pf_writer_close(pf_writer *writer)
    uint64_t pf_writer_packets(const pf_writer *writer)
    uint64_t pf_writer_bytes(const pf_writer *writer)
    pf_sink *pf_writer_sink(pf_writer *writer)


cdef extern from "io/select.h" nogil:
    struct pf_select:
        pass
    struct pf_select_options:
        int64_t from_ns
        int64_t to_ns
        uint8_t from_relative
        uint8_t to_relative
        uint64_t limit
    struct pf_select_info:
        uint64_t packets
        uint64_t pass_packets
        uint64_t left_out
        uint64_t shift_ns
        uint8_t done
    pf_err pf_select_create(const pf_select_options *options, pf_select **select, pf_diag *diag)
    void pf_select_destroy(pf_select *select)
    void pf_select_attach(pf_select *select, pf_source *inner)
    void pf_select_pass(pf_select *select)
    void pf_select_get_info "pf_select_info"(const pf_select *select, pf_select_info *info)
    pf_source *pf_select_source(pf_select *select)


cdef extern from "io/ring.h" nogil:
    enum: PF_RING_PORTS
    enum pf_partial:
        PF_PARTIAL_MARK
        PF_PARTIAL_SKIP
        PF_PARTIAL_COMPLETE
    struct pf_block_counts:
        uint64_t packets
        uint64_t bytes
        uint64_t outgoing_left_out
        uint64_t partial
        uint64_t partial_completed
        uint64_t partial_left_out
        uint64_t vlan
    struct pf_ring:
        pass
    struct pf_ring_options:
        uint32_t *ifindex
        uint32_t ports
        uint32_t block_size
        uint32_t blocks
        uint32_t retire_ms
        uint32_t slice_ms
        uint32_t snaplen
        uint8_t outgoing
        uint8_t promiscuous
        pf_partial partial
    struct pf_ring_info:
        pf_block_counts counts
        uint64_t received
        uint64_t dropped
        uint64_t blocks
    pf_err pf_ring_open(const pf_ring_options *options, pf_ring **ring, pf_diag *diag)
    void pf_ring_close(pf_ring *ring)
    pf_source *pf_ring_source(pf_ring *ring)
    void pf_ring_stop(pf_ring *ring)
    void pf_ring_get_info "pf_ring_info"(pf_ring *ring, uint32_t port, pf_ring_info *info)


cdef extern from "io/transmit.h" nogil:
    struct pf_transmit:
        pass
    struct pf_transmit_counts:
        uint64_t sent
        uint64_t sent_bytes
        uint64_t dropped
        uint64_t too_long
        uint64_t cut
        uint64_t refused
    pf_err pf_transmit_open(const uint32_t *ifindex, uint32_t ports, uint32_t retry_ms, pf_transmit **transmit, pf_diag *diag)
    void pf_transmit_leave_redirects(pf_transmit *transmit)
    void pf_transmit_close(pf_transmit *transmit)
    void pf_transmit_get_counts "pf_transmit_counts"(const pf_transmit *transmit, uint32_t port,
                                                     pf_transmit_counts *counts)
    pf_sink *pf_transmit_sink(pf_transmit *transmit)
    struct pf_tee:
        pf_sink sink
    void pf_tee_init(pf_tee *tee, pf_sink *first, pf_sink *second)
