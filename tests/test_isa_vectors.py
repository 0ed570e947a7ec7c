"""The public conformance vectors of the instruction set, through `pf.vm.execute`."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import pytest
from readers import shared_folder

import pktfilter as pf

# Vectors that this engine answers otherwise, by name, with the reason.
EXCEPTIONS = {
    "callx": "indirect calls are refused by name, as Linux refuses them",
    "incorrect_return_value_high_bits": "legal: it tests a runner's comparison, not an engine",
}


@lru_cache
def vectors() -> list[dict[str, Any]]:
    path = shared_folder() / "isa" / "vectors.jsonl"
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_vectors_are_there() -> None:
    if not vectors():
        pytest.skip("no shared vectors: set PKTFILTER_SHARED or place them beside the repository")
    assert len([v for v in vectors() if v["suite"] == "tests"]) >= 300


@pytest.mark.parametrize(
    "vector",
    [v for v in vectors() if v["suite"] == "tests" and v["name"] not in EXCEPTIONS],
    ids=lambda v: v["name"],
)
def test_result(vector: dict[str, Any]) -> None:
    memory = bytearray.fromhex(vector["mem"] or "")
    assert pf.vm.execute(bytes.fromhex(vector["code"]), memory) == vector["result"]


def test_callx_is_refused_by_name() -> None:
    found = [v for v in vectors() if v["name"] == "callx"]
    if not found:
        pytest.skip("no shared vectors: set PKTFILTER_SHARED or place them beside the repository")
    with pytest.raises(pf.ProgramError, match="callx"):
        pf.vm.execute(bytes.fromhex(found[0]["code"]), b"")


@pytest.mark.parametrize(
    "vector",
    [
        v
        for v in vectors()
        if v["suite"] == "negative" and v["name"] not in EXCEPTIONS and v.get("code") is not None
    ],
    ids=lambda v: v["name"],
)
def test_negative_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(pf.ProgramError):
        pf.vm.execute(bytes.fromhex(vector["code"]), bytes.fromhex(vector["mem"] or ""))


@pytest.mark.parametrize(
    ("code", "register"),
    [
        ("bf100000000000009500000000000000", None),  # r1 is there
        ("bf300000000000009500000000000000", 3),
        ("0701000001000000b7000000000000009500000000000000", None),
        ("0f06000000000000b7000000000000009500000000000000", 0),
        # a register written on one path only is the verifier's business
        ("5501010000000000b706000001000000bf600000000000009500000000000000", None),
        # a call takes r1 to r5 away
        ("8500000005000000bf100000000000009500000000000000", 1),
        # a subprogram may read its arguments, not its caller's r6
        ("b70100000100000085100000010000009500000000000000bf100000000000009500000000000000", None),
        ("b70600000100000085100000010000009500000000000000bf600000000000009500000000000000", 6),
    ],
)
def test_reads_of_unwritten_registers(code: str, register: int | None) -> None:
    if register is None:
        pf.vm.execute(bytes.fromhex(code), b"")
    else:
        with pytest.raises(pf.ProgramError, match=f"register r{register} is read"):
            pf.vm.execute(bytes.fromhex(code), b"")
