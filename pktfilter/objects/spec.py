"""What an object file says, before anything is created from it: programs, maps, metadata.

Specs are plain data and may be edited before they are loaded. Maps are named by small numbers
("fds", from 1 in the order of `ObjectSpec.maps`) inside linked instructions, as in `bpf(2)`'s
pseudo `ld_imm64` forms; `ProgramSpec.map_refs` says which name a number stands for.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import InputError, ObjectError
from .insns import PSEUDO_MAP_FD, PSEUDO_MAP_VALUE, helper_calls, ld_imm64s
from .kinds import helper_by_number
from .map_spec import MapSpec

if TYPE_CHECKING:
    from .btf import Btf
    from .externs import KconfigVar
    from .functions import GlobalFunction

# Larger files are refused unread; real objects are far below 1 MiB.
FILE_LIMIT = 64 << 20


@dataclass(frozen=True, slots=True)
class LineInfo:
    """The source position of linked instruction `insn`; `line` and `column` from 1."""

    insn: int
    file: str
    line: int
    column: int
    source: str


@dataclass(frozen=True, slots=True)
class FuncInfo:
    """A function starts at linked instruction `insn`; `btf` is its FUNC type id, 0 if unknown."""

    insn: int
    name: str
    btf: int = 0


@dataclass(frozen=True, slots=True)
class CoreRelo:
    """A CO-RE relocation of linked instruction `insn` against BTF type `type_id`."""

    insn: int
    type_id: int
    type_name: str
    access: str
    kind: int


@dataclass()
class ProgramSpec:
    """One linked program: the main function, then the subprograms it reaches.

    `insns` are original bytes as `bpf(2)` takes them: bpf-to-bpf calls relative, `ld_imm64` with
    src 1 or 2 carrying a map number of `map_refs`, src 4 a callback's relative position.
    `attach` is "" or the secondary use "devmap" or "cpumap"; `frags` says that the program is
    written for packets in several parts.
    """

    name: str
    section: str
    insns: bytes
    type: str = "xdp"
    frags: bool = False
    attach: str = ""
    license: str = ""
    map_refs: dict[int, str] = field(default_factory=dict)
    functions: list[FuncInfo] = field(default_factory=list)
    lines: list[LineInfo] = field(default_factory=list)
    helpers: list[int] = field(default_factory=list)
    core_relos: list[CoreRelo] = field(default_factory=list)
    globals: list[GlobalFunction] = field(default_factory=list)
    #: Instructions before CO-RE relocation, once that was done.
    unrelocated: bytes | None = None
    relocated: bool = False
    #: Why an instruction must not be reached: what it refers to does not exist.
    poison: dict[int, str] = field(default_factory=dict)
    #: Of type pcap: the tcpdump expression that `insns` is for Ethernet or, if it means nothing there, a type it has.
    expression: str | None = None

    @property
    def insn_count(self) -> int:
        """Number of 8-byte instruction slots, subprograms included."""
        return len(self.insns) // 8

    def function_at(self, insn: int) -> str:
        """Name of the function that holds linked instruction `insn`."""
        name = self.name
        for info in self.functions:
            if info.insn > insn:
                break
            name = info.name
        return name


@dataclass(frozen=True, slots=True)
class Skipped:
    """A function of the object that is not offered as a program, and why."""

    name: str
    section: str
    reason: str


Loader = Callable[..., Any]
_loaders: list[Loader] = []  # at most one


def set_loader(loader: Loader) -> None:
    """Register what `ObjectSpec.load` calls, as `loader(spec, **options)`.

    The layer above does this at import, since specs must not know handles.
    """
    _loaders[:] = [loader]


@dataclass()
class ObjectSpec:
    """A parsed object file, editable before `load`."""

    path: str
    programs: dict[str, ProgramSpec] = field(default_factory=dict)
    maps: dict[str, MapSpec] = field(default_factory=dict)
    license: str = ""
    version: int | None = None
    btf: Btf | None = None
    btf_size: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    #: The object's `__kconfig` variables (`externs.set_kconfig`).
    kconfig: dict[str, KconfigVar] = field(default_factory=dict)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> ObjectSpec:
        """Parse the object at `path`; raises `ObjectError` naming what is wrong and where."""
        name = os.fspath(path)
        try:
            with open(name, "rb") as stream:
                status = os.fstat(stream.fileno())
                if stat.S_ISREG(status.st_mode) and status.st_size > FILE_LIMIT:
                    raise _too_large(name, status.st_size)
                data = stream.read(FILE_LIMIT + 1)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ObjectError(f"object cannot be read: {reason}", file=name) from error
        return cls.from_bytes(data, name=name)

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "<bytes>") -> ObjectSpec:
        """Parse an object held in memory; `name` stands for the file in messages."""
        if len(data) > FILE_LIMIT:
            raise _too_large(name, len(data))
        from .parse import parse_object  # the ELF reader is loaded only when it is needed

        return parse_object(bytes(data), name)

    def load(self, **options: Any) -> Any:
        """Create the maps and programs; options and errors are those of `pktfilter.load`."""
        if not _loaders:
            raise RuntimeError("no loader is registered: import pktfilter before loading a spec")
        return _loaders[0](self, **options)

    def set_variable(self, name: str, value: int | bytes) -> None:
        """Set the initial value of a global variable (`.rodata`, `.data`, `.bss`) before loading.

        An int is stored little-endian in the variable's size; bytes must have that size. Raises
        `InputError` if the object's BTF has no such variable or the value does not fit.
        """
        map_name, offset, size = self._variable(name)
        try:
            raw = (
                value.to_bytes(size, "little", signed=value < 0)
                if isinstance(value, int)
                else value
            )
        except OverflowError:
            raw = b""
        if len(raw) != size:
            raise InputError(
                f"value does not fit variable '{name}'",
                file=self.path,
                found=repr(value),
                expected=f"{size} bytes",
            )
        spec = self.maps[map_name]
        data = spec.data if spec.data is not None else bytes(spec.value_size)
        spec.data = data[:offset] + raw + data[offset + size :]

    def _variable(self, name: str) -> tuple[str, int, int]:
        from .btf_types import DataSec

        for record in self.btf.types if self.btf else ():
            if not isinstance(record, DataSec) or self.btf is None:
                continue
            for var in record.vars:
                if self.btf.get(var.type).name == name:
                    for map_name, spec in self.maps.items():
                        if spec.section == record.name:
                            return map_name, var.offset, var.size
        raise InputError(f"no global variable named '{name}'", file=self.path)

    def relocate(self, target: Btf | None) -> None:
        """Resolve CO-RE relocations against `target`, or the object's own types if None.

        May be repeated with another target; undoes changes of `insns` of programs that have any.
        Raises `ObjectError` naming instruction, source line, type and field.
        """
        from .core_patch import apply_core

        apply_core(self, target)

    @property
    def map_fds(self) -> dict[str, int]:
        """The numbers by which linked instructions name the maps."""
        return {name: fd for fd, name in enumerate(self.maps, 1)}

    def check_supported(self, program: str | None = None) -> None:
        """Raise `ObjectError` naming what cannot be run: a map, or an instruction's helper.

        With `program`, only that program and the maps are checked. CO-RE relocations that nobody
        resolved (`relocate`) are resolved against the object's own types.
        """
        if any(each.core_relos and not each.relocated for each in self.programs.values()):
            self.relocate(None)
        if self.kconfig:
            from .externs import require_kconfig

            require_kconfig(self)
        for spec in self.maps.values():
            if spec.unused:
                continue
            try:
                spec.validate()
            except InputError as error:
                raise ObjectError(
                    error.message,
                    file=self.path,
                    section=spec.section or None,
                    symbol=spec.name,
                    found=error.found,
                    expected=error.expected,
                    hint=error.hint,
                ) from error
        if program is not None and program not in self.programs:
            expected = ", ".join(self.programs) or "no programs at all"
            raise ObjectError("no such program", file=self.path, found=program, expected=expected)
        for name in self.programs if program is None else (program,):
            self._check_program(self.programs[name])

    def _check_program(self, program: ProgramSpec) -> None:
        def refuse(insn: int, message: str, found: str, hint: str | None = None) -> ObjectError:
            return ObjectError(
                message,
                file=self.path,
                section=program.section,
                symbol=program.function_at(insn),
                insn=insn,
                found=found,
                hint=hint,
            )

        for insn, number in helper_calls(program.insns):
            row = helper_by_number(number)
            if row is None or not row.supported:
                named = f"{row.name} ({number})" if row else f"number {number}"
                raise refuse(insn, "helper is not supported", named)
        for insn, src, imm in ld_imm64s(program.insns):
            if src in (PSEUDO_MAP_FD, PSEUDO_MAP_VALUE) and program.map_refs.get(imm) not in (
                self.maps
            ):
                raise refuse(insn, "map is not defined by the object", f"number {imm}")


def _too_large(name: str, size: int) -> ObjectError:
    return ObjectError(
        "file is too large for a BPF object",
        file=name,
        found=f"{size} bytes" if size <= FILE_LIMIT else f"more than {FILE_LIMIT} bytes",
        expected=f"at most {FILE_LIMIT} bytes",
    )
