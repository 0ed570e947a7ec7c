"""Network namespaces of the tests' own, with veth pairs, and packets to send through them.

A namespace belongs to threads: :meth:`Net.call` runs a function in a thread that is inside, and
:meth:`Net.start` a process. The machine's own interfaces are never touched; the namespace is gone with
the last thread, process and socket in it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import dpkt
import pytest
from commandline import COMMAND, ENVIRONMENT

T = TypeVar("T")
CLONE_NEWNET = 0x40000000
ETHERTYPE = 0x88B5  # for local experiments
PACKET_OUTGOING = 4
PATTERN = bytes(range(256)) * 256
_libc = ctypes.CDLL(None, use_errno=True)


class Net:
    """A namespace with veth pairs a0-a1 and b0-b1, all up, and without IPv6's own chatter."""

    def __init__(self) -> None:
        self._leave = threading.Event()
        self._sockets: list[socket.socket] = []
        ready: list[int | OSError] = []
        made = threading.Event()

        def inside() -> None:
            if _libc.unshare(CLONE_NEWNET):
                ready.append(OSError(ctypes.get_errno(), "unshare"))
            else:
                ready.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
            made.set()
            self._leave.wait()

        self._thread = threading.Thread(target=inside, daemon=True)
        self._thread.start()
        made.wait()
        if isinstance(ready[0], OSError):
            self._leave.set()
            raise ready[0]
        self._fd: int = ready[0]
        self.call(self._prepare)

    def _prepare(self) -> None:
        for place in ("all", "default"):
            path = Path(f"/proc/sys/net/ipv6/conf/{place}/disable_ipv6")
            if path.exists():
                path.write_text("1")
        self._ip("link", "set", "lo", "up")
        for name in "ab":
            self._ip("link", "add", "name", f"{name}0", "type", "veth", "peer", "name", f"{name}1")
            for end in "01":
                self._ip("link", "set", f"{name}{end}", "up")

    @staticmethod
    def _ip(*arguments: str) -> None:
        done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
        if done.returncode:
            raise OSError(errno.EOPNOTSUPP, f"ip {' '.join(arguments)}: {done.stderr}")

    def ip(self, *arguments: str) -> None:
        """Runs ip(8) inside."""
        self.call(self._ip, *arguments)

    def background(self, function: Callable[..., T], *arguments: Any, **named: Any) -> Call[T]:
        """Starts the function in a thread inside."""
        return Call(self._fd, lambda: function(*arguments, **named))

    def call(self, function: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Runs the function in a thread inside and returns its result."""
        return self.background(function, *arguments, **named).result(120)

    def socket(self, family: int = socket.AF_INET, kind: int = socket.SOCK_DGRAM) -> socket.socket:
        """A socket inside, closed with the namespace."""
        made = self.call(socket.socket, family, kind)
        self._sockets.append(made)
        return made

    def wire(self, interface: str) -> socket.socket:
        """A raw socket on the interface."""
        raw = self.socket(socket.AF_PACKET, socket.SOCK_RAW)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
        self.call(raw.bind, (interface, ETHERTYPE))
        return raw

    def start(self, *arguments: object, **options: Any) -> subprocess.Popen[bytes]:
        """`pktfilter live ...` as a process inside."""
        return self.call(
            subprocess.Popen,
            [*COMMAND, "live", *map(str, arguments)],
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **options,
        )

    def close(self) -> None:
        """Leaves the namespace; it is gone when the processes in it are."""
        for made in self._sockets:
            made.close()
        os.close(self._fd)
        self._leave.set()
        self._thread.join()


class Call:
    """A function running in a thread of its own inside a namespace."""

    def __init__(self, fd: int, function: Callable[[], T]) -> None:
        self._function, self._fd = function, fd
        self._value: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __class_getitem__(cls, _: object) -> type[Call]:
        return cls

    def _run(self) -> None:
        try:
            if _libc.setns(self._fd, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            self._value = self._function()
        except BaseException as error:
            self._error = error

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def result(self, timeout: float = 60) -> Any:
        """What the function returned, or its exception."""
        self._thread.join(timeout)
        assert not self._thread.is_alive(), "still running"
        if self._error is not None:
            raise self._error
        return self._value


@contextmanager
def namespace() -> Iterator[Net]:
    """A `Net`, or a skip that says why there is none."""
    if shutil.which("ip") is None:
        pytest.skip("live tests need ip (iproute2) to make interfaces")
    try:
        net = Net()
    except OSError as error:
        pytest.skip(f"live tests need root and network namespaces with veth pairs: {error}")
    try:
        yield net
    finally:
        net.close()


def packet(number: int, size: int = 64, *, action: int = 2, tag: bytes = b"") -> bytes:
    """A numbered frame: 14 bytes of Ethernet, the number, the action for the tests' programs, filling."""
    head = b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01" + tag + struct.pack(">H", ETHERTYPE)
    body = struct.pack("<IB", number, action) + PATTERN[number % 256 :][: max(size - 19, 0)]
    return head + body


def number_of(data: bytes) -> int:
    """The number in such a frame."""
    return int(struct.unpack_from("<I", data, 14)[0])


def send(raw: socket.socket, packets: Iterable[bytes], *, pause_every: int = 0) -> int:
    """Sends all packets, each exactly once, however full the queue is. Returns how many."""
    count = 0
    for data in packets:
        while True:
            try:
                raw.send(data)
                break
            except OSError as error:  # dropped before it was sent
                if error.errno != errno.ENOBUFS:
                    raise
                time.sleep(0.0002)
        count += 1
        if pause_every and count % pause_every == 0:
            time.sleep(0.001)
    return count


def receive(raw: socket.socket, quiet: float = 0.5) -> list[bytes]:
    """What arrived, until nothing came for a while. Packets sent on the same interface are not in it."""
    raw.settimeout(quiet)
    got = []
    try:
        while True:
            data, address = raw.recvfrom(1 << 16)
            if address[2] != PACKET_OUTGOING:
                got.append(data)
    except TimeoutError:
        return got


def pcap_packets(path: Path | str) -> list[bytes]:
    """Packets of a classic capture, read by dpkt."""
    with open(path, "rb") as file:
        return [data for _, data in dpkt.pcap.Reader(file)]


@dataclass(frozen=True)
class Record:
    """One packet of a pcapng file as this parser, which knows only what live runs write, reads it."""

    data: bytes
    time_ns: int
    flags: int
    comment: str


def pcapng_records(path: Path | str) -> Iterator[Record]:
    """Packets of a pcapng that pktfilter wrote (nanoseconds, this machine's byte order)."""
    content = Path(path).read_bytes()
    at = 0
    while at < len(content):
        kind, length = struct.unpack_from("=II", content, at)
        assert length >= 12 and at + length <= len(content), "a block is cut"
        assert struct.unpack_from("=I", content, at + length - 4)[0] == length
        if kind == 6:
            _, high, low, caplen, _ = struct.unpack_from("=IIIII", content, at + 8)
            end = at + 28 + caplen
            options = dict(_options(content, end + -caplen % 4, at + length - 4))
            yield Record(
                content[at + 28 : end],
                high << 32 | low,
                int.from_bytes(options.get(2, b""), "little"),
                options.get(1, b"").decode(),
            )
        at += length


def _options(content: bytes, at: int, end: int) -> Iterator[tuple[int, bytes]]:
    while at + 4 <= end:
        code, length = struct.unpack_from("=HH", content, at)
        if code:
            yield code, content[at + 4 : at + 4 + length]
        at += 4 + length + -length % 4
