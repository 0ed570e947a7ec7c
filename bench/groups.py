"""Groups of `pktfilter bench` as tests: run one, keep every figure in `extra_info`, hold its limits."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from pktfilter.benchmarks import view
from pktfilter.benchmarks.groups import run_groups
from pktfilter.benchmarks.model import Run
from pktfilter.benchmarks.runner import Session


def measured(benchmark: BenchmarkFixture, session: Session, group: str) -> Run:
    """Runs the group once; the run has its benchmarks alone, with what was skipped."""
    session.run.benchmarks.clear()
    session.run.skipped.clear()
    benchmark.pedantic(run_groups, args=(session, [group]), rounds=1)
    benchmark.extra_info.update(session.run.to_json())
    if not session.run.benchmarks:
        pytest.skip("; ".join(f"{one.name}: {one.reason}" for one in session.run.skipped))
    return session.run


def must_hold(run: Run, name: str, *limits: str) -> None:
    """Every limit named is measured and holds; one whose series was skipped skips the test with its reason."""
    rows = {
        row.what: (row.interval.value, row.ratio.limit or 0.0)
        for row in view.ratio_rows(run)
        if row.benchmark.id == name and row.ratio.limit is not None
    }
    rows |= {
        row.what: (row.value, row.bound.limit)
        for row in view.bound_rows(run)
        if row.benchmark.id == name
    }
    found = run.find(name)
    for what in limits:
        if what not in rows:
            reasons = [] if found is None else [f"{s.name}: {s.reason}" for s in found.skipped]
            pytest.skip(
                f"{name}: {what} was not measured: {'; '.join(reasons) or 'nothing to divide'}"
            )
        value, limit = rows[what]
        assert value <= limit, f"{name}: {what} is {value:.3g}, more than {limit:.3g}"
