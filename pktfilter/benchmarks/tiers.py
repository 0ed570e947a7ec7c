"""The tiers side by side: a program at a hook, run over packets in memory by the engine of one's choice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module

from .._core.measure import Packets, Runner
from ..errors import PktfilterError
from ..handles.hooks import Hook
from ..handles.program import ENGINES, Program, resolve_engine
from .model import Skipped
from .runner import Subject

TIERS = ("jit", "interp", "checked")


def why_not(engine: str, program: Program | None = None) -> str | None:
    """One sentence why this engine cannot run (this program) here; None where it can."""
    try:
        resolve_engine(engine)
        if engine == "jit" and program is not None:
            compile_ns(program)
    except PktfilterError as error:
        return str(error)
    return None


def compile_ns(program: Program) -> float:
    """Compiles now, tail calls included, so that no round waits for it: nanoseconds of processor time.

    Raises `ProgramError` with the reason where it cannot be compiled.
    """
    # By name: the module of a build without compiled tier is not there, and that is found out before.
    tiers = import_module("pktfilter.handles.tiers")
    start = time.thread_time_ns()
    tiers.require_compiled([program])
    return float(time.thread_time_ns() - start)


class Case:
    """A program, or a chain of several, at a hook of its own."""

    def __init__(self, attached: Program | Iterable[Program], packets: Packets) -> None:
        self.programs = [attached] if isinstance(attached, Program) else list(attached)
        self.hook = Hook("bench")
        for program in self.programs:
            self.hook.attach(program)
        self._packets = packets
        self._runner = Runner(self.hook.datapath._ref, self.hook.index, packets)

    def why_not(self, engine: str) -> str | None:
        """One sentence why this engine cannot run it; None where it can."""
        return next((r for r in (why_not(engine, p) for p in self.programs) if r), None)

    def run(self, engine: str, times: int) -> float:
        """Nanoseconds of that many rounds over all packets, after one that brings them and the maps to the cache."""
        with self.hook.datapath.engine(engine):
            self._runner.run(1)
            return float(self._runner.run(times))

    def outcome(self, engine: str) -> dict[str, int]:
        """Verdicts of one round, and on which engine they came: proof that it ran."""
        before = self._runner.stats()
        with self.hook.datapath.engine(engine):
            self._runner.run(1)
        after = self._runner.stats()
        names = ("aborted", "drop", "pass", "tx", "redirect")
        counts = {
            name: b - a
            for name, a, b in zip(names, before["actions"], after["actions"], strict=True)
        }
        ran = [
            b - a for a, b in zip(before["engine_packets"], after["engine_packets"], strict=True)
        ]
        return {**counts, **dict(zip(ENGINES, ran, strict=True))}

    def subject(
        self,
        name: str,
        engine: str,
        *,
        role: str = "subject",
        baseline: str | None = None,
        parts: float = 1.0,
    ) -> Subject:
        """A series of nanoseconds per packet, or per one of `parts` of it."""
        return Subject(
            name,
            lambda times: self.run(engine, times),
            parts=self._packets.count * parts,
            role=role,
            baseline=baseline,
        )


def tier_subjects(
    made: Case | Callable[[], Case],
    empty: Case,
    *,
    parts: float = 1.0,
    tiers: Iterable[str] = TIERS,
) -> tuple[list[Subject], list[Skipped], dict[str, str]]:
    """A series per tier and its empty program; what is missing and why; what the program decided.

    `made` is called for each tier where the program keeps a state, which the tiers shall not share.
    Raises `PktfilterError` where two tiers decide differently: nothing is measured of what is wrong.
    """
    subjects: list[Subject] = []
    skipped: list[Skipped] = []
    facts: dict[str, str] = {}
    for engine in tiers:
        case = made if isinstance(made, Case) else made()
        reason = case.why_not(engine) or empty.why_not(engine)
        if reason:
            skipped.append(Skipped(engine, reason))
            continue
        outcome = case.outcome(engine)
        if not outcome[engine]:
            skipped.append(Skipped(engine, "the program ran on another engine"))
            continue
        decided = _verdicts(outcome)
        if facts.setdefault("verdicts", decided) != decided:
            raise PktfilterError(
                "the tiers decide differently", found=decided, expected=facts["verdicts"]
            )
        base = f"{engine}, empty program"
        subjects += [
            case.subject(engine, engine, baseline=base, parts=parts),
            empty.subject(base, engine, role="baseline", parts=parts),
        ]
    return subjects, skipped, facts


def _verdicts(outcome: Mapping[str, int]) -> str:
    counts = {name: n for name, n in outcome.items() if name not in ENGINES and n}
    return ", ".join(f"{n:,} {name}" for name, n in counts.items())
