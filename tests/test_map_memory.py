"""`Map.memory` against what the process really occupies, and the large-hash programs of the bench at a small size."""

from __future__ import annotations

import gc
import random
import struct
from pathlib import Path

import pytest

import pktfilter as pf
from pktfilter import Map, MapSpec
from pktfilter.benchmarks import large

PAGE = 4096
SLACK = 3 << 20  # of the interpreter, meanwhile
STATM = Path("/proc/self/statm")


def resident() -> int:
    gc.collect()
    return int(STATM.read_text().split()[1]) * PAGE


SPECS = {
    "hash": MapSpec("hash", 4, 8, 300_000),
    "hash, 16-byte keys": MapSpec("hash", 16, 40, 300_000),
    "lru_hash": MapSpec("lru_hash", 4, 8, 300_000),
    "percpu_hash": MapSpec("percpu_hash", 4, 8, 300_000),
    "array": MapSpec("array", 4, 100, 300_000),
    "percpu_array": MapSpec("percpu_array", 4, 8, 600_000),
    "queue": MapSpec("queue", 0, 60, 300_000),
    "bloom_filter": MapSpec("bloom_filter", 0, 4, 20_000_000),
}


@pytest.mark.skipif(not STATM.exists(), reason="the memory of a process is read from /proc")
@pytest.mark.parametrize("name", SPECS)
def test_a_full_map_occupies_what_it_says(name: str) -> None:
    spec = SPECS[name]
    before = resident()
    m = Map(spec, cpus=2)
    assert resident() - before < SLACK, "nothing is committed before it is used"
    value = bytes(spec.value_size)
    rng = random.Random(3)
    if m.keyless:
        for _ in range(300_000):
            m.push(value if spec.type == "queue" else rng.randrange(1 << 32))
        if spec.type == "bloom_filter":
            # 1.5 M bits set over 16 MiB: every page has some.
            assert len(m) == 300_000
    else:
        for number in range(spec.max_entries):
            m[struct.pack("<I", number).ljust(spec.key_size, b"\0")] = value
    grown = resident() - before
    assert m.memory > 2 * SLACK
    assert m.memory - SLACK <= grown <= m.memory + SLACK, f"{grown:,} of {m.memory:,}"


@pytest.mark.parametrize("key_size", [4, 16])
@pytest.mark.parametrize("engine", ["checked", "interp", "jit"])
def test_the_bench_programs_find_all_that_they_stored(key_size: int, engine: str) -> None:
    """`ours` raises where one operation failed, or found another key's value."""
    times, memory = large.ours(large.Shape(key_size, 20_000), engine)
    assert times.insert > 0 and times.lookup > 0
    assert memory == 20_000 * (16 + key_size + (4 if key_size == 4 else 0)) + 8192 * 64


def test_memory_of_small_maps_is_exact() -> None:
    """By the layouts that csrc/map documents."""
    assert Map(MapSpec("array", 4, 5, 3)).memory == 3 * 8
    assert Map(MapSpec("percpu_array", 4, 8, 3), cpus=4).memory == 3 * 4 * 8
    assert Map(MapSpec("stack", 0, 9, 3)).memory == 3 * 16
    assert Map(MapSpec("hash", 4, 8, 4)).memory == 4 * 24 + 64
    assert Map(MapSpec("lru_hash", 4, 8, 4)).memory == 4 * 25 + 64
    with pytest.raises(pf.MapError, match="no memory"):
        Map(MapSpec("array", 4, 1 << 30, 1 << 20))
