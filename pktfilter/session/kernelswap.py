"""The kernel's own replacement, `BPF_LINK_UPDATE` of an XDP link, on a veth pair made for it.

Needs bpf(2) and a network namespace of its own, so mostly root; where it is not permitted the result
says why. A thread moves into a new namespace (which goes away with it), makes a veth pair there and
attaches programs that stamp packets as in `swapbench`. A child process in the same namespace sends
packets through the pair as fast as it can and judges what comes out of the other end by its bytes.

What is measured: `update` is the system call BPF_LINK_UPDATE as its caller sees it; it returns when the
new program is installed and promises nothing about runs in flight. The second spread adds what a
caller can do to wait for these: a write to a map of maps, after which Linux waits for an RCU grace
period before it returns to user space.
"""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import platform
import resource
import shutil
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from .._core.swap import Histogram
from .swapbench import Spread, WayResult, stamp_code

_SYSCALL_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280}
_MAP_CREATE, _MAP_UPDATE, _PROG_LOAD, _LINK_CREATE, _LINK_UPDATE = 0, 2, 5, 28, 29
_ARRAY, _ARRAY_OF_MAPS, _PROG_XDP, _ATTACH_XDP = 2, 12, 6, 37
_CLONE_NEWNET = 0x40000000
_PROGRAMS = 64
_TITLE = "kernel: BPF_LINK_UPDATE"
_WHAT = "the system call, which does not wait for runs in flight; XDP link on a veth pair"
_CHILD = str(Path(__file__).with_name("kerneltraffic.py"))
#: Shared with the child: updates returned, and whether it shall end.
_SHARED = struct.Struct("<II")


