"""Runs benchmarks in rounds, keeps what was measured when interrupted, and says what it does."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from . import machine
from .model import Benchmark, Bound, Ratio, Run, Series, Skipped

ROUNDS, ROUNDS_QUICK = 15, 10
#: Processor time of one series in one round.
SLICE_S, SLICE_QUICK_S = 0.02, 0.003

Timed = Callable[[int], float]
"""Runs that many times; returns the nanoseconds of all."""


@dataclass
class Subject:
    """A series to be measured.

    `run(times)` returns nanoseconds of processor time; it is given as often as fills a slice, or once
    if it is `whole`. `parts`: how many of the unit one run is. `scale`: what a part's nanoseconds are
    multiplied by to give the unit.
    """

    name: str
    run: Timed
    parts: float = 1.0
    role: str = "subject"
    baseline: str | None = None
    whole: bool = False
    scale: float = 1.0


class Session:
    """One run of benchmarks: its settings, its folder for captures, and what was found so far."""

    def __init__(
        self,
        *,
        quick: bool = False,
        rounds: int | None = None,
        examples: Path | None = None,
        folder: Path | None = None,
        packets: int | None = None,
        on_step: Callable[[str], None] | None = None,
    ) -> None:
        self.quick = quick
        self.rounds = rounds or (ROUNDS_QUICK if quick else ROUNDS)
        self.slice_ns = (SLICE_QUICK_S if quick else SLICE_S) * 1e9
        self.examples = examples
        #: Packets of generated captures.
        self.packets = packets or (200_000 if quick else 2_000_000)
        self._tell = on_step or (lambda _: None)
        self._stack = ExitStack()
        self._folder = folder
        self._captures: dict[tuple[str, int, str], Path] = {}
        self.run = Run(
            created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            commit=machine.commit(),
            quick=quick,
            machine=machine.machine(),
            versions=machine.versions(),
            warnings=machine.warnings(),
        )

    def close(self) -> None:
        """Removes captures that were made."""
        self._stack.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def folder(self) -> Path:
        """Where captures and compiled peers go; removed at the end unless given."""
        if self._folder is None:
            self._folder = Path(
                self._stack.enter_context(TemporaryDirectory(prefix="pktfilter-bench-"))
            )
        return self._folder

    def capture(self, profile: str, packets: int | None = None, suffix: str = "pcap") -> Path:
        """A generated capture, made at the first call."""
        from ..generate import generate

        count = packets or self.packets
        key = (profile, count, suffix)
        if key not in self._captures:
            self.tell(f"capture of {count:,} packets ({profile})")
            path = self.folder / f"{profile}-{count}.{suffix}"
            generate(path, packets=count, profile=profile, seed=1)
            self._captures[key] = path
            self._stack.callback(path.unlink, missing_ok=True)
        return self._captures[key]

    def tell(self, step: str) -> None:
        """Progress: what is done now."""
        self._tell(step)

    def skip(self, name: str, reason: str) -> None:
        """A whole benchmark that cannot be measured here."""
        self.run.skipped.append(Skipped(name, reason))

    def measure(
        self,
        id: str,
        title: str,
        unit: str,
        subjects: Sequence[Subject],
        *,
        ratios: Sequence[Ratio] = (),
        bounds: Sequence[Bound] = (),
        skipped: Sequence[Skipped] = (),
        note: str = "",
        facts: dict[str, str] | None = None,
        higher: bool = False,
        rounds: int | None = None,
    ) -> Benchmark:
        """Alternates the subjects over all rounds, after one that warms up and is dropped.

        When interrupted, the rounds that every series has are kept (`partial`), and KeyboardInterrupt
        goes on.
        """
        named = {subject.name for subject in subjects}
        benchmark = Benchmark(
            id=id,
            group=id.split("/", 1)[0],
            title=title,
            unit=unit,
            higher=higher,
            note=note,
            load=[machine.load_average()],
            series=[Series(s.name, s.role, [], s.baseline) for s in subjects],
            ratios=[r for r in ratios if r.over in named and r.under in named],
            bounds=[b for b in bounds if b.series in named and (b.minus or b.series) in named],
            skipped=list(skipped),
            facts=dict(facts or {}),
        )
        count = rounds or self.rounds
        try:
            times = [self._fit(subject) for subject in subjects]
            for index in range(count):
                self.tell(f"{id}: round {index + 1} of {count}")
                benchmark.calibration_ns.append(machine.calibrate())
                for subject, series, often in zip(subjects, benchmark.series, times, strict=True):
                    taken = subject.run(often) / often / subject.parts * subject.scale
                    series.values.append(round(taken, 5))
        except KeyboardInterrupt:
            benchmark.partial = True
            raise
        finally:
            least = min((len(series.values) for series in benchmark.series), default=0)
            for series in benchmark.series:
                del series.values[least:]
            del benchmark.calibration_ns[least:]
            benchmark.load.append(machine.load_average())
            if least:
                self.run.benchmarks.append(benchmark)
        return benchmark

    def _fit(self, subject: Subject) -> int:
        """How often it runs in a slice; warms it up on the way."""
        taken = subject.run(1)
        if subject.whole:
            return 1
        often = 1
        while taken < self.slice_ns / 4 and often < 1 << 28:
            often = max(often * 2, int(often * self.slice_ns / 4 / max(taken, 1.0)))
            taken = subject.run(often)
        return max(1, int(often * self.slice_ns / max(taken, 1.0)))


def once(body: Callable[[], object], clock: Callable[[], int] = time.thread_time_ns) -> Timed:
    """A `Timed` of a Python callable: the clock is read around all calls."""

    def run(times: int) -> float:
        start = clock()
        for _ in range(times):
            body()
        return float(clock() - start)

    return run


@contextmanager
def one_cpu() -> Iterator[int]:
    """Pins the thread, and the children it starts, to the last CPU that it may use."""
    allowed = os.sched_getaffinity(0)
    cpu = max(allowed)
    os.sched_setaffinity(0, {cpu})
    try:
        yield cpu
    finally:
        os.sched_setaffinity(0, allowed)


@contextmanager
def all_cpus() -> Iterator[int]:
    """Every CPU that the process may use, for benchmarks of several threads; yields how many."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    try:
        yield len(os.sched_getaffinity(0))
    finally:
        os.sched_setaffinity(0, before)
