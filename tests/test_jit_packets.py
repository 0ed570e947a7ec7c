"""The loop over the packets (pf_packets) and the verifier's corpus, compiled, against the interpreter."""

from __future__ import annotations

import struct
from functools import lru_cache
from pathlib import Path

import compiled
import packets
import pytest
import verifier_corpus
from test_jit_translate import FACTS, OBJECTS, contents

import pktfilter as pf
from pktfilter.assembler import assemble
from pktfilter.handles.program import Program

pytest.importorskip("llvmlite", reason="the compiled tier needs llvmlite")

PIECE = 20
# Addresses are their results or their output, and no two engines keep a frame or a packet at the same place.
SHOW_ADDRESSES = {
    "helper_arguments/redirect_arg1_anything_pointer",
    "packet/write_pointer_into_packet",
    "structure/return_pointer",
}


def write_capture(path: Path, frames: list[bytes], first: int) -> None:
    """A nanosecond pcap whose clock goes back now and then, and which was cut at places."""
    with path.open("wb") as f:
        f.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1))
        for index, frame in enumerate(frames, first):
            when = 10**18 + index * 10**6 * (1 if index % 7 else -3)
            seconds, rest = divmod(when, 10**9)
            f.write(struct.pack("<IIII", seconds, rest, len(frame), len(frame) + index % 3 * 10))
            f.write(frame)


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("captures")
    frames = packets.varied(5 * PIECE)
    out = []
    for first in range(0, len(frames), PIECE):
        out.append(folder / f"{first}.pcap")
        write_capture(out[-1], frames[first : first + PIECE], first)
    return out


@FACTS
@pytest.mark.parametrize("path", OBJECTS, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_feeds(path: Path, facts: bool, captures: list[Path]) -> None:
    """Return values by their counts in captures of few packets, and all that the maps hold after."""
    try:
        reference, native = pf.load(path), pf.load(path)
    except pf.VerifierError as error:
        pytest.skip(f"the verifier refuses it: {error.message}")
    for program in native.programs.values():
        compiled.stage(program, facts=facts)
    for name in reference.programs:
        hooks = pf.Hook("reference"), pf.Hook("native")
        hooks[0].attach(reference.programs[name])
        hooks[1].attach(native.programs[name])
        for index, capture in enumerate(captures):
            linear = ("kernel", "full")[index % 2]
            expected = pf.replay(capture, hooks[0], engine="interp", seed=3, linear=linear)
            found = pf.replay(capture, hooks[1], engine="jit", seed=3, linear=linear)
            assert found.engine_packets["jit"] == PIECE
            assert found.actions == expected.actions, (name, capture.name)
        assert contents(native) == contents(reference)


@lru_cache
def cases() -> list[verifier_corpus.Entry]:
    return [e for e in verifier_corpus.cases() if e.expected == "accept" and not e.needs]


def make(entry: verifier_corpus.Entry) -> Program:
    maps = {number: pf.Map(spec) for number, spec in entry.maps.items()}
    return Program(entry.insns, type=entry.type, name="case", maps=maps)


@FACTS
@pytest.mark.parametrize("topic", sorted({e.name.partition("/")[0] for e in cases()}))
def test_accepted_cases_compile_and_agree(topic: str, facts: bool) -> None:
    frames = [packets.varied(30)[i] for i in (0, 3, 12, 25)] + [bytes(64)]
    ran = 0
    for entry in cases():
        if entry.name.partition("/")[0] != topic or entry.name in SHOW_ADDRESSES:
            continue
        try:
            reference, native = make(entry), make(entry)
        except pf.PktfilterError:
            continue  # bare bytecode lacks what the case's object knows
        try:
            compiled.stage(native, facts=facts)
        except pf.ProgramError as error:
            assert "too many conditional jumps" in str(error), entry.name
            continue
        ran += 1
        if entry.type == "memory":
            one, other = bytearray(range(200)), bytearray(range(200))
            expected = compiled.run_memory(reference, one, "interp")
            assert compiled.run_memory(native, other) == expected, entry.name
            assert one == other, entry.name
        else:
            for frame in frames:
                expected_run = compiled.run(reference, frame, "interp")
                assert compiled.run(native, frame, "jit") == expected_run, entry.name
    assert ran


@pytest.mark.parametrize("facts", [True, False], ids=["facts", "no-facts"])
@pytest.mark.parametrize(
    "text",
    [
        # Without BRANCHES_ALL, LLVM gives up on the first, which takes the process along.
        "r0 = *(u32 *)(r1 +16)\nr2 = *(u32 *)(r1 +12)\n"
        + "if r0 & r2 goto out\n" * 1500
        + "out: exit",
        "r6 = *(u32 *)(r1 +16)\nr7 = *(u32 *)(r1 +12)\n"
        + "r1 = r6\nr2 = r7\ncall part\nif r0 != 0 goto out\n" * 1600
        + "out: r0 = 1\nexit\npart: r0 = 1\nif r1 & r2 goto over\nr0 = 0\nover: exit",
    ],
    ids=["chain", "calls"],
)
def test_long_chains_of_equal_branches(text: str, facts: bool) -> None:
    (made,) = assemble(text, "chain.s")
    reference, native = (Program(made.insns, name="chain") for _ in range(2))
    compiled.stage(native, facts=facts)
    for rx_queue in (0, 1, 2, 3):
        options = {"rx_queue": rx_queue, "ingress_ifindex": 2}
        expected = compiled.run(reference, bytes(64), "interp", **options)
        assert compiled.run(native, bytes(64), "jit", **options) == expected
