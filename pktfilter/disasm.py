"""Programs as listings in the syntax of the Linux verifier log, source lines interleaved.

A listing is assembly: `pktfilter.assembler.assemble` gives the same bytes back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

from ._core import isa
from .assembler import is_label
from .errors import InputError
from .objects.spec import FuncInfo, LineInfo, MapSpec

_SECTION = re.compile(r"xdp(?:\.frags)?(?:/[\w.$/-]+)?", re.ASCII)
_LICENSE = re.compile(r"[\w .+-]+(?:/[\w .+-]+)*", re.ASCII)
_MAP_NAME = re.compile(r"[A-Za-z_.$][\w.$]{0,62}", re.ASCII)


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
    program: Listed, source: bool = True, maps: Mapping[str, MapSpec] | None = None
) -> str:
    """The listing of a program: directives, then `index: (opcode) instruction` lines.

    With `source`, lines of the source stand as comments before their first instruction. `maps`
    are the object's in the order of their numbers; their definitions are then part of the listing
    where assembly can say them. Illegal bytes are shown as such.
    """
    names = _map_names(program)
    texts = isa.text(program.insns, names)
    comments = _comments(program) if source else {}
    headings = _headings(program)
    out = _directives(program, names, maps)
    for slot, text in enumerate(texts):
        if slot in headings:
            out.append(headings[slot])
        out += comments.get(slot, [])
        if text:
            out.append(f"{slot:5d}: ({program.insns[slot * 8]:02x}) {text}")
    return "\n".join(out) + "\n"


def _plain(text: str) -> str:
    """One line of printable text: names and source come from files that may be hostile."""
    return "".join(c if c.isprintable() else " " for c in text).strip()


def _map_names(program: Listed) -> dict[int, str]:
    """The names that stand for one number only and that assembly can write."""
    names: dict[int, str] = {}
    for number, name in sorted(program.map_refs.items()):
        if _MAP_NAME.fullmatch(name) and name not in names.values():
            names[number] = name
    return names


def _directives(
    program: Listed, names: Mapping[int, str], maps: Mapping[str, MapSpec] | None
) -> list[str]:
    out = []
    if _SECTION.fullmatch(program.section):
        out.append(f".section {program.section}")
    if is_label(program.name):
        out.append(f".program {program.name}")
    else:
        out.append(f"; program {_plain(program.name)}")
    if _LICENSE.fullmatch(program.license) and program.license == program.license.strip():
        out.append(f".license {program.license}")
    if maps is not None and all(
        number <= len(maps) and list(maps)[number - 1] == name for number, name in names.items()
    ):
        for number, (name, spec) in enumerate(maps.items(), 1):
            definition = _definition(name, spec)
            if definition:
                out.append(definition)
            elif _MAP_NAME.fullmatch(name):
                out.append(f".extern {name} {number}")
    else:
        out += [f".extern {name} {number}" for number, name in names.items()]
    return out


def _definition(name: str, spec: MapSpec) -> str | None:
    """The map as a directive, if that says all of it."""
    if not _MAP_NAME.fullmatch(name) or spec.inner or spec.values or spec.data or spec.frozen:
        return None
    if spec.pinning or spec.map_extra or spec.numa_node:
        return None
    try:
        spec.validate()
    except InputError:
        return None
    sizes = f"{spec.key_size} {spec.value_size} {spec.max_entries}"
    return f".map {name} {spec.type} {sizes}" + (f" {spec.flags:#x}" if spec.flags else "")


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
