"""One packet through a program, step by step."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .._core.observe import Observer
from ..errors import ExecutionFault, InputError
from ..handles.program import XDP, Program, program_handle
from .sources import shown_name
from .steps import Code, Step, read_steps

if TYPE_CHECKING:
    from ..handles.program import TestRun

#: Steps that are kept unless asked otherwise, and the most: about 130 bytes each.
STEPS, STEPS_MAX = 100_000, 10_000_000
_BYTES_A_STEP = 64


@dataclass()
class Trace:
    """What `trace` saw. `run` is None where the run was stopped: `error` says why."""

    program: str
    packet: bytes
    steps: list[Step] = field(default_factory=list)
    run: TestRun | None = None
    error: str | None = None
    #: Steps of which something was not kept, for want of room.
    lost: int = 0

    @property
    def calls(self) -> int:
        """Helpers and kernel functions called."""
        return sum(step.call is not None for step in self.steps)

    def to_json(self) -> dict[str, Any]:
        """One object: program, packet, steps (`Step.to_json`), and how it ended."""
        found: dict[str, Any] = {
            "program": self.program,
            "packet": self.packet.hex(),
            "steps": [step.to_json() for step in self.steps],
            "steps_lost": self.lost,
            "error": self.error,
        }
        if self.run is not None:
            found |= {
                "retval": self.run.retval,
                "action": self.run.action.name.lower(),
                "data": self.run.data.hex(),
                "redirect": self.run.redirect,
                "trace": self.run.trace,
            }
        return found

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        """The trace as text: source lines as comments, one instruction a line with what it did."""
        out: list[str] = []
        before: tuple[str, int] | None = None
        width = max((len(_head(step)) for step in self.steps), default=0)
        width = min(width, 56)
        running = ""
        for step in self.steps:
            if step.program != running:
                running = step.program
                out.append(f"{running}:")
            if step.line is not None and (step.line.file, step.line.line) != before:
                before = step.line.file, step.line.line
                place = f"{shown_name(step.line.file)}:{step.line.line}"
                out.append(f"{_indent(step)}; {step.line.source.strip()}  ({place})")
            told = _told(step)
            head = _head(step)
            out.append(f"{head:{width}}  {told}".rstrip() if told else head)
        return [*out, *self._end()]

    def _end(self) -> list[str]:
        out = [f"{self.lost} more steps were not kept in full"] if self.lost else []
        if self.run is None:
            return [*out, f"stopped: {self.error}"]
        out += [f"trace_printk: {line}" for line in self.run.trace]
        count = f"{len(self.steps) + self.lost:,} instructions, {self.calls} calls"
        goes = "" if self.run.redirect is None else f" to {self.run.redirect}"
        name = self.run.action.name
        wrong = f" (returned {self.run.retval})" if self.run.retval > XDP.REDIRECT else ""
        return [*out, f"{name}{goes}{wrong}: {count}"]


def trace(
    program: Program,
    packet: bytes,
    *,
    limit: int = STEPS,
    **options: Any,
) -> Trace:
    """Runs the program over one packet and tells every instruction that it executed.

    For each: the source line, the registers it changed and what they point to, the memory it read or wrote (packet,
    stack, ctx, map values by key), helper calls with arguments and results, jumps taken or not. `limit` is how
    many steps are kept; further ones run and are counted. `options` are those of `Program.test_run`, but
    engine: the checked interpreter runs. Maps are the program's own, and what it writes there stays. A run
    that the checked interpreter stops is not an error here: `Trace.error` says why. Raises `InputError` as `test_run`.
    """
    if not 1 <= limit <= STEPS_MAX:
        raise InputError(
            "the limit of steps is out of range", found=limit, expected=f"1 to {STEPS_MAX}"
        )
    if "engine" in options or options.get("repeat", 1) != 1:
        raise InputError("a trace is of one run by the checked interpreter")
    observer = Observer(steps=limit, memory=limit * _BYTES_A_STEP)
    found = Trace(program.name, bytes(packet))
    try:
        found.run = program.test_run(packet, engine="checked", observer=observer, **options)
    except ExecutionFault as error:
        found.error = str(error)
    codes = [Code(program_handle(row[0])) for row in observer.programs()]
    found.steps = read_steps(observer.steps(), codes, found.run.retval if found.run else None)
    found.lost = observer.lost
    return found


def to_text(found: Trace, *, as_json: bool) -> str:
    """What the command line prints."""
    return json.dumps(found.to_json()) if as_json else str(found)


def _indent(step: Step) -> str:
    return "  " * step.depth


def _head(step: Step) -> str:
    return f"{_indent(step)}{step.insn:4}: {step.text}"


def _told(step: Step) -> str:
    parts = []
    if step.call is not None:
        result = "" if step.call.result is None else f" -> {step.call.result}"
        parts.append(f"{step.call.name}({', '.join(step.call.args)}){result}")
    access = step.access
    if access is not None and access.value is not None:
        was = "" if access.before is None else f"{access.before:#x} -> "
        arrow = "=" if access.kind == "read" else ":="
        parts.append(f"{access.place} {arrow} {was}{access.points_to or hex(access.value)}")
    if step.taken is not None:
        parts.append("taken" if step.taken else "not taken")
    if step.call is None:
        for name, (value, place) in step.changes.items():
            if access is None or (access.value != value and access.points_to is None):
                parts.append(f"{name} = {place or _plain(value)}")
    return "; ".join(parts)


def _plain(value: int) -> str:
    if value >= 1 << 63:
        return str(value - (1 << 64))
    return str(value) if value < 10 else f"{value:#x}"
