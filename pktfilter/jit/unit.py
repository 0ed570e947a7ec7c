"""What a translation depends on, and nothing else: equal units give equal objects."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .._core.map import MapRef
from .._core.prog import ProgRef
from .._core.tables import MAP_TYPES, OPS
from ..errors import CompileError

#: One register before one instruction, as the verifier gives it: (kind, maybe_null, map, proved, umin,
#: umax, smin, smax, known bits, mask of unknown bits).
Fact = tuple[str, bool, int, int, int, int, int, int, int, int]
Facts = Sequence[Sequence[Fact]]

_MAP_BY_NUMBER = {"LDDW_MAP": "LDDW_MAP_IDX", "LDDW_VALUE": "LDDW_VALUE_IDX"}


@dataclass(frozen=True)
class MapConstants:
    """What the code may take as given about a map: it never changes while the map lives.

    `type` is the name of map_type.def's row; `stride`, `value_step` and `cpu_step` are bytes as in
    csrc/map/map.h; `lock` is the offset of the bpf_spin_lock in a value; `contents` are the bytes of
    the only element where nobody can change them any more.
    """

    type: str
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    cpus: int
    percpu: bool
    stride: int
    value_step: int
    cpu_step: int
    lock: int | None = None
    contents: bytes | None = None
    #: Of a map that is looked up in line: what is added to a key, and the mask of its hash (csrc/map/bucket.h).
    word: tuple[int, int] | None = None
    #: Of a map of maps: what its inner maps must be, as the core has it.
    inner: tuple[int | None, ...] = ()


@dataclass(frozen=True)
class Unit:
    """A verified program as the translator takes it.

    `insns` names maps by their place in `maps` (`by_place`), so that descriptors do not show;
    `types` holds one enum pf_insn_type a slot; `facts` are the verifier's, None: compile without;
    `functions` are the first slots of subprograms, for listings.
    """

    insns: bytes
    type: str
    frags: bool
    types: bytes
    maps: tuple[MapConstants, ...]
    facts: Facts | None
    functions: tuple[int, ...] = ()
    #: Of each place, the first with the same map: LLVM takes two symbols for memory apart.
    same: tuple[int, ...] = ()


class Insn(NamedTuple):
    """One decoded instruction; `high` is the imm of an ld_imm64's second half."""

    at: int
    name: str
    form: str
    dst: int
    src: int
    off: int
    imm: int
    high: int


def _decoder() -> dict[tuple[int, int], tuple[str, str]]:
    table: dict[tuple[int, int], tuple[str, str]] = {}
    for op in OPS:
        value = -1 if op.selector == "none" else op.value
        table[op.opcode, value] = (op.name, op.form)
    return table


_SELECTORS = {op.opcode: op.selector for op in OPS}
_OPS = _decoder()


def decode(insns: bytes) -> list[Insn | None]:
    """The instructions by slot; None at the second half of an ld_imm64.

    Raises `CompileError` for an encoding of no instruction.
    """
    out: list[Insn | None] = []
    raw = list(struct.iter_unpack("<BBhi", insns))
    at = 0
    while at < len(raw):
        opcode, registers, off, imm = raw[at]
        dst, src = registers & 15, registers >> 4
        selector = _SELECTORS.get(opcode)
        key = {"off": off, "imm": imm, "src": src}.get(selector or "", -1)
        row = _OPS.get((opcode, key))
        if row is None:
            raise CompileError("no such instruction", place=f"instruction {at}")
        name, form = row
        wide = form == "LDDW"
        if wide and at + 1 >= len(raw):
            raise CompileError("a 64-bit load lacks its second half", place=f"instruction {at}")
        out.append(Insn(at, name, form, dst, src, off, imm, raw[at + 1][3] if wide else 0))
        if wide:
            out.append(None)
        at += 1 + wide
    return out


def by_place(insns: bytes, places: Mapping[int, int]) -> bytes:
    """The bytecode with map numbers (ld_imm64 src 1, 2) replaced by places (src 5, 6)."""
    data = bytearray(insns)
    sources = {op.name: op.value for op in OPS}
    for insn in decode(insns):
        if insn is None or insn.name not in _MAP_BY_NUMBER:
            continue
        if insn.imm not in places:
            raise CompileError(
                "no map has this number", place=f"instruction {insn.at}", found=insn.imm
            )
        source = sources[_MAP_BY_NUMBER[insn.name]]
        registers = insn.dst | source << 4
        struct.pack_into("<Bhi", data, insn.at * 8 + 1, registers, 0, places[insn.imm])
    return bytes(data)


def constants_of(m: MapRef) -> MapConstants:
    """The constants of a map of the core."""
    number, key_size, value_size, max_entries, flags = m.definition
    percpu, cpus, stride, value_step, cpu_step = m.geometry
    return MapConstants(
        type=next(row.name for row in MAP_TYPES if row.number == number),
        key_size=key_size,
        value_size=value_size,
        max_entries=max_entries,
        flags=flags,
        cpus=cpus,
        percpu=percpu,
        stride=stride,
        value_step=value_step,
        cpu_step=cpu_step,
        lock=m.lock,
        contents=m.fixed_contents,
        word=m.word,
        inner=m.inner,
    )


def unit_of(prog: ProgRef, facts: Facts | None, functions: Sequence[int] = ()) -> Unit:
    """The unit of a program that the verifier accepted; `facts`: of this verification, or None.

    Raises `CompileError` for a program that it has not accepted.
    """
    if not prog.verified:
        raise CompileError("only a program that the verifier accepted is compiled")
    maps = prog.maps
    places: dict[int, int] = {}
    for place, (number, _) in enumerate(maps):
        places.setdefault(number, place)
    first: dict[int, int] = {}
    same = tuple(first.setdefault(m.id, place) for place, (_, m) in enumerate(maps))
    insns = bytes(prog.insns)
    return Unit(
        insns=by_place(insns, places),
        type=str(prog.type),
        frags=bool(prog.frags),
        types=prog.types or bytes(len(insns) // 8),
        maps=tuple(constants_of(m) for _, m in maps),
        facts=facts,
        functions=tuple(functions),
        same=same,
    )
