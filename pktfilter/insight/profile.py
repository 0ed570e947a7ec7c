"""Where a program's instructions and time go, by source line."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .counts import Counts, count, program_of
from .sources import read_source, shown_name
from .steps import Code, Insn

if TYPE_CHECKING:
    from ..handles.loader import Object
    from ..handles.program import Program
    from ..objects.spec import LineInfo
    from ..sources import PathLike


@dataclass(slots=True)
class LineCost:
    """One source line: instructions executed for it, helper calls among them, and nanoseconds (`Profile`)."""

    file: str
    line: int
    source: str
    instructions: int = 0
    calls: int = 0
    ns: float = 0.0


@dataclass()
class Profile:
    """Costs by source line, in the order of files and lines.

    `ns` is what the steps of a line took in the observed interpreter beyond the cheapest step: cache misses, helpers,
    divisions show; compiled code is faster, with the same misses and helpers.
    """

    lines: list[LineCost]
    packets: int
    errors: list[str]

    @property
    def instructions(self) -> int:
        """All of them."""
        return sum(each.instructions for each in self.lines)

    @property
    def ns(self) -> float:
        """All of it."""
        return sum(each.ns for each in self.lines)

    def to_json(self) -> dict[str, Any]:
        """Totals and lines."""
        return {
            "packets": self.packets,
            "instructions": self.instructions,
            "ns": round(self.ns),
            "lines": [
                {"file": e.file, "line": e.line, "source": e.source, "instructions": e.instructions,
                 "calls": e.calls, "ns": round(e.ns)}
                for e in self.lines
            ],
            "errors": self.errors,
        }  # fmt: skip

    def __str__(self) -> str:
        return "\n".join(self.text_lines())

    def text_lines(self, top: int | None = None) -> list[str]:
        """Annotated lines, file by file; with `top` only so many, the costliest, as they stand in their files."""
        rank = sorted(self.lines, key=lambda e: (-e.ns, -e.instructions))
        kept = {id(each) for each in (rank if top is None else rank[:top])}
        packets, all_insns, all_ns = max(self.packets, 1), max(self.instructions, 1), self.ns or 1.0
        out = ["insns/packet   share  ns/packet   share  calls/packet"]
        file = ""
        for each in self.lines:
            if id(each) not in kept:
                continue
            if each.file != file:
                file = each.file
                out.append(file)
            calls = f"{each.calls / packets:.2f}" if each.calls else ""
            out.append(
                f"{each.instructions / packets:12.2f} {100 * each.instructions / all_insns:5.1f} % "
                f"{each.ns / packets:10.1f} {100 * each.ns / all_ns:5.1f} %  {calls:>12}  {each.line:5}: {each.source}"
            )
        out.append(
            f"{self.packets:,} packets, {self.instructions / packets:.1f} instructions a packet, "
            f"{self.ns / packets:.0f} ns a packet beyond the cheapest steps"
        )
        return out


def profile(
    inputs: PathLike | Iterable[PathLike],
    program: Program | Object,
    name: str | None = None,
    *,
    folder: str | None = None,
    **options: Any,
) -> Profile:
    """Runs the inputs through the program and says what each source line cost. Arguments as `cover`."""
    counts = count(inputs, program_of(program, name), timed=True, **options)
    if folder is None and not hasattr(program, "insns"):
        folder = os.path.dirname(os.path.abspath(getattr(program, "path", ".")))
    return profile_of(counts, folder)


def profile_of(counts: Counts, folder: str | None) -> Profile:
    """Costs by source line of counts by instruction; what has no line is its program's line 0."""
    lines: dict[tuple[str, int], LineCost] = {}
    infos: dict[str, list[LineInfo]] = {}
    for each in counts.programs:
        code = Code(each.program)
        for slot in code.texts:
            info = code.line(slot)
            key = (shown_name(info.file), info.line) if info is not None else (f"({code.name})", 0)
            if info is not None:
                infos.setdefault(shown_name(info.file), []).append(info)
            source = "(no line information)" if info is None else info.source.rstrip()
            cost = lines.setdefault(key, LineCost(*key, source))
            cost.instructions += each.ran[slot]
            cost.ns += each.ns[slot]
            if Insn.at(code.insns, slot).row is not None:
                cost.calls += each.ran[slot]
    for name, rows in infos.items():
        known = read_source(name, rows, folder).lines
        for cost in lines.values():
            if cost.file == name:
                cost.source = known.get(cost.line, cost.source)
    return Profile(
        [lines[key] for key in sorted(lines)],
        counts.result.packets,
        [str(error) for error in counts.result.errors],
    )
