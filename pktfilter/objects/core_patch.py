"""CO-RE: putting the answers into instructions.

An instruction whose relocation has no answer is replaced by one that the verifier always refuses
and that no program contains otherwise, a store above the stack. So a program loads if the verifier
never comes there, as behind `if (bpf_core_field_exists(...))`, and else the refusal tells why
(`ProgramSpec.poison`). libbpf does the same with a call of a helper that does not exist.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from ..errors import ObjectError
from .btf import Btf
from .btf_types import BtfType, Struct
from .conn_types import NAME as CONN
from .conn_types import conn_types
from .core_relo import (
    KINDS,
    LOCAL_ID,
    TARGET_ID,
    Path,
    Value,
    find_path,
    local_path,
    value_of,
)
from .core_types import essential, kind_of
from .insns import INSN_SIZE, OP_LD_IMM64, get_imm, set_imm

if TYPE_CHECKING:
    from .spec import CoreRelo, ObjectSpec, ProgramSpec

_LD, _LDX, _ST, _STX, _ALU, _ALU64 = 0, 1, 2, 3, 4, 7
_SIZE_BITS = {1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18}
_BYTES = {bits: size for size, bits in _SIZE_BITS.items()}
_OFFSET_MAX = 0x7FFF
#: *(u8 *)(r10 + 32752) = 0xbad2310
POISON = struct.pack("<BBhi", 0x72, 10, 32752, 0xBAD2310)
CANDIDATE_LIMIT = 1000


def poison(code: bytearray, index: int, slots: int) -> None:
    """Make `slots` instructions from slot `index` ones that must never be reached."""
    for slot in range(index, index + slots):
        code[slot * INSN_SIZE : (slot + 1) * INSN_SIZE] = POISON


class Target:
    """The types that relocations are resolved against, by name without flavour."""

    def __init__(self, btf: Btf) -> None:
        self.btf = btf
        self._names: dict[str, list[int]] = {}
        for type_id, record in enumerate(btf.types):
            if record.name:
                self._names.setdefault(essential(record.name), []).append(type_id)

    def candidates(self, local: Btf, type_id: int) -> list[int]:
        """Ids of the types that have the local one's name and kind."""
        record = local.get(type_id)
        wanted = kind_of(record)
        found = [
            number
            for number in self._names.get(essential(record.name), ())
            if kind_of(self.btf.types[number]) == wanted
        ]
        if len(found) > CANDIDATE_LIMIT:
            raise self.btf.fail(f"more than {CANDIDATE_LIMIT} types have one name", record.name)
        return found


@dataclass(slots=True)
class _Answer:
    """The local value, the target's (None: unreachable code), and the sentence for no value."""

    local: Value | None
    value: Value | None
    why: str = ""


def apply_core(spec: ObjectSpec, target: Btf | None) -> None:
    """Resolve all CO-RE relocations of `spec` against `target`, or its own types if None.

    Starts from the instructions as the object holds them, so that it can be repeated. Raises
    `ObjectError` naming instruction, source line, type and field where a relocation is damaged,
    ambiguous or does not fit its instruction.
    """
    index = Target(target) if target is not None else None
    for program in spec.programs.values():
        if not program.core_relos or spec.btf is None:
            continue
        if program.unrelocated is None:
            program.unrelocated = program.insns
        code = bytearray(program.unrelocated)
        for at in [at for at, text in program.poison.items() if text.startswith(_PREFIX)]:
            del program.poison[at]
        for relo in program.core_relos:
            _Patch(spec, program, relo, code).apply(index)
        program.insns = bytes(code)
        program.relocated = True


_PREFIX = "CO-RE relocation "


def _is_conn(record: BtfType) -> bool:
    return isinstance(record, Struct) and essential(record.name) == CONN


@lru_cache(maxsize=1)
def _conn_target() -> Target:
    return Target(conn_types())


