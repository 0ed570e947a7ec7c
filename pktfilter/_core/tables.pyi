"""The facts of csrc/tables/*.def as Python rows, in the order of their files."""

from typing import NamedTuple

class Op(NamedTuple):
    """A row of insn.def. `value` is what the `selector` field ("none", "off", "imm", "src") holds;
    `fields` are the operand fields, of "dst", "src", "off", "imm", "imm2" (second half)."""

    name: str
    opcode: int
    selector: str
    value: int
    form: str
    fields: tuple[str, ...]
    text: str
    group: str
    number: int

class MapType(NamedTuple):
    """A row of map_type.def; `name` is the lower-case text."""

    name: str
    number: int
    family: str
    percpu: bool
    supported: bool

class Helper(NamedTuple):
    """A row of helper.def; `name` has no bpf_ prefix, `args` are the kinds of its arguments."""

    name: str
    number: int
    supported: bool
    gpl: bool
    args: tuple[str, ...]
    moves_packet: bool
    timed: bool
    indexed: bool

class Action(NamedTuple):
    """A row of action.def; `name` is upper-case, `text` lower-case."""

    name: str
    value: int
    text: str

class CtxField(NamedTuple):
    """A row of ctx_field.def; offset and size in bytes; `types` of programs: "XDP", "PCAP" or "ALL"."""

    name: str
    offset: int
    size: int
    kind: str
    access: str
    types: str

class Diag(NamedTuple):
    """A row of diag.def; `DIAGS` is indexed by code, its first row is empty."""

    name: str
    text: str
    hint: str

class Error(NamedTuple):
    """A row of err.def; `name` and `value` are those of errno."""

    name: str
    value: int
    text: str

OPS: tuple[Op, ...]
MAP_TYPES: tuple[MapType, ...]
HELPERS: tuple[Helper, ...]
ACTIONS: tuple[Action, ...]
CTX_FIELDS: tuple[CtxField, ...]
DIAGS: tuple[Diag, ...]
ERRORS: tuple[Error, ...]
