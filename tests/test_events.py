"""Perf event arrays: bpf_perf_event_output in verifier and every engine against Linux."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import kernel
import pytest

import pktfilter as pf
from pktfilter import Map, MapSpec

IN_KERNEL = kernel.requires_kernel()
ENGINES = pytest.mark.parametrize("engine", ["checked", "interp", "jit"])
OUTPUT, LOOKUP, UPDATE = 25, 1, 2
CURRENT_CPU = 0xFFFFFFFF
PACKET = bytes(range(100))


def insn(code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    return struct.pack("<BBhi", code, dst | src << 4, off, imm)


def wide(dst: int, value: int, src: int = 0) -> bytes:
    low, high = struct.unpack("<ii", struct.pack("<Q", value))
    return insn(0x18, dst, src, 0, low) + insn(0, imm=high)


EXIT = insn(0xB7, 0) + insn(0x95)
#: 16 bytes of the stack are filled, r6 is the ctx.
HEAD = (
    insn(0xBF, 6, 1)
    + wide(1, 0x1122334455667788)
    + insn(0x7B, 10, 1, -8)
    + insn(0x7B, 10, 1, -16)
    + insn(0x62, 10, 0, -16, 7)
)


def call(
    flags: int, size: bytes = b"", data: bytes = b"", *, helper: int = OUTPUT, ctx: int = 6
) -> bytes:
    """bpf_perf_event_output of the last 16 bytes of the stack, unless another size or data is set."""
    return (
        insn(0xBF, 1, ctx)
        + wide(2, 1, 1)
        + wide(3, flags)
        + (data or insn(0xBF, 4, 10) + insn(0x07, 4, imm=-16))
        + (size or insn(0xB7, 5, imm=16))
        + insn(0x85, imm=helper)
    )


def sends(flags: int, size: int = 16) -> bytes:
    return HEAD + call(flags, insn(0xB7, 5, imm=size)) + insn(0x95)


def perf_array(entries: int = 0) -> Map:
    return Map(MapSpec("perf_event_array", 4, 4, entries, name="events"), cpus=4)


def signed(value: int) -> int:
    return value - (1 << 32) if value >> 31 else value


class PerfBuffer:
    """A reader of one slot: perf_event_open(2), and the ring it maps."""

    PAGES = 8

    def __init__(self, cpu: int) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        # software (1), size, BPF_OUTPUT (10), sample_period 1, PERF_SAMPLE_RAW, ..., wakeup_events 1
        attr = struct.pack("<IIQQQQQII64x", 1, 120, 10, 1, 1 << 10, 0, 0, 1, 0)
        raw = ctypes.create_string_buffer(attr, 120)
        self.fd = int(libc.syscall(298, raw, -1, cpu, -1, 8))
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "perf_event_open")
        self.ring = mmap.mmap(self.fd, (1 + self.PAGES) * mmap.PAGESIZE)
        assert libc.ioctl(self.fd, 0x2400, 0) == 0  # PERF_EVENT_IOC_ENABLE

    def samples(self) -> list[bytes]:
        """The raw bytes of the samples since the last call (padded by the kernel)."""
        head, tail = struct.unpack_from("<QQ", self.ring, 1024)
        size = self.PAGES * mmap.PAGESIZE
        ring = self.ring[mmap.PAGESIZE : mmap.PAGESIZE + size]
        found = []
        while tail < head:
            at = tail % size
            kind, _, length = struct.unpack("<IHH", ring[at : at + 8])
            record = (ring + ring)[at + 8 : at + length]
            assert kind == 9, "a sample, nothing lost"
            found.append(record[4 : 4 + struct.unpack_from("<I", record)[0]])
            tail += length
        struct.pack_into("<Q", self.ring, 1032, tail)
        return found

    def close(self) -> None:
        self.ring.close()
        os.close(self.fd)


@contextmanager
def listening(entries: int) -> Iterator[tuple[kernel.KernelMap, PerfBuffer]]:
    """A kernel's perf event array of which slot 0 is read, on CPU 0."""
    with kernel.pinned(0), kernel.KernelMap("perf_event_array", 4, 4, entries) as theirs:
        reader = PerfBuffer(0)
        try:
            theirs.update(struct.pack("<I", 0), struct.pack("<I", reader.fd))
            yield theirs, reader
        finally:
            reader.close()


