"""How often each instruction of a hook's programs ran over captures, and what it took."""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._core.observe import Observer, ticks
from ..errors import InputError
from ..handles.hooks import Hook
from ..handles.program import Program, program_handle
from ..session.replay import replay

if TYPE_CHECKING:
    from ..handles.loader import Object
    from ..session.results import ReplayResult
    from ..sources import PathLike


@dataclass(frozen=True)
class ProgramCounts:
    """Counts of one program by slot: times it ran, times it jumped, nanoseconds beyond the cheapest step's."""

    program: Program
    ran: array[int]
    taken: array[int]
    ns: list[float]


@dataclass(frozen=True)
class Counts:
    """Counts of all programs that ran or could have been tail-called, and the replay they are from."""

    programs: list[ProgramCounts]
    result: ReplayResult
    #: Steps of which something was not counted: more than 1,024 programs ran.
    lost: int


def count(
    inputs: PathLike | Iterable[PathLike],
    program: Program,
    *,
    timed: bool = False,
    **options: Any,
) -> Counts:
    """Replays the inputs through the program in the checked interpreter, counting; options are `replay`'s."""
    if program.type != "xdp":
        raise InputError(
            "a program of this type has no source lines", found=program.type, expected="xdp"
        )
    hook = Hook("insight")
    hook.attach(program)
    observer = Observer(timed=timed)
    begin, start = ticks(), time.perf_counter_ns()
    result = replay(inputs, hook, engine="checked", observer=observer, **options)
    unit = (time.perf_counter_ns() - start) / max(ticks() - begin, 1)
    rows = [
        (program_handle(ref), _numbers(a), _numbers(b), _numbers(c))
        for ref, a, b, c in observer.programs()
    ]
    seen = {each.id for each, _, _, _ in rows}
    for ref in hook.datapath._ref.programs():
        if ref.id not in seen:
            made = program_handle(ref)
            zeros = array("Q", bytes(len(made.insns)))
            rows.append((made, zeros, zeros, zeros))
    least = _least(rows)
    return Counts(
        [
            ProgramCounts(
                each,
                ran,
                taken,
                [max(t - least * n, 0) * unit for t, n in zip(took, ran, strict=True)],
            )
            for each, ran, taken, took in rows
        ],
        result,
        observer.lost,
    )


def _numbers(raw: bytes) -> array[int]:
    found = array("Q")
    found.frombytes(raw)
    return found


def _least(rows: list[Any]) -> float:
    """Ticks of the cheapest slot, which is what measuring takes; of slots that ran often, to be sure."""
    many = max((max(ran, default=0) for _, ran, _, _ in rows), default=0) / 10
    means = [
        t / n
        for _, ran, _, took in rows
        for t, n in zip(took, ran, strict=True)
        if n and n >= many and t
    ]
    return min(means, default=0.0)


def program_of(obj: Object | Program, name: str | None = None) -> Program:
    """The program meant: itself, or one of an object."""
    return obj if isinstance(obj, Program) else obj.program(name)
