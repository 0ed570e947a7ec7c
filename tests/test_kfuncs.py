"""Kernel functions: found by name, checked as helpers are, and the same in every engine."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

import pktfilter as pf
from pktfilter.assembler import assemble

OBJECT = Path(__file__).parent / "objects" / "kfuncs.o"
ENODATA, EOPNOTSUPP = 61, 95
TIME = 1_700_000_000_123_456_789
PACKET = bytes(60)


def code(text: str) -> bytes:
    (made,) = assemble(text, "k.s")
    return made.insns


@pytest.mark.parametrize("engine", ["checked", "interp", "jit"])
@pytest.mark.parametrize("time_ns", [TIME, 0])
def test_what_a_capture_knows_of_the_device(engine: str, time_ns: int) -> None:
    if engine == "jit":
        pytest.importorskip("llvmlite", reason="the compiled tier needs llvmlite")
    loaded = pf.load(OBJECT)
    run = loaded.programs["metadata"].test_run(PACKET, time_ns=time_ns, engine=engine)
    assert run.retval == pf.XDP.PASS
    (name,) = [name for name in loaded.maps if name.endswith(".bss")]
    timestamp, *rest = struct.unpack("<QqqqIIHHI", loaded.maps[name][bytes(4)])
    expected = (TIME, 0) if time_ns else (0, -ENODATA)
    assert (timestamp, rest[0]) == expected
    assert rest[1:] == [-EOPNOTSUPP, -EOPNOTSUPP, 1, 2, 3, 4, 5]


def test_replay_gives_each_packet_its_time(tmp_path: Path) -> None:
    head = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1)
    record = struct.pack("<IIII", TIME // 10**9, TIME % 10**9, 60, 60) + PACKET
    (tmp_path / "one.pcap").write_bytes(head + record)
    loaded = pf.load(OBJECT)
    hook = pf.Hook()
    hook.attach(loaded.programs["metadata"])
    assert pf.replay(tmp_path / "one.pcap", hook).packets == 1
    (name,) = [name for name in loaded.maps if name.endswith(".bss")]
    assert struct.unpack_from("<Q", loaded.maps[name][bytes(4)])[0] == TIME


@pytest.mark.parametrize("engine", ["checked", "interp", "jit"])
def test_every_packet_of_a_batch_has_its_own_time(tmp_path: Path, engine: str) -> None:
    """The compiled loop sets up of a packet only what its program asks for."""
    if engine == "jit":
        pytest.importorskip("llvmlite", reason="the compiled tier needs llvmlite")
    text = """
      r6 = r1
      r2 = r10
      r2 += -8
      call kernel-function#256
      r0 = 2
      r1 = *(u32 *)(r6 +0)
      r2 = *(u32 *)(r6 +4)
      r3 = r1
      r3 += 8
      if r3 > r2 goto out
      r2 = *(u64 *)(r10 -8)
      *(u64 *)(r1 +0) = r2
    out:
      exit
    """
    times = [TIME + 1000 * n for n in range(70)]
    capture = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1)
    for time in times:
        capture += struct.pack("<IIII", time // 10**9, time % 10**9, 60, 60) + PACKET
    (tmp_path / "in.pcap").write_bytes(capture)
    hook = pf.Hook()
    hook.attach(pf.Program.from_bytes(code(text)))
    pf.replay(tmp_path / "in.pcap", hook, write=tmp_path / "out.pcap", engine=engine, batch=32)
    written = (tmp_path / "out.pcap").read_bytes()[24:]
    assert [struct.unpack_from("<Q", written, 76 * n + 16)[0] for n in range(70)] == times


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("r1 = 0\nr2 = r10\nr2 += -8\ncall kernel-function#256\nexit", "the ctx"),
        ("r2 = 0\ncall kernel-function#256\nexit", "pointer to memory"),
        ("r2 = r10\nr2 += -4\ncall kernel-function#256\nexit", "stack"),
        ("r2 = r10\nr2 += -4\nr3 = r10\nr3 += -2\ncall kernel-function#257\nexit", "stack"),
        ("r2 = *(u32 *)(r1 +0)\ncall kernel-function#256\nexit", "packet"),
        ("call kernel-function#7\nexit", "kernel function #7"),
        ("call kernel-function#9999\nexit", "kernel function #9999"),
        ("call unknown#256\nexit", "256"),
    ],
)
def test_refused(text: str, words: str) -> None:
    with pytest.raises(pf.PktfilterError) as caught:
        pf.Program.from_bytes(code(text))
    diagnostics = getattr(caught.value, "diagnostics", ())
    told = str(caught.value) + "".join(f"{d.message} {d.help}" for d in diagnostics)
    assert words in told


def test_the_call_writes_its_memory_and_no_more() -> None:
    """The verifier knows nothing of the bytes afterwards, and still all of those beside them."""
    text = """
      *(u64 *)(r10 -8) = 7
      *(u64 *)(r10 -16) = 7
      r2 = r10
      r2 += -8
      call kernel-function#256
      r0 = *(u64 *)(r10 -8)
      r1 = *(u64 *)(r10 -16)
      if r1 == 7 goto out
      r0 = *(u64 *)(r1 +0)
    out:
      exit
    """
    made = pf.Program.from_bytes(code(text))
    for engine in ("checked", "interp", "jit"):
        assert made.test_run(PACKET, time_ns=5, engine=engine).retval == 5


def test_the_checked_interpreter_looks_at_the_memory() -> None:
    text = "r2 = 64\ncall kernel-function#256\nexit"
    made = pf.Program.from_bytes(code(text), verify=False)
    with pytest.raises(pf.ExecutionFault, match="argument 2"):
        made.test_run(PACKET, engine="checked")


def test_memory_programs_have_no_device() -> None:
    with pytest.raises(pf.PktfilterError, match="xdp_metadata_rx_timestamp"):
        pf.Program.from_bytes(code("call kernel-function#256\nexit"), type="memory")
