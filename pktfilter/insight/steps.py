"""A run's steps as an observer recorded them, in words: what changed, what was read, written and called."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..disasm import notes
from ..errors import InputError
from ..objects.kinds import helper_by_number
from .places import Edges, Places

if TYPE_CHECKING:
    from .._core.tables import Helper
    from ..handles.maps import Map
    from ..handles.program import Program
    from ..objects.spec import LineInfo

CTX_BYTES = 24  # struct xdp_md
_ATOMIC = 16  # csrc/vm/observe.h: PF_OBSERVED_ATOMIC
_SIZES = {0x00: 4, 0x08: 2, 0x10: 1, 0x18: 8}
_LDX, _ST, _STX, _LDDW, _CALL = 1, 2, 3, 0x18, 0x85
_MODE_ATOMIC, _LOAD_ACQUIRE, _STORE_RELEASE = 0xC0, 0x100, 0x110
_HELPER, _LOCAL, _KFUNC = 0, 1, 2
#: What gives a connection; bytes of one that programs may see (csrc/prog/conn.h).
_CONNECTIONS = ("xdp_ct_lookup", "xdp_ct_alloc", "ct_insert_entry")
_CONNECTION_BYTES = 176
_MAPS = ("MAP", "PROG_ARRAY", "PORT_MAP")
_SIGNED = 1 << 63


@dataclass(slots=True)
class Access:
    """Memory that an instruction read or wrote: `kind` is "read", "write" or "atomic".

    `place` names it (`pkt+12`, `fp-8`, `conns[...]+4`), `size` is in bytes, `value` what was read or is there
    afterwards, `before` what an atomic operation found; `points_to` what the value read is an address of.
    """

    kind: str
    place: str
    size: int
    value: int | None = None
    before: int | None = None
    points_to: str | None = None


@dataclass(slots=True)
class Call:
    """A helper or kernel function, its arguments and its result in words (None for a run that ended there)."""

    name: str
    args: list[str]
    result: str | None = None


@dataclass(slots=True)
class Step:
    """One executed instruction. `changes` are the registers it changed: name to (value, what it points to or None)."""

    program: str
    insn: int
    text: str
    depth: int
    line: LineInfo | None = None
    changes: dict[str, tuple[int, str | None]] = field(default_factory=dict)
    access: Access | None = None
    call: Call | None = None
    #: A conditional jump: whether it was taken.
    taken: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """One object, without what is not there."""
        found: dict[str, Any] = {"program": self.program, "insn": self.insn, "text": self.text}
        if self.depth:
            found["depth"] = self.depth
        if self.line is not None:
            found |= {"file": self.line.file, "line": self.line.line, "source": self.line.source}
        if self.changes:
            found["registers"] = {
                name: {"value": value} if place is None else {"value": value, "points_to": place}
                for name, (value, place) in self.changes.items()
            }
        if self.access is not None:
            parts = ("kind", "place", "size", "value", "before", "points_to")
            shown = {name: getattr(self.access, name) for name in parts}
            found["access"] = {name: each for name, each in shown.items() if each is not None}
        if self.call is not None:
            found["call"] = {
                "name": self.call.name,
                "args": self.call.args,
                "result": self.call.result,
            }
        if self.taken is not None:
            found["taken"] = self.taken
        return found


@dataclass(frozen=True, slots=True)
class Insn:
    """The fields of one instruction."""

    code: int
    dst: int
    src: int
    off: int
    imm: int

    @classmethod
    def at(cls, insns: bytes, slot: int) -> Insn:
        raw = insns[slot * 8 : slot * 8 + 8]
        off = int.from_bytes(raw[2:4], "little", signed=True)
        imm = int.from_bytes(raw[4:8], "little", signed=True)
        return cls(raw[0], raw[1] & 15, raw[1] >> 4, off, imm)

    @property
    def row(self) -> Helper | None:
        """The helper or kernel function that it calls."""
        known = self.code == _CALL and self.src in (_HELPER, _KFUNC)
        return helper_by_number(self.imm) if known else None

    @property
    def conditional(self) -> bool:
        """Whether it is a conditional jump."""
        return self.code & 7 in (5, 6) and self.code >> 4 not in (0, 8, 9)


class Code:
    """What is known of one program's instructions before it runs."""

    def __init__(self, program: Program) -> None:
        self.name = program.name
        self.insns = program.insns
        self.maps = program.maps
        self.by_name = {each.name: each for each in program.maps.values()}
        texts = notes(self.insns, program.spec, source=False)
        #: Instruction text by slot, without the listing's index and opcode.
        self.texts = {slot: lines[-1].split(") ", 1)[1] for slot, lines in texts.items()}
        self._lines = sorted(
            program.spec.lines if program.spec is not None else (), key=lambda line: line.insn
        )
        self._of: dict[int, LineInfo | None] = {}

    def line(self, slot: int) -> LineInfo | None:
        """The source line of a slot."""
        if slot not in self._of:
            from bisect import bisect_right

            place = bisect_right(self._lines, slot, key=lambda line: line.insn)
            self._of[slot] = self._lines[place - 1] if place else None
        return self._of[slot]


