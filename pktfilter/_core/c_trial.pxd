"""C declarations of csrc/hook/trial.h and csrc/packet/flow_hash.h."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from pktfilter._core.c_hook cimport pf_cause, pf_change, pf_expect, pf_link
from pktfilter._core.c_prog cimport pf_prog
from pktfilter._core.c_tables cimport pf_diag, pf_err


cdef extern from "packet/flow_hash.h" nogil:
    uint64_t pf_flow_hash(const uint8_t *data, uint32_t caplen, uint64_t seed)


cdef extern from "hook/link.h" nogil:
    enum: PF_CAUSE_ABANDON


cdef extern from "hook/trial.h" nogil:
    struct pf_trial:
        pass
    enum: PF_TRIAL_SAMPLES_MAX
    enum pf_trial_kind:
        PF_TRIAL_SHADOW
        PF_TRIAL_CANARY
    enum pf_trial_state_t "pf_trial_state":
        pass
    struct pf_guard:
        double max_difference
        double max_drop_change
        double max_ns_ratio
        uint64_t max_faults
        uint64_t min_packets
    struct pf_trial_options:
        pf_trial_kind kind
        uint32_t samples
        uint64_t threshold
        uint64_t seed
        pf_guard guard
    struct pf_trial_sample:
        uint64_t packet
        int64_t ts_ns
        uint8_t *actions
        uint32_t *lengths
        uint32_t first_difference
        uint32_t length
        uint32_t kept
        uint8_t *bytes
    struct pf_trial_arm_sums:
        uint64_t packets
        uint64_t faults
        uint64_t timed
        uint64_t actions[5]
        double median_ns
    struct pf_trial_sums:
        pf_trial_arm_sums arms[2]
        uint64_t compared
        uint64_t differing
        uint64_t action_differs
        uint64_t redirect_differs
        uint64_t bytes_differ
        uint64_t missed
        uint64_t pairs[5][5]
    pf_err pf_trial_create(pf_link *link, pf_prog *candidate, const pf_trial_options *options, pf_trial **trial,
                           pf_diag *diag)
    void pf_trial_put(pf_trial *trial)
    pf_err pf_trial_start(pf_trial *trial, const pf_expect *expect, pf_change *change, pf_diag *diag)
    pf_err pf_trial_promote(pf_trial *trial, pf_change *change, pf_diag *diag)
    pf_err pf_trial_abandon(pf_trial *trial, pf_cause cause, const char *why, pf_change *change, pf_diag *diag)
    void pf_trial_sum(pf_trial *trial, pf_trial_sums *sums)
    const pf_trial_sample *pf_trial_sample_at "pf_trial_sample"(pf_trial *trial, uint32_t n)
    pf_trial_state_t pf_trial_get_state "pf_trial_state"(pf_trial *trial, char *why)
