"""Trials beside a link's program (csrc/hook/trial.h), and the flow hash (csrc/packet/flow_hash.h)."""
from libc.stdint cimport uint32_t, uint64_t

from pktfilter._core.c_hook cimport pf_cause, pf_expect
from pktfilter._core.c_tables cimport pf_diag, pf_err
from pktfilter._core.c_trial cimport (
    PF_CAUSE_ABANDON, PF_TRIAL_SAMPLES_MAX, PF_TRIAL_SHADOW, PF_TRIAL_CANARY, pf_flow_hash, pf_trial, pf_trial_abandon,
    pf_trial_create, pf_trial_get_state, pf_trial_kind, pf_trial_options, pf_trial_promote, pf_trial_put,
    pf_trial_sample, pf_trial_sample_at, pf_trial_start, pf_trial_sum, pf_trial_sums,
)
from pktfilter._core.errors cimport raise_diag
from pktfilter._core.hook cimport Change, LinkRef
from pktfilter._core.prog cimport ProgRef

SHADOW = <int>PF_TRIAL_SHADOW
CANARY = <int>PF_TRIAL_CANARY
SAMPLES_MAX = <int>PF_TRIAL_SAMPLES_MAX
NO_FAULT_LIMIT = 0xffffffffffffffff
#: By enum pf_trial_state.
STATES = ("idle", "running", "promoted", "abandoned", "tripped", "detached")


def flow_hash(const unsigned char[::1] packet not None, uint64_t seed=0):
    """64 bits that are the same for both directions of a connection: see flow_hash.h."""
    return pf_flow_hash(&packet[0] if packet.shape[0] else NULL, <uint32_t>packet.shape[0], seed)


cdef class TrialRef:
    """One handle on a trial; dropping it does not end the trial."""
    cdef pf_trial *ptr
    cdef LinkRef link

    def __cinit__(self, LinkRef link not None, ProgRef prog not None, *, int kind, uint32_t samples, uint64_t threshold,
                  uint64_t seed, double max_difference, double max_drop_change, double max_ns_ratio,
                  uint64_t max_faults, uint64_t min_packets):
        cdef pf_trial_options o
        cdef pf_diag diag
        o.kind, o.samples, o.threshold, o.seed = <pf_trial_kind>kind, samples, threshold, seed
        o.guard.max_difference, o.guard.max_drop_change = max_difference, max_drop_change
        o.guard.max_ns_ratio, o.guard.max_faults, o.guard.min_packets = max_ns_ratio, max_faults, min_packets
        self.link = link
        cdef pf_err err = pf_trial_create(link.ptr, prog.ptr, &o, &self.ptr, &diag)
        if err:
            raise_diag(err, &diag)

    def __dealloc__(self):
        if self.ptr is not NULL:
            pf_trial_put(self.ptr)

    def start(self, ProgRef expect):
        """The Change, when the current program is `expect`; raises the typed link error of what did not hold, in the order of trial.h."""
        cdef pf_expect e
        cdef pf_diag diag
        cdef pf_err err
        cdef Change change = Change.__new__(Change)
        change.link = self.link
        e.program = expect.ptr if expect is not None else NULL
        e.generation = 0
        with nogil:
            err = pf_trial_start(self.ptr, &e, &change.c, &diag)
        if err:
            raise_diag(err, &diag)
        change.take_programs(None)
        return change

    def promote(self):
        cdef pf_diag diag
        cdef pf_err err
        cdef Change change = Change.__new__(Change)
        change.link = self.link
        with nogil:
            err = pf_trial_promote(self.ptr, &change.c, &diag)
        if err:
            raise_diag(err, &diag)
        change.take_programs(None)
        return change

    def abandon(self, bytes why):
        cdef pf_diag diag
        cdef pf_err err
        cdef Change change = Change.__new__(Change)
        cdef const char *text = <const char *>why if why is not None else NULL
        change.link = self.link
        with nogil:
            err = pf_trial_abandon(self.ptr, <pf_cause>PF_CAUSE_ABANDON, text, &change.c, &diag)
        if err:
            raise_diag(err, &diag)
        change.take_programs(None)
        return change

    def state(self):
        """(word, why)."""
        cdef char why[128]
        cdef int state
        with nogil:
            state = <int>pf_trial_get_state(self.ptr, why)
        return STATES[state], (<bytes>why).decode(errors="replace")

    def sums(self):
        """Counters over all workers: the arms' dicts, and pairs[current][candidate]."""
        cdef pf_trial_sums s
        cdef uint32_t i, k
        with nogil:
            pf_trial_sum(self.ptr, &s)
        arms = [{"packets": s.arms[k].packets, "faults": s.arms[k].faults, "timed": s.arms[k].timed,
                 "median_ns": s.arms[k].median_ns, "actions": [s.arms[k].actions[i] for i in range(5)]}
                for k in range(2)]
        return {"arms": arms, "compared": s.compared, "differing": s.differing, "action_differs": s.action_differs,
                "redirect_differs": s.redirect_differs, "bytes_differ": s.bytes_differ, "missed": s.missed,
                "pairs": [[s.pairs[i][k] for k in range(5)] for i in range(5)]}

    def samples(self):
        """(packet, ts_ns, actions, lengths, first difference or None, length, bytes) of the first differing packets."""
        cdef const pf_trial_sample *s
        cdef uint32_t n = 0
        found = []
        while True:
            s = pf_trial_sample_at(self.ptr, n)
            if s is NULL:
                return found
            n += 1
            found.append((s.packet, s.ts_ns, (s.actions[0], s.actions[1]), (s.lengths[0], s.lengths[1]),
                          None if s.first_difference == 0xffffffff else s.first_difference, s.length,
                          <bytes>s.bytes[:s.kept]))