FLAGS = [
    0,
    1,
    2,
    3,
    CURRENT_CPU,
    CURRENT_CPU | 1 << 32,
    CURRENT_CPU | 60 << 32,
    CURRENT_CPU | 100 << 32,
    CURRENT_CPU | 101 << 32,
    CURRENT_CPU | 0xFFFFF << 32,
    CURRENT_CPU | 1 << 52,
    1 << 63,
    5 | 200 << 32,
    5 | 1 << 60,
]


@IN_KERNEL
@ENGINES
@pytest.mark.parametrize("size", [0, 1, 5, 16])
def test_what_is_sent_and_returned_is_the_kernels(engine: str, size: int) -> None:
    with listening(1) as (theirs, reader):
        for flags in FLAGS:
            code = sends(flags, size)
            with kernel.KernelProgram.load(code, maps={1: theirs}) as program:
                want = program.test_run(PACKET)
            mine = pf.Program.from_bytes(code, maps={1: perf_array(1)})
            got = mine.test_run(PACKET, engine=engine, cpu=0)
            assert signed(got.retval) == signed(want.retval), hex(flags)
            samples = reader.samples()
            assert len(got.events) == len(samples), hex(flags)
            for event, sample in zip(got.events, samples, strict=True):
                sent = event.data + event.packet
                assert sample[: len(sent)] == sent
                assert len(sample) == (len(sent) + 4 + 7) // 8 * 8 - 4


@IN_KERNEL
@ENGINES
def test_a_long_packet_is_appended_as_by_the_kernel(engine: str) -> None:
    packet = bytes(i * 7 & 0xFF for i in range(5000))
    code = sends(CURRENT_CPU | 4999 << 32)
    with listening(1) as (theirs, reader):
        with kernel.KernelProgram.load(code, maps={1: theirs}) as program:
            assert program.test_run(packet).retval == 0
        (sample,) = reader.samples()
    (event,) = (
        pf.Program.from_bytes(code, maps={1: perf_array()}).test_run(packet, engine=engine).events
    )
    assert event.packet == packet[:4999]
    assert sample[: 16 + 4999] == event.data + event.packet


@IN_KERNEL
@ENGINES
def test_where_nobody_listens_the_answer_is_the_kernels(engine: str) -> None:
    with kernel.pinned(0), kernel.KernelMap("perf_event_array", 4, 4, 2) as theirs:
        for flags in FLAGS:
            code = sends(flags)
            with kernel.KernelProgram.load(code, maps={1: theirs}) as program:
                want = program.test_run(PACKET).retval
            mine = pf.Program.from_bytes(code, maps={1: perf_array(2)})
            got = mine.test_run(PACKET, engine=engine, events=0)
            assert signed(got.retval) == signed(want), hex(flags)
            assert got.events == []


