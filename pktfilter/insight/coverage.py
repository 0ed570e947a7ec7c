"""Line and branch coverage of the C source of programs, over captures."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .counts import Counts, ProgramCounts, count, program_of
from .sources import SourceFile, read_source, shown_name
from .steps import Code, Insn

if TYPE_CHECKING:
    from ..handles.loader import Object
    from ..handles.program import Program
    from ..objects.spec import LineInfo
    from ..sources import PathLike


@dataclass(slots=True)
class Branch:
    """A conditional jump of the compiled code and where it stands in the source."""

    program: str
    insn: int
    line: int
    taken: int
    not_taken: int

    @property
    def outcomes(self) -> tuple[int, int]:
        """How often each way was gone."""
        return self.taken, self.not_taken


@dataclass(slots=True)
class Function:
    """A function of the compiled code: what the compiler inlined is not one."""

    name: str
    line: int
    hits: int


@dataclass()
class FileCoverage:
    """One source file. A line's count is that of the instruction of it that ran most often."""

    source: SourceFile
    lines: dict[int, int] = field(default_factory=dict)
    branches: list[Branch] = field(default_factory=list)
    functions: list[Function] = field(default_factory=list)

    @property
    def name(self) -> str:
        """As the object has it, without `./`."""
        return self.source.name

    @property
    def totals(self) -> Totals:
        """Of this file."""
        return Totals(
            len(self.lines), sum(map(bool, self.lines.values())),
            2 * len(self.branches), sum(bool(n) for each in self.branches for n in each.outcomes),
            len(self.functions), sum(bool(each.hits) for each in self.functions),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Totals:
    """What there is and what of it ran. Each conditional jump has two outcomes."""

    lines: int = 0
    lines_hit: int = 0
    branches: int = 0
    branches_hit: int = 0
    functions: int = 0
    functions_hit: int = 0

    def __add__(self, other: Totals) -> Totals:
        parts = (getattr(self, name) + getattr(other, name) for name in self.__slots__)
        return Totals(*parts)

    def to_json(self) -> dict[str, int]:
        """By name."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass()
class Coverage:
    """Coverage by file, of `packets` packets; `without` are programs that have no line information."""

    files: list[FileCoverage]
    packets: int
    instructions: int
    without: list[str]
    errors: list[str]

    @property
    def totals(self) -> Totals:
        """Over all files."""
        return sum((each.totals for each in self.files), Totals())

    def to_json(self) -> dict[str, Any]:
        """Totals, and for each file lines and branches."""
        return {
            "packets": self.packets,
            "instructions": self.instructions,
            "totals": self.totals.to_json(),
            "files": [
                {
                    "file": each.name,
                    "path": each.source.path,
                    "totals": each.totals.to_json(),
                    "lines": {str(line): hits for line, hits in sorted(each.lines.items())},
                    "branches": [
                        {"program": b.program, "insn": b.insn, "line": b.line, "taken": b.taken,
                         "not_taken": b.not_taken}
                        for b in each.branches
                    ],
                    "functions": [
                        {"name": f.name, "line": f.line, "hits": f.hits} for f in each.functions
                    ],
                }
                for each in self.files
            ],
            "without_lines": self.without,
            "errors": self.errors,
        }  # fmt: skip

    def lcov(self) -> str:
        """A tracefile of lcov (geninfo(1)), for genhtml and editors."""
        out = []
        for each in self.files:
            t = each.totals
            out += ["TN:", f"SF:{os.path.abspath(each.source.path or each.name)}"]
            out += [f"FN:{f.line},{f.name}" for f in each.functions]
            out += [f"FNDA:{f.hits},{f.name}" for f in each.functions]
            out += [f"FNF:{t.functions}", f"FNH:{t.functions_hit}"]
            for block, b in enumerate(each.branches):
                ran = b.taken + b.not_taken
                for way, hits in enumerate(b.outcomes):
                    out.append(f"BRDA:{b.line},{block},{way},{hits if ran else '-'}")
            out += [f"BRF:{t.branches}", f"BRH:{t.branches_hit}"]
            out += [f"DA:{line},{hits}" for line, hits in sorted(each.lines.items())]
            out += [f"LF:{t.lines}", f"LH:{t.lines_hit}", "end_of_record"]
        return "\n".join(out) + "\n"

    def html(self, title: str = "coverage") -> str:
        """One page with nothing beside it: totals, and every file with its lines."""
        from .page import coverage_page

        return coverage_page(self, title)

    def __str__(self) -> str:
        return "\n".join(self.text_lines())

    def text_lines(self) -> list[str]:
        """The summary of the command line."""
        rows = [("file", "lines", "branches", "functions")]
        rows += [(each.name, *_shares(each.totals)) for each in self.files]
        if len(self.files) > 1:
            rows.append(("all", *_shares(self.totals)))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        out = [
            "  ".join(
                [
                    row[0].ljust(widths[0]),
                    *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)),
                ]
            )
            for row in rows
        ]
        for each in self.files:
            missing = [line for line, hits in sorted(each.lines.items()) if not hits]
            half = sorted({b.line for b in each.branches if 0 in b.outcomes and any(b.outcomes)})
            if missing:
                out.append(f"{each.name}: never ran: {_ranges(missing)}")
            if half:
                out.append(f"{each.name}: one way only: {_ranges(half)}")
        out += [f"{name}: no line information: compile with -g" for name in self.without]
        notes = {
            each.source.note for each in self.files if each.source.note and each.source.path is None
        }
        out += sorted(note for note in notes if note != "the file was not found")
        out.append(f"{self.packets:,} packets, {self.instructions:,} instructions")
        return out


def cover(
    inputs: PathLike | Iterable[PathLike],
    program: Program | Object,
    name: str | None = None,
    *,
    folder: str | None = None,
    **options: Any,
) -> Coverage:
    """Runs the inputs through the program and says which source lines and branches ran.

    The program is one, or the object's only one or `name`d one; programs that it tail-calls count too. Files are
    looked up from `folder`, by default the object's. Options are those of `replay`, but engine and workers.
    Branches are the conditional jumps that the compiler left. Maps keep what was written. Raises as `replay`.
    """
    counts = count(inputs, program_of(program, name), **options)
    if folder is None and not hasattr(program, "insns"):
        folder = os.path.dirname(os.path.abspath(getattr(program, "path", ".")))
    return coverage_of(counts, folder)


def coverage_of(counts: Counts, folder: str | None) -> Coverage:
    """Coverage by source file of counts by instruction."""
    infos: dict[str, list[LineInfo]] = {}
    for each in counts.programs:
        for info in each.program.spec.lines if each.program.spec is not None else ():
            infos.setdefault(shown_name(info.file), []).append(info)
    files = {
        name: FileCoverage(read_source(name, rows, folder)) for name, rows in sorted(infos.items())
    }
    for each in counts.programs:
        _add(files, each)
    for made in files.values():
        made.branches.sort(key=lambda b: (b.line, b.program, b.insn))
    return Coverage(
        list(files.values()),
        counts.result.packets,
        sum(sum(each.ran) for each in counts.programs),
        [
            e.program.name
            for e in counts.programs
            if e.program.spec is None or not e.program.spec.lines
        ],
        [str(error) for error in counts.result.errors],
    )


def _add(files: dict[str, FileCoverage], of: ProgramCounts) -> None:
    code = Code(of.program)
    for slot in code.texts:
        info = code.line(slot)
        if info is None:
            continue
        lines = files[shown_name(info.file)].lines
        lines[info.line] = max(lines.get(info.line, 0), of.ran[slot])
        if Insn.at(code.insns, slot).conditional:
            taken = of.taken[slot]
            files[shown_name(info.file)].branches.append(
                Branch(code.name, slot, info.line, taken, of.ran[slot] - taken)
            )
    for function in of.program.spec.functions if of.program.spec is not None else ():
        info = code.line(function.insn)
        if info is not None:
            known = files[shown_name(info.file)].functions
            known.append(Function(function.name, info.line, of.ran[function.insn]))


def _shares(t: Totals) -> tuple[str, str, str]:
    return (
        share(t.lines_hit, t.lines),
        share(t.branches_hit, t.branches),
        share(t.functions_hit, t.functions),
    )


def share(part: int, whole: int) -> str:
    """`34/40  85.0 %`."""
    return f"{part}/{whole} {100 * part / whole:5.1f} %" if whole else "-"


def _ranges(numbers: list[int]) -> str:
    """`3-5, 9`."""
    out: list[list[int]] = []
    for number in numbers:
        if out and number == out[-1][-1] + 1:
            out[-1][1:] = [number]
        else:
            out.append([number])
    return ", ".join("-".join(map(str, each)) for each in out)