def read_steps(rows: list[Any], codes: list[Code], retval: int | None) -> list[Step]:
    """The steps of an observer's rows (`Observer.steps`); `retval` is None where the run did not end well."""
    if not rows:
        return []
    regs = rows[0][3]
    places = Places(regs[1], CTX_BYTES, regs[10])
    steps = []
    for number, row in enumerate(rows):
        after = rows[number + 1] if number + 1 < len(rows) else None
        steps.append(_step(codes[row[0]], row, after, places))
    if retval is not None and steps and rows[-1][3][0] & 0xFFFFFFFF == retval:
        steps[-1].changes = {}
    return steps


def _step(code: Code, row: tuple[Any, ...], after: tuple[Any, ...] | None, places: Places) -> Step:
    _, slot, depth, regs, edges, pieces = row
    insn, at = Insn.at(code.insns, slot), Edges(*edges)
    step = Step(code.name, slot, code.texts[slot], depth, code.line(slot))
    step.access = _access(insn, regs, pieces, places, at, depth)
    row_of = insn.row
    if row_of is not None:
        step.call = Call(
            row_of.name, _arguments(row_of, code, regs, dict(pieces), places, at, depth)
        )
    if after is None:
        return step
    now, edges_now, depth_now = after[3], Edges(*after[4]), after[2]
    same = after[0] == row[0] and depth_now == depth
    if insn.code == _LDDW and insn.src in (1, 2):
        _note_map(insn, code, slot, now[insn.dst], places)
    if step.call is not None and same:
        _note_result(step.call, code, now[0], dict(pieces), places, edges_now, depth)
    if insn.conditional and same:
        step.taken = after[1] != slot + 1
    for name, (before, value) in enumerate(zip(regs, now, strict=True)):
        if before != value:
            step.changes[f"r{name}"] = (value, places.name(value, edges_now, depth_now))
    if step.access is not None and step.access.kind == "read" and same:
        step.access.value = now[insn.dst] & (1 << step.access.size * 8) - 1
        step.access.points_to = places.name(now[insn.dst], edges_now, depth)
    return step


def _note_map(insn: Insn, code: Code, slot: int, value: int, places: Places) -> None:
    known = code.maps.get(insn.imm)
    if known is None:
        return
    if insn.src == 1:
        places.note_object(value, f"map[{known.name}]")
    else:  # an address in its value: the offset is in the second half
        places.note(value - Insn.at(code.insns, slot + 1).imm, known.value_size, known.name)


