# cython: language_level=3
"""The facts of csrc/tables/*.def as Python rows, read from the core at import.

Nothing is stated here: every row comes from the C tables, in the order of their files.
"""

from typing import NamedTuple

from pktfilter._core.c_isa cimport (
    PF_FIELD_DST,
    PF_FIELD_IMM,
    PF_FIELD_IMM2,
    PF_FIELD_OFF,
    PF_FIELD_SRC,
    pf_isa_fields,
    pf_isa_form_name,
    pf_isa_info,
    pf_op_info,
)
from pktfilter._core.c_tables cimport (
    PF_OPS,
    pf_fact_action,
    pf_fact_ctx_field,
    pf_fact_diag,
    pf_fact_err,
    pf_fact_helper,
    pf_fact_map_type,
    pf_facts_actions,
    pf_facts_ctx_fields,
    pf_facts_diags,
    pf_facts_errs,
    pf_facts_helpers,
    pf_facts_map_types,
    pf_op,
)

Op = NamedTuple(
    "Op",
    [
        ("name", str),
        ("opcode", int),
        ("selector", str),
        ("value", int),
        ("form", str),
        ("fields", tuple),
        ("text", str),
        ("group", str),
        ("number", int),
    ],
)
MapType = NamedTuple(
    "MapType",
    [("name", str), ("number", int), ("family", str), ("percpu", bool), ("supported", bool)],
)
Helper = NamedTuple(
    "Helper",
    [
        ("name", str),
        ("number", int),
        ("supported", bool),
        ("gpl", bool),
        ("args", tuple),
        ("moves_packet", bool),
        ("timed", bool),
        ("indexed", bool),
    ],
)
Action = NamedTuple("Action", [("name", str), ("value", int), ("text", str)])
CtxField = NamedTuple(
    "CtxField",
    [("name", str), ("offset", int), ("size", int), ("kind", str), ("access", str), ("types", str)],
)
Diag = NamedTuple("Diag", [("name", str), ("text", str), ("hint", str)])
Error = NamedTuple("Error", [("name", str), ("value", int), ("text", str)])

cdef tuple _SELECTORS = ("none", "off", "imm", "src")


cdef str _text(const char *value):
    return value.decode("utf-8")


cdef tuple _ops():
    cdef const pf_op_info *info
    cdef unsigned fields
    cdef int number
    rows = []
    for number in range(PF_OPS):
        info = pf_isa_info(<pf_op> number)
        fields = pf_isa_fields(<pf_op> number)
        names = tuple(
            name
            for name, bit in (
                ("dst", PF_FIELD_DST),
                ("src", PF_FIELD_SRC),
                ("off", PF_FIELD_OFF),
                ("imm", PF_FIELD_IMM),
                ("imm2", PF_FIELD_IMM2),
            )
            if fields & <unsigned> bit
        )
        rows.append(
            Op(
                _text(info.name),
                info.opcode,
                _SELECTORS[<int> info.selector],
                info.value,
                _text(pf_isa_form_name(info.form)),
                names,
                _text(info.text),
                _text(info.group),
                number,
            )
        )
    return tuple(rows)


cdef tuple _map_types():
    cdef const pf_fact_map_type *rows = NULL
    cdef size_t count = pf_facts_map_types(&rows)
    return tuple([
        MapType(
            _text(rows[i].name),
            rows[i].number,
            _text(rows[i].family),
            bool(rows[i].percpu),
            bool(rows[i].supported),
        )
        for i in range(count)
    ])


cdef tuple _helpers():
    cdef const pf_fact_helper *rows = NULL
    cdef size_t count = pf_facts_helpers(&rows)
    return tuple([
        Helper(
            _text(rows[i].name),
            rows[i].number,
            bool(rows[i].supported),
            "PF_HELPER_GPL" in _text(rows[i].flags),
            tuple([
                kind for kind in [_text(rows[i].args[n]) for n in range(5)] if kind != "NONE"
            ]),
            "PF_HELPER_MOVES_PACKET" in _text(rows[i].flags),
            "PF_HELPER_TIMED" in _text(rows[i].flags),
            "PF_HELPER_INDEXED" in _text(rows[i].flags),
        )
        for i in range(count)
    ])


cdef tuple _actions():
    cdef const pf_fact_action *rows = NULL
    cdef size_t count = pf_facts_actions(&rows)
    return tuple([
        Action(_text(rows[i].name), rows[i].value, _text(rows[i].text)) for i in range(count)
    ])


cdef tuple _ctx_fields():
    cdef const pf_fact_ctx_field *rows = NULL
    cdef size_t count = pf_facts_ctx_fields(&rows)
    return tuple([
        CtxField(
            _text(rows[i].name),
            rows[i].offset,
            rows[i].size,
            _text(rows[i].kind),
            _text(rows[i].access),
            _text(rows[i].types),
        )
        for i in range(count)
    ])


cdef tuple _diags():
    cdef const pf_fact_diag *rows = NULL
    cdef size_t count = pf_facts_diags(&rows)
    return (Diag("", "", ""),) + tuple([
        Diag(_text(rows[i].name), _text(rows[i].text), _text(rows[i].hint)) for i in range(count)
    ])


cdef tuple _errors():
    cdef const pf_fact_err *rows = NULL
    cdef size_t count = pf_facts_errs(&rows)
    return tuple([
        Error(_text(rows[i].name), rows[i].value, _text(rows[i].text)) for i in range(count)
    ])


OPS = _ops()
MAP_TYPES = _map_types()
HELPERS = _helpers()
ACTIONS = _actions()
CTX_FIELDS = _ctx_fields()
DIAGS = _diags()
ERRORS = _errors()
