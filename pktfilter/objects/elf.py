"""A bounded reader of relocatable BPF ELF files: the part of ELF that these use, little-endian, 64 bits.

Layouts and numbers are those of the System V ABI (gabi, chapters 4 and 5). Whatever is wrong ends
in `ObjectError`; nothing is allocated by a header's word beyond the size of the file itself.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import ObjectError

SECTION_LIMIT = 8192
SYMBOL_LIMIT = 1 << 18
RELOC_LIMIT = 1 << 18
NAME_LIMIT = 4096
NAMES_LIMIT = 16 << 20  # of all symbols together, since names may overlap in the string table
# A section without bytes in the file (.bss) has only its header's word for its size.
NOBITS_LIMIT = 64 << 20

SHN_UNDEF, SHN_LORESERVE, SHN_COMMON = 0, 0xFF00, 0xFFF2
SHF_EXECINSTR = 4
EM_BPF, ET_REL = 247, 1
ELF_MAGIC = b"\x7fELF"
# pcap in both resolutions and byte orders, pcapng.
_CAPTURES = tuple(
    bytes.fromhex(magic) for magic in ("d4c3b2a1", "a1b2c3d4", "4d3cb2a1", "a1b23c4d", "0a0d0d0a")
)

R_BPF_NONE = 0
R_BPF_64_64 = 1
R_BPF_64_ABS64 = 2
R_BPF_64_ABS32 = 3
R_BPF_64_NODYLD32 = 4
R_BPF_64_32 = 10
RELOC_NAMES = {
    R_BPF_NONE: "R_BPF_NONE",
    R_BPF_64_64: "R_BPF_64_64",
    R_BPF_64_ABS64: "R_BPF_64_ABS64",
    R_BPF_64_ABS32: "R_BPF_64_ABS32",
    R_BPF_64_NODYLD32: "R_BPF_64_NODYLD32",
    R_BPF_64_32: "R_BPF_64_32",
}

# e_ident apart: type, machine, version, entry, phoff, shoff, flags, ehsize, phentsize, phnum,
# shentsize, shnum, shstrndx.
_HEADER = struct.Struct("<HHIQQQIHHHHHH")
_IDENT = 16
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SECTION_KINDS = {
    0: "SHT_NULL",
    1: "SHT_PROGBITS",
    2: "SHT_SYMTAB",
    3: "SHT_STRTAB",
    4: "SHT_RELA",
    8: "SHT_NOBITS",
    9: "SHT_REL",
}
_MACHINES = {3: "EM_386", 40: "EM_ARM", 62: "EM_X86_64", 183: "EM_AARCH64", 243: "EM_RISCV"}
_TYPES = {2: "ET_EXEC", 3: "ET_DYN", 4: "ET_CORE"}
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOC = struct.Struct("<QQ")
_STB_WEAK = 2
_SYMBOL_TYPES = ("notype", "object", "func", "section", "file", "common")


def reloc_name(kind: int) -> str:
    """The psABI name of relocation type `kind`."""
    return RELOC_NAMES.get(kind, f"type {kind}")


@dataclass(slots=True)
class Symbol:
    """An ELF symbol; `section` is its section's index (0: undefined)."""

    name: str
    kind: str
    is_global: bool
    section: int
    value: int
    size: int
    weak: bool = False


@dataclass(slots=True)
class Reloc:
    """A relocation of the bytes at `offset` against `symbol` (addends are in the bytes)."""

    offset: int
    kind: int
    symbol: Symbol


@dataclass(slots=True)
class Section:
    """A section; `data` is empty for one without bytes in the file, whose `size` still counts."""

    index: int
    name: str
    kind: str
    flags: int
    link: int
    info: int
    size: int
    offset: int
    data: bytes
    relocs: list[Reloc]

    @property
    def executable(self) -> bool:
        """Whether the section holds instructions."""
        return bool(self.flags & SHF_EXECINSTR)


