"""Replay: inputs through a hook into an output, with swaps at exact packets, and what came of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import Any

from .._core.run import REPLAY_DONE, REPLAY_LINK, REPLAY_UNTIL
from ..errors import CaptureError, ExpressionError, InputError, OutputError, TransactionError
from ..handles.cpus import leased
from ..handles.hooks import Hook
from ..handles.links import Link
from ..handles.program import ENGINES, LINEAR, XDP, Program, resolve_engine
from ..handles.transactions import current_transaction
from ..sinks import LET_THROUGH, Sink
from ..sources import PathLike, Source, expand
from .options import DEFAULT_BATCH, accept_interface, blame, check_options, link_options
from .results import InputReport, Progress, ReplayResult, SwapReport
from .runner import Runner, RunnerOptions, check_cpus

#: How long the core runs before Python looks at signals, progress and swaps.
SLICE_NS = 50_000_000
_NO_SWAP = 0xFFFFFFFFFFFFFFFF


class Replay:
    """One replay over one hook. `run` does it; `stop` (from a signal handler) ends it cleanly."""

    def __init__(
        self,
        inputs: PathLike | Iterable[PathLike],
        hook: Hook,
        *,
        write: PathLike | None = None,
        write_actions: Iterable[XDP] = LET_THROUGH,
        comment: bool = False,
        workers: int = 1,
        batch: int = DEFAULT_BATCH,
        engine: str = "auto",
        seed: int = 0,
        linear: str = "kernel",
        as_ethernet: bool = False,
        swaps: Sequence[tuple[int, Link, Program]] = (),
        on_progress: Callable[[Progress], None] | None = None,
        on_trace: Callable[[list[str], int], None] | None = None,
        unordered: bool = False,
        overlap: bool | None = None,
    ) -> None:
        check_options(hook, batch, workers, seed)
        if linear not in LINEAR:
            raise InputError("no such geometry", found=linear, expected="kernel or full")
        resolve_engine(engine)
        self._engine = engine
        running = [link.program for link in hook.links] + [program for _, _, program in swaps]
        self._running = list({p.id: p for p in running if p is not None}.values())
        for first_packet, _, _ in swaps:
            if not 0 <= first_packet < _NO_SWAP:
                raise InputError(
                    "the packet of a swap is out of range",
                    found=first_packet,
                    expected="0 to 2^64 - 2",
                )
        self.names = expand(inputs)
        self.hook = hook
        self._swaps = sorted(swaps, key=lambda swap: swap[0])
        self._as_ethernet = as_ethernet
        self._on_progress, self._on_trace = on_progress, on_trace
        self._stopped = False
        self._result = ReplayResult(workers=workers, batch=batch, seed=seed)
        self._runner_options = RunnerOptions(
            batch=batch,
            seed=seed,
            linear=linear,
            trace=on_trace is not None,
            unordered=unordered,
            overlap=overlap,
        )
        self._write, self._actions, self._comment = write, tuple(write_actions), comment
        self._total = _total_size(self.names)
        self._done_bytes = 0

    def stop(self) -> None:
        """Ends the run after the current slice; the output is completed. Safe in a signal handler."""
        self._stopped = True

    def run(self) -> ReplayResult:
        """Runs to the end, an interruption, or an error of the output; never raises for damage."""
        result = self._result
        if self._swaps and current_transaction() is not None:
            raise TransactionError(
                "a replay swaps programs at packets, which a transaction would put off",
                hint="run the replay after the transaction",
            )
        start = time.perf_counter()
        first_iface = None
        with ExitStack() as crew:
            self._enter(crew)
            with ExitStack() as stack:
                stack.enter_context(self.hook.datapath.engine(self._engine))
                sink = None
                if self._write is not None:
                    sink = stack.enter_context(
                        Sink(
                            self._write,
                            actions=self._actions,
                            comment=self._comment,
                            inputs=self.names,
                        )
                    )
                start = time.perf_counter()
                for name in self.names:
                    if self._stopped:
                        break
                    iface = self._run_input(name, sink, start)
                    first_iface = first_iface or iface
                    if result.errors and isinstance(result.errors[-1], OutputError):
                        break
                result.swaps_left = [n for n, _, _ in self._swaps]
                result.elapsed_s = time.perf_counter() - start
                self._finish_sink(sink, first_iface)
        result.interrupted = self._stopped
        return result

    def _enter(self, stack: ExitStack) -> None:
        """Makes the workers; when the stack ends, what they counted is in the result."""
        cpus = stack.enter_context(leased(self._result.workers))
        check_cpus(self.hook, (program for _, _, program in self._swaps), cpus)
        self._runner = Runner(self.hook, cpus, self._runner_options)
        for worker in self._runner.workers:
            self.hook._enter(worker)
            stack.callback(self.hook._leave, worker)
        stack.callback(self._collect)
        stack.callback(self._runner.close)

    def _run_input(self, name: str, sink: Sink | None, start: float) -> Any:
        """Runs one input; its errors go into the result. Returns its first interface."""
        result = self._result
        report = InputReport(name)
        result.inputs.append(report)
        before = self._runner.next_packet
        try:
            source = Source(
                name,
                as_ethernet=self._as_ethernet,
                cancelled=lambda: self._stopped,
                **link_options(self.hook, self._running),
            )
        except KeyboardInterrupt:
            self._stopped = True
            return None
        except CaptureError as error:
            report.error = str(error)
            result.errors.append(error)
            return None
        with source:
            try:
                try:
                    self._loop(source, sink, start)
                finally:
                    self._drain(source, sink)
                if not self._stopped:
                    source.check()
            except (CaptureError, OutputError) as error:
                error = blame(error, source, sink)
                report.truncated = isinstance(error, CaptureError) and error.damaged
                report.error = str(error)
                result.errors.append(error)
            except ExpressionError as error:
                report.error = str(error)
                result.errors.append(error)
            except KeyboardInterrupt:
                self._stopped = True
            report.packets = self._runner.next_packet - before
            result.read_s += source.reader.info()["read_ns"] / 1e9
            self._done_bytes += source.size or 0
            return source.reader.iface(0)

    def _loop(self, source: Source, sink: Sink | None, start: float) -> None:
        writer = None if sink is None else sink.writer
        while not self._stopped:
            until = self._swaps[0][0] if self._swaps else _NO_SWAP
            if self._runner.next_packet >= until:
                self._drain(source, sink)  # no worker is behind when the program changes
                self._swap()
                continue
            end = self._runner.step(source.reader, writer, until, SLICE_NS)
            self._trace()
            if end == REPLAY_DONE:
                return
            if end == REPLAY_LINK:
                accept_interface(source, self.hook, [program for _, _, program in self._swaps])
            if end != REPLAY_UNTIL and self._on_progress is not None:
                self._on_progress(self._progress(source, start))

    def _drain(self, source: Source, sink: Sink | None) -> None:
        self._runner.drain(source.reader, None if sink is None else sink.writer)
        self._trace()

    def _trace(self) -> None:
        if self._on_trace is not None:
            lines, lost = self._runner.drain_trace()
            if lines or lost:
                self._on_trace(lines, lost)

    def _swap(self) -> None:
        first_packet, link, program = self._swaps.pop(0)
        update = link.update(program, detail=f"swap at packet {first_packet}")
        self._result.swaps.append(
            SwapReport(
                update.generation, program.name, first_packet, update.publish_ns, update.grace_ns
            )
        )

    def _progress(self, source: Source, start: float) -> Progress:
        position = source.position
        return Progress(
            packets=self._runner.next_packet,
            position=None if position is None else self._done_bytes + position,
            total=self._total,
            elapsed_s=time.perf_counter() - start,
        )

    def _finish_sink(self, sink: Sink | None, iface: Any) -> None:
        if sink is None:
            return
        try:
            sink.finish(iface)
        except OutputError as error:
            if not any(isinstance(e, OutputError) for e in self._result.errors):
                self._result.errors.append(error)
        self._result.written[sink.path] = sink.packets

    def _collect(self) -> None:
        result, stats = self._result, self._runner.stats()
        result.verify_s = (
            sum(p.verification.elapsed_us for p in self._running if p.verification is not None)
            / 1e6
        )
        names = [action.name.lower() for action in XDP]
        result.packets, result.bytes = stats["packets"], stats["bytes"]
        result.actions = dict(zip(names, stats["actions"], strict=True))
        result.action_bytes = dict(zip(names, stats["action_bytes"], strict=True))
        result.uncovered, result.faults, result.batches = (
            stats["uncovered"],
            stats["faults"],
            stats["batches"],
        )
        result.engine_packets = dict(zip(ENGINES, stats["engine_packets"], strict=True))
        fault = self._runner.first_fault()
        if fault is not None:
            index, name, error = fault
            result.first_fault = f"packet {index}: program '{name}': {error}"


def replay(inputs: PathLike | Iterable[PathLike], hook: Hook, **options: Any) -> ReplayResult:
    """Runs every packet of the inputs through the hook, in order; options are those of `Replay`:

    `write` (path of a pcap or pcapng), `write_actions`, `comment`, `workers` (threads: the results are
    the same for any number), `unordered` (several workers: packets are written in order within a
    flow alone), `overlap` (reading in a thread of its own; None: where that gains), `batch` (packets
    between two quiescent states), `engine`, `seed` (of bpf_get_prandom_u32), `linear` ("kernel": at
    most 3,520 linear bytes as in Linux; "full"), `as_ethernet`, `swaps` [(first packet, link, program)].

    An input that ends damaged is processed up to the damage: `result.inputs[i].truncated` is set and
    `result.errors` says why. One that cannot be read at all raises `CaptureError`, a failed output
    `OutputError`; either carries the result so far in `.result`. KeyboardInterrupt is raised after the
    output was completed.
    """
    run = Replay(inputs, hook, **options)
    result = run.run()
    for error in result.errors:
        if not (isinstance(error, CaptureError) and error.damaged):
            error.result = result  # type: ignore[attr-defined]
            raise error
    if result.interrupted:
        raise KeyboardInterrupt
    return result


def _total_size(names: Iterable[str]) -> int | None:
    total = 0
    for name in names:
        try:
            total += os.path.getsize(name)
        except OSError:
            return None
    return total
