"""The compiled tier: the 64-instruction filter beside librte_bpf and the kernel, and the time to compile.

Each test runs a group of `pktfilter bench` and holds its limits: docs/benchmarks.md says what they are.
"""

from __future__ import annotations

import pytest
from groups import measured, must_hold
from pytest_benchmark.fixture import BenchmarkFixture

from pktfilter.benchmarks.runner import Session


@pytest.mark.timeout(900)
def test_filter_through_the_batch_loop(benchmark: BenchmarkFixture, session: Session) -> None:
    """At most 5 ns per packet with verdict counting, and 0.8 of librte_bpf's JIT on the same bytecode."""
    run = measured(benchmark, session, "filter")
    must_hold(
        run, "filter/full", "jit / librte_bpf JIT", "jit", "pf.vm interp / librte_bpf interpreter"
    )


@pytest.mark.timeout(900)
def test_hash_lookup_and_count_beside_the_kernel(
    benchmark: BenchmarkFixture, session: Session
) -> None:
    """At most half of BPF_PROG_TEST_RUN of the same program, each net of its empty program."""
    must_hold(
        measured(benchmark, session, "counted"), "counted/median", "jit / kernel TEST_RUN, net"
    )


@pytest.mark.timeout(900)
def test_compile_time(benchmark: BenchmarkFixture, session: Session) -> None:
    """64 instructions in under 80 ms, 3,000 in under 1.5 s, no cache."""
    run = measured(benchmark, session, "compile")
    must_hold(run, "compile/filter", "compile")
    must_hold(run, "compile/digest-3000", "compile")
