"""Who runs a replay's packets: one worker in the caller's thread, or a crew with a thread each.

Either gives the same results (design.md section 7). A crew of one overlaps reading with running.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._core.pipeline import Pipeline
from .._core.run import Worker
from ..handles.hooks import Hook
from ..handles.program import LINEAR

if TYPE_CHECKING:
    from .._core.io import PacketSink, PacketSource
    from .._core.network import NetRef
    from .._core.observe import Observer

_SUMS = ("packets", "bytes", "uncovered", "faults", "batches", "trace_lost")
_LISTS = ("actions", "action_bytes", "engine_packets")


@dataclass(frozen=True)
class RunnerOptions:
    """What a runner is made of; as the options of `Replay`."""

    batch: int
    seed: int
    linear: str
    trace: bool
    unordered: bool
    overlap: bool | None
    network: NetRef | None = None
    observer: Observer | None = None
    events: int = 0


class Runner:
    """Workers of one hook, with these CPU ids. `close` ends their threads."""

    def __init__(self, hook: Hook, cpus: list[int], options: RunnerOptions) -> None:
        self._options = options
        self.workers = [
            Worker(
                hook.datapath._ref,
                hook.index,
                batch=options.batch,
                cpu=cpu,
                seed=options.seed,
                linear_limit=LINEAR[options.linear],
                name=f"replay-{number}",
                trace=options.trace,
                network=options.network,
                observer=options.observer,
                events=options.events,
            )
            for number, cpu in enumerate(cpus)
        ]
        self._pipeline: Pipeline | None = None
        self._overlap = options.overlap
        if len(self.workers) > 1 or options.overlap:
            self._begin()

    def _begin(self) -> None:
        self._pipeline = Pipeline(
            self.workers,
            batch=self._options.batch,
            first=self.workers[0].next_packet,
            unordered=self._options.unordered,
        )

    @property
    def next_packet(self) -> int:
        """Index of the next packet to read."""
        return int((self._pipeline or self.workers[0]).next_packet)

    def step(self, packets: PacketSource, out: PacketSink | None, until: int, slice_ns: int) -> int:
        """Runs up to `slice_ns`, not past packet `until`; returns a REPLAY_* of `_core.run`."""
        if self._pipeline is None and self._overlap is None:
            return self._try(packets, out, until, slice_ns)
        return int((self._pipeline or self.workers[0]).step(packets, out, until, slice_ns))

    def _try(self, packets: PacketSource, out: PacketSink | None, until: int, slice_ns: int) -> int:
        """The first slice, after which it is known whether a second thread is worth it."""
        before, start = _read_ns(packets), time.perf_counter_ns()
        end = int(self.workers[0].step(packets, out, until, slice_ns))
        took = time.perf_counter_ns() - start
        if took >= slice_ns:
            self._overlap = worth_overlapping(_read_ns(packets) - before, took)
            if self._overlap:
                self._begin()
        return end

    def drain(self, packets: PacketSource, out: PacketSink | None) -> None:
        """Every packet that was read has been run and written after this."""
        if self._pipeline is not None:
            self._pipeline.drain(packets, out)

    def drain_trace(self) -> tuple[list[str], int]:
        """Lines of trace_printk since the last call, by worker, and how many were lost."""
        lines, lost = (self._pipeline or self.workers[0]).drain_trace()
        return list(lines), int(lost)

    def drain_events(self) -> tuple[list[Any], int]:
        """Events since the last call, and how many found no room: of the one worker that there is then."""
        rows, lost = self.workers[0].drain_events()
        return list(rows), int(lost)

    def close(self) -> None:
        """Ends the threads."""
        if self._pipeline is not None:
            self._pipeline.close()

    def stats(self) -> dict[str, Any]:
        """Sums over all workers, as `Worker.stats`."""
        rows = [worker.stats() for worker in self.workers]
        total: dict[str, Any] = {name: sum(row[name] for row in rows) for name in _SUMS}
        for name in _LISTS:
            total[name] = [sum(column) for column in zip(*(r[name] for r in rows), strict=True)]
        return total

    def first_fault(self) -> tuple[int, str, Exception] | None:
        """(packet index, program name, exception) of the first fault in capture order, or None."""
        faults = [fault for worker in self.workers if (fault := worker.first_fault()) is not None]
        return min(faults, key=lambda fault: fault[0]) if faults else None


def _read_ns(packets: PacketSource) -> int:
    selected = getattr(packets, "read_ns", None)
    if selected is not None:
        return int(selected)
    info = getattr(packets, "info", None)
    return 0 if info is None else int(info()["read_ns"])


def worth_overlapping(read_ns: int, total_ns: int) -> bool:
    """Is a thread that only reads worth what handing over costs? Never where it would have no CPU."""
    if len(os.sched_getaffinity(0)) < 2:
        return False
    share = read_ns / total_ns
    return OVERLAP_LEAST <= share <= 1 - OVERLAP_LEAST


#: Least share of either reading or running at which overlapping them gains more than handing over
#: costs. Measured, ns per packet in turns and overlapped: 21.5 and 18.6 where reading is 0.6 of it (64
#: bytes, pass.o), 57.7 and 57.1 where it is 0.8 (IMIX).
OVERLAP_LEAST = 0.3
