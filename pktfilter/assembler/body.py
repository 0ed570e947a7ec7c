"""One program of an assembly file: its statements as bytes, labels resolved."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from .._core import isa
from ..errors import AssemblerError, ProgramError
from ..objects.map_spec import MapSpec
from ..objects.spec import FuncInfo, LineInfo
from .forms import JUMPS, Match, MismatchError, Reader
from .tokens import Token

_SLOT = 8
# Where a jump letter's distance stands in the encoding.
_JUMP_PLACES = {"J": (2, "<h"), "j": (4, "<i")}


@dataclass
class AsmProgram:
    """One assembled program, in the shape of a linked `ProgramSpec`.

    `insns` are original bytes; `map_refs` says which of the file's `maps` (or `.extern` names) a
    number in them stands for. `functions` starts with the program itself, then every target of a
    local call or callback address in order.
    """

    name: str
    section: str
    insns: bytes = b""
    license: str = ""
    map_refs: dict[int, str] = field(default_factory=dict)
    maps: dict[str, MapSpec] = field(default_factory=dict)
    functions: list[FuncInfo] = field(default_factory=list)
    lines: list[LineInfo] = field(default_factory=list)


@dataclass
class Statement:
    """One instruction as written; `index` and `opcode` are those of a listing."""

    line: int
    text: str
    tokens: list[Token]
    index: int | None
    opcode: int | None


@dataclass
class Draft:
    """A program while it is read: statements, and labels as statement counts."""

    program: AsmProgram
    statements: list[Statement] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)


class Body:
    """Turns the statements of one program into bytes."""

    def __init__(
        self,
        draft: Draft,
        numbers: Mapping[str, int],
        file: str,
        fail: Callable[..., AssemblerError],
    ) -> None:
        self.numbers = numbers
        self.file = file
        self.fail = fail
        self.draft = draft
        self.program = draft.program
        self.reader = Reader(draft.labels, numbers)
        self.code = bytearray()
        self.slots: list[int] = []
        self.fixups: list[tuple[Statement, int, Match]] = []

    def finish(self) -> None:
        refs: dict[int, str] = {}
        for statement in self.draft.statements:
            slot = len(self.code) // _SLOT
            match = self._read(statement, slot)
            self.slots.append(slot)
            self.code += match.encode()
            if match.label is not None:
                self.fixups.append((statement, slot, match))
            if match.map_name:
                refs[self.numbers[match.map_name]] = match.map_name
        self.slots.append(len(self.code) // _SLOT)
        for fixup in self.fixups:
            self._fix(*fixup)
        self.program.insns = bytes(self.code)
        self.program.map_refs = dict(sorted(refs.items()))
        self._check()
        self._describe()

    def _read(self, statement: Statement, slot: int) -> Match:
        first = statement.tokens[0].column
        if statement.index is not None and statement.index != slot:
            raise self.fail(
                "index is not that of the instruction",
                statement.line,
                1,
                str(statement.index),
                str(slot),
                "an edited listing is assembled without its indices, and with labels",
            )
        try:
            match = self.reader.read(statement.tokens)
        except MismatchError as mismatch:
            token = mismatch.token
            column = token.column if token else len(statement.text) + 1
            found = f"'{token.text}'" if token else "the end of the line"
            raise self.fail(
                "this is no instruction", statement.line, column, found, mismatch.expected
            ) from None
        if statement.opcode is not None and statement.opcode != match.op.opcode:
            raise self.fail(
                "opcode is not that of the instruction",
                statement.line,
                first,
                f"({statement.opcode:02x})",
                f"({match.op.opcode:02x})",
            )
        return match

    def _fix(self, statement: Statement, slot: int, match: Match) -> None:
        assert match.label is not None  # only such matches are kept
        distance = self.slots[self.draft.labels[match.label.text]] - slot - 1
        low, high = JUMPS[match.label_letter]
        if not low <= distance <= high:
            raise self.fail(
                "label is too far away",
                statement.line,
                match.label.column,
                f"a distance of {distance} instructions",
                f"{low} to {high}",
                "gotol reaches any label",
            )
        at, layout = _JUMP_PLACES[match.label_letter]
        struct.pack_into(layout, self.code, slot * _SLOT + at, distance)

    def _check(self) -> None:
        try:
            isa.check(self.program.insns)
        except ProgramError as error:
            line = self._line_of(error.insn) if error.insn is not None else None
            raise self.fail(
                f"program '{self.program.name}': {error.message}", line, hint=error.hint
            ) from error

    def _line_of(self, slot: int) -> int:
        return max(
            (
                s.line
                for s, at in zip(self.draft.statements, self.slots, strict=False)
                if at <= slot
            ),
            default=1,
        )

    def _describe(self) -> None:
        program = self.program
        for statement, slot in zip(self.draft.statements, self.slots, strict=False):
            column = statement.tokens[0].column
            program.lines.append(LineInfo(slot, self.file, statement.line, column, statement.text))
        names: dict[int, str] = {}
        for label, count in self.draft.labels.items():
            names.setdefault(self.slots[count], label)
        targets = sorted(set(function_targets(program.insns)) - {0})
        program.functions = [FuncInfo(0, program.name)]
        program.functions += [FuncInfo(at, names.get(at, f"func_{at}")) for at in targets]


def function_targets(insns: bytes) -> Iterator[int]:
    """The slots that local calls and callback addresses of legal bytecode lead to."""
    wide = False
    for slot, (opcode, registers, _, imm) in enumerate(struct.iter_unpack("<BBhi", insns)):
        if not wide and (opcode, registers >> 4) in ((0x85, 1), (0x18, 4)):
            yield slot + imm + 1
        wide = not wide and opcode == 0x18
