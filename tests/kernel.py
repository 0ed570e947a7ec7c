"""The running kernel as an oracle: bpf(2) through ctypes, without libbpf.

A differential test gives the same bytes to pktfilter and to the kernel's verifier, JIT and
``BPF_PROG_TEST_RUN`` and compares.  Commands, structures and errno values are those of bpf(2)
and of the kernel's ``include/uapi/linux/bpf.h`` interface.  Everything needs ``bpf()`` with
CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON; :func:`available` says why it cannot be used.

Measured on Linux 6.18 x86-64 (4 KiB pages) with this module, XDP programs, no test-run flags:

Input
  * The smallest packet is 14 bytes (Ethernet header), metadata not counted; less is EINVAL.
  * The largest is 73,152 bytes (3,520 linear and 17 frags of 4,096); more is ENOMEM.
  * A program without BPF_F_XDP_HAS_FRAGS runs over long packets too.  ``data_end`` stops at 3,520
    linear bytes either way, ``bpf_xdp_get_buff_len`` is the total, and ``data_out`` holds all of
    the packet.
  * A ``data_size_out`` smaller than the result is ENOSPC.
  * ``repeat=0`` means 1.  With ``repeat=n`` nothing is reset between the runs: bytes written,
    head and tail adjustments accumulate.  Use it for timing only.
Room
  * ``bpf_xdp_adjust_head(-216)`` succeeds and -217 is EINVAL: 256 bytes of headroom less 40 for
    ``struct xdp_frame``.  Metadata counts against it (32 of metadata leave -184), and moves along
    with ``data``.  Moving forward and back again keeps the bytes; fresh head room reads zero.
  * ``bpf_xdp_adjust_head`` and ``bpf_xdp_adjust_tail`` must leave 14 bytes, else EINVAL;
    ``adjust_head`` must leave them in the linear part.
  * ``bpf_xdp_adjust_tail`` grows a linear packet to 3,520 bytes (from the original ``data``,
    whatever the metadata) and no further.  A packet with frags grows within its last frag's
    4,096 bytes (5,000 to 7,616), also for a program without the frags flag.  New bytes are zero,
    even those that the same program cut off before.
Metadata
  * ``bpf_xdp_adjust_meta`` takes multiples of 4 up to 216; -220 and +4 are EINVAL, -6 is EACCES.
  * In: ``data_in`` is metadata then packet; ``ctx_in`` carries ``data_meta=0``,
    ``data=len(metadata)`` (multiple of 4, at most 216) and ``data_end``; else EINVAL.
  * ``data_end`` of ``ctx_in`` may lie below ``len(data_in)`` (beyond it is EINVAL): it sets the end
    of the linear part, even under 14 bytes, and the rest goes to frags.
  * Out: ``data_out`` begins at ``data_meta``.  ``ctx_out`` has ``data_meta=0``, ``data`` the length
    of the metadata, ``data_end`` the end of the *linear* part.  Without ``ctx_in`` there is no
    context out, but ``data_out`` still begins with metadata; so :meth:`KernelProgram.test_run`
    passes a context always.
Context
  * Without ``ctx_in``, or with ifindex 0 and queue 0 in it, a program sees ``ingress_ifindex`` 1
    (loopback) and ``rx_queue_index`` 0.
  * ifindex 0 with another queue is EINVAL, an unknown ifindex ENODEV, a queue that the device does
    not have EINVAL, ``egress_ifindex`` other than 0 EINVAL.
  * ``ctx_in`` shorter than the structure reads as zero, longer is E2BIG unless the rest is zero.
Programs
  * ``retval`` is the low 32 bits of r0; no value is rejected.
  * Program-local calls load without BTF.  ``ld_imm64`` of a callback (src 4) does not ("missing
    btf func_info"), nor do tail calls in functions, so :meth:`KernelProgram.load` makes a minimal
    BTF for those.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    # typing.Self is there from Python 3.11 on; only the type checker needs it.
    from typing_extensions import Self

_SYSCALL_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280}

_MAP_CREATE, _MAP_LOOKUP, _MAP_UPDATE, _MAP_DELETE, _MAP_NEXT_KEY, _PROG_LOAD = range(6)
_PROG_TEST_RUN, _OBJ_INFO, _BTF_LOAD, _MAP_FREEZE = 10, 15, 18, 22
_MAP_POP = 21
_LINK_CREATE, _LINK_UPDATE, _LINK_DETACH = 28, 29, 34
BPF_XDP, BPF_XDP_DEVMAP = 37, 33
BPF_F_REPLACE = 4
_CLONE_NEWNET = 0x40000000

MAP_TYPES = {
    "hash": 1,
    "array": 2,
    "prog_array": 3,
    "perf_event_array": 4,
    "percpu_hash": 5,
    "percpu_array": 6,
    "lru_hash": 9,
    "lru_percpu_hash": 10,
    "lpm_trie": 11,
    "array_of_maps": 12,
    "hash_of_maps": 13,
    "devmap": 14,
    "cpumap": 16,
    "xskmap": 17,
    "queue": 22,
    "stack": 23,
    "devmap_hash": 25,
    "ringbuf": 27,
    "bloom_filter": 30,
}
PROG_TYPES = {"socket_filter": 1, "sched_cls": 3, "xdp": 6}
BPF_ANY, BPF_NOEXIST, BPF_EXIST, BPF_F_LOCK = 0, 1, 2, 4
BPF_F_NO_PREALLOC = 1
BPF_F_RDONLY_PROG = 1 << 7
BPF_F_STRICT_ALIGNMENT, BPF_F_ANY_ALIGNMENT, BPF_F_XDP_HAS_FRAGS = 1, 2, 1 << 5
BPF_F_XDP_DEV_BOUND_ONLY = 1 << 6

HEADROOM = 216
"""Bytes in front of a packet that programs may take, for head and metadata together."""
MAX_LINEAR = 3520
"""Most bytes between ``data`` and ``data_end`` in a test run without metadata."""

_TAIL_CALL = bytes.fromhex("850000000c000000")
_PSEUDO_MAP_FD, _PSEUDO_MAP_VALUE, _PSEUDO_FUNC, _PSEUDO_CALL = 1, 2, 4, 1
_LD_IMM64, _CALL = 0x18, 0x85
_LOG_SIZE = 1 << 20
_INSN = struct.Struct("<BBhi")
_XDP_MD = struct.Struct("<6I")
_libc = ctypes.CDLL(None, use_errno=True)


class KernelError(OSError):
    """bpf(2) failed: ``errno`` as the kernel gave it, ``log`` what the verifier wrote."""

    def __init__(self, number: int, what: str, log: str = "") -> None:
        text = f"{what}: {errno.errorcode.get(number, str(number))} ({os.strerror(number)})"
        super().__init__(number, f"{text}\n{log[-2000:]}" if log else text)
        self.log = log


def _bpf(command: int, attr: ctypes.Array[ctypes.c_char]) -> int:
    """The bare system call; a negative errno instead of -1."""
    number = _SYSCALL_BPF[platform.machine()]
    result = int(_libc.syscall(number, command, attr, len(attr)))
    return result if result >= 0 else -ctypes.get_errno()


def _call(what: str, command: int, layout: str, *fields: object) -> int:
    attr = ctypes.create_string_buffer(struct.pack(layout, *fields), struct.calcsize(layout))
    result = _bpf(command, attr)
    if result < 0:
        raise KernelError(-result, what)
    return result


def _address(buffer: ctypes.Array[ctypes.c_char] | None) -> int:
    return 0 if buffer is None else ctypes.addressof(buffer)


def _buffer(data: bytes) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(data, max(len(data), 1))


@lru_cache(maxsize=1)
def available() -> str | None:
    """None if the oracle works here, else one sentence with the reason."""
    if platform.machine() not in _SYSCALL_BPF:
        return f"bpf(2) has no known system call number for {platform.machine()}"
    if not hasattr(_libc, "syscall"):
        return "the C library has no syscall()"
    try:
        with (
            KernelMap("array", 4, 8, 1),
            KernelProgram.load(bytes.fromhex("b700000002000000 9500000000000000")) as prog,
        ):
            prog.test_run(bytes(60))
    except OSError as error:
        return f"bpf(2) is not available: {str(error).splitlines()[0]}"
    return None


def requires_kernel() -> pytest.MarkDecorator:
    """A ``skipif`` mark for tests that need the oracle."""
    reason = available()
    return pytest.mark.skipif(reason is not None, reason=reason or "")


@lru_cache(maxsize=1)
def possible_cpus() -> int:
    """Number of values that a per-CPU element has (possible, not online, CPUs)."""
    with open("/sys/devices/system/cpu/possible", encoding="ascii") as file:
        last = file.read().strip().split(",")[-1]
    return int(last.split("-")[-1]) + 1


@contextlib.contextmanager
def pinned(cpu: int | None) -> Iterator[None]:
    """Run the body on one CPU, so that per-CPU maps are comparable; None leaves things alone."""
    if cpu is None:
        yield
        return
    before = os.sched_getaffinity(0)
    if before != {cpu}:
        os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        if before != {cpu}:
            os.sched_setaffinity(0, before)


class _Descriptor:
    """A file descriptor that belongs to one object."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @property
    def fd(self) -> int:
        """The open descriptor; ValueError once closed."""
        if self._fd < 0:
            raise ValueError("the kernel object is closed")
        return self._fd

    def close(self) -> None:
        """Close the descriptor; idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        # __init__ may not have got as far as the descriptor.
        if getattr(self, "_fd", -1) >= 0:
            self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class KernelMap(_Descriptor):
    """A kernel map.  Keys and values are bytes; per-CPU values a list, one per possible CPU."""

    def __init__(
        self,
        type: str,
        key_size: int,
        value_size: int,
        max_entries: int,
        flags: int = 0,
        inner: KernelMap | None = None,
        name: str = "",
        types: tuple[bytes, int, int] | None = None,
    ) -> None:
        """Create the map; KernelError when refused.  ``inner``: the template of an outer map;
        ``types``: a BTF blob and the ids of key and value in it, for a bpf_spin_lock."""
        self.type, self.key_size, self.value_size = type, key_size, value_size
        self.max_entries = max_entries
        self.percpu = "percpu" in type
        btf = load_btf(types[0]) if types else 0
        try:
            fd = _call(
                f"map create {type}",
                _MAP_CREATE,
                "<7I16s4I",
                MAP_TYPES[type],
                key_size,
                value_size,
                max_entries,
                flags,
                inner.fd if inner else 0,
                0,
                name.encode()[:15],
                0,
                btf,
                *(types[1:] if types else (0, 0)),
            )
        finally:
            if btf:
                os.close(btf)
        super().__init__(fd)

    def _element(
        self,
        what: str,
        command: int,
        key: bytes | None,
        value: ctypes.Array[ctypes.c_char] | None,
        flags: int = 0,
    ) -> None:
        if key is not None and len(key) != self.key_size:
            raise ValueError(f"key has {len(key)} bytes, the map takes {self.key_size}")
        held = None if key is None else _buffer(key)
        fields = (self.fd, 0, _address(held), _address(value), flags)
        _call(f"map {what} {self.type}", command, "<IIQQQ", *fields)

    def _stride(self) -> int:
        return (self.value_size + 7) & ~7

    def update(
        self,
        key: bytes,
        value: bytes | list[bytes] | KernelMap | KernelProgram,
        flags: int = 0,
    ) -> None:
        """Store; KernelError keeps the errno (E2BIG, EEXIST, ENOENT, EINVAL...)."""
        if isinstance(value, _Descriptor):
            value = struct.pack("<I", value.fd)
        if self.percpu:
            values = value if isinstance(value, list) else [value] * possible_cpus()
            if len(values) != possible_cpus():
                raise ValueError(f"{len(values)} values for {possible_cpus()} possible CPUs")
            value = b"".join(v.ljust(self._stride(), b"\0") for v in values)
        elif isinstance(value, list) or len(value) != self.value_size:
            raise ValueError(f"the map takes one value of {self.value_size} bytes")
        self._element("update", _MAP_UPDATE, key, _buffer(value), flags)

    def _lookup(self, key: bytes, flags: int = 0) -> bytes | None:
        size = self._stride() * possible_cpus() if self.percpu else max(self.value_size, 4)
        out = ctypes.create_string_buffer(size)
        try:
            self._element("lookup", _MAP_LOOKUP, key, out, flags)
        except KernelError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        return out.raw

    def lookup(self, key: bytes, flags: int = 0) -> bytes | None:
        """The value (of an outer map: the inner map's id), or None; not for per-CPU maps."""
        if self.percpu:
            raise TypeError("a per-CPU map has lookup_percpu()")
        raw = self._lookup(key, flags)
        return None if raw is None else raw[: self.value_size]

    def lookup_percpu(self, key: bytes) -> list[bytes] | None:
        """One value per possible CPU, or None when the key is absent."""
        raw = self._lookup(key)
        if raw is None:
            return None
        step = self._stride()
        return [raw[at : at + self.value_size] for at in range(0, len(raw), step)]

    def delete(self, key: bytes) -> None:
        """Remove; KernelError with ENOENT when absent, EINVAL for arrays."""
        self._element("delete", _MAP_DELETE, key, None)

    def next_key(self, key: bytes | None) -> bytes | None:
        """The key after ``key`` in the map's own order (None: the first), None at the end."""
        out = ctypes.create_string_buffer(self.key_size)
        try:
            self._element("next key", _MAP_NEXT_KEY, key, out)
        except KernelError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        return out.raw

    def keys(self) -> Iterator[bytes]:
        """All keys; the map must not change meanwhile."""
        key = self.next_key(None)
        while key is not None:
            yield key
            key = self.next_key(key)

    def items(self) -> dict[bytes, bytes | list[bytes] | None]:
        """The whole content, per-CPU values as lists."""
        read = self.lookup_percpu if self.percpu else self.lookup
        return {key: read(key) for key in self.keys()}

    def push(self, value: bytes) -> None:
        """Put a value into a queue, a stack or a bloom filter; KernelError with E2BIG when full."""
        self._element("push", _MAP_UPDATE, None, _buffer(value))

    def popped(self) -> list[bytes]:
        """Everything in a queue or a stack, in the order of popping; it is empty then."""
        out = ctypes.create_string_buffer(self.value_size)
        found: list[bytes] = []
        while True:
            try:
                self._element("pop", _MAP_POP, None, out)
            except KernelError as error:
                if error.errno == errno.ENOENT:
                    return found
                raise
            found.append(out.raw)

    def freeze(self) -> None:
        """Make it read-only for user space, as a loader does with .rodata."""
        _call(f"map freeze {self.type}", _MAP_FREEZE, "<I", self.fd)


def _relocate(insns: bytes, maps: Mapping[int, KernelMap]) -> bytes:
    """Put the kernel's descriptors in place of the numbers that ld_imm64 src 1 and 2 carry."""
    out = bytearray(insns)
    at = 0
    while at + 16 <= len(out):
        code, regs, off, imm = _INSN.unpack_from(out, at)
        if code != _LD_IMM64:
            at += 8
            continue
        if regs >> 4 in (_PSEUDO_MAP_FD, _PSEUDO_MAP_VALUE):
            if imm not in maps:
                raise ValueError(f"insn {at // 8} names map {imm}, which is not in maps")
            _INSN.pack_into(out, at, code, regs, off, maps[imm].fd)
        at += 16
    return bytes(out)


def _subprograms(insns: bytes) -> tuple[list[int], bool]:
    """First instruction of every subprogram (main at 0), and whether there are callbacks."""
    starts, callbacks, at = {0}, False, 0
    count = len(insns) // 8
    while at < count:
        code, regs, _, imm = _INSN.unpack_from(insns, at * 8)
        if code == _CALL and regs >> 4 == _PSEUDO_CALL:
            starts.add(at + 1 + imm)
        elif code == _LD_IMM64:
            if regs >> 4 == _PSEUDO_FUNC:
                starts.add(at + 1 + imm)
                callbacks = True
            at += 1
        at += 1
    return sorted(starts), callbacks


def _minimal_btf(functions: int) -> bytes:
    """A BTF blob: type 1 ``int``, type 2 ``int (*)(void)``, then one static function each."""
    strings = b"\0int\0" + b"".join(f"f{i}\0".encode() for i in range(functions))
    types = struct.pack("<IIII", 1, 1 << 24, 4, (1 << 24) | 32)
    types += struct.pack("<III", 0, 13 << 24, 1)
    offset = 5
    for i in range(functions):
        types += struct.pack("<III", offset, 12 << 24, 2)
        offset += len(f"f{i}") + 1
    header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings))
    return header + types + strings


