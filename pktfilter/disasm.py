"""Programs as listings in the syntax of the Linux verifier log, source lines interleaved.

A listing is assembly: `pktfilter.assembler.assemble` gives the same bytes back, and with the maps of
the object also their definitions and initial contents (directives as in `assembler.source`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Protocol

from ._core import isa
from .assembler import is_label
from .assembler.map_lines import MAP_NAME, map_lines
from .objects.map_spec import MapSpec
from .objects.spec import FuncInfo, LineInfo

_SECTION = re.compile(r"xdp(?:\.frags)?(?:/[\w.$/-]+)?", re.ASCII)
_LICENSE = re.compile(r"[\w .+-]+(?:/[\w .+-]+)*", re.ASCII)


class Listed(Protocol):
    """What a listing is made of; `ProgramSpec` and `AsmProgram` have it."""

    name: str
    section: str
    license: str
    insns: bytes
    map_refs: dict[int, str]
    functions: list[FuncInfo]
    lines: list[LineInfo]


def disassemble(
    program: Listed | Sequence[Listed],
    source: bool = True,
    maps: Mapping[str, MapSpec] | None = None,
) -> str:
    """The listing of a program, or of several of one object, with `index: (opcode) instruction` lines.

    With `source`, lines of the source stand as comments before their first instruction. `maps`
    are the object's in the order of their numbers; their definitions and contents are then part
    of the listing where assembly can say them. Illegal bytes are shown as such.
    """
    programs = program if isinstance(program, Sequence) else [program]
    names = _map_names(programs)
    out = _header(programs, names, maps)
    for each in programs:
        out += _body(each, names, source)
    return "\n".join(out) + "\n"


def notes(insns: bytes, program: Listed | None, source: bool = True) -> dict[int, list[str]]:
    """By slot, what is said of an instruction in a listing of something made of it."""
    before = _comments(program) if program is not None and source else {}
    names = {} if program is None else _map_names([program])
    return {
        slot: [*before.get(slot, []), f"{slot}: ({insns[slot * 8]:02x}) {text}"]
        for slot, text in enumerate(isa.text(insns, names))
        if text
    }


def _body(program: Listed, names: Mapping[int, str], source: bool) -> list[str]:
    out = []
    if _SECTION.fullmatch(program.section):
        out.append(f".section {program.section}")
    if is_label(program.name):
        out.append(f".program {program.name}")
    else:
        out.append(f"; program {_plain(program.name)}")
    comments = _comments(program) if source else {}
    headings = _headings(program)
    own = {number: name for number, name in names.items() if number in program.map_refs}
    for slot, text in enumerate(isa.text(program.insns, own)):
        if slot in headings:
            out.append(headings[slot])
        out += comments.get(slot, [])
        if text:
            out.append(f"{slot:5d}: ({program.insns[slot * 8]:02x}) {text}")
    return out


def _plain(text: str) -> str:
    """One line of printable text: names and source come from files that may be hostile."""
    return "".join(c if c.isprintable() else " " for c in text).strip()


def _map_names(programs: Sequence[Listed]) -> dict[int, str]:
    """The names that stand for one number only and that assembly can write."""
    names: dict[int, str] = {}
    known: set[str] = set()
    refs = {number: name for program in programs for number, name in program.map_refs.items()}
    for number, name in sorted(refs.items()):
        if MAP_NAME.fullmatch(name) and name not in known:
            names[number] = name
            known.add(name)
    return names


def _header(
    programs: Sequence[Listed], names: Mapping[int, str], maps: Mapping[str, MapSpec] | None
) -> list[str]:
    """License and maps: what all programs of a file share."""
    text = next((program.license for program in programs if program.license), "")
    out = []
    if _LICENSE.fullmatch(text) and text == text.strip():
        out.append(f".license {text}")
    numbered = dict(enumerate(maps or {}, 1))
    if maps is not None and all(numbered.get(number) == name for number, name in names.items()):
        return out + map_lines(maps, [program.name for program in programs])
    return out + [f".extern {name} {number}" for number, name in names.items()]


def _comments(program: Listed) -> dict[int, list[str]]:
    comments: dict[int, list[str]] = {}
    for info in program.lines:
        text = f"; {_plain(info.source)} @ {_plain(info.file)}:{info.line}"
        comments.setdefault(info.insn, []).append(text)
    return comments


def _headings(program: Listed) -> dict[int, str]:
    headings: dict[int, str] = {}
    seen: set[str] = set()
    for info in program.functions:
        if is_label(info.name) and info.name not in seen:
            headings.setdefault(info.insn, f"{info.name}:")
            seen.add(info.name)
        else:
            headings.setdefault(info.insn, f"; {_plain(info.name)}")
    return headings
