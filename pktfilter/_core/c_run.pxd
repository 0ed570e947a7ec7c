"""C declarations of csrc/run/run.h."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from pktfilter._core.c_hook cimport pf_datapath
from pktfilter._core.c_io cimport pf_batch, pf_sink, pf_source, pf_verdict
from pktfilter._core.c_prog cimport pf_engine, pf_exec, pf_fault, pf_prog, pf_trace
from pktfilter._core.c_events cimport pf_events
from pktfilter._core.c_observe cimport pf_observer
from pktfilter._core.c_network cimport pf_net
from pktfilter._core.c_tables cimport pf_diag, pf_err


cdef extern from "run/run.h" nogil:
    enum pf_replay_end:
        PF_REPLAY_MORE
        PF_REPLAY_UNTIL
        PF_REPLAY_DONE
        PF_REPLAY_LINK
    enum pf_redirect:
        PF_REDIRECT_NONE
        PF_REDIRECT_IFINDEX
        PF_REDIRECT_MAP
    struct pf_run_stats:
        uint64_t packets
        uint64_t bytes
        uint64_t *actions
        uint64_t *action_bytes
        uint64_t uncovered
        uint64_t faults
        uint64_t batches
        uint64_t *engine_packets
        uint64_t trace_lost
    struct pf_generation_row:
        uint64_t generation
        uint64_t link_generation
        uint32_t programs
        const char *program
        pf_run_stats before
    struct pf_generations:
        uint64_t count
    uint64_t pf_generations_left_out(const pf_generations *g)
    const pf_generation_row *pf_generations_row(const pf_generations *g, uint64_t i)
    struct pf_worker_options:
        uint32_t cpu
        uint64_t seed
        uint32_t linear_limit
        uint64_t budget
        uint32_t ingress_ifindex
        uint32_t rx_queue_index
        pf_net *net
        const char *name
        uint8_t trace
        uint64_t events
    struct pf_worker:
        pf_exec *exec
        pf_run_stats stats
        pf_generations generations
        pf_fault first_fault
        char *first_fault_prog
        uint64_t first_fault_packet
        uint64_t batch_revision
        uint64_t batch_generation
    pf_err pf_worker_create(pf_datapath *dp, uint32_t hook, const pf_worker_options *options, pf_worker **worker,
                            pf_diag *diag)
    void pf_worker_destroy(pf_worker *worker)
    void pf_worker_leave(pf_worker *worker)
    void pf_worker_run(pf_worker *worker, pf_batch *batch, pf_verdict *verdicts, pf_source *source, pf_sink *sink)
    pf_err pf_replay_step(pf_worker *worker, pf_source *source, pf_batch *batch, pf_sink *sink, uint64_t until,
                          uint64_t slice_ns, pf_replay_end *end, pf_diag *diag)
    pf_batch *pf_batch_create(uint32_t capacity)
    void pf_batch_destroy(pf_batch *batch)
    struct pf_redirected:
        pf_redirect kind
        uint32_t target
    struct pf_test_run:
        const uint8_t *data
        const uint8_t *meta
        uint32_t len "len"
        uint32_t meta_len
        uint32_t repeat
        uint32_t cpu
        uint32_t ingress_ifindex
        uint32_t rx_queue_index
        uint32_t linear_limit
        uint32_t wire_len
        uint64_t time_ns
        uint64_t seed
        uint64_t budget
        pf_engine engine
        pf_net *net
        uint32_t retval
        uint64_t duration_ns
        uint8_t *out
        uint32_t out_len
        uint32_t meta_out_len
        pf_trace *trace
        pf_events *events
        pf_observer *observer
        pf_redirected redirected
    pf_err pf_prog_test_run(pf_prog *prog, pf_test_run *run, pf_diag *diag)


cdef extern from "run/measure.h" nogil:
    struct pf_measure:
        pass
    pf_err pf_measure_create(const uint8_t *bytes, const uint32_t *lens, uint32_t n, uint32_t stride, uint32_t batch,
                             pf_measure **measure)
    void pf_measure_destroy(pf_measure *measure)
    void pf_measure_run(pf_measure *measure, pf_worker *worker, uint32_t rounds, uint64_t *ns)
    pf_err pf_measure_memory(pf_measure *measure, const pf_prog *prog, pf_engine engine, uint32_t rounds, uint64_t *ns,
                             uint64_t *sum)
    uint8_t *pf_measure_bytes(pf_measure *measure)
    pf_err pf_measure_read(pf_source *source, uint32_t batch, uint64_t *packets, uint64_t *bytes, uint64_t *ns,
                           pf_diag *diag)