def lock_btf(value_size: int, offset: int) -> bytes:
    """A value with a bpf_spin_lock: types 1 u32, 2 struct bpf_spin_lock, 3 u8, 4 and 5 padding arrays, 6 the value."""
    strings = bytearray(b"\0")

    def name(text: str) -> int:
        at = len(strings)
        strings.extend(text.encode() + b"\0")
        return at

    pad, rest = offset, value_size - offset - 4
    types = struct.pack("<4I", name("u32"), 1 << 24, 4, 32)
    types += struct.pack("<3I", name("bpf_spin_lock"), 4 << 24 | 1, 4)
    types += struct.pack("<3I", name("val"), 1, 0)
    types += struct.pack("<4I", name("u8"), 1 << 24, 1, 8)
    for count in (pad, rest):
        types += struct.pack("<3I3I", 0, 3 << 24, 0, 3, 1, count)
    members = [("before", 4, 0)] if pad else []
    members.append(("lock", 2, offset))
    members += [("after", 5, offset + 4)] if rest else []
    types += struct.pack("<3I", name("locked"), 4 << 24 | len(members), value_size)
    for label, kind, at in members:
        types += struct.pack("<3I", name(label), kind, at * 8)
    header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings))
    return header + types + bytes(strings)


def load_btf(blob: bytes) -> int:
    """A descriptor for a BTF blob; the caller closes it."""
    data = _buffer(blob)
    log = ctypes.create_string_buffer(65536)
    layout, fields = "<QQIII", (_address(data), _address(log), len(blob), len(log), 1)
    attr = ctypes.create_string_buffer(struct.pack(layout, *fields), struct.calcsize(layout))
    fd = _bpf(_BTF_LOAD, attr)
    if fd < 0:
        raise KernelError(-fd, "btf load", log.value.decode(errors="replace"))
    return fd


