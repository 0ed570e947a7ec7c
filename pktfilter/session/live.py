"""Live runs: interfaces through a hook, observed or forwarded, until a limit, a stop, or an error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from .._core.io import PacketSink
from .._core.live import Tee, Transmit
from .._core.run import REPLAY_DONE, REPLAY_UNTIL, Worker
from ..errors import InputError, InterfaceError, OutputError, PktfilterError
from ..expressions import ETHERNET
from ..handles.hooks import Hook
from ..handles.program import ENGINES, LINEAR, XDP, resolve_engine
from ..handles.tracking import network_of_hook
from ..network import Network
from ..sinks import LET_THROUGH, RotatingSink
from ..sources import PathLike
from ..sources.live import SLICE_MS, SNAPLEN_MAX, InterfaceCounts, LiveSource, interface_index
from .live_results import GenerationReport, LiveResult, SentCounts
from .options import check_options
from .ports import Destinations, PortKey, PortTarget, redirects
from .told import EVENT_BUFFER, Told

if TYPE_CHECKING:
    from ..handles.events import Event
    from ..handles.tiers import TierUp

#: A block of the ring is a batch; one of more packets makes several.
DEFAULT_LIVE_BATCH = 2048
_NO_LIMIT = 0xFFFFFFFFFFFFFFFF
_SLICE_NS = SLICE_MS * 1_000_000


class Live:
    """One live run over one hook. `run` does it; `stop` ends it cleanly, from anywhere.

    Alone, `interface` is observed: programs see its packets, verdicts are counted, nothing is held back.
    With `out`, the two interfaces become a filter: PASS and REDIRECT send a packet out of the other one,
    TX back out of the one it came from, DROP and ABORTED nowhere; `both` filters what comes from `out` as
    well. `ports` gives redirected packets destinations of their own, interfaces by name (`session.ports`).
    Limits end the run: `count` packets (exactly), `seconds`, `size` bytes written. `write` takes
    packets whose action is in `write_actions`, with rotation as in `RotatingSink`. `partial` None:
    "complete" when filtering, else "mark". Other options are those of `LiveSource` and `replay`.
    `on_start` is called once capturing, `on_progress` every `progress_seconds`, in the running thread.
    """

    def __init__(
        self,
        interface: str,
        hook: Hook,
        *,
        out: str | None = None,
        both: bool = False,
        write: PathLike | None = None,
        write_actions: Iterable[XDP] = LET_THROUGH,
        comment: bool = False,
        count: int | None = None,
        seconds: float | None = None,
        size: int | None = None,
        rotate_bytes: int | None = None,
        rotate_seconds: float | None = None,
        files: int | None = None,
        backend: str = "ring",
        outgoing: bool = False,
        partial: str | None = None,
        promiscuous: bool | None = None,
        snaplen: int = SNAPLEN_MAX,
        ring_mib: int = 16,
        latency_ms: int | None = None,
        batch: int = DEFAULT_LIVE_BATCH,
        engine: str = "auto",
        seed: int = 0,
        linear: str = "kernel",
        on_progress: Callable[[LiveResult], None] | None = None,
        progress_seconds: float = 0.5,
        on_start: Callable[[Live], None] | None = None,
        on_trace: Callable[[list[str], int], None] | None = None,
        network: Network | None = None,
        ports: Mapping[PortKey, PortTarget] | None = None,
        on_event: Callable[[Event], None] | None = None,
        event_buffer: int = EVENT_BUFFER,
    ) -> None:
        check_options(hook, batch, 1, seed)
        resolve_engine(engine)
        if linear not in LINEAR:
            raise InputError("no such geometry", found=linear, expected="kernel or full")
        _check_filter(interface, out, both, outgoing, backend, snaplen)
        for what, value in (("packets", count), ("seconds", seconds), ("bytes", size)):
            if value is not None and value <= 0:
                raise InputError(
                    f"the limit of {what} is out of range", found=value, expected="above 0"
                )
        if size is not None and write is None:
            raise InputError("a limit of bytes is about what is written", hint="name an output")
        if write is None and (rotate_bytes or rotate_seconds or files):
            raise InputError("rotation is about what is written", hint="name an output")
        self.interface, self.out, self.hook = interface, out, hook
        self.both = both
        self._count, self._seconds, self._size = count, seconds, size
        self._engine = engine
        self._on_progress, self._progress_seconds = on_progress, progress_seconds
        self._on_start = on_start
        self._told = Told(on_trace, on_event, event_buffer)
        self._write = write
        self._write_options: dict[str, Any] = {
            "actions": tuple(write_actions),
            "comment": comment,
            "rotate_bytes": rotate_bytes,
            "rotate_seconds": rotate_seconds,
            "files": files,
        }
        self._ports = None if ports is None else Destinations(ports, live=True)
        filtering = out is not None
        sending = filtering or ports is not None
        self._source_options: dict[str, Any] = {
            "backend": backend,
            "outgoing": outgoing,
            "partial": partial or ("complete" if sending else "mark"),
            "promiscuous": filtering if promiscuous is None else promiscuous,
            "snaplen": snaplen,
            "ring_mib": ring_mib,
            "latency_ms": latency_ms or (1 if sending else 10),
        }
        self._worker = Worker(
            hook.datapath._ref,
            hook.index,
            batch=batch,
            cpu=0,
            seed=seed,
            linear_limit=LINEAR[linear],
            name="live-0",
            trace=self._told.traced,
            network=network_of_hook(network, hook),
            events=self._told.buffer,
        )
        self.errors: list[PktfilterError] = []
        #: Packets by file of a port.
        self.written: dict[str, int] = {}
        self._stopped = False
        self._ended = "stopped"
        self._start = time.monotonic()
        self._elapsed: float | None = None
        self._source: LiveSource | None = None
        self._tiers: TierUp | None = None
        self._sink: RotatingSink | None = None
        self._transmit: Transmit | None = None

    def stop(self, reason: str = "stopped") -> None:
        """Ends the run within a slice; outputs are completed. Safe in a signal handler and any thread."""
        self._ended = reason
        self._stopped = True
        if self._source is not None:
            self._source.stop()

    def run(self) -> LiveResult:
        """Runs until a limit, `stop`, Ctrl-C, or an error, which the result keeps.

        Raises `InterfaceError` or `OutputError` for what cannot be opened; then nothing was run.
        """
        with ExitStack() as stack:
            self.hook._meet(ETHERNET)
            self._tiers = stack.enter_context(self.hook.datapath.engine(self._engine))
            self._source = stack.enter_context(self._open_source())
            if self.out is not None:
                self._transmit = self._open_transmit()
            if self._ports is not None:
                self._ports.enter(stack, (), self._write, buffer=1)
                self._ports.prepare([self._worker])
            if self._write is not None:
                self._sink = RotatingSink(self._write, **self._write_options)
            self.hook._enter(self._worker)
            stack.callback(self.hook._leave, self._worker)
            if self._on_start is not None:
                self._on_start(self)
            self._start = time.monotonic()
            try:
                self._loop(self._source)
                self._source.check()
            except KeyboardInterrupt:
                self._ended = "interrupted"
            except PktfilterError as error:
                self._note(error)
            self._elapsed = time.monotonic() - self._start
            self._finish()
            return self.snapshot()

    def _open_source(self) -> LiveSource:
        other = self.out if self.both else None
        return LiveSource(self.interface, other, **self._source_options)

    def _open_transmit(self) -> Transmit:
        assert self.out is not None
        try:
            transmit = Transmit(interface_index(self.interface), interface_index(self.out))
        except InterfaceError as error:
            raise self._named(error) from None
        if self._ports is not None:
            transmit.leave_redirects()
        return transmit

    def _named(self, error: PktfilterError) -> PktfilterError:
        if self._ports is not None and self._ports.claim(error):
            return error
        port = getattr(error, "port", None)
        if port is not None:
            error.file = error.file or (self.interface, self.out or self.interface)[port]
        elif isinstance(error, OutputError) and self._sink is not None:
            error.file = error.file or self._sink.label
        else:
            error.file = error.file or self.interface
        return error

    def _note(self, error: PktfilterError) -> None:
        self._ended = "error"
        self.errors.append(self._named(error))

    def _out(self) -> PacketSink | None:
        """Where the worker's packets go: to the file, to the other interface, or both; and to ports."""
        out: PacketSink | None = self._transmit
        if self._sink is not None:
            writer = self._sink.writer
            out = writer if self._transmit is None else Tee(self._transmit, writer)
        return out if self._ports is None else self._ports.beside(out)

    def _loop(self, source: LiveSource) -> None:
        out = self._out()
        until = self._count if self._count is not None else _NO_LIMIT
        # A file ends with the batch that fills it: look after each.
        sized = self._size or self._write_options["rotate_bytes"]
        shown = self._start
        packets = 0
        while not self._stopped:
            left = _SLICE_NS
            now = time.monotonic()
            if self._seconds is not None:
                left = min(left, int((self._start + self._seconds - now) * 1e9))
                if left <= 0:
                    self._ended = "time"
                    return
            end = self._worker.step(source.reader, out, until, 0 if sized else left)
            self._told.drain(self._worker)
            if end == REPLAY_UNTIL:
                self._ended = "count"
                return
            if end == REPLAY_DONE:
                return
            if packets == self._worker.next_packet:
                source.wait(left / 1e9)
            packets = self._worker.next_packet
            if self._sink is not None:
                if self._size is not None and self._sink.bytes >= self._size:
                    self._ended = "size"
                    return
                if self._sink.rotate(source.reader.iface(0)):
                    out = self._out()
            if self._on_progress is not None and now - shown >= self._progress_seconds:
                shown = now
                self._on_progress(self.snapshot())

    def _finish(self) -> None:
        self._told.drain(self._worker)
        if self._ports is not None and self._source is not None:
            self._ports.finish(self._source.reader.iface(0), self)
        if self._sink is None or self._source is None:
            return
        try:
            self._sink.finish(self._source.reader.iface(0))
        except OutputError as error:
            if not any(isinstance(e, OutputError) for e in self.errors):
                self._note(error)

    def snapshot(self) -> LiveResult:
        """What happened so far. In the running thread (`on_progress`), or after the run."""
        stats = self._worker.stats()
        names = [action.name.lower() for action in XDP]
        left_out, rows = self._worker.generations()
        fault = self._worker.first_fault()
        counts = self._source.counts if self._source is not None else ()
        return LiveResult(
            interface=self.interface,
            out=self.out,
            both=self.both,
            packets=stats["packets"],
            bytes=stats["bytes"],
            actions=dict(zip(names, stats["actions"], strict=True)),
            action_bytes=dict(zip(names, stats["action_bytes"], strict=True)),
            uncovered=stats["uncovered"],
            faults=stats["faults"],
            batches=stats["batches"],
            engine_packets=dict(zip(ENGINES, stats["engine_packets"], strict=True)),
            elapsed_s=time.monotonic() - self._start if self._elapsed is None else self._elapsed,
            interfaces=list(counts),
            sent=self._sent(),
            generations=_generations(rows, stats, names),
            generations_left_out=left_out,
            redirects=redirects([self._worker], stats["actions"][XDP.REDIRECT]),
            written=self.written | ({} if self._sink is None else self._sink.written),
            files_removed=0 if self._sink is None else self._sink.removed,
            ended=self._ended,
            first_fault=None
            if fault is None
            else f"packet {fault[0]}: program '{fault[1]}': {fault[2]}",
            compile_s=0.0 if self._tiers is None else self._tiers.seconds,
            tier_ups=0 if self._tiers is None else self._tiers.tier_ups,
            compiled=[] if self._tiers is None else list(self._tiers.compiled),
            events=self._told.events,
            errors=list(self.errors),
        )

    def _sent(self) -> list[SentCounts]:
        sent = []
        if self._transmit is not None and self.out is not None:
            names = (self.interface, self.out)
            sent = [SentCounts(name, **self._transmit.counts(i)) for i, name in enumerate(names)]
        ports = {} if self._ports is None else self._ports.transmits
        return sent + [SentCounts(name, **one.counts(0)) for name, one in ports.items()]


