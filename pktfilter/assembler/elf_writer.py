"""Assembled programs as an ELF object, as clang would make one (kernel documentation, libbpf).

Each program stands in its section, its subprograms in `.text`; maps are legacy definitions of 20
bytes in section `maps`; calls, callback addresses and map loads have relocations.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .._core.tables import MAP_TYPES
from ..errors import AssemblerError, OutputError
from ..objects.elf import R_BPF_64_32, R_BPF_64_64
from ..objects.insns import (
    CALL_LOCAL,
    INSN_SIZE,
    OP_CALL,
    OP_LD_IMM64,
    PSEUDO_FUNC,
    PSEUDO_MAP_FD,
    PSEUDO_NONE,
    set_imm,
    set_src,
    walk,
)
from .body import AsmProgram

_EM_BPF = 247
_ET_REL = 1
_SHT_PROGBITS, _SHT_SYMTAB, _SHT_STRTAB, _SHT_REL = 1, 2, 3, 9
_WRITE, _ALLOC, _EXEC, _INFO_LINK = 1, 2, 4, 0x40
_LOCAL, _GLOBAL = 0, 1
_OBJECT, _FUNC = 1, 2
_CALL_NAMED = -1  # the immediate of a call to a named function
_KFUNC = 2
_JA, _JA32, _EXIT = 0x05, 0x06, 0x95
_JUMP_CLASSES = (5, 6)
_EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
_SHDR = struct.Struct("<IIQQQQIIQQ")
_SYM = struct.Struct("<IBBHQQ")
_REL = struct.Struct("<QQ")


@dataclass
class _Section:
    name: str
    kind: int = _SHT_PROGBITS
    flags: int = 0
    align: int = 1
    entry: int = 0
    link: int = 0
    info: int = 0
    data: bytearray = field(default_factory=bytearray)
    relocs: list[tuple[int, str, int]] = field(default_factory=list)  # offset, symbol, kind


@dataclass
class _Symbol:
    name: str
    bind: int
    kind: int
    section: _Section
    value: int
    size: int


def write_object(programs: Sequence[AsmProgram], path: str | os.PathLike[str]) -> None:
    """Write the programs of one file as an object at `path`.

    Raises `AssemblerError` for what an object cannot say (a map known by number only, the address
    of a map's value, a jump from one function into another), `OutputError` if writing fails.
    """
    data = _Writer(programs).build()
    try:
        with Path(path).open("wb") as stream:
            stream.write(data)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"object cannot be written: {reason}", file=os.fspath(path)) from error


class _Writer:
    def __init__(self, programs: Sequence[AsmProgram]) -> None:
        self.programs = programs
        self.sections: list[_Section] = []
        self.symbols: list[_Symbol] = []

    def build(self) -> bytes:
        for program in self.programs:
            self._program(program)
        maps = {name: spec for program in self.programs for name, spec in program.maps.items()}
        numbers = {row.name: row.number for row in MAP_TYPES}
        for name, spec in maps.items():
            row = struct.pack(
                "<5I",
                numbers[spec.type],
                spec.key_size,
                spec.value_size,
                spec.max_entries,
                spec.flags,
            )
            section = self._section("maps", _ALLOC | _WRITE, 4)
            self._symbol(name, _GLOBAL, _OBJECT, section, row)
        text = next((p.license for p in self.programs if p.license), "")
        if text:
            section = self._section("license", _ALLOC | _WRITE, 1)
            self._symbol("_license", _GLOBAL, _OBJECT, section, text.encode() + b"\0")
        return self._lay_out()

    def _section(self, name: str, flags: int, align: int) -> _Section:
        for section in self.sections:
            if section.name == name:
                return section
        self.sections.append(_Section(name, flags=flags, align=align))
        return self.sections[-1]

    def _symbol(
        self, name: str, bind: int, kind: int, section: _Section, data: bytes | bytearray
    ) -> int:
        """Append the data with a symbol for it; its offset in the section."""
        if any(symbol.name == name for symbol in self.symbols):
            raise AssemblerError("two things of an object cannot share a name", found=f"'{name}'")
        offset = len(section.data)
        section.data += data
        self.symbols.append(_Symbol(name, bind, kind, section, offset, len(data)))
        return offset

    # ---- programs

    def _program(self, program: AsmProgram) -> None:
        count = len(program.insns) // INSN_SIZE
        starts = [info.insn for info in program.functions]
        ends = [*starts[1:], count]
        names = {0: program.name}
        for info in program.functions[1:]:
            taken = any(s.name == info.name for s in self.symbols) or info.name == program.name
            names[info.insn] = f"{program.name}.{info.name}" if taken else info.name
        for start, end in zip(starts, ends, strict=True):
            code = bytearray(program.insns[start * INSN_SIZE : end * INSN_SIZE])
            self._require_closed(program, code, start, names[start])
            relocs = self._relocate(program, code, start, names)
            name = ".text" if start else program.section
            section = self._section(name, _ALLOC | _EXEC, 8)
            bind = _LOCAL if start else _GLOBAL
            base = self._symbol(names[start], bind, _FUNC, section, code)
            section.relocs += [(base + offset, symbol, kind) for offset, symbol, kind in relocs]

    def _fail(self, program: AsmProgram, slot: int, message: str) -> AssemblerError:
        line = next((info for info in reversed(program.lines) if info.insn <= slot), None)
        return AssemblerError(
            f"program '{program.name}' cannot be written as an object: {message}",
            file=line.file if line else None,
            line=line.line if line else None,
        )

    def _require_closed(self, program: AsmProgram, code: bytearray, start: int, name: str) -> None:
        """Functions are linked apart, so control must leave them by calls and exits only."""
        count, last = len(code) // INSN_SIZE, 0
        for index, opcode, _, imm in walk(code):
            last = opcode
            if opcode & 7 not in _JUMP_CLASSES or opcode in (OP_CALL, _EXIT):
                continue
            offset = struct.unpack_from("<h", code, index * INSN_SIZE + 2)[0]
            target = index + 1 + (imm if opcode == _JA32 else offset)
            if not 0 <= target < count:
                raise self._fail(program, start + index, f"jump out of function '{name}'")
        if last not in (_EXIT, _JA, _JA32):
            end = start + count - 1
            raise self._fail(program, end, f"control runs past the end of function '{name}'")

    def _relocate(
        self, program: AsmProgram, code: bytearray, start: int, names: dict[int, str]
    ) -> list[tuple[int, str, int]]:
        relocs = []
        for index, opcode, src, imm in walk(code):
            offset, slot = index * INSN_SIZE, start + index
            if opcode == OP_CALL and src == CALL_LOCAL:
                relocs.append((offset, names[slot + 1 + imm], R_BPF_64_32))
                set_imm(code, index, _CALL_NAMED)
            elif opcode == OP_CALL and src == _KFUNC:
                raise self._fail(program, slot, "kernel functions need BTF")
            elif opcode == OP_LD_IMM64 and src == PSEUDO_FUNC:
                relocs.append((offset, names[slot + 1 + imm], R_BPF_64_64))
                set_imm(code, index, 0)
                set_src(code, index, PSEUDO_NONE)
            elif opcode == OP_LD_IMM64 and src == PSEUDO_MAP_FD:
                name = program.map_refs.get(imm & 0xFFFFFFFF)
                if name not in program.maps:
                    raise self._fail(program, slot, f"map '{name or imm}' has no .map definition")
                relocs.append((offset, name, R_BPF_64_64))
                set_imm(code, index, 0)
                set_src(code, index, PSEUDO_NONE)
            elif opcode == OP_LD_IMM64 and src != PSEUDO_NONE:
                raise self._fail(program, slot, "there is no relocation for this load")
        return relocs

    # ---- layout

    def _lay_out(self) -> bytes:
        strings = _Strings()
        indices = {section.name: at for at, section in enumerate(self.sections, 1)}
        symtab_index = len(self.sections) + 1
        symbols = sorted(self.symbols, key=lambda symbol: symbol.bind)  # locals come first
        places = {symbol.name: at for at, symbol in enumerate(symbols, 1)}
        symtab = _Section(".symtab", _SHT_SYMTAB, align=8, entry=_SYM.size, link=symtab_index + 1)
        symtab.info = 1 + sum(symbol.bind == _LOCAL for symbol in symbols)
        symtab.data += bytes(_SYM.size)
        for symbol in symbols:
            symtab.data += _SYM.pack(
                strings.add(symbol.name),
                symbol.bind << 4 | symbol.kind,
                0,
                indices[symbol.section.name],
                symbol.value,
                symbol.size,
            )
        strtab = _Section(".strtab", _SHT_STRTAB)
        rels = []
        for section in self.sections:
            if section.relocs:
                rel = _Section(".rel" + section.name, _SHT_REL, _INFO_LINK, 8, _REL.size)
                rel.link, rel.info = symtab_index, indices[section.name]
                for offset, symbol_name, kind in section.relocs:
                    rel.data += _REL.pack(offset, places[symbol_name] << 32 | kind)
                rels.append(rel)
        sections = [*self.sections, symtab, strtab, *rels]
        names = [strings.add(section.name) for section in sections]
        strtab.data += strings.data
        body, headers = bytearray(), bytearray(_SHDR.size)
        for section, name in zip(sections, names, strict=True):
            body += bytes(-len(body) % 8)
            headers += _SHDR.pack(
                name,
                section.kind,
                section.flags,
                0,
                _EHDR.size + len(body),
                len(section.data),
                section.link,
                section.info,
                section.align,
                section.entry,
            )
            body += section.data
        body += bytes(-len(body) % 8)
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
            symtab_index + 1,
        )
        return bytes(header + body + headers)


class _Strings:
    def __init__(self) -> None:
        self.data = bytearray(b"\0")

    def add(self, text: str) -> int:
        offset = len(self.data)
        self.data += text.encode() + b"\0"
        return offset
