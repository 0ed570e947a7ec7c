"""Live interfaces as a source: a memory-mapped ring on Linux, or scapy's sockets."""

from __future__ import annotations

import select
import socket
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .._core.live import PARTIAL, Ring
from ..errors import InputError, InterfaceError

if TYPE_CHECKING:
    from .._core.io import PacketSource

BLOCK_SIZE = 1 << 18
SNAPLEN_MIN, SNAPLEN_MAX = 64, 262144
RING_MIB_MAX = 4096
LATENCY_MS_MAX = 10_000
BACKENDS = ("ring", "scapy")
#: The longest that a wait for packets goes on before limits and Ctrl-C are looked at.
SLICE_MS = 50


@dataclass
class InterfaceCounts:
    """One interface: what its ring received and what became of it.

    `received` is what the kernel offered to the ring; of these `dropped` found it full, `packets` were
    delivered, `outgoing_left_out` and `partial_left_out` were not wanted, and `unread` were still in the
    ring when the run ended. `vlan` tags were put back. `partial` packets were delivered although their
    checksum was left to the device, of `partial_completed` it was computed. None: the backend does not
    know.
    """

    name: str
    packets: int = 0
    bytes: int = 0
    received: int | None = None
    dropped: int | None = None
    outgoing_left_out: int = 0
    partial: int = 0
    partial_completed: int = 0
    partial_left_out: int = 0
    vlan: int = 0

    @property
    def unread(self) -> int | None:
        """Packets in the ring that nobody has looked at."""
        if self.received is None or self.dropped is None:
            return None
        left_out = self.outgoing_left_out + self.partial_left_out
        return self.received - self.dropped - self.packets - left_out

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "unread": self.unread}


def interface_index(name: str) -> int:
    """The kernel's number of an interface; raises `InterfaceError` listing those that exist."""
    try:
        return socket.if_nametoindex(name)
    except (OSError, ValueError):
        names = [known for _, known in socket.if_nameindex()]
        shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
        raise InterfaceError(
            "there is no such network interface",
            file=name or "''",
            expected=f"one of: {shown}" if shown else None,
        ) from None


class LiveSource:
    """Packets of one interface, or of two as one source, from the moment it is made.

    `backend` "ring" maps the kernel's ring of packets (Linux, CAP_NET_RAW) and filters them in place;
    "scapy" receives through scapy's sockets, slower, wherever scapy runs, one interface only.
    `outgoing`: also what this machine sends. `partial`: packets whose checksum the sender left to the
    device are "mark"ed (counted, and flagged in pcapng), "skip"ped, or have it "complete"d.
    `ring_mib` is the size of each interface's ring; `latency_ms` the longest that the kernel keeps
    packets back to fill a block. A context manager.
    """

    def __init__(
        self,
        interface: str,
        other: str | None = None,
        *,
        backend: str = "ring",
        outgoing: bool = False,
        partial: str = "mark",
        promiscuous: bool = False,
        snaplen: int = SNAPLEN_MAX,
        ring_mib: int = 16,
        latency_ms: int = 10,
    ) -> None:
        self.names = (interface,) if other is None else (interface, other)
        #: What errors call it.
        self.label = interface
        self._feed: Any = None
        self._reader: PacketSource | None = None
        self._last: tuple[InterfaceCounts, ...] = ()
        _check(backend, partial, snaplen, ring_mib, latency_ms)
        indexes = tuple(interface_index(name) for name in self.names)
        if backend == "scapy":
            from .scapy_feed import ScapyFeed

            if other is not None or outgoing or partial != "mark":
                raise InputError(
                    "the scapy backend takes one interface, and packets as scapy delivers them",
                    hint="use the backend 'ring'",
                )
            self._feed = ScapyFeed(interface, promiscuous=promiscuous, snaplen=snaplen)
            self._reader = self._feed.reader
            return
        try:
            self._reader = Ring(
                indexes,
                block_size=BLOCK_SIZE,
                blocks=ring_mib * (1 << 20) // BLOCK_SIZE,
                retire_ms=latency_ms,
                slice_ms=SLICE_MS,
                snaplen=snaplen,
                outgoing=outgoing,
                promiscuous=promiscuous,
                partial=PARTIAL[partial],
            )
        except InterfaceError as error:
            raise self.named(error) from None

    @property
    def reader(self) -> PacketSource:
        """What a worker reads from; raises `InputError` once closed."""
        if self._reader is None:
            raise InputError("the source was closed", file=self.label)
        return self._reader

    def named(self, error: InterfaceError) -> InterfaceError:
        """Puts the interface's name into an error of the core."""
        error.file = self.names[error.port] if error.port < len(self.names) else self.label
        return error

    @property
    def counts(self) -> tuple[InterfaceCounts, ...]:
        """What each interface gave so far, or until `close`. Not while another thread is reading."""
        if self._reader is None:
            return self._last
        if self._feed is not None:
            return (InterfaceCounts(self.label, packets=self.reader.info()["packets"]),)
        return tuple(
            InterfaceCounts(name, **{k: v for k, v in self.reader.info(i).items() if k != "blocks"})
            for i, name in enumerate(self.names)
        )

    def wait(self, timeout: float) -> None:
        """Waits for packets where the reader itself does not."""
        if self._feed is not None:
            select.select([self._feed.read_fd], [], [], timeout)

    def stop(self) -> None:
        """Ends it for whoever is reading; safe in a signal handler."""
        reader = self._reader
        if self._feed is not None:
            self._feed.stop()
        elif reader is not None:
            reader.stop()

    def check(self) -> None:
        """Raises what ended a backend that receives on a thread of its own."""
        if self._feed is not None:
            self._feed.check()

    def close(self) -> None:
        """Ends capturing and gives the ring back, once nobody is reading any more."""
        if self._reader is None:
            return
        self.stop()
        self._last = self.counts
        self._reader = None
        if self._feed is not None:
            self._feed.close()

    def __enter__(self) -> LiveSource:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _check(backend: str, partial: str, snaplen: int, ring_mib: int, latency_ms: int) -> None:
    if backend not in BACKENDS:
        raise InputError("no such backend", found=backend, expected=" or ".join(BACKENDS))
    if partial not in PARTIAL:
        raise InputError(
            "no such way with partial checksums", found=partial, expected=", ".join(PARTIAL)
        )
    for what, value, low, high, unit in (
        ("the snap length", snaplen, SNAPLEN_MIN, SNAPLEN_MAX, "bytes"),
        ("the ring", ring_mib, 1, RING_MIB_MAX, "MiB"),
        ("the latency", latency_ms, 1, LATENCY_MS_MAX, "ms"),
    ):
        if not low <= value <= high:
            raise InputError(
                f"{what} is out of range", found=value, expected=f"{low} to {high} {unit}"
            )
