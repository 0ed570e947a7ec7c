"""Dynptrs: verdicts, results and bytes beside the kernel's, in every engine."""

from __future__ import annotations

import kernel
import kernel_kfuncs
import pytest
from dynptr_cases import (
    CASES,
    CHECK,
    RETURN,
    UNSAFE,
    VALUE_SIZE,
    WORD,
    address,
    code,
    data,
    from_mem,
    from_xdp,
    move,
    part,
    read,
    value,
    write,
)

import pktfilter as pf
from pktfilter.handles.maps import Map
from pktfilter.objects import MapSpec

ENGINES = ("checked", "interp", "jit")
PACKET = bytes(range(60))
VALUE = bytes(range(100, 100 + VALUE_SIZE))


def array() -> Map:
    made = Map(MapSpec("array", 4, VALUE_SIZE, 1, name="values"))
    made[bytes(4)] = VALUE
    return made


def program(insns: bytes, values: Map | None = None, verify: bool = True) -> pf.Program:
    return pf.Program.from_bytes(insns, maps={1: values or array()}, frags=True, verify=verify)


def by_kernel(insns: bytes, values: kernel.KernelMap) -> kernel.KernelProgram:
    resolved = kernel_kfuncs.resolved(insns)
    return kernel.KernelProgram.load(
        resolved, maps={1: values}, prog_flags=kernel.BPF_F_XDP_HAS_FRAGS
    )


@pytest.mark.parametrize("name", CASES)
@kernel.requires_kernel()
def test_verdict_and_results_are_the_kernel_s(name: str) -> None:
    insns = code(CASES[name])
    with kernel.KernelMap("array", 4, VALUE_SIZE, 1) as values:
        values.update(bytes(4), VALUE)
        try:
            theirs = by_kernel(insns, values)
        except kernel.KernelError:
            with pytest.raises(pf.VerifierError):
                program(insns)
            return
        with theirs:
            expected = theirs.test_run(PACKET)
        left = values.lookup(bytes(4))
    for engine in ENGINES:
        mine = array()
        run = program(insns, mine).test_run(PACKET, engine=engine)
        assert (run.retval, run.data) == (expected.retval, expected.packet), engine
        assert mine[bytes(4)] == left, engine


@pytest.mark.parametrize("name", UNSAFE)
@kernel.requires_kernel()
def test_what_linux_lets_a_program_do_to_its_own_stack_is_refused(name: str) -> None:
    insns = code(UNSAFE[name])
    with kernel.KernelMap("array", 4, VALUE_SIZE, 1) as values:
        by_kernel(insns, values).close()
    with pytest.raises(pf.VerifierError):
        program(insns)


LINEAR, PIECE = kernel.MAX_LINEAR, 4096
EDGES = (LINEAR, LINEAR + PIECE)
SIZES = (14, 60, 1500, *(edge + more for edge in EDGES for more in (-1, 0, 1, 9)), 9000)
#: Where the kernel's results are compared: around the edges of the parts of a packet.
RANGES = [
    (off, size)
    for size in (1, 8, 32)
    for off in (0, 52, 60, *(edge + more for edge in EDGES for more in (-32, -8, -1, 0, 1)), 8992)
]


def touching(off: int, size: int, rdwr: bool) -> bytes:
    """Says what the slice begins with, and whether it is the buffer; writes to it, and what a read gives to the map."""
    kept = "".join(f"*(u64 *)(r10 {at}) = 0x5a\n" for at in range(-64, -31, 8))
    text = from_xdp() + kept + part(off, size, -64, rdwr) + CHECK
    text += (
        address("r1", -64)
        + "r7 = 0\nif r0 != r1 goto packet\nr7 = 256\npacket: r1 = *(u8 *)(r0 +0)\nr7 += r1\n"
    )
    text += "*(u8 *)(r0 +0) = 0xee\n" if rdwr else ""
    text += read(off, size, -64) + "r8 = r0\n"
    text += "r1 = *(u8 *)(r10 -64)\nr1 += 1\n*(u8 *)(r10 -64) = r1\n"
    text += write(off, size, -64) + "r0 += r8\nr0 += r7\nexit\n"
    return code(text)