class _RefusedError(Exception):
    """The kernel or the system does not let us; the message says what."""


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _bpf(what: str, command: int, attr: bytes) -> int:
    number = _SYSCALL_BPF.get(platform.machine())
    if number is None:
        raise _RefusedError(f"bpf(2) has no known number on {platform.machine()}")
    buffer = ctypes.create_string_buffer(attr, len(attr))
    result = int(_libc().syscall(number, command, buffer, len(attr)))
    if result < 0:
        raise _RefusedError(f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


def _load(code: bytes) -> int:
    held, licence = ctypes.create_string_buffer(code), ctypes.create_string_buffer(b"GPL")
    fields = (
        _PROG_XDP,
        len(code) // 8,
        ctypes.addressof(held),
        ctypes.addressof(licence),
    )
    return _bpf("loading a program", _PROG_LOAD, struct.pack("<IIQQ", *fields).ljust(128, b"\0"))


def _create_map(kind: int, inner: int = 0) -> int:
    return _bpf("creating a map", _MAP_CREATE, struct.pack("<6I", kind, 4, 4, 1, 0, inner))


class _Barrier:
    """Waits for an RCU grace period: a write to a map of maps does."""

    def __init__(self, opened: list[int]) -> None:
        self._inner = _create_map(_ARRAY)
        opened.append(self._inner)
        self._outer = _create_map(_ARRAY_OF_MAPS, self._inner)
        opened.append(self._outer)
        self._key = ctypes.create_string_buffer(struct.pack("<I", 0), 4)
        self._value = ctypes.create_string_buffer(struct.pack("<I", self._inner), 4)

    def wait(self) -> None:
        attr = struct.pack(
            "<IIQQQ", self._outer, 0, ctypes.addressof(self._key), ctypes.addressof(self._value), 0
        )
        _bpf("writing a map of maps", _MAP_UPDATE, attr)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode:
        raise _RefusedError(f"ip {' '.join(words)}: {done.stderr.strip()}")


def _enter_namespace() -> None:
    if shutil.which("ip") is None:
        raise _RefusedError("the program 'ip' (iproute2) is needed to make a veth pair")
    if _libc().unshare(_CLONE_NEWNET):
        raise _RefusedError(f"a network namespace: {os.strerror(ctypes.get_errno())}")
    _ip("link", "add", "swap0", "type", "veth", "peer", "name", "swap1")
    for name in ("swap0", "swap1"):
        _ip("link", "set", name, "up")


class _Traffic:
    """The child that sends and judges, and the memory shared with it."""

    def __init__(self) -> None:
        self._fd = os.memfd_create("swap")
        os.ftruncate(self._fd, mmap.PAGESIZE)
        self._shared = mmap.mmap(self._fd, mmap.PAGESIZE)
        self._child = subprocess.Popen(
            # By its path and isolated: it needs the standard library only.
            [sys.executable, "-I", _CHILD, str(self._fd), str(_PROGRAMS)],
            pass_fds=[self._fd],
            stdout=subprocess.PIPE,
            text=True,
        )
        if not (self._child.stdout and self._child.stdout.readline()):
            self.close()
            raise _RefusedError("the process that sends packets did not start")

    def returned(self, number: int) -> None:
        _SHARED.pack_into(self._shared, 0, number, 0)

    def finish(self, number: int) -> dict[str, int]:
        """Ends the child; what it saw."""
        _SHARED.pack_into(self._shared, 0, number, 1)
        text, _ = self._child.communicate(timeout=30)
        seen: dict[str, int] = json.loads(text)
        return seen

    def close(self) -> None:
        if self._child.poll() is None:
            self._child.kill()
            self._child.communicate()
        self._shared.close()
        os.close(self._fd)


def _preemptions() -> int:
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw


def _measure(seconds: float, result: WayResult, opened: list[int], stop: threading.Event) -> Spread:
    _enter_namespace()
    programs = []
    for stamp in range(_PROGRAMS):
        programs.append(_load(stamp_code(stamp)))
        opened.append(programs[-1])
    import socket

    index = socket.if_nametoindex("swap1")
    attr = struct.pack("<4I", programs[0], index, _ATTACH_XDP, 0).ljust(64, b"\0")
    link = _bpf("attaching a program", _LINK_CREATE, attr)
    opened.append(link)
    barrier = _Barrier(opened)
    update, waiting = Histogram(), Histogram()
    clock = time.perf_counter_ns
    traffic = _Traffic()
    try:
        number, start, preempted = 0, time.perf_counter(), _preemptions()
        while time.perf_counter() - start < seconds and not stop.is_set():
            number += 1
            attr = struct.pack("<4I", link, programs[number % _PROGRAMS], 0, 0)
            begin = clock()
            _bpf("BPF_LINK_UPDATE", _LINK_UPDATE, attr)
            update.add(clock() - begin)
            barrier.wait()
            waiting.add(clock() - begin)
            traffic.returned(number)
        result.seconds = time.perf_counter() - start
        result.preempted_writer = _preemptions() - preempted
        seen = traffic.finish(number)
    finally:
        traffic.close()
    result.updates = number
    result.packets, result.bare, result.stale = seen["packets"], seen["bare"], seen["stale"]
    result.update = Spread.of(update)
    result.distribution = update.buckets()
    return Spread.of(waiting)


def run_kernel(seconds: float) -> tuple[WayResult, Spread | None]:
    """The kernel's way, and the spread of update and RCU grace period together."""
    result = WayResult(_TITLE, _WHAT, mixed=None, preempted_lanes=None)
    waits: list[Spread] = []
    stop = threading.Event()

    def body() -> None:
        opened: list[int] = []
        try:
            waits.append(_measure(seconds, result, opened, stop))
        except _RefusedError as error:
            result.skipped = f"not measured: {error}"
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            name = errno.errorcode.get(getattr(error, "errno", None) or 0, type(error).__name__)
            result.skipped = f"not measured: {name}: {error}"
        finally:
            for fd in reversed(opened):
                os.close(fd)

    # The thread alone is in the namespace; with it, its sockets and its child the pair goes away.
    thread = threading.Thread(target=body, name="kernel-swap")
    thread.start()
    try:
        thread.join()
    finally:
        stop.set()  # interrupted: the child and the pair must go first
        thread.join()
    return result, waits[0] if waits else None
