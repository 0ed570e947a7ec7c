"""Types damaged in every place: what reads them refuses in one sentence or goes on, and soon.

Longer: ``PKTFILTER_FUZZ_SECONDS=600 pytest tests/test_btf_hostile.py``.
"""

from __future__ import annotations

import io
import os
import random
import struct
import time
from pathlib import Path

import pytest
from commandline import EXAMPLES

import pktfilter as pf
from pktfilter.errors import PktfilterError
from pktfilter.handles.typed import MapTypes
from pktfilter.objects import ObjectSpec
from pktfilter.objects.btf import Btf, parse_btf
from pktfilter.objects.c_text import c_types
from pktfilter.objects.elf_section import find_section
from pktfilter.objects.inspect import describe

OBJECTS = Path(__file__).parent / "objects"
FILES = [
    *(EXAMPLES / f"{name}.o" for name in ("portfw", "l4lb")),
    *(OBJECTS / f"{name}.o" for name in ("typed_maps", "maps", "core", "extern")),
]
SECONDS = float(os.environ.get("PKTFILTER_FUZZ_SECONDS", "0"))
RUNS = 400  # a file, where no time is asked for
HEADER = 24
BYTES = [0, 1, 2, 3, 4, 8, 0x7F, 0x80, 0xFF]
#: Ids, sizes, and words of kind and count: structs of one and many members, functions, variables, sections.
WORDS = [
    0,
    1,
    2,
    3,
    5,
    10,
    199,
    0xFFFFFFFF,
    1 << 31,
    1 << 28,
    0x04000001,
    0x04FFFFFF,
    0x06000002,
    0x0F000001,
    0x13000001,
]
LONGEST_S = 20


def types_of(data: bytes, name: str) -> bytes:
    return find_section(io.BytesIO(data), ".BTF", 1 << 20, name)


def damaged(data: bytes, raw: bytes, choose: random.Random) -> bytes:
    whole, at = bytearray(data), data.index(raw)
    size = struct.unpack_from("<I", raw, 12)[0]  # of the types, which stand behind the header
    for _ in range(choose.choice([1, 1, 2, 4, 8])):
        if choose.random() < 0.4:
            place = at + HEADER + 4 * choose.randrange(size // 4)
            struct.pack_into("<I", whole, place, choose.choice(WORDS))
        else:
            place = (
                choose.randrange(HEADER, HEADER + size)
                if choose.random() < 0.8
                else choose.randrange(len(raw))
            )
            whole[at + place] = choose.choice([*BYTES, choose.randrange(256)])
    return bytes(whole)


def read_everything(data: bytes, path: Path, others: list[Btf]) -> None:
    """What commands and loading do with types."""

    def refused_or_fine(step: object) -> None:
        try:
            step()  # type: ignore[operator]
        except PktfilterError as error:
            assert "\\n" not in str(error).strip()

    def types(spec: ObjectSpec, name: str) -> None:
        made = MapTypes(spec.maps[name], f"map '{name}'")
        made.key.decode(bytes(spec.maps[name].key_size))
        made.decode_value(bytes(spec.maps[name].value_size))

    def parsed() -> None:
        btf = parse_btf(types_of(data, "damaged"), "damaged")
        refused_or_fine(lambda: sum(len(text) for text in c_types(btf)))
        refused_or_fine(lambda: ObjectSpec.from_file(path).relocate(btf))

    def loaded() -> None:
        spec = ObjectSpec.from_bytes(data, "damaged")
        describe(spec)
        for name in spec.maps:
            refused_or_fine(lambda name=name: types(spec, name))
        for other in others:
            refused_or_fine(lambda other=other: spec.relocate(other))

    refused_or_fine(parsed)
    refused_or_fine(loaded)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_damage_is_refused_or_survived(path: Path) -> None:
    data = path.read_bytes()
    raw = types_of(data, path.name)
    others = [parse_btf(types_of(each.read_bytes(), each.name), each.name) for each in FILES[:2]]
    seed = random.SystemRandom().randrange(1 << 32) if SECONDS else 7
    choose, end = random.Random(seed), time.monotonic() + SECONDS / len(FILES)
    runs = 0
    while runs < RUNS or time.monotonic() < end:
        runs += 1
        hurt = damaged(data, raw, choose)
        start = time.monotonic()
        try:
            read_everything(hurt, path, others)
        except Exception as error:
            raise AssertionError(
                f"seed {seed}, run {runs}: {type(error).__name__}: {error}"
            ) from error
        assert time.monotonic() - start < LONGEST_S, f"seed {seed}, run {runs}"


def test_the_damage_is_worth_something() -> None:
    """Some of it is refused, some is not."""
    path = FILES[0]
    data, choose = path.read_bytes(), random.Random(7)
    raw = types_of(data, path.name)
    outcomes = set()
    for _ in range(60):
        try:
            pf.ObjectSpec.from_bytes(damaged(data, raw, choose), "damaged")
            outcomes.add("read")
        except PktfilterError:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}
