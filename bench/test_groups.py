"""The groups of `pktfilter bench` that only report: map operations, dispatch, examples, reading, start-up.

Those with limits stand in test_compiled.py, test_tcpdump.py and the files of the older suites.
"""

from __future__ import annotations

import pytest
from groups import measured, must_hold
from pytest_benchmark.fixture import BenchmarkFixture

from pktfilter.benchmarks.runner import Session


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("group", ["dispatch", "examples", "maps", "reading", "verify", "swaps"])
def test_group(benchmark: BenchmarkFixture, session: Session, group: str) -> None:
    run = measured(benchmark, session, group)
    assert all(series.values for one in run.benchmarks for series in one.series)


@pytest.mark.timeout(900)
def test_replay_over_read(benchmark: BenchmarkFixture, session: Session) -> None:
    """The loop: read(2) plus 16 ns per packet on IMIX, plus 11 ns on 64-byte packets."""
    run = measured(benchmark, session, "replay")
    must_hold(run, "replay/imix", "filter, jit less read(2)")
    must_hold(run, "replay/64", "filter, jit less read(2)")


@pytest.mark.timeout(900)
def test_two_workers(benchmark: BenchmarkFixture, session: Session) -> None:
    """At least 1.7 times one worker on a compute-bound program."""
    must_hold(measured(benchmark, session, "workers"), "workers/compute", "2 workers / 1 worker")


def test_startup(benchmark: BenchmarkFixture, session: Session) -> None:
    """A replay of 10 packets as a whole process in under 200 ms."""
    must_hold(measured(benchmark, session, "startup"), "startup/replay", "replay of 10 packets")
