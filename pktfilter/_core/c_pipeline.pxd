"""C declarations of csrc/run/pipeline.h."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from pktfilter._core.c_io cimport pf_sink, pf_source
from pktfilter._core.c_prog cimport pf_trace
from pktfilter._core.c_run cimport pf_replay_end, pf_worker
from pktfilter._core.c_tables cimport pf_diag, pf_err


cdef extern from "run/pipeline.h" nogil:
    enum: PF_PIPELINE_WORKERS
    struct pf_pipeline:
        pass
    struct pf_pipeline_config:
        pf_worker **workers
        uint32_t count
        uint32_t batch
        uint32_t blocks
        uint64_t first
        uint8_t unordered
    pf_err pf_pipeline_create(const pf_pipeline_config *config, pf_pipeline **pipeline, pf_diag *diag)
    void pf_pipeline_destroy(pf_pipeline *pipeline)
    pf_err pf_pipeline_step(pf_pipeline *pipeline, pf_source *source, pf_sink *sink, uint64_t until, uint64_t slice_ns,
                            pf_replay_end *end, pf_diag *diag)
    pf_err pf_pipeline_drain(pf_pipeline *pipeline, pf_source *source, pf_sink *sink, pf_diag *diag)
    uint64_t pf_pipeline_next_packet(const pf_pipeline *pipeline)
    void pf_pipeline_take_trace(pf_pipeline *pipeline, uint32_t worker, pf_trace *trace)
