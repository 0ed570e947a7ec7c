"""DPDK's librte_bpf, interpreter and JIT, in this process: compiled from `dpdk_peer.c` where DPDK is installed."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

from .._core.measure import Packets
from .runner import Subject

SOURCE = Path(__file__).with_name("dpdk_peer.c")


class Unavailable(Exception):  # noqa: N818 - it is no error: a peer that is not there is skipped
    """Why the peer cannot be measured: one sentence."""


class Library:
    """The compiled peer. Raises `Unavailable` with the reason."""

    def __init__(self, folder: Path) -> None:
        self.version = self._version()
        target = folder / "dpdk_peer.so"
        if not target.exists():
            self._build(target)
        try:
            library = ctypes.CDLL(str(target))
        except OSError as error:
            raise Unavailable(f"DPDK's library does not load: {error}") from error
        library.peer_load.restype = ctypes.c_void_p
        library.peer_load.argtypes = [ctypes.c_char_p, ctypes.c_uint32, ctypes.c_uint32]
        library.peer_destroy.argtypes = [ctypes.c_void_p]
        library.peer_compiled.argtypes = [ctypes.c_void_p]
        library.peer_run.restype = ctypes.c_uint64
        library.peer_run.argtypes = [
            ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32,
            ctypes.c_uint32, ctypes.POINTER(ctypes.c_uint64),
        ]  # fmt: skip
        self.calls = library

    @staticmethod
    def _version() -> str:
        if not shutil.which("pkg-config") or not shutil.which("cc"):
            raise Unavailable("librte_bpf needs pkg-config and a C compiler")
        done = subprocess.run(
            ["pkg-config", "--modversion", "libdpdk"], capture_output=True, text=True
        )
        if done.returncode:
            raise Unavailable("DPDK is not installed (Debian: libdpdk-dev)")
        return done.stdout.strip()

    @staticmethod
    def _build(target: Path) -> None:
        flags = subprocess.run(
            ["pkg-config", "--cflags", "libdpdk"], capture_output=True, text=True
        ).stdout.split()
        command = [
            *["cc", "-O2", "-shared", "-fPIC", *flags, "-march=native", str(SOURCE)],
            *["-o", str(target), "-lrte_bpf", "-lrte_eal"],
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no message"]
            raise Unavailable(f"librte_bpf's peer does not compile: {lines[-1]}")


class Peer:
    """A plain-memory program in librte_bpf. Raises `Unavailable` where it is refused or not compiled."""

    def __init__(self, library: Library, insns: bytes, stride: int) -> None:
        self._calls = library.calls
        self._bpf = self._calls.peer_load(insns, len(insns) // 8, stride)
        if not self._bpf:
            raise Unavailable("librte_bpf refuses the program")
        self.compiled = bool(self._calls.peer_compiled(self._bpf))

    def close(self) -> None:
        """Frees the program."""
        self._calls.peer_destroy(self._bpf)

    def run(self, packets: Packets, native: bool, times: int) -> tuple[float, int]:
        """(nanoseconds, sum of the results) of all packets that many times."""
        total = ctypes.c_uint64(0)
        taken = self._calls.peer_run(
            self._bpf, int(native), packets.address, packets.count, packets.stride, times,
            ctypes.byref(total),
        )  # fmt: skip
        return float(taken), int(total.value)

    def subject(
        self,
        name: str,
        packets: Packets,
        *,
        native: bool,
        role: str = "peer",
        baseline: str | None = None,
    ) -> Subject:
        """Nanoseconds per packet."""

        def run(times: int) -> float:
            self.run(packets, native, 1)  # brings the packets to the cache
            return self.run(packets, native, times)[0]

        return Subject(
            name,
            run,
            parts=packets.count,
            role=role,
            baseline=baseline,
        )