@pytest.mark.parametrize("rdwr", [False, True])
@kernel.requires_kernel()
def test_packets_of_several_parts(rdwr: bool) -> None:
    packets = [bytes(n * 7 & 255 for n in range(size)) for size in SIZES]
    buffered = 0
    with kernel.KernelMap("array", 4, VALUE_SIZE, 1) as values:
        for off, size in RANGES:
            insns = touching(off, size, rdwr)
            mine = program(insns)
            with by_kernel(insns, values) as theirs:
                for packet in packets:
                    expected = theirs.test_run(packet)
                    buffered += expected.retval >= 256
                    for engine in ENGINES:
                        run = mine.test_run(packet, engine=engine)
                        where = (off, size, len(packet), engine)
                        assert run.retval == expected.retval, where
                        assert run.data == expected.packet, where
    assert buffered >= 20


@pytest.mark.parametrize("by", [-40, -4, 4, 200])
@pytest.mark.parametrize("edge", ["head", "tail"])
@kernel.requires_kernel()
def test_a_dynptr_of_a_packet_that_changes(edge: str, by: int) -> None:
    """It keeps its length, and says of what is there then."""
    for size in (60, 1500, 4000):
        for off in (0, 16, 50, size - 30, size - 8):
            body = from_xdp() + move(edge, by) + WORD + part(off) + CHECK + "r7 = *(u8 *)(r0 +1)\n"
            body += read(off, to=-48) + "r7 += r0\n" + write(off) + "r0 += r7\n" + RETURN
            insns = code(body)
            packet = bytes(n * 7 & 255 for n in range(size))
            with (
                kernel.KernelMap("array", 4, VALUE_SIZE, 1) as values,
                by_kernel(insns, values) as theirs,
            ):
                expected = theirs.test_run(packet)
            for engine in ENGINES:
                run = program(insns).test_run(packet, engine=engine)
                assert (run.retval, run.data) == (expected.retval, expected.packet), (
                    size,
                    off,
                    engine,
                )


# ---- runs of programs that nobody verified ----


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("r1 = 4096\nr2 = 0\nr3 = 0\nr4 = 8\ncall bpf_dynptr_slice\n", "argument 1"),
        ("r1 = r6\nr2 = 0\nr3 = 0\nr4 = 8\ncall bpf_dynptr_slice\n", "argument 1"),
        (from_xdp() + "*(u32 *)(r10 -8) = 0x10000008\n*(u64 *)(r10 -16) = 64\n" + part(), "argument 1"),
        (from_xdp() + "*(u32 *)(r10 -8) = 0x20000008\n" + part(), "argument 1"),
        (from_mem() + "*(u32 *)(r10 -16) = 0x100000ff\n" + data(), "argument 1"),
        (from_mem() + "*(u32 *)(r10 -12) = 60\n" + read(of=-24), "argument 3"),
        (from_mem() + "*(u32 *)(r10 -12) = 60\n" + WORD + write(of=-24), "argument 1"),
        ("r1 = r6\nr2 = 0\nr3 = 4096\ncall bpf_dynptr_from_xdp\n", "argument 3"),
        ("r1 = r6\nr2 = 0\n" + address("r3", -12) + "call bpf_dynptr_from_xdp\n", "argument 3"),
        (value() + "r1 = r6\nr2 = 0\nr3 = r7\ncall bpf_dynptr_from_xdp\n", "argument 3"),
        (from_xdp() + address("r1", -16) + "r2 = 0\nr3 = 4096\nr4 = 8\ncall bpf_dynptr_slice\n", "argument 3"),
        (from_xdp() + part(size=64, buffer=-40), "argument 3"),
        (from_xdp() + part(52) + "r0 = *(u64 *)(r0 +4)\n", "load"),
        (from_mem() + data(56) + "*(u64 *)(r0 +8) = 1\n", "store"),
    ],
)  # fmt: skip
def test_the_checked_interpreter_believes_no_dynptr(body: str, what: str) -> None:
    with pytest.raises(pf.ExecutionFault, match=what):
        program(code(body), verify=False).test_run(PACKET, engine="checked")


def test_extra_bytes_are_open_to_a_run_with_a_slice_there_and_to_no_other() -> None:
    packet = bytes(n * 7 & 255 for n in range(LINEAR + 100))
    reach = "r7 = *(u32 *)(r6 +4)\n"
    slice_there = from_xdp() + reach + part(LINEAR, 8, 0) + CHECK
    looked = slice_there + "r0 = *(u8 *)(r0 +0)\n" + RETURN
    mine = program(code(looked))
    for engine in ENGINES:
        assert mine.test_run(packet, engine=engine, repeat=3).retval == packet[LINEAR]
    without = code(reach + "r0 = *(u8 *)(r7 +0)\n" + RETURN)
    with pytest.raises(pf.ExecutionFault, match="load"):
        program(without, verify=False).test_run(packet, engine="checked")
