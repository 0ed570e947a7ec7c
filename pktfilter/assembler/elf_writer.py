"""Assembled programs as an ELF object, as clang would make one (kernel documentation, libbpf).

Each program stands in its section, its subprograms in `.text`; maps are BTF-defined in `.maps`,
global data has sections of its own; calls, callback addresses, loads of maps and of addresses in
global data, and initialised slots have relocations.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import AssemblerError, OutputError
from ..objects.elf import R_BPF_64_32, R_BPF_64_64, R_BPF_64_ABS64
from ..objects.insns import (
    CALL_LOCAL,
    INSN_SIZE,
    OP_CALL,
    OP_LD_IMM64,
    PSEUDO_FUNC,
    PSEUDO_MAP_FD,
    PSEUDO_MAP_VALUE,
    PSEUDO_NONE,
    get_imm,
    set_imm,
    set_src,
    walk,
)
from ..objects.map_spec import MapSpec
from ..objects.maps import BTF_SECTION
from .body import AsmProgram
from .btf_writer import BtfWriter
from .definitions import SLOT_SIZE, is_data
from .elf_file import ALLOC, EXEC, FUNC, GLOBAL, LOCAL, NOBITS, OBJECT, WRITE, ElfFile

_CALL_NAMED = -1  # the immediate of a call to a named function
_KFUNC = 2
_JA, _JA32, _EXIT = 0x05, 0x06, 0x95
_JUMP_CLASSES = (5, 6)
_DATA_ALIGN = 16  # vectors and 128-bit constants
_U32 = 0xFFFFFFFF

_Relocs = list[tuple[int, str, int]]  # offset, symbol, kind
_Code = tuple[bytes, _Relocs]


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
        self.elf = ElfFile()
        self.btf = BtfWriter()
        self.maps = {name: spec for program in programs for name, spec in program.maps.items()}
        self.reserved = {program.name for program in programs} | set(self.maps)
        self.text: dict[str, _Code] = {}  # subprograms by name

    def build(self) -> bytes:
        # Readers number maps by sections, so these stand in the order of the definitions.
        for name, spec in self.maps.items():
            if is_data(spec):
                self._data(spec)
            else:
                self._map(name, spec)
        for program in self.programs:
            self._program(program)
        self._settle_callbacks()
        text = next((p.license for p in self.programs if p.license), "")
        if text:
            section = self.elf.section("license", ALLOC | WRITE, 1)
            self.elf.symbol("_license", GLOBAL, OBJECT, section, text.encode() + b"\0")
        for name, data in zip((".BTF", ".BTF.ext"), self.btf.build(BTF_SECTION), strict=True):
            self.elf.section(name, 0, 4).data += data
        return self.elf.build()

    # ---- maps

    def _data(self, spec: MapSpec) -> None:
        flags = ALLOC if spec.readonly_prog else ALLOC | WRITE
        if spec.data is None:
            self.elf.section(spec.name, flags, _DATA_ALIGN, NOBITS).size = spec.value_size
        else:
            self.elf.section(spec.name, flags, _DATA_ALIGN).data += spec.data

    def _map(self, name: str, spec: MapSpec) -> None:
        section = self.elf.section(BTF_SECTION, ALLOC | WRITE, 8)
        slots = max(spec.values, default=-1) + 1
        size = self.btf.map(spec, len(section.data), slots)
        offset = self.elf.symbol(name, GLOBAL, OBJECT, section, bytes(size))
        first = offset + self.btf.values_offset(spec)
        for slot, target in sorted(spec.values.items()):
            section.relocs.append((first + slot * SLOT_SIZE, target, R_BPF_64_ABS64))

    # ---- programs

    def _program(self, program: AsmProgram) -> None:
        # A subprogram that an earlier program has too is written once, if all of them agree.
        names = self._names(program, share=True)
        codes = self._codes(program, names)
        if any(name in self.text and self.text[name] != codes[name] for name in names.values()):
            names = self._names(program, share=False)
            codes = self._codes(program, names)
        for start, name in names.items():
            if name in self.text:
                continue
            code, relocs = codes[name]
            section_name = ".text" if start else program.section
            section = self.elf.section(section_name, ALLOC | EXEC, 8)
            base = self.elf.symbol(name, LOCAL if start else GLOBAL, FUNC, section, code)
            section.relocs += [(base + offset, symbol, kind) for offset, symbol, kind in relocs]
            self.btf.function(section_name, base, name, start == 0)
            if start:
                self.text[name] = (code, relocs)

    def _settle_callbacks(self) -> None:
        """Address callbacks by their section, which libbpf wants of functions that are local."""
        for section in list(self.elf.sections.values()):
            for at, (offset, name, kind) in enumerate(section.relocs):
                symbol = self.elf.symbols[name]
                if kind == R_BPF_64_64 and symbol.kind == FUNC and symbol.bind == LOCAL:
                    target = self.elf.section_symbol(symbol.section)
                    section.relocs[at] = (offset, target, kind)
                    set_imm(section.data, offset // INSN_SIZE, symbol.value)

    def _names(self, program: AsmProgram, share: bool) -> dict[int, str]:
        """The symbols of the program's functions by their first instruction.

        With `share`, a subprogram may have the name of one that is written already.
        """
        names = {0: program.name}
        taken = self.reserved if share else self.reserved | set(self.text)
        used: set[str] = set()
        for info in program.functions[1:]:
            name = f"{program.name}.{info.name}" if info.name in taken else info.name
            while name in taken or name in used:
                name += "_"
            names[info.insn] = name
            used.add(name)
        return names

    def _codes(self, program: AsmProgram, names: Mapping[int, str]) -> dict[str, _Code]:
        starts = list(names)
        ends = [*starts[1:], len(program.insns) // INSN_SIZE]
        codes = {}
        for start, end in zip(starts, ends, strict=True):
            code = bytearray(program.insns[start * INSN_SIZE : end * INSN_SIZE])
            self._require_closed(program, code, start, names[start])
            relocs = self._relocate(program, code, start, names)
            codes[names[start]] = bytes(code), relocs
        return codes

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
        self, program: AsmProgram, code: bytearray, start: int, names: Mapping[int, str]
    ) -> _Relocs:
        """Turn what the linker fills in into relocations, the addends into the instructions."""
        relocs = []
        for index, opcode, src, imm in walk(code):
            offset, slot = index * INSN_SIZE, start + index
            if opcode == OP_CALL and src == CALL_LOCAL:
                relocs.append((offset, names[slot + 1 + imm], R_BPF_64_32))
                set_imm(code, index, _CALL_NAMED)
            elif opcode == OP_CALL and src == _KFUNC:
                raise self._fail(program, slot, "kernel functions need BTF of the kernel")
            elif opcode == OP_LD_IMM64 and src != PSEUDO_NONE:
                addend = 0
                if src == PSEUDO_FUNC:
                    symbol = names[slot + 1 + imm]
                elif src == PSEUDO_MAP_FD:
                    symbol = self._map_symbol(program, slot, imm)
                elif src == PSEUDO_MAP_VALUE:
                    addend = get_imm(code, index + 1) & _U32
                    symbol = self._data_symbol(program, slot, imm, addend)
                else:
                    raise self._fail(program, slot, "there is no relocation for this load")
                relocs.append((offset, symbol, R_BPF_64_64))
                set_imm(code, index, addend)
                set_imm(code, index + 1, 0)
                set_src(code, index, PSEUDO_NONE)
        return relocs

    def _referred(self, program: AsmProgram, slot: int, number: int) -> MapSpec:
        name = program.map_refs.get(number & _U32)
        if name not in program.maps:
            found = name or number
            raise self._fail(program, slot, f"map '{found}' has no .map or .data definition")
        return program.maps[name]

    def _map_symbol(self, program: AsmProgram, slot: int, number: int) -> str:
        spec = self._referred(program, slot, number)
        if is_data(spec):
            raise self._fail(
                program,
                slot,
                f"'{spec.name}' is global data: only addresses in it, map[{spec.name}][0]+N, "
                "have a relocation",
            )
        return spec.name

    def _data_symbol(self, program: AsmProgram, slot: int, number: int, offset: int) -> str:
        spec = self._referred(program, slot, number)
        if not is_data(spec):
            raise self._fail(
                program,
                slot,
                f"there is no relocation for the address of a value of map '{spec.name}', "
                "only for global data (.data)",
            )
        if offset >= spec.value_size:
            size = spec.value_size
            raise self._fail(
                program, slot, f"byte {offset} is outside '{spec.name}', which has {size}"
            )
        return self.elf.section_symbol(self.elf.sections[spec.name])
