"""The layout of a relocatable BPF ELF file (ELF-64 object file format; psABI of clang's BPF)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from ..errors import AssemblerError
from .btf_writer import Strings

PROGBITS, NOBITS = 1, 8
WRITE, ALLOC, EXEC = 1, 2, 4
LOCAL, GLOBAL = 0, 1
OBJECT, FUNC, SECTION = 1, 2, 3
_SYMTAB, _STRTAB, _REL = 2, 3, 9
_INFO_LINK = 0x40
_EM_BPF = 247
_ET_REL = 1
_EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
_SHDR = struct.Struct("<IIQQQQIIQQ")
_SYM = struct.Struct("<IBBHQQ")
_RELOC = struct.Struct("<QQ")
_ALIGN = 8


@dataclass
class Section:
    """A section; one of kind NOBITS has a size but no data, `relocs` are (offset, symbol, kind)."""

    name: str
    kind: int = PROGBITS
    flags: int = 0
    align: int = 1
    entry: int = 0
    link: int = 0
    info: int = 0
    data: bytearray = field(default_factory=bytearray)
    size: int = 0
    relocs: list[tuple[int, str, int]] = field(default_factory=list)


@dataclass
class Symbol:
    """A symbol; that of a section has no name of its own in the file."""

    name: str
    bind: int
    kind: int
    section: Section
    value: int
    size: int


class ElfFile:
    """Sections and symbols in the order in which they are added."""

    def __init__(self) -> None:
        self.sections: dict[str, Section] = {}
        self.symbols: dict[str, Symbol] = {}

    def section(self, name: str, flags: int, align: int, kind: int = PROGBITS) -> Section:
        """The section called `name`, made if it does not exist."""
        return self.sections.setdefault(name, Section(name, kind, flags, align))

    def symbol(
        self, name: str, bind: int, kind: int, section: Section, data: bytes | bytearray
    ) -> int:
        """Append the data with a symbol for it; its offset in the section."""
        if name in self.symbols:
            raise AssemblerError("two things of an object cannot share a name", found=f"'{name}'")
        offset = len(section.data)
        section.data += data
        self.symbols[name] = Symbol(name, bind, kind, section, offset, len(data))
        return offset

    def section_symbol(self, section: Section) -> str:
        """The name by which relocations refer to the section itself."""
        name = f"\0{section.name}"  # no symbol of the file can be called so
        self.symbols.setdefault(name, Symbol(name, LOCAL, SECTION, section, 0, 0))
        return name

    def build(self) -> bytes:
        """The bytes of the file."""
        strings = Strings()
        indices = {name: at for at, name in enumerate(self.sections, 1)}
        symtab_at = len(indices) + 1
        symbols = sorted(self.symbols.values(), key=lambda symbol: symbol.bind)  # locals first
        places = {symbol.name: at for at, symbol in enumerate(symbols, 1)}
        symtab = Section(".symtab", _SYMTAB, align=_ALIGN, entry=_SYM.size, link=symtab_at + 1)
        symtab.info = 1 + sum(symbol.bind == LOCAL for symbol in symbols)
        symtab.data += bytes(_SYM.size)
        for symbol in symbols:
            symtab.data += _SYM.pack(
                0 if symbol.kind == SECTION else strings.add(symbol.name),
                symbol.bind << 4 | symbol.kind,
                0,
                indices[symbol.section.name],
                symbol.value,
                symbol.size,
            )
        strtab = Section(".strtab", _STRTAB)
        rels = []
        for section in self.sections.values():
            if section.relocs:
                rel = Section(f".rel{section.name}", _REL, _INFO_LINK, _ALIGN, _RELOC.size)
                rel.link, rel.info = symtab_at, indices[section.name]
                for offset, name, kind in section.relocs:
                    rel.data += _RELOC.pack(offset, places[name] << 32 | kind)
                rels.append(rel)
        sections = [*self.sections.values(), symtab, strtab, *rels]
        names = [strings.add(section.name) for section in sections]
        strtab.data += strings.data
        return _lay_out(sections, names, symtab_at + 1)


def _lay_out(sections: list[Section], names: list[int], strtab_at: int) -> bytes:
    body, headers = bytearray(), bytearray(_SHDR.size)
    for section, name in zip(sections, names, strict=True):
        body += bytes(-len(body) % _ALIGN)
        headers += _SHDR.pack(
            name,
            section.kind,
            section.flags,
            0,
            _EHDR.size + len(body),
            section.size or len(section.data),
            section.link,
            section.info,
            section.align,
            section.entry,
        )
        body += section.data
    body += bytes(-len(body) % _ALIGN)
    ident = b"\x7fELF" + bytes((2, 1, 1)) + bytes(9)  # 64 bit, little-endian, version 1
    header = _EHDR.pack(
        ident,
        _ET_REL,
        _EM_BPF,
        1,
        0,
        0,
        _EHDR.size + len(body),
        0,
        _EHDR.size,
        0,
        0,
        _SHDR.size,
        len(sections) + 1,
        strtab_at,
    )
    return bytes(header + body + headers)