PROGRAMS = {
    "sent": HEAD + call(0) + EXIT,
    "size zero": HEAD + call(0, insn(0xB7, 5)) + EXIT,
    "size unknown": HEAD + call(0, insn(0x61, 5, 6, 16)) + EXIT,
    "size masked": HEAD + call(0, insn(0x61, 5, 6, 16) + insn(0x57, 5, imm=15)) + EXIT,
    "size masked too far": HEAD + call(0, insn(0x61, 5, 6, 16) + insn(0x57, 5, imm=31)) + EXIT,
    "size negative": HEAD + call(0, insn(0xB7, 5, imm=-1)) + EXIT,
    "too many bytes": HEAD + call(0, insn(0xB7, 5, imm=17)) + EXIT,
    "null data": HEAD + call(0, insn(0xB7, 5), insn(0xB7, 4)) + EXIT,
    "ctx as data": HEAD + call(0, b"", insn(0xBF, 4, 6)) + EXIT,
    "packet as data": HEAD
    + insn(0x61, 7, 6, 0)
    + insn(0x61, 8, 6, 4)
    + insn(0xBF, 2, 7)
    + insn(0x07, 2, imm=16)
    + insn(0x2D, 2, 8, 11)
    + call(0, b"", insn(0xBF, 4, 7) + insn(0xBF, 4, 4))
    + EXIT
    + EXIT,
    "stack for ctx": HEAD + call(0, ctx=10) + EXIT,
    "unread flags": HEAD + call(0).replace(wide(3, 0), insn(0xBF, 3, 10) * 2) + EXIT,
    "lookup": HEAD
    + wide(1, 1, 1)
    + insn(0xBF, 2, 10)
    + insn(0x07, 2, imm=-16)
    + insn(0x85, imm=LOOKUP)
    + EXIT,
    "update": HEAD
    + wide(1, 1, 1)
    + insn(0xBF, 2, 10)
    + insn(0x07, 2, imm=-16)
    + insn(0xBF, 3, 2)
    + insn(0xB7, 4)
    + insn(0x85, imm=UPDATE)
    + EXIT,
}


def accepted_by_kernel(code: bytes, kind: str) -> bool:
    with kernel.KernelMap(kind, 4, 4, 2) as theirs:
        try:
            kernel.KernelProgram.load(code, maps={1: theirs}).close()
        except kernel.KernelError as error:
            assert error.errno in (errno.EACCES, errno.EINVAL)
            return False
    return True


@IN_KERNEL
@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("kind", ["perf_event_array", "array"])
def test_the_verdict_is_the_kernels(name: str, kind: str) -> None:
    result = pf.verify(PROGRAMS[name], maps={1: MapSpec(kind, 4, 4, 2)})
    assert result.ok == accepted_by_kernel(PROGRAMS[name], kind), result.log


@ENGINES
def test_events_carry_where_they_come_from(engine: str) -> None:
    program = pf.Program.from_bytes(sends(CURRENT_CPU | 20 << 32), maps={1: perf_array()})
    run = program.test_run(PACKET, repeat=3, cpu=2, time_ns=99, engine=engine)
    data = struct.pack("<IIQ", 7, 0x11223344, 0x1122334455667788)
    assert run.events == [pf.Event("events", 2, i, 99, data, PACKET[:20]) for i in range(3)]


@ENGINES
def test_what_finds_no_room_is_counted(engine: str) -> None:
    program = pf.Program.from_bytes(sends(CURRENT_CPU | 100 << 32), maps={1: perf_array()})
    run = program.test_run(PACKET, repeat=50, engine=engine, events=1000)
    assert 0 < len(run.events) < 50
    assert len(run.events) + run.events_lost == 50
    assert [event.index for event in run.events] == list(range(len(run.events)))
    assert signed(run.retval) == -errno.ENOSPC


def test_an_array_without_a_size_has_a_slot_for_every_cpu() -> None:
    assert perf_array().max_entries == 4
    assert perf_array(2).max_entries == 2


def test_users_cannot_fill_slots() -> None:
    events = perf_array(2)
    assert len(events) == 0 and list(events.items()) == []
    for use in (lambda: events.update(0, 1), lambda: events.lookup(0)):
        with pytest.raises(pf.MapError) as caught:
            use()
        assert caught.value.errno == errno.EOPNOTSUPP


def test_a_buffer_of_a_wrong_size_is_refused() -> None:
    program = pf.Program.from_bytes(sends(0), maps={1: perf_array()})
    with pytest.raises(pf.InputError, match="buffer for events"):
        program.test_run(PACKET, events=-1)