def _note_result(
    call: Call,
    code: Code,
    r0: int,
    pieces: dict[int, bytes],
    places: Places,
    edges: Edges,
    depth: int,
) -> None:
    if call.name in ("map_lookup_elem", "map_lookup_percpu_elem"):
        of = code.by_name.get(pieces.get(0, b"").decode(errors="replace"))
        name = f"{call.args[0]}[{call.args[1]}]"
        if r0 and of is not None and of.type in ("array_of_maps", "hash_of_maps"):
            places.note_object(r0, name)
        elif r0:
            places.note(r0, of.value_size if of is not None else 8, name)
        call.result = name if r0 else "NULL"
        return
    if call.name == "ringbuf_reserve":
        if r0:
            places.records += 1
            places.note(r0, int(call.args[1], 0), f"{call.args[0]}#{places.records}")
        call.result = places.name(r0, edges, depth) if r0 else "NULL"
        return
    if call.name in _CONNECTIONS:
        if r0 and places.name(r0, edges, depth) is None:
            places.conns += 1
            places.note(r0, _CONNECTION_BYTES, f"conn#{places.conns}")
        call.result = places.name(r0, edges, depth) if r0 else "NULL"
        return
    call.result = places.name(r0, edges, depth) or _number(r0)


def _access(
    insn: Insn, regs: Any, pieces: list[Any], places: Places, edges: Edges, depth: int
) -> Access | None:
    kind, mode, size = insn.code & 7, insn.code & 0xE0, _SIZES[insn.code & 0x18]
    if kind not in (_LDX, _ST, _STX):
        return None
    mask = (1 << size * 8) - 1
    atomic = kind == _STX and mode == _MODE_ATOMIC
    loads = kind == _LDX or (atomic and insn.imm == _LOAD_ACQUIRE)
    address = (regs[insn.src if loads else insn.dst] + insn.off) & (1 << 64) - 1
    place = places.name(address, edges, depth) or f"{address:#x}"
    if loads:
        return Access("read", place, size)
    if atomic and insn.imm != _STORE_RELEASE:
        raw = dict(pieces).get(_ATOMIC)
        before = int.from_bytes(raw, "little") if raw is not None else None
        value = None if before is None else _changed(insn, before, regs, mask)
        return Access("atomic", place, size, value, before)
    value = insn.imm if kind == _ST else regs[insn.src]
    return Access("write", place, size, value & mask)


def _changed(insn: Insn, before: int, regs: Any, mask: int) -> int:
    """What an atomic operation leaves (RFC 9669, section 5.3)."""
    operand = regs[insn.src] & mask
    if insn.imm == 0xF1:  # compare and exchange
        return int(operand if before == regs[0] & mask else before)
    if insn.imm == 0xE1:  # exchange
        return int(operand)
    results = {0x00: before + operand, 0x40: before | operand, 0x50: before & operand}
    return int(results.get(insn.imm & 0xF0, before ^ operand) & mask)


def _arguments(
    row: Helper,
    code: Code,
    regs: Any,
    pieces: dict[int, bytes],
    places: Places,
    edges: Edges,
    depth: int,
) -> list[str]:
    of: Map | None = None
    words = []
    for number, kind in enumerate(row.args):
        if kind == "NONE":
            break
        value, raw = regs[number + 1], pieces.get(number)
        if kind in _MAPS and raw is not None:
            of = code.by_name.get(raw.decode(errors="replace"))
            words.append(raw.decode(errors="replace") or "map")
        elif kind == "MAP_KEY" and raw is not None:
            words.append(_typed(of, raw, key=True))
        elif kind == "MAP_VALUE" and raw is not None:
            words.append(_typed(of, raw, key=False))
        elif raw is not None:
            words.append(f"hex:{raw.hex()}")
        else:
            words.append(places.name(value, edges, depth) or _number(value))
    return words


def _typed(of: Map | None, raw: bytes, *, key: bool) -> str:
    """A key or value by its type, else as bytes."""
    if of is None:
        return f"hex:{raw.hex()}"
    try:
        found = of.types.key.decode(raw) if key else of.types.decode_value(raw)
    except InputError:
        return f"hex:{raw.hex()}"
    if isinstance(found, dict):
        return "{" + ", ".join(f"{name}: {each}" for name, each in found.items()) + "}"
    return str(found)


def _number(value: int) -> str:
    if value >= _SIGNED:
        return str(value - (1 << 64))
    return str(value) if value < 1 << 16 else f"{value:#x}"
