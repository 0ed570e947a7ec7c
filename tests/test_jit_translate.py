"""The compiled tier's translator against the interpreter and against the public vectors."""

from __future__ import annotations

import json
import struct
from functools import lru_cache
from pathlib import Path
from typing import Any

import compiled
import packets
import pytest
from readers import shared_folder

import pktfilter as pf
from pktfilter._core.tables import OPS
from pktfilter.errors import CompileError
from pktfilter.handles.program import Program
from pktfilter.jit.llvm import assembly, compile_ir, optimized_ir
from pktfilter.jit.translate import HANDLERS, translate
from pktfilter.jit.unit import Unit, by_place, unit_of

ROOT = Path(__file__).parent.parent
OBJECTS = sorted([*ROOT.glob("examples/*.o"), *ROOT.glob("tests/programs/*.o")])
FACTS = pytest.mark.parametrize("facts", [True, False], ids=["facts", "no-facts"])
BINDINGS = ("prog_array", "array_of_maps", "hash_of_maps")

pytest.importorskip("llvmlite", reason="the compiled tier needs llvmlite")


@lru_cache
def vectors() -> list[dict[str, Any]]:
    path = shared_folder() / "isa" / "vectors.jsonl"
    if not path.is_file():
        return []
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    # callx is no instruction of the table; the other vector tests a runner's comparison.
    skipped = ("callx", "incorrect_return_value_high_bits")
    return [row for row in rows if row["suite"] == "tests" and row["name"] not in skipped]


def test_every_instruction_has_an_entry() -> None:
    assert {op.name for op in OPS} == HANDLERS.keys()


def test_vectors_are_there() -> None:
    if not vectors():
        pytest.skip("no shared vectors: set PKTFILTER_SHARED or place them beside the repository")
    accepted = 0
    for vector in vectors():
        size = len(bytes.fromhex(vector["mem"] or ""))
        try:
            compiled.memory_program(bytes.fromhex(vector["code"]), size=size)
        except pf.VerifierError:
            continue
        accepted += 1
    assert accepted >= 250


@FACTS
@pytest.mark.parametrize("vector", vectors(), ids=lambda v: v["name"])
def test_vector(vector: dict[str, Any], facts: bool) -> None:
    memory = bytearray.fromhex(vector["mem"] or "")
    try:
        program = compiled.memory_program(bytes.fromhex(vector["code"]), size=len(memory))
    except pf.VerifierError as error:
        pytest.skip(f"the verifier refuses it, so nothing may be compiled: {error.message}")
    compiled.stage(program, facts=facts)
    other = bytearray(memory)
    assert compiled.run_memory(program, memory) == vector["result"]
    compiled.run_memory(program, other, "interp")
    assert memory == other


def contents(loaded: Any) -> dict[str, list[Any]]:
    """What users see of the maps that hold bytes, in an order of its own."""
    return {
        name: sorted((repr(key), repr(value)) for key, value in item.items())
        for name, item in loaded.maps.items()
        if item.spec.type not in BINDINGS
    }


@FACTS
@pytest.mark.parametrize("path", OBJECTS, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_object_agrees_with_the_interpreter(path: Path, facts: bool) -> None:
    try:
        reference, native = pf.load(path), pf.load(path)
    except pf.VerifierError as error:
        pytest.skip(f"the verifier refuses it: {error.message}")
    for program in native.programs.values():
        compiled.stage(program, facts=facts)
    for name in reference.programs:
        for index, packet in enumerate(packets.varied(60)):
            when = 10**18 + index * 10**6
            expected = compiled.run(reference.programs[name], packet, "interp", time_ns=when)
            found = compiled.run(native.programs[name], packet, "jit", time_ns=when)
            assert found == expected, (name, index)
        assert contents(native) == contents(reference)


@FACTS
def test_one_map_under_two_numbers_is_one_memory(facts: bool) -> None:
    """What is stored through one number is loaded through the other."""
    spec = pf.MapSpec(type="array", key_size=4, value_size=8, max_entries=1)
    shared = pf.Map(spec)
    insns = bytes.fromhex(
        "1826000001000000"
        "0000000000000000"  # r6 = the value of map 1
        "1827000002000000"
        "0000000000000000"  # r7 = the value of map 2
        "7a06000001000000"
        "7a07000002000000"  # *r6 = 1, *r7 = 2
        "7960000000000000"
        "9500000000000000"  # r0 = *r6
    )
    program = pf.Program.from_bytes(insns, maps={1: shared, 2: shared})
    compiled.stage(program, facts=facts)
    for engine in ("interp", "jit"):
        assert compiled.run(program, bytes(64), engine)[0] == 2, engine


def encoded(opcode: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    return struct.pack("<BBhi", opcode, dst | src << 4, off, imm)


@pytest.mark.parametrize(
    ("insns", "words"),
    [
        (encoded(0xFF), "no such instruction"),
        (encoded(0xB7) + encoded(0x18), "second half"),
        (encoded(0x18, 1, 1, 0, 5) + encoded(0), "no map has this number"),
    ],
)
def test_what_is_no_program(insns: bytes, words: str) -> None:
    with pytest.raises(CompileError, match=words):
        by_place(insns, {})


def test_map_numbers_become_places() -> None:
    two = encoded(0x18, 1, 1, 0, 50) + encoded(0) + encoded(0x18, 2, 2, 0, 60) + encoded(0, imm=8)
    out = by_place(two, {50: 1, 60: 0})
    assert out == (
        encoded(0x18, 1, 5, 0, 1) + encoded(0) + encoded(0x18, 2, 6, 0, 0) + encoded(0, imm=8)
    )


def test_an_unverified_program_is_not_compiled() -> None:
    made = Program(encoded(0xB7) + encoded(0x95), verify=False)
    with pytest.raises(CompileError, match="the verifier accepted"):
        unit_of(made._ref, None)


@pytest.mark.parametrize("name", ["CALL_KFUNC", "LDDW_BTF_ID"])
def test_what_cannot_be_compiled_says_why(name: str) -> None:
    """Programs with such instructions are not made at all; a unit could still have one."""
    op = next(row for row in OPS if row.name == name)
    insns = encoded(op.opcode, 0, op.value) + (encoded(0) if "LDDW" in name else b"")
    insns += encoded(0xB7) + encoded(0x95)
    unit = Unit(insns, "xdp", False, bytes(len(insns) // 8), (), None)
    with pytest.raises(CompileError, match=r"not supported|no such helper or kernel function"):
        translate(unit)


def test_text_that_llvm_refuses_is_an_error() -> None:
    with pytest.raises(CompileError, match="LLVM refuses"):
        compile_ir("define nothing")


def test_objects_and_listings_are_of_the_same_code() -> None:
    made = Program(encoded(0xB7, imm=2) + encoded(0x95))
    text = compiled.text_of(made)
    assert compile_ir(text) == compile_ir(text)
    assert "pf_packets:" in assembly(text)
    assert "@pf_packets(" in optimized_ir(text)
