"""Linking: from functions and relocations to one instruction sequence per program.

The main function comes first, then each subprogram once, in the order in which it is first
reached; calls and callback addresses become relative to that sequence. The encodings are those
that `bpf(2)` takes (kernel documentation, "BPF Instruction Set", section on 64-bit immediates).
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ObjectError
from .btf import Btf
from .btf_ext import BtfExt, rows_between
from .btf_types import Func
from .core_patch import poison
from .elf import (
    R_BPF_64_32,
    R_BPF_64_64,
    SHN_COMMON,
    SHN_UNDEF,
    ElfObject,
    Reloc,
    Section,
    reloc_name,
)
from .externs import KCONFIG
from .functions import global_functions
from .insns import (
    CALL_KFUNC,
    CALL_LOCAL,
    INSN_SIZE,
    OP_CALL,
    OP_LD_IMM64,
    PSEUDO_FUNC,
    PSEUDO_MAP_FD,
    PSEUDO_MAP_VALUE,
    PSEUDO_NONE,
    get_imm,
    helper_calls,
    set_imm,
    set_src,
    walk,
)
from .kinds import kfunc_by_name
from .maps import MapTable
from .spec import CoreRelo, FuncInfo, LineInfo, ProgramSpec

# Instructions of all programs of an object together, subprograms counted once for each user;
# the kernel takes a million in one program.
LINKED_LIMIT = 2_000_000
_U64 = (1 << 64) - 1
_HIGH_HALF = 1 << 63


@dataclass(frozen=True, slots=True)
class Function:
    """Instructions `start` to before `end` of `section`."""

    name: str
    section: int
    start: int
    end: int
    is_global: bool


class Linker:
    """Links the functions of one object; `linked` collects those that some program contains."""

    def __init__(
        self,
        elf: ElfObject,
        functions: list[Function],
        maps: MapTable,
        btf: Btf | None,
        ext: BtfExt | None,
    ) -> None:
        self.elf = elf
        self.maps = maps
        self.btf = btf
        self.ext = ext or BtfExt()
        self.by_start = {(f.section, f.start): f for f in functions}
        self.names = dict(enumerate(maps.specs, 1))
        self.fds = {name: fd for fd, name in self.names.items()}
        self.linked: set[Function] = set()
        self.total = 0
        #: Offsets of the `__kconfig` variables in their map.
        self.kconfig: dict[str, int] = {}
        self._relocs: dict[int, dict[int, Reloc]] = {}

    def link(self, main: Function) -> ProgramSpec:
        """The program that starts with `main`; section name, license and use are the caller's."""
        program = ProgramSpec(main.name, self.elf.sections[main.section].name, b"")
        order, bases = [main], {main: 0}
        code = bytearray()
        calls: list[tuple[int, Function]] = []
        refs: set[int] = set()
        for function in order:  # grows while subprograms are found
            base = len(code) // INSN_SIZE
            bases[function] = base
            self._add_info(program, function, base)
            unit = _Unit(self, function)
            code += unit.resolve()
            refs |= unit.fds
            for index, text in unit.poison.items():
                program.poison[base + index] = text
            for index, target in unit.calls:
                calls.append((base + index, target))
                if target not in bases:
                    bases[target] = -1
                    order.append(target)
        for index, target in calls:
            set_imm(code, index, bases[target] - index - 1)
        self.linked.update(order)
        program.insns = bytes(code)
        program.map_refs = {fd: self.names[fd] for fd in sorted(refs)}
        program.helpers = sorted({number for _, number in helper_calls(code)})
        program.globals = global_functions(program.functions, self.btf)
        return program

    def relocs_of(self, section: Section) -> dict[int, Reloc]:
        """The relocations of an executable section by instruction index."""
        known = self._relocs.get(section.index)
        if known is None:
            known = {}
            for relo in section.relocs:
                index, rest = divmod(relo.offset, INSN_SIZE)
                if rest or relo.offset >= len(section.data) or index in known:
                    raise ObjectError(
                        "relocation is not at an instruction of its own",
                        file=self.elf.path,
                        section=section.name,
                        symbol=relo.symbol.name,
                        found=f"offset {relo.offset}",
                    )
                known[index] = relo
            self._relocs[section.index] = known
        return known

    def _add_info(self, program: ProgramSpec, function: Function, base: int) -> None:
        self.total += function.end - function.start
        if self.total > LINKED_LIMIT:
            raise ObjectError(
                "programs are too large with their subprograms",
                file=self.elf.path,
                section=program.section,
                symbol=program.name,
                expected=f"at most {LINKED_LIMIT} instructions in an object",
            )
        section = self.elf.sections[function.section].name
        start, end, shift = function.start, function.end, base - function.start
        infos = rows_between(self.ext.funcs, section, start, start + 1)
        type_id = infos[0].words[0] if infos else 0
        program.functions.append(FuncInfo(base, function.name, type_id))
        if self.btf is None:
            return
        strings = self.btf.strings
        for row in rows_between(self.ext.lines, section, start, end):
            file, text, place = row.words
            if place >> 10 == 0:  # the compiler's own code, which belongs to no line
                continue
            program.lines.append(
                LineInfo(row.insn + shift, strings[file], place >> 10, place & 0x3FF, strings[text])
            )
        for row in rows_between(self.ext.core, section, start, end):
            type_id, access, kind = row.words
            name = self.btf.get(type_id).name
            program.core_relos.append(
                CoreRelo(row.insn + shift, type_id, name, strings[access], kind)
            )


