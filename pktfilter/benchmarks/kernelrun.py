"""The running kernel as a peer: BPF_PROG_TEST_RUN of the same bytecode, through bpf(2).

The kernel repeats one packet; we give it as many different ones as `PACKETS`, one call each, and take the
mean of its own `duration`, which leaves out the system call. That favours the kernel: each packet's key
is looked up again and again, while ours come from thousands of packets.

Layouts and numbers: bpf(2) and the kernel's uapi/linux/bpf.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import re
import struct
from collections.abc import Iterable, Mapping

from .dpdk import Unavailable
from .runner import Subject

_SYSCALL_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280}
_MAP_CREATE, _MAP_LOOKUP, _MAP_UPDATE, _PROG_LOAD, _TEST_RUN = 0, 1, 2, 5, 10
_MAP_TYPES = {
    "hash": 1,
    "array": 2,
    "percpu_hash": 5,
    "percpu_array": 6,
    "lru_hash": 9,
    "lpm_trie": 11,
}
_XDP = 6
_LD_IMM64 = 0x18
#: Different packets that a measurement gives the kernel, one test run each.
PACKETS = 16


def _bpf(what: str, command: int, attr: bytes) -> tuple[int, bytes]:
    """The system call; raises `Unavailable` with what was refused."""
    number = _SYSCALL_BPF.get(platform.machine())
    if number is None:
        raise Unavailable(f"bpf(2) has no known number on {platform.machine()}")
    buffer = ctypes.create_string_buffer(attr, len(attr))
    libc = ctypes.CDLL(None, use_errno=True)
    result = int(libc.syscall(number, command, buffer, len(attr)))
    if result < 0:
        code = ctypes.get_errno()
        hint = " (root is needed)" if code == errno.EPERM else ""
        raise Unavailable(f"the kernel refuses {what}: {os.strerror(code)}{hint}")
    return result, buffer.raw


class KernelMaps:
    """Maps as a program's numbers name them, with what user space puts in."""

    def __init__(self) -> None:
        self.fds: dict[int, int] = {}

    def create(self, number: int, words: str) -> int:
        """A map from the words of a `.map` line behind its name."""
        kind, *rest = words.split()
        key, value, entries, *flags = (int(word, 0) for word in rest)
        attr = struct.pack("<5I", _MAP_TYPES[kind], key, value, entries, flags[0] if flags else 0)
        fd, _ = _bpf("a map", _MAP_CREATE, attr.ljust(72, b"\0"))
        self.fds[number] = fd
        return fd

    def fill(self, number: int, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Stores every (key, value)."""
        fd = self.fds[number]
        for key, value in items:
            k, v = (
                ctypes.create_string_buffer(key, len(key)),
                ctypes.create_string_buffer(value, len(value)),
            )
            attr = struct.pack("<IIQQQ", fd, 0, ctypes.addressof(k), ctypes.addressof(v), 0)
            _bpf("an element", _MAP_UPDATE, attr)

    def read(self, number: int, key: bytes, size: int) -> bytes:
        """The value at a key, of `size` bytes."""
        k, v = ctypes.create_string_buffer(key, len(key)), ctypes.create_string_buffer(size)
        ends = (ctypes.addressof(k), ctypes.addressof(v))
        _bpf("a read", _MAP_LOOKUP, struct.pack("<IIQQQ", self.fds[number], 0, *ends, 0))
        return v.raw

    def close(self) -> None:
        """Closes all."""
        for fd in self.fds.values():
            os.close(fd)
        self.fds.clear()


def _with_maps(insns: bytes, fds: Mapping[int, int]) -> bytes:
    out, at = bytearray(insns), 0
    while at < len(out):
        code, regs, _, imm = struct.unpack_from("<BBhi", out, at)
        if code == _LD_IMM64:
            if regs >> 4 in (1, 2):
                struct.pack_into("<i", out, at + 4, fds[imm])
            at += 8
        at += 8
    return bytes(out)


class KernelProgram:
    """A loaded XDP program. Raises `Unavailable` where the kernel does not let us."""

    def __init__(self, insns: bytes, maps: KernelMaps | None = None) -> None:
        code = _with_maps(insns, maps.fds if maps else {})
        held = ctypes.create_string_buffer(code, len(code))
        licence = ctypes.create_string_buffer(b"GPL")
        attr = struct.pack(
            "<IIQQ", _XDP, len(code) // 8, ctypes.addressof(held), ctypes.addressof(licence)
        )
        self.fd, _ = _bpf("a program", _PROG_LOAD, attr.ljust(128, b"\0"))

    def close(self) -> None:
        """Frees the program."""
        os.close(self.fd)

    def test_run(self, packet: bytes, repeat: int) -> tuple[int, int]:
        """(return value, nanoseconds of all runs by the kernel's clock) over one packet.

        The kernel tells whole nanoseconds of a run, rounded down; the system call itself is not in them.
        """
        data = ctypes.create_string_buffer(packet, len(packet))
        out = ctypes.create_string_buffer(len(packet) + 4096)
        head = struct.pack(
            "<IIIIQQII", self.fd, 0, len(packet), len(out), ctypes.addressof(data),
            ctypes.addressof(out), repeat, 0,
        )  # fmt: skip
        _, raw = _bpf("a test run", _TEST_RUN, head.ljust(80, b"\0"))
        retval, duration = struct.unpack_from("<I28xI", raw, 4)
        return retval, duration * repeat

    def subject(
        self,
        name: str,
        packets: list[bytes],
        *,
        repeat: int,
        role: str = "peer",
        baseline: str | None = None,
    ) -> Subject:
        """Nanoseconds per packet, over all these packets."""

        def run(times: int) -> float:
            return float(
                sum(self.test_run(packet, repeat)[1] for _ in range(times) for packet in packets)
            )

        return Subject(
            name, run, parts=len(packets) * repeat, role=role, baseline=baseline, whole=True
        )


_LOG_STATS, _LOG_SIZE = 4, 1 << 16
_VERIFIED = re.compile(rb"verification time (\d+) usec")


def verification_us(insns: bytes) -> float:
    """Microseconds that the kernel's verifier says it took."""
    held = ctypes.create_string_buffer(insns, len(insns))
    licence, log = ctypes.create_string_buffer(b"GPL"), ctypes.create_string_buffer(_LOG_SIZE)
    attr = struct.pack(
        "<IIQQIIQ", _XDP, len(insns) // 8, ctypes.addressof(held), ctypes.addressof(licence),
        _LOG_STATS, _LOG_SIZE, ctypes.addressof(log),
    )  # fmt: skip
    fd, _ = _bpf("a program", _PROG_LOAD, attr.ljust(128, b"\0"))
    os.close(fd)
    found = _VERIFIED.search(log.value)
    if not found:
        raise Unavailable("the kernel's verifier log has no verification time")
    return max(float(found[1]), 1.0)
