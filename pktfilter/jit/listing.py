"""What became of a program: LLVM's IR after its passes, and assembly, with the instructions between.

The translator leaves a comment before the text of each instruction. Here each becomes a line of
debug information (its line is the slot + 1), which LLVM keeps through its passes; from what LLVM gives
back it is taken out again, and the instruction's text put in. The code is the same without it.

Instructions that became part of others, or of nothing, do not show; one whose code was copied or moved
shows at each place. Line 0 is code of no instruction: the loop over the packets, entry and exit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ..errors import CompileError
from .llvm import assembly, optimized_ir, reason_against
from .translate import translate
from .unit import Unit

#: Text that stands before the code of a slot.
Comments = Mapping[int, Sequence[str]]

_MARK = re.compile(r" +; (\d+)")
_FIRST = 100
"""Metadata below is the translator's."""
_LOCATION = re.compile(r"^!(\d+) = (?:distinct )?!DILocation\(line: (\d+)", re.M)
_DEBUG = re.compile(r",? !dbg !(\d+)")
#: Metadata of debug information; the rest, which tells aliases apart, stays.
_DEBUG_NODE = re.compile(r"!(?:llvm\.|\d+ = (?:distinct )?!DI|\d+ = !\{i32 2, )")
_LOC = re.compile(r"\s*\.loc\s+\d+\s+(\d+)")
_NOISE = re.compile(r"\s*\.(?:cfi_\w+|file|ident|addrsig\w*)\b|\.L(?:tmp|func_begin|func_end)\d+:")


def llvm_listing(unit: Unit, comments: Comments) -> str:
    """The optimized IR; raises `CompileError`."""
    text = optimized_ir(_source(unit))
    slots = {int(number): int(line) - 1 for number, line in _LOCATION.findall(text)}
    out = _Interleaved(comments, "  ; ")
    for line in text.splitlines():
        if _DEBUG_NODE.match(line) or line.startswith(("source_filename", "; ModuleID")):
            continue
        found = _DEBUG.search(line)
        if found and not line.startswith("define"):
            out.at(slots.get(int(found[1]), -1))
        out.put(_DEBUG.sub("", line))
        if line == "}":
            out.restart()
    return out.text()


def native_listing(unit: Unit, comments: Comments) -> str:
    """The assembly that LLVM makes for this processor (AT&T syntax); raises `CompileError`."""
    out = _Interleaved(comments, "    # ")
    for line in assembly(_source(unit)).splitlines():
        if re.match(r'\s*\.section\s+"?\.debug_', line):
            break  # only tables of addresses and names follow
        found = _LOC.match(line)
        if found:
            out.at(int(found[1]) - 1)
        elif not _NOISE.match(line):
            out.put(line.expandtabs(4))
            if re.match(r"\w+:", line):
                out.restart()
    return out.text()


def _source(unit: Unit) -> str:
    reason = reason_against()
    if reason is not None:
        raise CompileError(reason)
    return located(translate(unit))


class _Interleaved:
    """Lines of code, with the comments of a slot where code of another slot begins."""

    def __init__(self, comments: Comments, mark: str) -> None:
        self._comments = comments
        self._mark = mark
        self._lines: list[str] = []
        self._slot = -1

    def at(self, slot: int) -> None:
        """The code that follows is of this slot; -1: of none."""
        if slot != self._slot and slot >= 0:
            self._lines += [self._mark + text for text in self._comments.get(slot, ())]
        self._slot = slot

    def restart(self) -> None:
        """The next code is commented whatever was before."""
        self._slot = -1

    def put(self, line: str) -> None:
        if line or (self._lines and self._lines[-1]):
            self._lines.append(line)

    def text(self) -> str:
        return "\n".join(self._lines).strip("\n") + "\n"


def located(text: str) -> str:
    """The translator's text with a debug location on every instruction."""
    out = _Located()
    body = False
    for line in text.splitlines():
        if line.startswith("define"):
            body = True
            out.function(line)
        elif line == "}":
            body = False
            out.lines.append(line)
        elif body:
            out.instruction(line)
        else:
            out.lines.append(line)
    return out.text()


class _Located:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self._metadata: list[str] = []
        self._known: dict[tuple[int, int], int] = {}
        self._scope = 0
        self._line = 0
        self._file = self._add('!DIFile(filename: "program", directory: "")')
        self._type = self._add(f"!DISubroutineType(types: !{self._add('!{}')})")
        self._unit = self._add(
            f"distinct !DICompileUnit(language: DW_LANG_C11, file: !{self._file}, "
            "isOptimized: true, runtimeVersion: 0, emissionKind: LineTablesOnly)"
        )

    def _add(self, text: str) -> int:
        number = _FIRST + len(self._metadata)
        self._metadata.append(f"!{number} = {text}")
        return number

    def function(self, line: str) -> None:
        """A function's first line; what follows is of no slot until a mark."""
        name = re.search(r"@(\w+)", line)
        self._scope = self._add(
            f'distinct !DISubprogram(name: "{name[1] if name else ""}", scope: !{self._file}, '
            f"file: !{self._file}, type: !{self._type}, spFlags: DISPFlagDefinition | "
            f"DISPFlagOptimized, unit: !{self._unit})"
        )
        self._line = 0
        self.lines.append(line.replace(" {", f" !dbg !{self._scope} {{"))

    def instruction(self, line: str) -> None:
        """A line of a function's body."""
        mark = _MARK.fullmatch(line)
        if mark:
            self._line = int(mark[1]) + 1
            return
        # Labels, and the rows of a switch, are no instructions; its end is.
        if line.startswith("  ") and not line.startswith("   ") and not line.endswith("["):
            key = (self._scope, self._line)
            if key not in self._known:
                self._known[key] = self._add(
                    f"!DILocation(line: {self._line}, column: 0, scope: !{self._scope})"
                )
            line += f", !dbg !{self._known[key]}"
        self.lines.append(line)

    def text(self) -> str:
        flags = self._add('!{i32 2, !"Debug Info Version", i32 3}')
        return "\n".join(
            [
                *self.lines,
                f"!llvm.dbg.cu = !{{!{self._unit}}}",
                f"!llvm.module.flags = !{{!{flags}}}",
                *self._metadata,
                "",
            ]
        )
