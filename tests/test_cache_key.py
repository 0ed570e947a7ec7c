"""The keys of compiled objects: what they tell apart, and what they cost to make."""

from __future__ import annotations

import enum
import os
import subprocess
import sys
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from commandline import ENVIRONMENT

import pktfilter as pf
from pktfilter.jit import cache, cache_key
from pktfilter.jit.unit import MapConstants, unit_of

PATHS = {"PYTHONPATH": ENVIRONMENT["PYTHONPATH"]}


def python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **PATHS, **environment},
        capture_output=True, text=True, timeout=120, check=False, cwd="/",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


class Kind(enum.IntEnum):
    A = 1


@dataclass(frozen=True)
class Part:
    name: str
    size: int | None


@dataclass(frozen=True)
class Whole:
    insns: bytes
    parts: tuple[Part, ...]
    flags: dict[str, bool] = field(default_factory=dict)
    label: str = field(default="", compare=False)


_NUMBERS: Any = ("array", 4, 8, 16, 0, 2, False, 8, 8, 0)
WHOLE = Whole(b"abc", (Part("m", 1), Part("n", None)), {"x": True, "y": False})


def test_values_that_differ_have_different_bytes() -> None:
    values = [
        None, 0, 1, -1, True, False, "", "1", b"", b"1", (), ((),), ("a", "b"), ("ab",), ("", "ab"),
        (b"a", b"b"), (1, 2), (12,), ((1,), 2), (1, (2,)), {}, {"a": 1}, {"a": "1"}, {1: "a"},
        frozenset(), frozenset({1}), Kind.A, Part("a", 1), Part("a1", None), Part("a", None),
        "i1;", b"i1;", "\ud800", [], [1], [True], ["1"], [b"1"], [(1,)], [[1]], [1, [2, (3, "x")]], [[]],
        WHOLE, replace(WHOLE, insns=b"abd"), replace(WHOLE, parts=()), replace(WHOLE, flags={}),
        replace(WHOLE, parts=WHOLE.parts[::-1]), 1 << 64, -(1 << 64),
    ]  # fmt: skip
    written = [cache_key.serialise(value) for value in values]
    for index, one in enumerate(written):
        assert one not in written[:index], values[index]
        for other in written[:index]:
            assert not other.startswith(one) or not one, values[index]


def test_records_are_written_as_dataclasses_are() -> None:
    first, second = MapConstants(*_NUMBERS), MapConstants(*_NUMBERS, lock=8)
    assert cache_key.serialise(first) == cache_key.serialise(MapConstants(*_NUMBERS))
    assert cache_key.serialise(first) != cache_key.serialise(second)


def test_values_that_are_equal_have_the_same_bytes() -> None:
    assert cache_key.serialise({"a": 1, "b": 2}) == cache_key.serialise({"b": 2, "a": 1})
    assert cache_key.serialise(WHOLE) == cache_key.serialise(replace(WHOLE, label="shown only"))
    assert cache_key.serialise(bytearray(b"x")) == cache_key.serialise(memoryview(b"x"))


@pytest.mark.parametrize(
    "value",
    [
        object(),
        1.5,
        len,
        [object()],
        ("x", object()),
        {"a": object()},
    ],
)
def test_what_has_no_fixed_form_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="key"):
        cache_key.serialise(value)


def test_a_key_is_the_same_in_every_process() -> None:
    code = (
        "from pktfilter.jit import cache\n"
        "print(cache.key({'a': {'x', 'y', 'z'}, 'b': (1, None, b'c')}))"
    )
    keys = {python(code, PYTHONHASHSEED=seed) for seed in ("0", "1", "2")}
    assert len(keys) == 1
    own = cache.key({"b": (1, None, b"c"), "a": {"z", "y", "x"}})
    assert keys == {f"{own}\n"}
    assert own is not None and len(own) == 64


def test_a_key_tells_units_and_levels_apart() -> None:
    keys = {cache.key(WHOLE), cache.key(replace(WHOLE, insns=b"")), cache.key(WHOLE, level=3)}
    assert len(keys) == 3


@pytest.mark.parametrize("part", ["_read", "_llvm", "_translator", "_identity", "_layout"])
def test_a_key_depends_on_its_surroundings(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    before = cache.key(WHOLE)
    found = getattr(cache_key, part)

    def other(*arguments: object) -> object:
        value = found(*arguments)
        if isinstance(value, bytes):  # processor and LLVM
            return value.replace(b"model name\t: ", b"model name\t: another ")
        return (value, "another")

    monkeypatch.setattr(cache_key, part, other)
    cache_key.fingerprint.cache_clear()
    try:
        after = cache.key(WHOLE)
    finally:
        cache_key.fingerprint.cache_clear()
    assert before is not None and after is not None
    assert before != after


def test_the_processor_is_its_model_and_features() -> None:
    text = b"processor\t: 0\nmodel name\t: A\ncpu MHz\t: 1\nflags\t\t: b a\n\nprocessor\t: 1\n"
    same = b"processor\t: 0\nmodel name\t: A\ncpu MHz\t: 2\nflags\t\t: a b\n\nprocessor\t: 1\n"
    assert cache_key.processor(text) == cache_key.processor(same)
    assert cache_key.processor(text) != cache_key.processor(same.replace(b"a b", b"a"))
    with pytest.raises(OSError, match="features"):
        cache_key.processor(b"processor\t: 0\n")


def test_surroundings_that_cannot_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(path: str, size: int = -1) -> bytes:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(cache_key, "_read", unreadable)
    cache_key.fingerprint.cache_clear()
    try:
        assert cache.key(WHOLE) is None
        assert "/proc/cpuinfo: Permission denied" in (cache.status().reason or "")
    finally:
        cache_key.fingerprint.cache_clear()


def test_a_key_does_not_import_llvm() -> None:
    code = (
        "import sys; from pktfilter.jit import cache; cache.key(1); cache.status()\n"
        "print([m for m in ('llvmlite', 'numpy', 'email') if m in sys.modules])"
    )
    assert python(code) == "[]\n"


def outer(value_size: int) -> tuple[pf.Program, pf.Map]:
    """A program that names a map of maps whose inner maps have values of this size."""
    inner = pf.MapSpec(type="array", key_size=4, value_size=value_size, max_entries=1)
    spec = pf.MapSpec(
        type="hash_of_maps", key_size=4, value_size=4, max_entries=1, inner=inner, name="outer"
    )
    made = pf.Map(spec)
    insns = bytes.fromhex("18110000010000000000000000000000b7000000020000009500000000000000")
    return pf.Program.from_bytes(insns, maps={1: made}), made


def test_a_key_depends_on_what_inner_maps_are() -> None:
    """The verifier goes by it, and so do the facts that the code was made with."""
    keys = []
    for size in (8, 8, 16):
        program, _ = outer(size)
        keys.append(cache.key(unit_of(program._ref, None)))
    assert keys[0] == keys[1] != keys[2]