class _Unit:
    """One function while it is copied into a program: its map references and calls."""

    def __init__(self, linker: Linker, function: Function) -> None:
        self.linker = linker
        self.function = function
        self.section = linker.elf.sections[function.section]
        self.relocs = linker.relocs_of(self.section)
        start, end = function.start * INSN_SIZE, function.end * INSN_SIZE
        self.code = bytearray(self.section.data[start:end])
        self.fds: set[int] = set()
        self.calls: list[tuple[int, Function]] = []
        self.poison: dict[int, str] = {}

    def resolve(self) -> bytearray:
        start, count = self.function.start, self.function.end - self.function.start
        for index, opcode, src, imm in walk(self.code):
            relo = self.relocs.get(start + index)
            if opcode == OP_LD_IMM64:
                if index + 1 >= count:
                    raise self.fail(index, "wide instruction is cut off")
                if start + index + 1 in self.relocs:
                    raise self.fail(index + 1, "relocation is inside a wide instruction")
                self.resolve_imm64(index, src, imm, relo)
            elif opcode == OP_CALL and src == CALL_LOCAL:
                self.resolve_call(index, imm, relo)
            elif relo is not None:
                self.require_defined(index, relo)
                found = f"{reloc_name(relo.kind)} against '{relo.symbol.name}'"
                raise self.fail(index, "relocation does not fit its instruction", found)
        return self.code

    def fail(
        self, index: int, message: str, found: str | None = None, hint: str | None = None
    ) -> ObjectError:
        return ObjectError(
            message,
            file=self.linker.elf.path,
            section=self.section.name,
            symbol=self.function.name,
            insn=self.function.start + index,
            found=found,
            hint=hint,
        )

    def require_defined(self, index: int, relo: Reloc) -> Section:
        section = self.linker.elf.section_of(relo.symbol)
        if section is not None:
            return section
        named = f"'{relo.symbol.name}'"
        if relo.symbol.section == SHN_COMMON:
            raise self.fail(index, "common symbol is not supported (compile -fno-common)", named)
        is_function = self.linker.btf is not None and self.linker.btf.find(relo.symbol.name, Func)
        what = "kernel function" if is_function else "symbol"
        raise self.fail(
            index,
            f"{what} is not defined in the object (extern), nor known here",
            named,
            "only __weak externs may be missing",
        )

    def require_kind(self, index: int, relo: Reloc, kind: int) -> None:
        if relo.kind != kind:
            found = f"{reloc_name(relo.kind)} against '{relo.symbol.name}'"
            raise self.fail(index, "relocation is not supported here", found)

    def resolve_imm64(self, index: int, src: int, imm: int, relo: Reloc | None) -> None:
        if relo is None:
            if src == PSEUDO_FUNC:
                self.add_call(index, self.function.section, self.function.start + index + 1 + imm)
            elif src != PSEUDO_NONE:
                raise self.fail(index, "pseudo load has no relocation", f"source field {src}")
            return
        self.require_kind(index, relo, R_BPF_64_64)
        if relo.symbol.section == SHN_UNDEF and self.resolve_extern(index, relo):
            return
        section = self.require_defined(index, relo)
        low, high = imm & 0xFFFFFFFF, get_imm(self.code, index + 1) & 0xFFFFFFFF
        offset = (relo.symbol.value + (high << 32 | low)) & _U64
        if section.executable:
            if offset % INSN_SIZE:
                raise self.fail(index, "callback is not at an instruction", f"offset {offset}")
            set_src(self.code, index, PSEUDO_FUNC)
            set_imm(self.code, index + 1, 0)
            self.add_call(index, section.index, offset // INSN_SIZE)
            return
        place = self.linker.maps.at(section.index, offset)
        if place is None or (not place.is_data and offset != place.start):
            signed = offset - (1 << 64) if offset >= _HIGH_HALF else offset
            found = f"'{relo.symbol.name}', section '{section.name}' offset {signed}"
            raise self.fail(index, "reference is neither to a map nor to global data", found)
        fd = self.linker.fds[place.name]
        self.fds.add(fd)
        set_src(self.code, index, PSEUDO_MAP_VALUE if place.is_data else PSEUDO_MAP_FD)
        set_imm(self.code, index, fd)
        set_imm(self.code, index + 1, offset if place.is_data else 0)

    def resolve_extern(self, index: int, relo: Reloc) -> bool:
        """A configuration value's place, or the address 0 of a weak symbol; else False."""
        offset = self.linker.kconfig.get(relo.symbol.name)
        if offset is not None:
            fd = self.linker.fds[KCONFIG]
            self.fds.add(fd)
            set_src(self.code, index, PSEUDO_MAP_VALUE)
            set_imm(self.code, index, fd)
            set_imm(self.code, index + 1, offset)
        elif relo.symbol.weak:
            set_imm(self.code, index, 0)
            set_imm(self.code, index + 1, 0)
        return offset is not None or relo.symbol.weak

    def resolve_call(self, index: int, imm: int, relo: Reloc | None) -> None:
        if relo is None:
            self.add_call(index, self.function.section, self.function.start + index + 1 + imm)
            return
        if self.resolve_kfunc(index, relo):
            return
        if relo.symbol.section == SHN_UNDEF and relo.symbol.weak:
            poison(self.code, index, 1)
            self.poison[index] = f"kernel function '{relo.symbol.name}' does not exist here"
            return
        section = self.require_defined(index, relo)
        self.require_kind(index, relo, R_BPF_64_32)
        # The immediate counts instructions from the symbol, less one: -1 for a named function.
        if not section.executable or relo.symbol.value % INSN_SIZE:
            raise self.fail(index, "call is not to a function", f"'{relo.symbol.name}'")
        self.add_call(index, section.index, relo.symbol.value // INSN_SIZE + imm + 1)

    def resolve_kfunc(self, index: int, relo: Reloc) -> bool:
        """A call of a `__ksym` function gets the number of its row, and says that it is one."""
        if relo.symbol.section != SHN_UNDEF:
            return False
        row = kfunc_by_name(relo.symbol.name)
        if row is None:
            return False
        self.require_kind(index, relo, R_BPF_64_32)
        set_src(self.code, index, CALL_KFUNC)
        set_imm(self.code, index, row.number)
        return True

    def add_call(self, index: int, section: int, target: int) -> None:
        function = self.linker.by_start.get((section, target))
        if function is None:
            name = self.linker.elf.sections[section].name
            found = f"section '{name}' instruction {target}"
            raise self.fail(index, "call or callback is not to the start of a function", found)
        self.calls.append((index, function))