class _Patch:
    def __init__(
        self, spec: ObjectSpec, program: ProgramSpec, relo: CoreRelo, code: bytearray
    ) -> None:
        assert spec.btf is not None
        self.spec, self.program, self.relo, self.code = spec, program, relo, code
        self.local = spec.btf
        self.what = ""

    def fail(self, message: str, found: object = None, expected: object = None) -> ObjectError:
        line = next((i for i in reversed(self.program.lines) if i.insn <= self.relo.insn), None)
        return ObjectError(
            f"{_PREFIX}{message}",
            file=self.spec.path,
            section=self.program.section,
            symbol=self.program.function_at(self.relo.insn),
            insn=self.relo.insn,
            place=f"{line.file}:{line.line}" if line else None,
            found=found,
            expected=expected,
        )

    def apply(self, target: Target | None) -> None:
        relo = self.relo
        if not 0 <= relo.kind < len(KINDS):
            raise self.fail("has an unknown kind", relo.kind, f"0 to {len(KINDS) - 1}")
        try:
            path = local_path(self.local, relo.type_id, relo.access, relo.kind)
            self.what = f"for {KINDS[relo.kind]} of {_spell(path)}"
            answer = self._answer(path, target)
        except ObjectError as error:
            if error.message.startswith(_PREFIX):
                raise
            raise self.fail(f"{self.what or 'is damaged'}: {error.message}") from error
        if answer.value is None:
            self._poison(answer.why)
        else:
            self._patch(answer.local, answer.value)

    def _answer(self, path: Path, target: Target | None) -> _Answer:
        kind = self.relo.kind
        local = value_of(path, kind)
        if kind not in (LOCAL_ID, TARGET_ID) and _is_conn(self.local.get(self.relo.type_id)):
            target = _conn_target()
        if target is None or kind == LOCAL_ID:
            return _Answer(local, local)
        ids = target.candidates(self.local, self.relo.type_id)
        chosen: Value | None = None
        place: Path | None = None
        for candidate in ids:
            found = find_path(path, target.btf, candidate, kind)
            if found is None:
                continue
            value = value_of(found, kind)
            if place is not None and (value != chosen or place.bits != found.bits):
                raise self.fail(
                    f"{self.what} is ambiguous: types {place.root} and {candidate} of "
                    f"{target.btf.path} differ"
                )
            place, chosen = found, value
        if place is None:
            chosen = value_of(None, kind)
        record = self.local.get(self.relo.type_id)
        missing = "field or value" if ids else f"type '{essential(record.name)}'"
        why = f"{self.what} has no answer: {target.btf.path} has no such {missing}"
        return _Answer(local, chosen, why)

    def _poison(self, why: str) -> None:
        at = self.relo.insn
        wide = self.code[at * INSN_SIZE] == OP_LD_IMM64
        poison(self.code, at, 2 if wide else 1)
        self.program.poison[at] = _PREFIX + why

    def _patch(self, local: Value | None, value: Value) -> None:
        opcode = self.code[self.relo.insn * INSN_SIZE]
        kind = opcode & 7
        if kind in (_ALU, _ALU64) and not opcode & 8:
            self._expect(local, get_imm(self.code, self.relo.insn))
            if not -(1 << 31) <= value.number < 1 << 32:
                raise self.fail(f"{self.what} does not fit 32 bits", value.number)
            set_imm(self.code, self.relo.insn, value.number)
        elif kind in (_LDX, _ST, _STX):
            self._patch_memory(opcode, local, value)
        elif opcode == OP_LD_IMM64 and self.code[self.relo.insn * INSN_SIZE + 1] >> 4 == 0:
            low = get_imm(self.code, self.relo.insn) & 0xFFFFFFFF
            high = get_imm(self.code, self.relo.insn + 1) & 0xFFFFFFFF
            self._expect(local, high << 32 | low, 64)
            set_imm(self.code, self.relo.insn, value.number)
            set_imm(self.code, self.relo.insn + 1, value.number >> 32)
        else:
            raise self.fail(
                f"{self.what} is at an instruction that holds no number", f"{opcode:#x}"
            )

    def _expect(self, local: Value | None, found: int, bits: int = 32) -> None:
        """The instruction must hold the local answer, or it is not the one that was meant."""
        if local is not None and local.checked and (local.number ^ found) % (1 << bits):
            raise self.fail(f"{self.what}: the instruction has another value", found, local.number)

    def _patch_memory(self, opcode: int, local: Value | None, value: Value) -> None:
        at = self.relo.insn * INSN_SIZE
        (offset,) = struct.unpack_from("<h", self.code, at + 2)
        self._expect(local, offset)
        if not 0 <= value.number <= _OFFSET_MAX:
            raise self.fail(f"{self.what} is too large for a load", value.number, _OFFSET_MAX)
        if local is not None and local.size != value.size and value.kind and local.kind:
            same = {local.kind, value.kind}
            if same not in ({"unsigned"}, {"pointer"}) or value.size not in _SIZE_BITS:
                self._poison(
                    f"{self.what} has another size: {local.size} bytes here, {value.size} in the "
                    "target, and only unsigned integers can be loaded so (use BPF_CORE_READ)"
                )
                return
            if _BYTES[opcode & 0x18] != local.size:
                raise self.fail(
                    f"{self.what}: the instruction has another size",
                    _BYTES[opcode & 0x18],
                    local.size,
                )
            self.code[at] = opcode & ~0x18 | _SIZE_BITS[value.size]
        struct.pack_into("<h", self.code, at + 2, value.number)


def _spell(path: Path) -> str:
    """The path as C would say it: `struct task_struct.comm[3]`."""
    record = path.btf.get(path.root)
    kind = kind_of(record)
    text = f"{kind} {record.name}" if kind in ("struct", "union", "enum") else record.name
    for number, step in enumerate(path.steps):
        if step.name:
            text += f".{step.name}"
        elif number or step.index:
            text += f"[{step.index}]"
    return f"'{text}'"
