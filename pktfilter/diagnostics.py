"""What the verifier found: structured records first, text (in the manner of rustc) second."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ._core import isa
from .objects.spec import FuncInfo, LineInfo


@dataclass(frozen=True)
class PathStep:
    """One branch on the way to the refused instruction: where, and which way it went."""

    insn: int
    text: str
    taken: bool
    source: LineInfo | None = None

    def __str__(self) -> str:
        way = "taken" if self.taken else "not taken"
        return f"instruction {self.insn}: {self.text} ({way})"


@dataclass(frozen=True)
class Diagnostic:
    """One reason why a program is refused.

    `code` is the name of the reason, `message` says it in a sentence, `insn` is the instruction,
    `text` its disassembly, `source` its line of C where the object has line information, `path` the
    branches that lead there, oldest first (`path_dropped` older ones are left out), `registers`
    what is known of those involved, `help` what to do.
    """

    code: str
    message: str
    insn: int
    text: str = ""
    function: str = ""
    source: LineInfo | None = None
    path: tuple[PathStep, ...] = ()
    path_dropped: int = 0
    registers: dict[str, str] = field(default_factory=dict)
    help: str = ""

    def to_json(self) -> dict[str, Any]:
        """The record as `verify --json` prints it."""
        return {
            "code": self.code,
            "message": self.message,
            "insn": self.insn,
            "text": self.text,
            "function": self.function,
            "source": _source_json(self.source),
            "path": [
                {
                    "insn": step.insn,
                    "text": step.text,
                    "taken": step.taken,
                    "source": _source_json(step.source),
                }
                for step in self.path
            ],
            "registers": dict(self.registers),
            "help": self.help,
        }

    def render(self, program: str = "", style: Callable[[str, str], str] | None = None) -> str:
        """The diagnostic as text; `style(role, text)` may colour "error", "note", "help", "line"."""
        paint = style or (lambda _role, text: text)
        lines = [paint("error", f"error[{self.code}]") + f": {self.message}"]
        where = f"{program}, " if program else ""
        if self.function and self.function != program:
            where += f"function {self.function}, "
        lines.append(paint("line", "  --> ") + f"{where}instruction {self.insn}: {self.text}")
        if self.source is not None:
            lines += _excerpt(self.source, paint)
        if self.registers:
            lines.append(paint("note", "  = known:"))
            lines += [f"      {name} = {text}" for name, text in self.registers.items()]
        if self.path:
            lines.append(paint("note", "  = path:"))
            if self.path_dropped:
                lines.append(f"      ({self.path_dropped} earlier branches)")
            lines += [_step_line(step) for step in self.path]
        if self.help:
            lines.append(paint("help", "  = help: ") + self.help)
        return "\n".join(lines)


def _source_json(source: LineInfo | None) -> dict[str, Any] | None:
    if source is None:
        return None
    return {
        "file": source.file,
        "line": source.line,
        "column": source.column,
        "text": source.source.strip(),
    }


def _excerpt(source: LineInfo, paint: Callable[[str, str], str]) -> list[str]:
    """The source line with a caret, as rustc shows it."""
    number = str(source.line)
    gutter = " " * len(number)
    text = source.source.expandtabs(8)
    caret = max(len(source.source[: max(source.column - 1, 0)].expandtabs(8)), 0)
    bar = paint("line", "|")
    return [
        f"{gutter} {paint('line', '-->')} {source.file}:{source.line}:{source.column}",
        f"{gutter} {bar}",
        f"{paint('line', number)} {bar} {text}",
        f"{gutter} {bar} {' ' * caret}{paint('error', '^')}",
    ]


def _step_line(step: PathStep) -> str:
    if step.source is None:
        return f"      {step}"
    way = "jumped" if step.taken else "went on"
    name = os.path.basename(step.source.file)
    return f"      {name}:{step.source.line}: `{step.source.source.strip()}` ({step.text}: {way})"


def make_diagnostic(
    raw: dict[str, Any], insns: bytes, lines: Sequence[LineInfo], functions: Sequence[FuncInfo]
) -> Diagnostic:
    """The core's record with instruction texts and source lines put in."""
    texts = isa.text(insns, None) if insns and len(insns) % 8 == 0 else []

    def text(insn: int) -> str:
        return (texts[insn] or "") if insn < len(texts) else ""

    def line(insn: int) -> LineInfo | None:
        found = None
        for info in lines:
            if info.insn > insn:
                break
            found = info
        return found

    function = ""
    for info in functions:
        if info.insn <= raw["insn"]:
            function = info.name
    prefix = f"instruction {raw['insn']}: "
    message = str(raw["message"])
    return Diagnostic(
        code=raw["code"].removeprefix("VER_").lower().replace("_", "-"),
        message=message.removeprefix(prefix),
        insn=raw["insn"],
        text=text(raw["insn"]),
        function=function,
        source=line(raw["insn"]),
        path=tuple(PathStep(at, text(at), taken, line(at)) for at, taken in raw["path"]),
        path_dropped=raw["path_dropped"],
        registers=dict(raw["registers"]),
        help=raw["help"],
    )
