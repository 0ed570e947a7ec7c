"""The compiled tier's translator against the interpreter and against the public vectors."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import compiled
import packets
import pytest
from readers import shared_folder

import pktfilter as pf
from pktfilter._core.tables import OPS
from pktfilter.jit.translate import HANDLERS

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
