"""Definitions of maps as directives of assembly; `definitions` reads them back."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

from ..errors import InputError
from ..objects.map_spec import MapSpec
from .definitions import DATA_LIMIT, INNER, OPTIONS, SLOT_SIZE, data_map, is_data, is_given

#: Names that fit a listing.
MAP_NAME = re.compile(r"[A-Za-z_.$][\w.$]{0,62}", re.ASCII)
_ROW = 16  # bytes of data on a line


def map_lines(maps: Mapping[str, MapSpec], programs: Collection[str]) -> list[str]:
    """The directives of an object's maps in the order of their numbers, then their contents.

    A map that directives cannot say in full is an `.extern`. `programs` are those of the listing;
    a slot that holds another is a comment only.
    """
    out: list[str] = []
    contents: list[str] = []
    defined = _definable(maps)
    in_order = True  # numbers of the lines so far are 1, 2, 3...
    for number, (name, spec) in enumerate(maps.items(), 1):
        if in_order and name in defined:
            out.append(defined[name])
            contents += _data_lines(spec)
            contents += _slot_lines(spec, defined if spec.inner else programs)
        elif MAP_NAME.fullmatch(name):
            out.append(f".extern {name} {number}")
        else:
            in_order = False
            defined = {}
    return out + contents


def _definable(maps: Mapping[str, MapSpec]) -> dict[str, str]:
    """The definitions of maps before the first that has no name in assembly."""
    lines: dict[str, str] = {}
    room = DATA_LIMIT
    for name, spec in maps.items():
        if not MAP_NAME.fullmatch(name):
            break
        size = spec.value_size if is_data(spec) else SLOT_SIZE * (max(spec.values, default=-1) + 1)
        line = _definition(name, spec)
        if line is not None and size <= room:
            room -= size
            lines[name] = line
    return lines


def _definition(name: str, spec: MapSpec) -> str | None:
    """The map as a directive, if that says all of it."""
    try:
        spec.validate()
    except InputError:
        return None
    if spec.name != name:
        return None
    if is_data(spec):
        plain = data_map(name, spec.value_size)
        same = (spec.type, spec.key_size, spec.max_entries, spec.flags, spec.frozen) == (
            plain.type,
            plain.key_size,
            plain.max_entries,
            plain.flags,
            plain.frozen,
        )
        return f".data {name} {spec.value_size}" if same and _is_plain(spec) else None
    if spec.data is not None or spec.frozen:
        return None
    text = f".map {name} {_attributes(spec)}"
    if spec.inner is None:
        return text
    if spec.inner.data is not None or spec.inner.frozen or spec.inner.values:
        return None
    return f"{text} {INNER} {_attributes(spec.inner)}"


def _is_plain(spec: MapSpec) -> bool:
    return not spec.values and not any(is_given(spec, name) for name in OPTIONS.values())


def _attributes(spec: MapSpec) -> str:
    words = [spec.type, str(spec.key_size), str(spec.value_size), str(spec.max_entries)]
    if spec.flags:
        words.append(f"{spec.flags:#x}")
    for word, attribute in OPTIONS.items():
        if is_given(spec, attribute):
            words.append(f"{word}={getattr(spec, attribute)}")
    return " ".join(words)


def _data_lines(spec: MapSpec) -> Iterator[str]:
    """The contents, rows of zeros left out, each with its text as a comment."""
    data = spec.data or b""
    for offset in range(0, len(data), _ROW):
        row = data[offset : offset + _ROW]
        if any(row):
            text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
            yield f".bytes {spec.name} {offset:<5d} {row.hex(' ').ljust(3 * _ROW - 1)}  ; {text}"


def _slot_lines(spec: MapSpec, known: Collection[str]) -> Iterator[str]:
    for slot, target in sorted(spec.values.items()):
        if target in known:
            yield f".slot {spec.name} {slot} {target}"
        else:
            shown = "".join(c if c.isprintable() else " " for c in target)
            yield f"; slot {slot} of {spec.name}: {shown}, which is not part of this listing"