class ElfObject:
    """The sections and symbols of one object file."""

    def __init__(self, path: str, sections: list[Section], symbols: list[Symbol]) -> None:
        self.path, self.sections, self.symbols = path, sections, symbols
        self._by_section: dict[int, list[Symbol]] = {}
        for symbol in self.symbols:
            self._by_section.setdefault(symbol.section, []).append(symbol)

    def symbols_of(self, section: Section) -> list[Symbol]:
        """The symbols that `section` defines."""
        return self._by_section.get(section.index, [])

    def find(self, name: str) -> Section | None:
        """The first section called `name`."""
        return next((section for section in self.sections if section.name == name), None)

    def section_of(self, symbol: Symbol) -> Section | None:
        """The section that defines `symbol`; None for undefined, absolute and common ones."""
        if SHN_UNDEF < symbol.section < len(self.sections):
            return self.sections[symbol.section]
        return None


def _no_elf(data: bytes, path: str) -> ObjectError:
    """What a file that does not start as an ELF object may be instead."""
    hint = None
    if data[:4] in _CAPTURES:
        hint = "this is a capture: the program comes first, then the captures"
    return ObjectError(
        "not an ELF object",
        file=path,
        found=f"a file that starts with 0x{data[:4].hex()}" if data else "an empty file",
        expected="an object made by clang -target bpf, or assembly in a file named .s",
        hint=hint,
    )


def read_elf(data: bytes, path: str) -> ElfObject:
    """Parse `data`; raises `ObjectError` unless it is a sound little-endian BPF object."""
    if not data.startswith(ELF_MAGIC):
        raise _no_elf(data, path)
    sections = _read_sections(_read_header(data, path), data, path)
    symbols = _read_symbols(sections, path)
    elf_object = ElfObject(path, sections, symbols)
    _read_relocs(elf_object)
    return elf_object


class _Header(NamedTuple):
    """Where the section headers are, how many, and which one names the sections."""

    table: int
    sections: int
    names: int


def _read_header(data: bytes, path: str) -> _Header:
    def refuse(what: str, found: object, expected: str, hint: str | None = None) -> ObjectError:
        return ObjectError(what, file=path, found=found, expected=expected, hint=hint)

    if len(data) < _IDENT + _HEADER.size:
        raise refuse(
            "ELF header is damaged",
            f"{len(data)} bytes",
            "an ELF object made by clang -target bpf",
        )
    bits, order = data[4], data[5]
    if bits != 2:
        raise refuse(
            "ELF class is not supported", "32 bits" if bits == 1 else f"number {bits}", "64 bits"
        )
    if order != 1:
        found = "big endian" if order == 2 else f"number {order}"
        raise refuse("byte order is not supported", found, "little endian", "compile for bpfel")
    row = _HEADER.unpack_from(data, _IDENT)
    kind, machine, table, entry, count, names = row[0], row[1], row[5], row[10], row[11], row[12]
    if machine != EM_BPF:
        found = _MACHINES.get(machine, f"machine {machine}")
        raise refuse("not a BPF object", found, "EM_BPF", "compile with clang -target bpf")
    if kind != ET_REL:
        found = _TYPES.get(kind, f"type {kind}")
        raise refuse("not a relocatable object", found, "ET_REL", "compile with clang -c")
    if count == 0:
        raise ObjectError("object has no sections", file=path)
    if count > SECTION_LIMIT:
        raise refuse("too many sections", count, f"at most {SECTION_LIMIT}")
    if entry != _SECTION.size or table + count * entry > len(data):
        raise ObjectError("section header table is outside the file or damaged", file=path)
    if names >= count:
        raise ObjectError("section name table is missing", file=path, found=f"index {names}")
    return _Header(table, count, names)


