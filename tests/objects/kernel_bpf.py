"""A small caller of bpf(2), so that linked programs can be judged by the kernel itself.

Only what the tests need: create maps, load an XDP program, run it once. Every call raises
`OSError`; `usable()` says whether this machine permits any of it.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Iterator
from contextlib import contextmanager

_SYSCALLS = {"x86_64": 321, "aarch64": 280}
_MAP_CREATE, _MAP_UPDATE, _PROG_LOAD, _TEST_RUN, _BTF_LOAD, _MAP_FREEZE = 0, 2, 5, 10, 18, 22
_PROG_TYPE_XDP = 6
_LIBC = ctypes.CDLL(None, use_errno=True)


def _bpf(command: int, attributes: bytes) -> tuple[int, bytes]:
    """The call's result, and the attributes as the kernel leaves them."""
    number = _SYSCALLS.get(platform.machine())
    if number is None:
        raise OSError(38, "bpf(2) is not known for this machine")
    buffer = ctypes.create_string_buffer(attributes.ljust(128, b"\0"), 128)
    result = _LIBC.syscall(number, command, buffer, 128)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result, buffer.raw


def _address(buffer: ctypes.Array[ctypes.c_char]) -> int:
    return ctypes.addressof(buffer)


def create_map(
    kind: int, key: int, value: int, entries: int, flags: int = 0, inner_fd: int = 0
) -> int:
    return _bpf(_MAP_CREATE, struct.pack("<6I", kind, key, value, entries, flags, inner_fd))[0]


def update(fd: int, key: bytes, value: bytes) -> None:
    held = ctypes.create_string_buffer(key), ctypes.create_string_buffer(value, len(value))
    _bpf(_MAP_UPDATE, struct.pack("<I4xQQQ", fd, _address(held[0]), _address(held[1]), 0))


def freeze(fd: int) -> None:
    _bpf(_MAP_FREEZE, struct.pack("<I", fd))


def load_btf(raw: bytes) -> int:
    data = ctypes.create_string_buffer(raw, len(raw))
    return _bpf(_BTF_LOAD, struct.pack("<QQI", _address(data), 0, len(raw)))[0]


def load_program(
    insns: bytes, terms: str, btf_fd: int = 0, functions: list[tuple[int, int]] | None = None
) -> int:
    """The fd of the program; the kernel's log is the message if it refuses.

    `terms` is the license; `functions` are (instruction, BTF type id), which callbacks need.
    """
    code = ctypes.create_string_buffer(insns, len(insns))
    text = ctypes.create_string_buffer(terms.encode())
    log = ctypes.create_string_buffer(1 << 20)
    attributes = struct.pack(
        "<IIQQIIQ",
        _PROG_TYPE_XDP,
        len(insns) // 8,
        _address(code),
        _address(text),
        1,
        len(log),
        _address(log),
    )
    rows = [struct.pack("<II", *row) for row in functions or ()]
    info = ctypes.create_string_buffer(b"".join(rows), 8 * len(rows) + 1)
    if rows:
        # prog_btf_fd, func_info_rec_size, func_info and func_info_cnt of BPF_PROG_LOAD.
        attributes = attributes.ljust(72, b"\0")
        attributes += struct.pack("<IIQI", btf_fd, 8, _address(info), len(rows))
    try:
        return _bpf(_PROG_LOAD, attributes)[0]
    except OSError as error:
        raise OSError(error.errno, log.value.decode() or error.strerror) from error


def test_run(fd: int, packet: bytes) -> int:
    """The program's return value for one packet."""
    held = ctypes.create_string_buffer(packet, len(packet))
    attributes = struct.pack("<IIIIQQII", fd, 0, len(packet), 0, _address(held), 0, 1, 0)
    return int(struct.unpack_from("<I", _bpf(_TEST_RUN, attributes)[1], 4)[0])


test_run.__test__ = False  # type: ignore[attr-defined]  # not a test, whatever its name


def usable() -> bool:
    """Whether an XDP program that returns 2 can be loaded and run."""
    try:
        fd = load_program(bytes.fromhex("b700000002000000 9500000000000000"), "GPL")
    except OSError:
        return False
    with closing([fd]):
        try:
            return test_run(fd, bytes(64)) == 2
        except OSError:
            return False


@contextmanager
def closing(fds: list[int]) -> Iterator[list[int]]:
    """Closes what is in the list at the end."""
    try:
        yield fds
    finally:
        for fd in fds:
            os.close(fd)