@dataclass(frozen=True)
class KernelRun:
    """What ``BPF_PROG_TEST_RUN`` gave back.

    ``data_out`` starts with ``meta_len`` bytes of metadata; ``duration_ns`` is the mean per run.
    """

    retval: int
    data_out: bytes
    ctx_out: tuple[int, int, int, int, int, int]
    duration_ns: int

    @property
    def meta_len(self) -> int:
        """Bytes of metadata in front of the packet."""
        return self.ctx_out[0]

    @property
    def meta(self) -> bytes:
        """The metadata, ``data_meta`` to ``data``."""
        return self.data_out[: self.meta_len]

    @property
    def packet(self) -> bytes:
        """The packet, from ``data``, frags included."""
        return self.data_out[self.meta_len :]


class KernelProgram(_Descriptor):
    """A loaded program.  ``log`` keeps the verifier's log when ``log_level`` was not 0."""

    def __init__(self, fd: int, log: str) -> None:
        super().__init__(fd)
        self.log = log

    @classmethod
    def load(
        cls,
        insns: bytes,
        type: str = "xdp",
        license: str = "GPL",
        maps: Mapping[int, KernelMap] | None = None,
        prog_flags: int = 0,
        log_level: int = 1,
        expected_attach_type: int = 0,
        name: str = "",
        ifindex: int = 0,
    ) -> KernelProgram:
        """Verify and load; KernelError with errno and log when refused.

        ``maps`` gives for every number in the immediates of ld_imm64 (src 1, 2) the kernel map.
        ``log_level`` 0 loads without a log; 1 and 2 are the verifier's levels, 4 statistics.  A
        log larger than 1 MiB is cut and never fails the load by itself.  ``ifindex`` is the device
        of a program that is bound to one (with BPF_F_XDP_DEV_BOUND_ONLY in ``prog_flags``).
        """
        code = _relocate(insns, maps or {})
        starts, callbacks = _subprograms(code)
        starts = [at for at in starts if 0 <= at < len(code) // 8]  # the kernel refuses the others
        wanted = callbacks or (len(starts) > 1 and _TAIL_CALL in code)
        btf_fd = load_btf(_minimal_btf(len(starts))) if wanted else 0
        try:
            info = b"".join(struct.pack("<II", at, 3 + i) for i, at in enumerate(starts))
            return cls._load(
                code, PROG_TYPES[type], license, prog_flags, log_level,
                expected_attach_type, name, ifindex, btf_fd, info if btf_fd else b"",
            )  # fmt: skip
        finally:
            if btf_fd:
                os.close(btf_fd)

    @classmethod
    def _load(
        cls, code: bytes, kind: int, licence: str, flags: int, log_level: int,
        attach_type: int, name: str, ifindex: int, btf_fd: int, info: bytes,
    ) -> KernelProgram:  # fmt: skip
        held = [_buffer(code), _buffer(licence.encode() + b"\0"), _buffer(info)]
        log = ctypes.create_string_buffer(_LOG_SIZE) if log_level else None
        layout = "<IIQQIIQII16sIIIIQI"
        while True:
            packed = struct.pack(
                layout,
                kind, len(code) // 8, _address(held[0]), _address(held[1]),
                log_level, len(log) if log else 0, _address(log),
                0, flags, name.encode()[:15], ifindex, attach_type,
                btf_fd, 8 if info else 0, _address(held[2]) if info else 0, len(info) // 8,
            )  # fmt: skip
            attr = ctypes.create_string_buffer(packed, len(packed))
            fd = _bpf(_PROG_LOAD, attr)
            text = log.value.decode(errors="replace") if log else ""
            if fd >= 0:
                return cls(fd, text)
            if fd == -errno.ENOSPC and log is not None:
                # The log did not fit.  The verdict is what matters: ask again without it.
                log, log_level = None, 0
                continue
            raise KernelError(-fd, "program load", text)

    def test_run(
        self,
        data: bytes,
        meta: bytes = b"",
        ctx_in: bytes | None = None,
        repeat: int = 1,
        ingress_ifindex: int = 1,
        rx_queue: int = 0,
        cpu: int | None = 0,
        out_size: int | None = None,
    ) -> KernelRun:
        """Run over one packet; KernelError keeps EINVAL (too short), ENOSPC, ENODEV.

        ``ctx_in`` replaces the context that is made from ``meta``, ``ingress_ifindex`` and
        ``rx_queue``; ``b""`` passes none (``ctx_out`` is then all zero).  The thread is on
        ``cpu`` during the run.
        """
        whole = meta + data
        if ctx_in is None:
            ctx_in = _XDP_MD.pack(len(meta), len(whole), 0, ingress_ifindex, rx_queue, 0)
        source = _buffer(whole)
        # Growth at the tail is limited by one page for the linear part and one for the last frag.
        size = len(whole) + 8192 if out_size is None else out_size
        out = ctypes.create_string_buffer(max(size, 1))
        context_in, context_out = _buffer(ctx_in), ctypes.create_string_buffer(_XDP_MD.size)
        layout = "<IIIIQQIIIIQQIII"
        packed = struct.pack(
            layout,
            self.fd, 0, len(whole), size, _address(source), _address(out),
            repeat, 0, len(ctx_in), _XDP_MD.size if ctx_in else 0,
            _address(context_in) if ctx_in else 0, _address(context_out) if ctx_in else 0,
            0, 0, 0,
        )  # fmt: skip
        attr = ctypes.create_string_buffer(packed, len(packed))
        with pinned(cpu):
            result = _bpf(_PROG_TEST_RUN, attr)
        if result < 0:
            raise KernelError(-result, f"test run of {len(whole)} bytes")
        fields = struct.unpack(layout, attr.raw)
        md = _XDP_MD.unpack(context_out.raw)
        return KernelRun(fields[1], out.raw[: fields[3]], md, fields[7])

    @property
    def id(self) -> int:
        """The kernel's number of the program."""
        return _object_info(self.fd, 32)[1]


def _object_info(fd: int, size: int) -> tuple[int, ...]:
    """The first ``size`` bytes of BPF_OBJ_GET_INFO_BY_FD, as 32-bit numbers."""
    info = ctypes.create_string_buffer(size)
    _call("object info", _OBJ_INFO, "<IIQ", fd, size, ctypes.addressof(info))
    return struct.unpack(f"<{size // 4}I", info.raw)


@dataclass(frozen=True)
class KernelLinkInfo:
    """``struct bpf_link_info``: ``ifindex`` is 0 once the link has lost its device."""

    type: int
    id: int
    prog_id: int
    ifindex: int


class KernelLink(_Descriptor):
    """An XDP link.  Closing the last descriptor detaches it."""

    def __init__(
        self, program: KernelProgram, ifindex: int, attach_type: int = BPF_XDP, flags: int = 0
    ) -> None:
        """BPF_LINK_CREATE; KernelError keeps EINVAL, EBUSY, ENODEV."""
        fields = (program.fd, ifindex, attach_type, flags, 0, 0, 0, 0)
        super().__init__(_call("link create", _LINK_CREATE, "<8I", *fields))

    def update(
        self, new: int | KernelProgram, old: int | KernelProgram = 0, flags: int | None = None
    ) -> None:
        """BPF_LINK_UPDATE; programs may be bare descriptors.  flags None: BPF_F_REPLACE with ``old``."""
        numbers = [p.fd if isinstance(p, KernelProgram) else p for p in (new, old)]
        if flags is None:
            flags = BPF_F_REPLACE if old else 0
        _call("link update", _LINK_UPDATE, "<4I", self.fd, numbers[0], flags, numbers[1])

    def detach(self) -> None:
        """BPF_LINK_DETACH; the descriptor stays."""
        _call("link detach", _LINK_DETACH, "<I", self.fd)

    @property
    def info(self) -> KernelLinkInfo:
        """BPF_OBJ_GET_INFO_BY_FD."""
        kind, number, program, _, ifindex = _object_info(self.fd, 20)
        return KernelLinkInfo(kind, number, program, ifindex)


def enter_network_namespace() -> None:
    """Moves the calling thread into a network namespace of its own; OSError when not permitted."""
    if _libc.unshare(_CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, f"unshare(CLONE_NEWNET): {os.strerror(number)}")
