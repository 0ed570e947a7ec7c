"""What replacing costs: publishing, waiting, the kernel's way, and being replaceable at all.

Every test runs the lanes of `pktfilter bench swap`: batches of 256 packets in memory without a pause,
by programs that stamp what they see. On a machine with other work these figures are the other work's:
run them on an idle one. The number of preemptions stands beside every tail.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from measure import machine
from pytest_benchmark.fixture import BenchmarkFixture

import pktfilter as pf
from pktfilter.session.kernelswap import run_kernel
from pktfilter.session.swapbench import (
    COST_BATCHES,
    WayResult,
    cost,
    load,
    python_times,
    run_way,
    stamps,
)

SECONDS = 3.0
PUBLISH_P99_NS = 1_000
PYTHON_P99_NS = 5_000
ONE_LANE_P50_NS, ONE_LANE_P99_NS = 50_000, 250_000
COST_NS = 10.0
KERNEL_RATIO = 100
#: Less than that is no other thread's turn: an interrupt, a page fault.
SHORTEST_SLICE_NS = 300_000


@pytest.fixture(autouse=True)
def all_cpus(one_cpu: int) -> Iterator[None]:
    """Lanes and writer need a processor each, where the other benchmarks want one."""
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one processor: a lane and the writer need two")
    yield
    os.sched_setaffinity(0, {one_cpu})


@pytest.fixture(scope="module")
def programs() -> list[pf.Program]:
    return stamps()


def _scheduler_slice_ns(seconds: float = 1.0) -> int:
    """How long the scheduler leaves one of two threads that want the same processor waiting, as measured: p99."""
    cpu = max(os.sched_getaffinity(0))
    rival = os.fork()
    if rival == 0:
        os.sched_setaffinity(0, {cpu})
        end = time.monotonic() + seconds + 0.1
        while time.monotonic() < end:
            pass
        os._exit(0)
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    gaps, last = [], time.perf_counter_ns()
    end = last + int(seconds * 1e9)
    while last < end:
        now = time.perf_counter_ns()
        if now - last > SHORTEST_SLICE_NS:
            gaps.append(now - last)
        last = now
    os.sched_setaffinity(0, before)
    os.waitpid(rival, 0)
    assert len(gaps) > 20, "the rival never ran"
    return sorted(gaps)[len(gaps) * 99 // 100]


def _clean(result: WayResult) -> None:
    assert (result.bare, result.mixed, result.stale, result.unjudged) == (0, 0, 0, 0)


def _tell(benchmark: BenchmarkFixture, result: WayResult) -> None:
    facts = result.to_json()
    facts.pop("distribution")
    benchmark.extra_info.update(machine(), **facts)
    print(facts)


def test_one_worker_and_the_writer(benchmark: BenchmarkFixture, programs: list[pf.Program]) -> None:
    with load(programs) as work:
        work.swap.start()
        benchmark.pedantic(work.swap.update, rounds=1000, warmup_rounds=10)
        work.swap.stop()
    result = run_way("publish", programs, seconds=SECONDS)
    _tell(benchmark, result)
    _clean(result)
    assert result.publish is not None
    assert result.wait is not None
    assert result.update is not None
    assert result.publish.p99 < PUBLISH_P99_NS
    assert result.update.p50 < ONE_LANE_P50_NS
    assert result.update.p99 < ONE_LANE_P99_NS


def test_two_workers_and_the_writer(
    benchmark: BenchmarkFixture, programs: list[pf.Program]
) -> None:
    with load(programs, lanes=2) as work:
        work.swap.start()
        benchmark.pedantic(work.swap.update, rounds=100, warmup_rounds=10)
        work.swap.stop()
    result = run_way("publish", programs, seconds=SECONDS, lanes=2)
    alone = run_way("publish", programs, seconds=0.5)
    _tell(benchmark, result)
    _clean(result)
    assert result.update is not None
    assert alone.gap is not None
    slice_ns = _scheduler_slice_ns()
    limit = slice_ns + 2 * alone.gap.p50
    benchmark.extra_info.update(limit_ns=limit, slice_ns=slice_ns)
    assert result.update.p99 < limit


def test_from_python(benchmark: BenchmarkFixture, programs: list[pf.Program]) -> None:
    with load(programs) as work:
        turn = iter(programs * 10)
        work.swap.start()
        benchmark.pedantic(
            lambda: work.link.update(next(turn), wait=False), rounds=1000, warmup_rounds=10
        )
        work.swap.stop()
    times = python_times(programs, seconds=SECONDS)
    benchmark.extra_info.update(machine(), **asdict(times))
    print(times)
    assert times.publish.p99 < PUBLISH_P99_NS
    assert times.call.p99 < PYTHON_P99_NS


def test_against_the_kernel(benchmark: BenchmarkFixture, programs: list[pf.Program]) -> None:
    theirs, waiting = run_kernel(SECONDS)
    if theirs.skipped:
        pytest.skip(theirs.skipped)
    ours = benchmark.pedantic(
        run_way, args=("publish", programs), kwargs={"seconds": SECONDS}, rounds=1
    )
    assert theirs.update is not None
    assert waiting is not None
    ratio = theirs.update.p50 / ours.update.p50
    benchmark.extra_info.update(
        machine(),
        kernel_update=asdict(theirs.update),
        kernel_update_and_grace=asdict(waiting),
        waiting_update=asdict(ours.update),
        publish=asdict(ours.publish),
        ratio=round(ratio, 1),
        ratio_waiting=round(waiting.p50 / ours.update.p50, 1),
    )
    print(theirs.update, waiting, ours.update, ratio)
    assert ratio >= KERNEL_RATIO


@pytest.mark.parametrize("batch", COST_BATCHES)
def test_being_replaceable(benchmark: BenchmarkFixture, batch: int) -> None:
    one = benchmark.pedantic(cost, args=(batch,), kwargs={"rounds": 301}, rounds=1)
    benchmark.extra_info.update(machine(), **asdict(one))
    print(one)
    assert one.difference_ns < COST_NS


def test_grace_period_of_a_replay(benchmark: BenchmarkFixture, captures: dict[str, Path]) -> None:
    """`swaps[].grace_ns` of a replay that replaces its program 100 times."""
    hook = pf.Hook("bench")
    first, *others = stamps(101)
    link = hook.attach(first)
    swaps = [(10_000 * (i + 1), link, program) for i, program in enumerate(others)]
    result = benchmark.pedantic(
        pf.replay, args=(captures["64"], hook), kwargs={"swaps": swaps}, rounds=1
    )
    grace = sorted(swap.grace_ns for swap in result.swaps)
    publish = sorted(swap.publish_ns for swap in result.swaps)
    figures = {"grace_p50": grace[50], "grace_max": grace[-1], "publish_p50": publish[50]}
    benchmark.extra_info.update(machine(), **figures)
    print(figures)
    assert len(grace) == 100
    assert grace[50] < ONE_LANE_P50_NS
