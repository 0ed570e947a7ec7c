"""A hash map of 10 M entries, filled and read by a program in shuffled order, beside the kernel doing the same."""

from __future__ import annotations

from statistics import median

import pytest
from measure import machine
from pytest_benchmark.fixture import BenchmarkFixture

from pktfilter.benchmarks import large, programs

ENTRIES = 10_000_000
ROUNDS = 3
KERNEL = "kernel TEST_RUN"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("key_size", [4, 16])
def test_ten_million_entries(benchmark: BenchmarkFixture, key_size: int) -> None:
    shape = large.Shape(key_size, ENTRIES)
    found: dict[str, list[large.Times]] = {}
    benchmark.pedantic(lambda: found.update(large.interleaved(shape, ROUNDS)), rounds=1)
    ratios = {
        f"{name} {what}": median(
            getattr(mine, what) / getattr(theirs, what)
            for mine, theirs in zip(found[name], found[KERNEL], strict=True)
        )
        for name in found
        if name != KERNEL and KERNEL in found
        for what in ("insert", "lookup")
    }
    benchmark.extra_info.update(
        machine(),
        rounds=ROUNDS,
        bytes_an_entry=programs.make_map(shape.table).memory / ENTRIES,
        to_the_kernel={name: round(ratio, 3) for name, ratio in ratios.items()},
        **{
            f"{name} {what}, ns": [round(getattr(times, what), 1) for times in runs]
            for name, runs in found.items()
            for what in ("insert", "lookup")
        },
    )
    if KERNEL not in found:
        pytest.skip("the kernel does not let us load programs (root is needed)")
    for what in ("jit insert", "jit lookup"):
        assert ratios[what] <= 1, f"{what}: {ratios[what]:.2f} of the kernel's time"
