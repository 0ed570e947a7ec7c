"""The verifier (csrc/verifier): bytecode and map definitions in, a verdict with its reasons out."""
import time

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from pktfilter._core.c_isa cimport pf_insn
from pktfilter._core.c_map cimport pf_map_def, pf_map_lock, pf_map_type
from pktfilter._core.c_prog cimport pf_prog_type
from pktfilter._core.c_tables cimport pf_diag, pf_err
from pktfilter._core.c_verifier cimport (
    PF_VERIFY_ARG_CTX, PF_VERIFY_ARG_MEM, PF_VERIFY_ARG_SCALAR, PF_VERIFY_EGRESS, PF_VERIFY_FACTS, PF_VERIFY_FRAGS, pf_fact,
    pf_verify, pf_verify_free, pf_verify_func, pf_verify_input, pf_verify_map, pf_verify_program, pf_verify_result,
)
from pktfilter._core.errors import render
from pktfilter._core.prog cimport ProgRef
from pktfilter._core.prog import PROG_TYPES
from pktfilter._core.tables import DIAGS

WANT_FACTS = <int>PF_VERIFY_FACTS
WANT_FRAGS = <int>PF_VERIFY_FRAGS
WANT_EGRESS = <int>PF_VERIFY_EGRESS

cdef dict _ARGS = {"scalar": <int>PF_VERIFY_ARG_SCALAR, "ctx": <int>PF_VERIFY_ARG_CTX, "mem": <int>PF_VERIFY_ARG_MEM}
FACT_KINDS = (
    "unreached", "any", "scalar", "ctx", "packet", "packet_meta", "packet_end", "stack", "map", "map_value", "map_key",
    "func", "memory",
)


cdef void _collect(void *user, const char *line, size_t length) noexcept with gil:
    (<list>user).append(line[:length])


cdef class _Functions:
    """The C form of [(first instruction, [(kind, size, nonnull), ...]), ...]."""
    cdef pf_verify_func *table
    cdef uint32_t count

    def __cinit__(self, functions):
        self.table = <pf_verify_func *>calloc(len(functions) + 1, sizeof(pf_verify_func))
        if self.table is NULL:
            raise MemoryError
        for insn, arguments in functions:
            f = &self.table[self.count]
            f.insn = insn
            f.args = min(len(arguments), 5)
            for i, (kind, size, nonnull) in enumerate(arguments[:5]):
                f.arg[i].kind = _ARGS[kind]
                f.arg[i].size = size
                f.arg[i].nonnull = nonnull
            self.count += 1

    def __dealloc__(self):
        free(self.table)


cdef pf_map_def _definition(tuple spec):
    cdef pf_map_def d
    d.type = <pf_map_type><int>spec[0]
    d.key_size, d.value_size, d.max_entries, d.flags = spec[1:]
    return d


cdef pf_map_lock _lock(offset):
    cdef pf_map_lock lock
    lock.offset = 0 if offset is None else offset
    lock.present = offset is not None
    return lock


def verify(const unsigned char[::1] insns not None, str type, list maps, list functions, *, uint32_t cpus, uint32_t want,
           bint gpl_compatible, bint log):
    """Verifies bytecode. maps: [(number, definition, inner definition or None, contents or None, lock, inner lock)], in
    the order that src 5 and 6 count them; locks as offsets or None. Returns the result as a dict."""
    cdef pf_verify_input request
    cdef pf_verify_result result
    cdef pf_verify_map *table = <pf_verify_map *>calloc(len(maps) + 1, sizeof(pf_verify_map))
    cdef _Functions funcs = _Functions(functions)
    cdef list lines = []
    cdef bytes contents
    cdef uint32_t i = 0
    if table is NULL:
        raise MemoryError
    memset(&request, 0, sizeof(request))
    try:
        for number, definition, inner, data, lock, inner_lock in maps:
            table[i].number = number
            table[i].def_ = _definition(definition)
            if inner is not None:
                table[i].inner = _definition(inner)
            if data is not None:
                contents = data  # kept alive by the list
                table[i].contents = <const uint8_t *>(<const char *>contents)
            table[i].lock, table[i].inner_lock = _lock(lock), _lock(inner_lock)
            i += 1
        request.type = <pf_prog_type><int>PROG_TYPES[type]
        request.insns = <const pf_insn *>&insns[0] if insns.shape[0] else NULL
        request.count = <uint32_t>(insns.shape[0] // 8)
        request.maps, request.map_count = table, i
        request.funcs, request.func_count = funcs.table, funcs.count
        request.cpus, request.want, request.gpl_compatible = cpus, want, gpl_compatible
        if log:
            request.log, request.user = _collect, <void *>lines
        start = time.perf_counter_ns()
        with nogil:
            pf_verify(&request, &result)
        elapsed = time.perf_counter_ns() - start
        try:
            return _as_dict(&result, request.count, elapsed, lines)
        finally:
            pf_verify_free(&result)
    finally:
        free(table)


def verify_program(ProgRef prog not None, list functions, *, uint32_t cpus, uint32_t want, bint gpl_compatible,
                   bint log, memory_size):
    """Verifies a program and marks it verified; the result as a dict."""
    cdef pf_verify_input request
    cdef pf_verify_result result
    cdef _Functions funcs = _Functions(functions)
    cdef list lines = []
    memset(&request, 0, sizeof(request))
    request.funcs, request.func_count = funcs.table, funcs.count
    request.cpus, request.want, request.gpl_compatible = cpus, want, gpl_compatible
    if log:
        request.log, request.user = _collect, <void *>lines
    start = time.perf_counter_ns()
    with nogil:
        pf_verify_program(prog.ptr, &request, &result)
    elapsed = time.perf_counter_ns() - start
    try:
        return _as_dict(&result, prog.ptr.count, elapsed, lines)
    finally:
        pf_verify_free(&result)


cdef dict _as_dict(pf_verify_result *r, uint32_t count, elapsed_ns, list lines):
    cdef uint32_t i
    out = {
        "ok": bool(r.ok), "insns_processed": r.insns_processed, "states_total": r.states_total,
        "states_peak": r.states_peak, "memory_peak": r.memory_peak, "stack_depth": r.stack_depth,
        "elapsed_ns": elapsed_ns, "log": b"\n".join(lines).decode(errors="replace"), "diagnostic": None, "facts": None,
    }
    if not r.ok:
        d = r.diag
        message, hint = render(
            <int>d.code, insn=d.insn, offset=d.offset, found=d.found, expected=d.expected,
            name=(<bytes>(<const char *>d.name)).decode(errors="replace"),
        )
        out["diagnostic"] = {
            "code": DIAGS[<int>d.code].name,
            "message": message,
            "insn": d.insn,
            "help": (<bytes>(<const char *>r.help)).decode(errors="replace") or hint,
            "path": [(r.path[i].insn, bool(r.path[i].taken)) for i in range(r.path_count)],
            "path_dropped": r.path_dropped,
            "registers": {
                f"r{r.registers[i].number}": (<bytes>(<const char *>r.registers[i].text)).decode(errors="replace")
                for i in range(r.register_count)
            },
        }
    if r.facts is not NULL:
        out["facts"] = [[_fact(&r.facts[slot * 11 + reg]) for reg in range(11)] for slot in range(count)]
    return out


cdef tuple _fact(pf_fact *f):
    """(kind, maybe_null, map, proved, umin, umax, smin, smax, known bits value, unknown mask)."""
    return (FACT_KINDS[f.kind], bool(f.maybe_null), f.map, f.proved, f.range.umin, f.range.umax, f.range.smin,
            f.range.smax, f.range.t.value, f.range.t.mask)
