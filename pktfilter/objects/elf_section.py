"""One section out of an ELF file of any machine, little-endian, 64 bits, without reading the rest."""

from __future__ import annotations

import struct
from typing import BinaryIO

from ..errors import ObjectError

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_NAMES_LIMIT = 1 << 20


def find_section(stream: BinaryIO, name: str, limit: int, path: str) -> bytes:
    """The bytes of the section; raises `ObjectError` if there is none or the file is damaged."""

    def read(offset: int, length: int) -> bytes:
        if offset >= 1 << 62:
            raise ObjectError("ELF file is damaged", file=path, found=f"offset {offset}")
        stream.seek(offset)
        data = stream.read(length)
        if len(data) < length:
            raise ObjectError("ELF file is cut off", file=path, found=f"offset {offset}")
        return data

    row = _HEADER.unpack(read(0, _HEADER.size))
    if row[0][4:6] != b"\x02\x01" or row[11] != _SECTION.size:
        raise ObjectError("ELF file is not little endian of 64 bits", file=path)
    table, count, names = row[6], row[12], row[13]
    sections = list(_SECTION.iter_unpack(read(table, count * _SECTION.size)))
    if names >= len(sections):
        raise ObjectError("ELF file names no sections", file=path)
    strings = read(sections[names][4], min(sections[names][5], _NAMES_LIMIT))
    wanted = name.encode() + b"\0"
    for section in sections:
        if strings[section[0] : section[0] + len(wanted)] == wanted:
            if section[5] > limit:
                raise ObjectError(
                    f"section '{name}' is too large",
                    file=path,
                    found=f"{section[5]} bytes",
                    expected=f"at most {limit}",
                )
            return read(section[4], section[5])
    raise ObjectError(
        f"file has no section '{name}'", file=path, expected="raw BTF, or an ELF file with types"
    )
