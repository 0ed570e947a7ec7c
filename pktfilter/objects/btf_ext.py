"""`.BTF.ext`: where functions and source lines start, and CO-RE relocations.

Each is kept by section name with instruction indexes of that section, sorted.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from dataclasses import dataclass

from ..errors import ObjectError
from .btf import MAGIC, Btf

RECORD_LIMIT = 1 << 18
_HEADER = struct.Struct("<HBBIIIII")
_PAIR = struct.Struct("<II")
_QUAD = struct.Struct("<IIII")


@dataclass(slots=True)
class ExtRow:
    """One record: instruction index within its section, and the record's other words."""

    insn: int
    words: tuple[int, ...]


Table = dict[str, list[ExtRow]]


class BtfExt:
    """The three tables; words are (type id), (file, line text, line and column) and
    (type id, access string, kind), string offsets being those of the `.BTF`."""

    def __init__(self) -> None:
        self.funcs: Table = {}
        self.lines: Table = {}
        self.core: Table = {}


def parse_btf_ext(data: bytes, btf: Btf, path: str) -> BtfExt:
    """Parse the contents of a `.BTF.ext` section, relocations applied."""
    if len(data) < _HEADER.size:
        raise _fail(path, "is shorter than its header")
    magic, version, flags, header, *spans = _HEADER.unpack_from(data)
    if magic != MAGIC or version != 1 or flags != 0:
        raise _fail(path, f"header is not that of version 1 (magic {magic:#x}, version {version})")
    if header < _HEADER.size or header > len(data):
        raise _fail(path, f"header length {header} is wrong")
    if header >= _HEADER.size + _PAIR.size:
        spans.extend(_PAIR.unpack_from(data, _HEADER.size))
    else:
        spans.extend((0, 0))
    result = BtfExt()
    body = data[header:]
    for table, start, length, fmt in (
        (result.funcs, spans[0], spans[1], _PAIR),
        (result.lines, spans[2], spans[3], _QUAD),
        (result.core, spans[4], spans[5], _QUAD),
    ):
        if start + length > len(body):
            raise _fail(path, "table lies outside the section")
        if length:
            _parse_table(body[start : start + length], table, fmt, btf, path)
    return result


def _fail(path: str, message: str) -> ObjectError:
    return ObjectError(message, file=path, section=".BTF.ext")


def _parse_table(data: bytes, table: Table, fmt: struct.Struct, btf: Btf, path: str) -> None:
    if len(data) < 4:
        raise _fail(path, "table is cut off")
    (stride,) = struct.unpack_from("<I", data)
    if stride < fmt.size or stride % 4 or stride > 256:
        raise _fail(path, f"record length {stride} is wrong")
    at, total = 4, 0
    while at < len(data):
        if len(data) - at < _PAIR.size:
            raise _fail(path, "table is cut off")
        name_at, count = _PAIR.unpack_from(data, at)
        at += _PAIR.size
        total += count
        if total > RECORD_LIMIT or count * stride > len(data) - at:
            raise _fail(path, f"table has {count} records, more than its length allows")
        rows = table.setdefault(btf.strings[name_at], [])
        for _ in range(count):
            offset, *words = fmt.unpack_from(data, at)
            at += stride
            if offset % 8:
                raise _fail(path, f"record is at byte {offset}, not at an instruction")
            rows.append(ExtRow(offset // 8, tuple(words)))
    for section, rows in table.items():
        # Sorted, and one record an instruction: the first, as a damaged file may repeat them.
        first: dict[int, ExtRow] = {}
        for row in rows:
            first.setdefault(row.insn, row)
        table[section] = [first[insn] for insn in sorted(first)]


def rows_between(table: Table, section: str, start: int, end: int) -> list[ExtRow]:
    """The rows of `section` with start <= insn < end."""
    rows = table.get(section, [])
    low = bisect_left(rows, start, key=_insn_of)
    return rows[low : bisect_left(rows, end, lo=low, key=_insn_of)]


def _insn_of(row: ExtRow) -> int:
    return row.insn