def _check_filter(
    interface: str, out: str | None, both: bool, outgoing: bool, backend: str, snaplen: int
) -> None:
    if out is None:
        if both:
            raise InputError("both directions need a second interface", hint="name one: out")
        return
    if out == interface:
        raise InputError("a filter needs two interfaces", file=out)
    if outgoing:
        raise InputError(
            "a filter takes no outgoing packets, or it would see its own",
            hint="observe without an output interface",
        )
    if backend != "ring":
        raise InputError("only the ring can filter between interfaces", found=backend)
    if snaplen < SNAPLEN_MAX:
        raise InputError(
            "a filter sends whole packets, so it cannot cut them when it takes them",
            found=f"snaplen {snaplen}",
            hint="observe without an output interface",
        )


def _generations(
    rows: list[Any], stats: dict[str, Any], names: list[str]
) -> list[GenerationReport]:
    """Counts of each row: the next one's totals, or the totals now, minus its own (generations.h, N1)."""
    now = (stats["packets"], stats["bytes"], stats["actions"], stats["uncovered"], stats["faults"])
    ends = [*(row[4] for row in rows[1:]), now][: len(rows)]
    reports = []
    for (generation, link_generation, programs, program, before), after in zip(
        rows, ends, strict=True
    ):
        actions = [b - a for a, b in zip(before[2], after[2], strict=True)]
        reports.append(
            GenerationReport(
                generation=generation,
                link_generation=link_generation,
                program=program,
                programs=programs,
                packets=after[0] - before[0],
                bytes=after[1] - before[1],
                actions=dict(zip(names, actions, strict=True)),
                uncovered=after[3] - before[3],
                faults=after[4] - before[4],
            )
        )
    return reports


def live(interface: str, hook: Hook, **options: Any) -> LiveResult:
    """Runs live packets through the hook; options are those of `Live`.

    Returns when a limit is reached. Raises `InterfaceError` when an interface cannot be used or goes
    away, `OutputError` when a file cannot be written, KeyboardInterrupt on Ctrl-C; outputs are complete
    then, and the result so far is in `.result` of the first two.
    """
    result = Live(interface, hook, **options).run()
    for error in result.errors:
        error.result = result  # type: ignore[attr-defined]
        raise error
    if result.ended == "interrupted":
        raise KeyboardInterrupt
    return result


__all__ = ["DEFAULT_LIVE_BATCH", "InterfaceCounts", "Live", "LiveResult", "live"]
