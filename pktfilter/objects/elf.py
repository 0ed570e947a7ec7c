"""A bounded reader of relocatable BPF ELF files, over pyelftools.

Headers come from pyelftools; symbols and relocations are unpacked here, since a hostile file may
hold millions. Whatever is wrong ends in `ObjectError`; nothing is allocated by a header's word
beyond the size of the file itself.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, field

from elftools.common.exceptions import ELFError
from elftools.common.utils import struct_parse
from elftools.construct import ConstructError
from elftools.elf.elffile import ELFFile

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

R_BPF_64_64 = 1
R_BPF_64_ABS64 = 2
R_BPF_64_ABS32 = 3
R_BPF_64_NODYLD32 = 4
R_BPF_64_32 = 10
RELOC_NAMES = {
    0: "R_BPF_NONE",
    R_BPF_64_64: "R_BPF_64_64",
    R_BPF_64_ABS64: "R_BPF_64_ABS64",
    R_BPF_64_ABS32: "R_BPF_64_ABS32",
    R_BPF_64_NODYLD32: "R_BPF_64_NODYLD32",
    R_BPF_64_32: "R_BPF_64_32",
}

_SYMBOL = struct.Struct("<IBBHQQ")
_RELOC = struct.Struct("<QQ")
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
    data: bytes = b""
    relocs: list[Reloc] = field(default_factory=list)

    @property
    def executable(self) -> bool:
        """Whether the section holds instructions."""
        return bool(self.flags & SHF_EXECINSTR)


@dataclass(slots=True)
class ElfObject:
    """The sections and symbols of one object file."""

    path: str
    sections: list[Section]
    symbols: list[Symbol]
    _by_section: dict[int, list[Symbol]] = field(default_factory=dict)

    def __post_init__(self) -> None:
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
    try:
        stream = io.BytesIO(data)
        elf = ELFFile(stream)
        _check_header(elf, path)
        sections = _read_sections(elf, data, path)
    except (ELFError, ConstructError) as error:
        raise ObjectError(
            f"ELF header is damaged ({error})",
            file=path,
            expected="an ELF object made by clang -target bpf",
        ) from error
    except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
        # pyelftools does not promise its own exceptions for every damaged header.
        raise ObjectError("ELF header is damaged", file=path) from error
    symbols = _read_symbols(sections, path)
    elf_object = ElfObject(path, sections, symbols)
    _read_relocs(elf_object)
    return elf_object


def _check_header(elf: ELFFile, path: str) -> None:
    def refuse(what: str, found: object, expected: str, hint: str | None = None) -> ObjectError:
        return ObjectError(what, file=path, found=found, expected=expected, hint=hint)

    if elf.elfclass != 64:
        raise refuse("ELF class is not supported", f"{elf.elfclass} bits", "64 bits")
    if not elf.little_endian:
        raise refuse(
            "byte order is not supported", "big endian", "little endian", "compile for bpfel"
        )
    machine, kind = elf.header["e_machine"], elf.header["e_type"]
    if machine not in ("EM_BPF", EM_BPF):
        raise refuse("not a BPF object", machine, "EM_BPF", "compile with clang -target bpf")
    if kind not in ("ET_REL", ET_REL):
        raise refuse("not a relocatable object", kind, "ET_REL", "compile with clang -c")


def _read_sections(elf: ELFFile, data: bytes, path: str) -> list[Section]:
    count, entry = elf.header["e_shnum"], elf.header["e_shentsize"]
    table = elf.header["e_shoff"]
    if count == 0:
        raise ObjectError("object has no sections", file=path)
    if count > SECTION_LIMIT:
        raise ObjectError(
            "too many sections", file=path, found=count, expected=f"at most {SECTION_LIMIT}"
        )
    header = elf.structs.Elf_Shdr
    if entry != header.sizeof() or table + count * entry > len(data):
        raise ObjectError("section header table is outside the file or damaged", file=path)
    rows = [struct_parse(header, elf.stream, table + n * entry) for n in range(count)]
    names_at = elf.header["e_shstrndx"]
    if names_at >= count:
        raise ObjectError("section name table is missing", file=path, found=f"index {names_at}")
    names = rows[names_at]
    strings = data[names["sh_offset"] : names["sh_offset"] + names["sh_size"]]
    budget = 2 * len(data)
    sections = []
    for index, row in enumerate(rows):
        name = _string(strings, row["sh_name"], path, f"name of section {index}") if index else ""
        kind, size, offset = str(row["sh_type"]), row["sh_size"], row["sh_offset"]
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
        sections.append(
            Section(
                index,
                name,
                kind,
                row["sh_flags"],
                row["sh_link"],
                row["sh_info"],
                size,
                offset,
                body,
            )
        )
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
        symbols.append(Symbol(name, kind, info >> 4 != 0, section, value, size))
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
