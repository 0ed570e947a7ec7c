"""Replay: inputs through a hook into an output, with swaps at exact packets, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from .._core.run import REPLAY_DONE, REPLAY_LINK, REPLAY_UNTIL
from ..errors import (
    CaptureError,
    ExpressionError,
    InputError,
    InterfaceError,
    OutputError,
    TransactionError,
)
from ..handles.cpus import leased
from ..handles.hooks import Hook
from ..handles.links import Link
from ..handles.program import LINEAR, XDP, Program, resolve_engine
from ..handles.tracking import Network, network_of_hook
from ..handles.transactions import current_transaction
from ..sinks import LET_THROUGH, STDOUT, Sink
from ..sources import PathLike, Source, expand
from ..sources.ahead import Ahead
from .options import (
    DEFAULT_BATCH,
    MAX_GAP,
    accept_interface,
    blame,
    check_observer,
    check_options,
    link_options,
    total_size,
)
from .pacing import Timing, check_injection, sending_failed
from .ports import Destinations, PortKey, PortTarget, redirects
from .results import InputReport, Progress, ReplayResult, SwapReport
from .runner import Runner, RunnerOptions
from .told import EVENT_BUFFER, Told

if TYPE_CHECKING:
    from .._core.io import PacketSink, PacketSource
    from .._core.observe import Observer
    from ..errors import PktfilterError
    from ..handles.events import Event
    from ..handles.tiers import TierUp
    from .injection import Injector
    from .spans import TimeLike

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
        speed: str = "max",
        loop: int = 1,
        limit: int | None = None,
        from_time: TimeLike | None = None,
        to_time: TimeLike | None = None,
        max_gap: float | None = MAX_GAP,
        inject: str | None = None,
        ports: Mapping[PortKey, PortTarget] | None = None,
        network: Network | None = None,
        observer: Observer | None = None,
        on_event: Callable[[Event], None] | None = None,
        event_buffer: int = EVENT_BUFFER,
    ) -> None:
        check_options(hook, batch, workers, seed)
        check_observer(observer, engine, workers)
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
        self._timing = Timing(
            speed=speed,
            loop=loop,
            limit=limit,
            from_time=from_time,
            to_time=to_time,
            max_gap=max_gap,
        )
        self.names = expand(inputs)
        self._timing.check_inputs(self.names)
        self._injector: Injector | None = None
        if inject is not None:
            check_injection(self._timing, workers)
            from .injection import Injector

            self._injector = Injector(inject, redirects=ports is None)
        self._ports = None if ports is None else Destinations(ports)
        self.hook = hook
        self._swaps = sorted(swaps, key=lambda swap: swap[0])
        self._as_ethernet = as_ethernet
        self._on_progress = on_progress
        self._told = Told(on_trace, on_event, event_buffer, workers)
        self._stopped = False
        self._result = ReplayResult(workers=workers, batch=batch, seed=seed)
        self._runner_options = RunnerOptions(
            batch=batch,
            seed=seed,
            linear=linear,
            trace=self._told.traced,
            unordered=unordered,
            # While a packet is not due, reading stands still: a thread of its own would run nothing beside it.
            overlap=False if self._timing.paced or on_event is not None else overlap,
            network=network_of_hook(network, hook, workers, self._running),
            observer=observer,
            events=self._told.buffer,
        )
        self._write, self._actions, self._comment = write, tuple(write_actions), comment
        self._total = self._timing.total(total_size(self.names))
        self._done_bytes = 0
        self._pace: tuple[float, int | None] = (0.0, 0)  # seconds, stored bytes of this input
        self._tiers: TierUp | None = None

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
                self._tiers = stack.enter_context(
                    self.hook.datapath.engine(
                        self._engine, size=self._total, remaining=self._remaining
                    )
                )
                self._tiers.expect(program for _, _, program in self._swaps)
                sink = None
                if self._write is not None:
                    sink = stack.enter_context(
                        Sink(
                            self._write,
                            actions=self._actions,
                            comment=self._comment,
                            inputs=self.names,
                            # Whoever reads a paced output from a pipe wants packets when they come.
                            buffer=1 if self._timing.paced and self._write == STDOUT else 0,
                        )
                    )
                if self._ports is not None:
                    self._ports.enter(stack, self.names, self._write)
                start = time.perf_counter()
                out = self._out(sink)
                for number, name in self._inputs():
                    if self._stopped:
                        break
                    iface = self._run_input(number, name, sink, out, start)
                    first_iface = first_iface or iface
                    if self._timing.done or (result.errors and sending_failed(result.errors[-1])):
                        break
                result.swaps_left = [n for n, _, _ in self._swaps]
                result.elapsed_s = time.perf_counter() - start
                self._finish_sink(sink, first_iface)
        result.interrupted = self._stopped
        return result

    def _enter(self, stack: ExitStack) -> None:
        """Makes the workers; when the stack ends, what they counted is in the result."""
        cpus = stack.enter_context(leased(self._result.workers))
        self._runner = Runner(self.hook, cpus, self._runner_options)
        for worker in self._runner.workers:
            self.hook._enter(worker)
            stack.callback(self.hook._leave, worker)
        if self._ports is not None:
            self._ports.prepare(self._runner.workers)
        for _, _, program in self._swaps:  # refused now rather than at its packet
            self.hook.datapath._ref.admits(program._ref)
        stack.callback(self._collect)
        stack.callback(self._runner.close)
        self._ahead = Ahead(self.names, self._open)
        stack.callback(self._ahead.close)

    def _open(self, name: str) -> Source:
        return Source(
            name,
            as_ethernet=self._as_ethernet,
            cancelled=lambda: self._stopped,
            **link_options(self.hook, self._running),
        )

    def _inputs(self) -> Iterator[tuple[int, str]]:
        """Number and name of each input, pass after pass."""
        yield from enumerate(self.names)
        while self._timing.next_pass():
            yield from enumerate(self.names)

    def _out(self, sink: Sink | None) -> PacketSink | None:
        """Where packets go."""
        out: PacketSink | None = None if sink is None else sink.writer
        if self._injector is not None:
            out = self._injector.beside(sink)
        return out if self._ports is None else self._ports.beside(out)

    def _run_input(
        self, number: int, name: str, sink: Sink | None, out: PacketSink | None, start: float
    ) -> Any:
        """Runs one input; its errors go into the result. Returns its first interface."""
        result = self._result
        if number == len(result.inputs):
            result.inputs.append(InputReport(name))
        report = result.inputs[number]
        before = self._runner.next_packet
        try:
            source = self._ahead.take(name)
        except KeyboardInterrupt:
            self._stopped = True
            return None
        except CaptureError as error:
            self._note(error, report)
            return None
        with source:
            packets = self._timing.attach(source.reader)
            try:
                try:
                    self._loop(source, packets, out, start)
                finally:
                    self._drain(packets, out)
                if not (self._stopped or self._timing.done):
                    source.check()
            except (CaptureError, OutputError, InterfaceError) as error:
                self._note(blame(error, source, sink, self._injector, self._ports), report)
            except ExpressionError as error:
                self._note(error, report)
            except KeyboardInterrupt:
                self._stopped = True
            self._timing.detach()
            report.packets += self._runner.next_packet - before
            result.read_s += source.reader.info()["read_ns"] / 1e9
            self._done_bytes += source.size or 0
            self._pace = (time.perf_counter() - start, 0)
            return source.reader.iface(0)

    def _note(self, error: PktfilterError, report: InputReport) -> None:
        """An error of an input or of where packets go; damage that a later pass meets again is no news."""
        report.truncated = isinstance(error, CaptureError) and error.damaged
        if report.error is None or sending_failed(error):
            self._result.errors.append(error)
        report.error = str(error)

    def _loop(
        self, source: Source, packets: PacketSource, out: PacketSink | None, start: float
    ) -> None:
        while not self._stopped:
            until = self._swaps[0][0] if self._swaps else _NO_SWAP
            if self._runner.next_packet >= until:
                self._drain(packets, out)  # no worker is behind when the program changes
                self._swap()
                continue
            end = self._runner.step(packets, out, until, SLICE_NS)
            self._told.drain(self._runner)
            if end == REPLAY_DONE:
                return
            if end == REPLAY_LINK:
                accept_interface(source, self.hook, [program for _, _, program in self._swaps])
            self._pace = (time.perf_counter() - start, source.position)
            if end != REPLAY_UNTIL and self._on_progress is not None:
                self._on_progress(self._progress(source, start))

    def _drain(self, packets: PacketSource, out: PacketSink | None) -> None:
        self._runner.drain(packets, out)
        self._told.drain(self._runner)

    def _remaining(self) -> float | None:
        """Seconds that the inputs take from here, at the rate so far; None: nobody can know."""
        elapsed, position = self._pace
        if self._total is None or position is None:
            return None
        done = self._done_bytes + position
        return elapsed * (self._total - done) / done if done else 0.0

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
            timing=self._timing.report(0, 0, 0.0) if self._timing.paced else None,
        )

    def _finish_sink(self, sink: Sink | None, iface: Any) -> None:
        if self._ports is not None:
            self._ports.finish(iface, self._result)
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
        result.events = self._told.events
        result.verify_s = (
            sum(p.verification.elapsed_us for p in self._running if p.verification is not None)
            / 1e6
        )
        result.note_stats(stats)
        result.redirects = redirects(self._runner.workers, result.actions["redirect"])
        if self._tiers is not None:
            result.note_tiers(self._tiers)
        if self._timing.active or self._injector is not None:
            result.timing = self._timing.report(result.packets, result.bytes, result.elapsed_s)
        if self._injector is not None:
            result.injected = self._injector.report(result.elapsed_s)
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

    What runs and when: `speed` ("max", "1x", "0.5x", "pps:N", "mbps:N"), `loop` (passes; 0: without end),
    `limit` (packets over all passes), `from_time` and `to_time` (from <= time < to: ISO 8601, seconds since
    the epoch, "+SECONDS" after the first packet, datetime, timedelta), `max_gap` (longest pause of the
    capture that is kept, in seconds; None: any), `inject` (an interface out of which PASS, TX and REDIRECT
    send). `ports` gives redirected packets destinations: {3: "out3.pcap", "cpu:2": callable, 4: None}
    (`session.ports`); packets for others are errors. `network`: what bpf_fib_lookup and its like ask.
    `on_event` is called with each event that a program sends (`Event`), between batches; `event_buffer` bytes
    are kept until then, and what finds no room is counted. `observer` is told every step of the checked
    interpreter (`pktfilter.insight`).

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