def _read_sections(header: _Header, data: bytes, path: str) -> list[Section]:
    end = header.table + header.sections * _SECTION.size
    rows = list(_SECTION.iter_unpack(data[header.table : end]))
    names = rows[header.names]
    strings = data[names[4] : names[4] + names[5]]
    budget = 2 * len(data)
    sections = []
    for index, row in enumerate(rows):
        name_at, number, flags, _, offset, size, link, info, _, _ = row
        name = _string(strings, name_at, path, f"name of section {index}") if index else ""
        kind = _SECTION_KINDS.get(number, str(number))
        body = b""
        if kind == "SHT_NOBITS":
            if size > NOBITS_LIMIT:
                raise ObjectError(
                    "section is too large",
                    file=path,
                    section=name,
                    found=f"{size} bytes",
                    expected=f"at most {NOBITS_LIMIT}",
                )
        elif kind != "SHT_NULL":
            if offset > len(data) or size > len(data) - offset:
                raise ObjectError(
                    "section lies outside the file",
                    file=path,
                    section=name,
                    found=f"offset {offset}, {size} bytes",
                    expected=f"within {len(data)} bytes",
                )
            # Sections of a sound file do not overlap, so that copies stay near its size.
            budget -= size
            if budget < 0:
                raise ObjectError("sections overlap", file=path, section=name)
            body = data[offset : offset + size]
        sections.append(Section(index, name, kind, flags, link, info, size, offset, body, []))
    return sections


def _string(table: bytes, at: int, path: str, what: str) -> str:
    end = table.find(b"\0", at, at + NAME_LIMIT)
    if at > len(table) or end < 0:
        raise ObjectError("string is outside its table or too long", file=path, place=what)
    return table[at:end].decode("utf-8", "replace")


def _read_symbols(sections: list[Section], path: str) -> list[Symbol]:
    tables = [section for section in sections if section.kind == "SHT_SYMTAB"]
    if len(tables) != 1:
        raise ObjectError(
            "object must have one symbol table",
            file=path,
            found=len(tables),
            hint="do not strip the object wholly; llvm-strip -g keeps what is needed",
        )
    table = tables[0]
    if len(table.data) % _SYMBOL.size or len(table.data) // _SYMBOL.size > SYMBOL_LIMIT:
        raise ObjectError(
            "symbol table has a wrong size",
            file=path,
            section=table.name,
            found=f"{len(table.data)} bytes",
        )
    if not 0 < table.link < len(sections):
        raise ObjectError("symbol table has no string table", file=path, section=table.name)
    strings = sections[table.link].data
    symbols = []
    names_budget = NAMES_LIMIT
    for index, row in enumerate(_SYMBOL.iter_unpack(table.data)):
        name_at, info, _, section, value, size = row
        name = _string(strings, name_at, path, f"name of symbol {index}") if name_at else ""
        names_budget -= len(name)
        if names_budget < 0:
            raise ObjectError("symbol names are too long", file=path, section=table.name)
        if len(sections) <= section < SHN_LORESERVE:
            raise ObjectError(
                "symbol is in a section that does not exist", file=path, symbol=name, found=section
            )
        kind = _SYMBOL_TYPES[info & 15] if info & 15 < len(_SYMBOL_TYPES) else f"type {info & 15}"
        if kind == "section" and section < len(sections):
            name = sections[section].name
        symbols.append(
            Symbol(name, kind, info >> 4 != 0, section, value, size, info >> 4 == _STB_WEAK)
        )
    return symbols


def _read_relocs(elf: ElfObject) -> None:
    for table in elf.sections:
        if table.kind not in ("SHT_REL", "SHT_RELA"):
            continue
        target = elf.sections[table.info] if 0 < table.info < len(elf.sections) else None
        if target is None or _without_meaning(target.name):
            continue
        if table.kind == "SHT_RELA":
            raise ObjectError(
                "relocations with addends are not supported",
                file=elf.path,
                section=table.name,
                expected="SHT_REL, as clang emits for BPF",
            )
        if len(table.data) % _RELOC.size or len(table.data) // _RELOC.size > RELOC_LIMIT:
            raise ObjectError(
                "relocation table has a wrong size",
                file=elf.path,
                section=table.name,
                found=f"{len(table.data)} bytes",
            )
        for offset, info in _RELOC.iter_unpack(table.data):
            if info >> 32 >= len(elf.symbols):
                raise ObjectError(
                    "relocation names a symbol that does not exist",
                    file=elf.path,
                    section=target.name,
                    place=f"offset {offset}",
                    found=f"symbol {info >> 32}",
                )
            target.relocs.append(Reloc(offset, info & 0xFFFFFFFF, elf.symbols[info >> 32]))


def _without_meaning(name: str) -> bool:
    return name.startswith((".debug_", ".eh_frame", ".llvm"))
