"""Ports: where packets go that a program redirects, and what became of them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, Union

from .._core.ports import (
    PORT_CPU,
    PORT_IFINDEX,
    PORT_XSK,
    STRANGERS,
    Collector,
    Ports,
    routes,
    set_ports,
    strangers,
)
from ..errors import InputError, InterfaceError, OutputError, PktfilterError, wrong_kind
from ..handles.program import XDP
from ..sinks import Sink

if TYPE_CHECKING:
    from .._core.io import PacketSink
    from .._core.live import Transmit
    from .._core.run import Worker

#: An ifindex, or its text, or "cpu:N" (an entry of a cpumap), or "xsk:N" (a slot of an xskmap).
PortKey: TypeAlias = int | str
#: A capture's path; a callable that gets (bytes, timestamp in ns) of every packet; a `Sink` of the caller's;
#: None: packets are counted and forgotten.
PortTarget: TypeAlias = Union[str, "os.PathLike[str]", Callable[[bytes, int], Any], Sink, None]

_KINDS = {"cpu": PORT_CPU, "xsk": PORT_XSK}
_LARGEST = {PORT_IFINDEX: (1 << 31) - 1, PORT_CPU: 8191, PORT_XSK: (1 << 32) - 1}


@dataclass
class Redirects:
    """What became of the packets for one target of redirects.

    `packets` and `bytes` left by it; `dropped` by the program of its map entry (key "none": broadcasts
    that reached nobody); `errors`: it does not exist, as counted by the kernel's xdp_redirect_err (key
    "none": REDIRECT without a target, or to others than the `STRANGERS` lowest interfaces that do not exist).
    """

    packets: int = 0
    bytes: int = 0
    dropped: int = 0
    errors: int = 0


def parse_port(key: PortKey) -> tuple[int, int]:
    """(PORT_*, number) of a port; `InputError` for what is none."""
    kind, text = PORT_IFINDEX, str(key)
    prefix, separator, rest = text.partition(":")
    if separator and prefix in _KINDS:
        kind, text = _KINDS[prefix], rest
    least = 1 if kind == PORT_IFINDEX else 0
    if isinstance(key, bool) or not (text.isascii() and text.isdecimal() and len(text) < 12):
        raise InputError(
            "no such port", found=key, expected="an interface's number, cpu:N or xsk:N"
        )
    if not least <= int(text) <= _LARGEST[kind]:
        raise InputError(
            "the number of a port is out of range",
            found=key,
            expected=f"{least} to {_LARGEST[kind]}",
        )
    return kind, int(text)


def port_name(port: tuple[int, int]) -> str:
    """The port as `parse_port` takes it."""
    prefix = {number: name + ":" for name, number in _KINDS.items()}.get(port[0], "")
    return f"{prefix}{port[1]}"


def redirects(workers: Iterable[Worker], followed: int) -> dict[str, Redirects]:
    """Sums over workers, by target in order; `followed`: packets with the action REDIRECT."""
    totals: dict[tuple[int, int], Redirects] = {}
    none = Redirects()
    unknown: Counter[int] = Counter()
    for worker in workers:
        rows, (routed, errors, dropped) = routes(worker)
        followed -= routed
        none.errors += errors
        none.dropped += dropped
        for port, counts in rows.items():
            total = totals.setdefault(port, Redirects())
            total.packets += counts[0]
            total.bytes += counts[1]
            total.dropped += counts[2]
        unknown.update(strangers(worker))
    # Each worker told of the lowest: of these the sums are whole.
    for place, (number, errors) in enumerate(sorted(unknown.items())):
        if place < STRANGERS:
            totals.setdefault((PORT_IFINDEX, number), Redirects()).errors += errors
        else:
            none.errors += errors
    none.errors += followed  # no program that could name a target ran
    result = {port_name(port): totals[port] for port in sorted(totals)}
    if none != Redirects():
        result["none"] = none
    return result


class Written(Protocol):
    """A result, as far as outputs are concerned."""

    written: dict[str, int]
    errors: list[PktfilterError]


class Destinations:
    """The ports of one run: opened by `enter`, completed by `finish`.

    Raises `InputError` for a port or a destination that is none, `OutputError` or `InterfaceError` where
    one cannot be opened. `live`: a name of an interface means that interface.
    """

    def __init__(self, ports: Mapping[PortKey, PortTarget], *, live: bool = False) -> None:
        if not isinstance(ports, Mapping):
            raise wrong_kind("ports", ports, "a mapping from port to destination")
        self._live = live
        self._targets: dict[tuple[int, int], PortTarget] = {}
        for key, target in ports.items():
            port = parse_port(key)
            if port in self._targets:
                raise InputError("a port has two destinations", found=port_name(port))
            if not (
                target is None or callable(target) or isinstance(target, (str, os.PathLike, Sink))
            ):
                raise wrong_kind(
                    f"the destination of port {port_name(port)}",
                    target,
                    "a path, a callable, a Sink or None",
                )
            self._targets[port] = target
        self._labels: list[str] = []
        self._files: list[Sink] = []
        self._sinks: list[PacketSink | None] = []
        self._core: Ports | None = None
        #: Interfaces that packets are sent out of, by name.
        self.transmits: dict[str, Transmit] = {}

    @property
    def ifindexes(self) -> list[int]:
        """Interfaces that exist."""
        return [number for kind, number in self._targets if kind == PORT_IFINDEX]

    def prepare(self, workers: Iterable[Worker]) -> None:
        """Tells workers which interfaces exist."""
        for worker in workers:
            set_ports(worker, self.ifindexes)

    def enter(
        self,
        stack: ExitStack,
        inputs: Iterable[str] = (),
        write: str | os.PathLike[str] | None = None,
        buffer: int = 0,
    ) -> None:
        """Opens the destinations; the stack closes them. `write`: the run's other output."""
        self._taken = set() if write is None else {os.path.abspath(write)}
        for port, target in self._targets.items():
            self._labels.append(f"port {port_name(port)}")
            self._sinks.append(self._open(target, stack, tuple(inputs), buffer))
        self._core = Ports(list(zip(self._targets, self._sinks, strict=True)))

    def _open(
        self, target: PortTarget, stack: ExitStack, inputs: tuple[str, ...], buffer: int
    ) -> PacketSink | None:
        if target is None:
            return None
        if isinstance(target, Sink):
            self._labels[-1] = target.label
            return target.writer
        if isinstance(target, (str, os.PathLike)):
            path = os.fspath(target)
            self._labels[-1] = path
            if self._live and not _is_path(path):
                return self._interface(path)
            if path != os.devnull and os.path.abspath(path) in self._taken:
                raise InputError("two outputs have the same name", file=path)
            self._taken.add(os.path.abspath(path))
            sink = Sink(path, actions=(XDP.REDIRECT,), inputs=inputs, buffer=buffer)
            self._files.append(stack.enter_context(sink))
            return sink.writer
        return Collector(target)

    def _interface(self, name: str) -> Transmit:
        from .._core.live import Transmit
        from ..sources.live import interface_index

        number = interface_index(name)
        if name not in self.transmits:
            try:
                self.transmits[name] = Transmit(number)
            except InterfaceError as error:
                error.file = name
                raise
        return self.transmits[name]

    def beside(self, inner: PacketSink | None) -> PacketSink:
        """The sink for the workers: ports, and the inner one for verdicts."""
        assert self._core is not None
        self._core.set_inner(inner)
        return self._core

    def claim(self, error: PktfilterError) -> bool:
        """Was it a port's sink that failed? Then the error gets its name; what a callable raised is raised."""
        failed = None if self._core is None else self._core.failed
        if failed is None or not isinstance(error, (OutputError, InterfaceError)):
            return False
        sink = self._sinks[failed]
        if isinstance(sink, Collector) and sink.error is not None:
            raise sink.error
        error.file = self._labels[failed]
        return True

    def finish(self, iface: Any, result: Written) -> None:
        """Completes the files; packets by path, and the first thing that failed, go into the result."""
        for sink in self._files:
            try:
                sink.finish(iface)
            except OutputError as error:
                if not any(isinstance(e, OutputError) for e in result.errors):
                    result.errors.append(error)
            result.written[sink.path] = sink.packets


def _is_path(text: str) -> bool:
    return os.sep in text or text.endswith((".pcap", ".pcapng", ".ntar", ".cap"))
