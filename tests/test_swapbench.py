"""The ways of replacing side by side: ours is clean, the others' faults are seen, the judge can fail."""

from __future__ import annotations

import os
import signal
import struct
import time
from pathlib import Path

import pytest
from commandline import finish, run, start
from pktfilter._core.swap import Histogram

import pktfilter as pf
from pktfilter.session.kernelswap import run_kernel
from pktfilter.session.swapbench import (
    WAY_NAMES,
    SwapBench,
    WayResult,
    cost,
    load,
    python_times,
    run_way,
    stamp_code,
    stamps,
)


@pytest.fixture(scope="module")
def programs() -> list[pf.Program]:
    return stamps(256)


def test_stamps_are_what_the_judge_reads(programs: list[pf.Program]) -> None:
    run = programs[77].test_run(bytes(60))
    assert run.action == pf.XDP.PASS
    assert struct.unpack("<I", run.data[:4])[0] == 77
    assert programs[77].test_run(bytes(59)).action == pf.XDP.DROP


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("way", WAY_NAMES)
def test_every_way_runs_and_only_detaching_uncovers(
    programs: list[pf.Program], way: str, lanes: int
) -> None:
    result = run_way(way, programs, seconds=0.3, lanes=lanes)
    assert result.updates > 0
    assert result.packets == result.batches * 256
    assert (result.mixed, result.stale, result.unjudged) == (0, 0, 0)
    assert result.publish is not None
    assert result.update is not None
    assert result.update.count == result.updates
    assert result.update.p50 <= result.update.p99 <= result.update.max
    detaching = way.startswith("detach")
    assert (result.bare_time is not None) == detaching
    if not detaching:
        assert result.bare == 0
    assert result.dropped == (result.bare if way == "detach_closed" else 0)


def test_a_hook_that_stays_empty_is_seen(programs: list[pf.Program]) -> None:
    with load(programs) as work:
        work.link.detach()
        work.swap.start()
        time.sleep(0.05)
        work.swap.stop()
        totals = work.swap.totals()
    assert totals["bare"] == totals["packets"] > 0
    assert totals["mixed"] == 0


def test_an_update_that_returned_too_early_is_seen(programs: list[pf.Program]) -> None:
    with load(programs) as work:
        assert work.swap.begin() == 1
        work.swap.returned()  # nothing was published
        work.swap.start()
        time.sleep(0.05)
        work.swap.stop()
        totals = work.swap.totals()
    assert totals["stale"] == totals["packets"] > 0


def test_a_program_that_never_was_is_stale(programs: list[pf.Program]) -> None:
    with load(programs) as work:
        work.link.update(programs[9])  # not announced
        work.swap.start()
        time.sleep(0.05)
        work.swap.stop()
        totals = work.swap.totals()
    assert totals["stale"] == totals["packets"] > 0


def test_too_many_updates_in_one_batch_are_not_called_clean() -> None:
    two = stamps(2)
    with load(two) as work:
        work.swap.begin()
        work.swap.begin()
        work.swap.start()
        time.sleep(0.05)
        work.swap.stop()
        totals = work.swap.totals()
    assert totals["unjudged"] == totals["batches"] > 0


def test_a_batch_of_two_versions_is_seen() -> None:
    # As a version that changes within a batch would: some packets stamped 0, some 1.
    code = bytearray(stamp_code(0))
    random = struct.pack("<BBhi", 0x85, 0, 0, 7)  # r0 = bpf_get_prandom_u32()
    keep = struct.pack("<BBhi", 0xBF, 0x16, 0, 0)  # r6 = r1
    back = struct.pack("<BBhi", 0xBF, 0x61, 0, 0)  # r1 = r6
    bit = struct.pack("<BBhi", 0x57, 0, 0, 1)  # r0 &= 1
    code[5 * 8 : 6 * 8] = struct.pack("<BBhi", 0x63, 0x02, 0, 0)  # *(u32 *)(r2 + 0) = r0
    mixing = pf.Program.from_bytes(keep + random + bit + back + bytes(code), name="mixing")
    with load([mixing, *stamps(8)]) as work:
        work.swap.start()
        time.sleep(0.05)
        work.swap.stop()
        totals = work.swap.totals()
    assert totals["batches"] > 0
    assert totals["mixed"] == totals["batches"]


def test_histogram_against_sorted_values() -> None:
    histogram = Histogram()
    values = [(i * i * 7919) % 10_000_019 for i in range(5000)]
    for value in values:
        histogram.add(value)
    values.sort()
    for part in (1, 50, 90, 99):
        exact = values[(len(values) * part + 99) // 100 - 1]
        assert exact <= histogram.quantile(part, 100) <= exact + exact // 64 + 1
    assert histogram.quantile(100, 100) == histogram.max == values[-1]
    assert sum(count for _, count in histogram.buckets()) == histogram.count == len(values)
    assert Histogram().quantile(99, 100) == 0


def test_times_from_python(programs: list[pf.Program]) -> None:
    times = python_times(programs, seconds=0.1)
    assert 0 < times.publish.p50 <= times.call.p50
    assert times.waiting.count > 0


def test_cost_is_a_difference_of_two_loops() -> None:
    one = cost(16, rounds=5)
    assert one.plain_ns > 0
    assert one.replaceable_ns > 0


def test_proof_fails_when_something_is_wrong() -> None:
    way = WayResult("ours", "", packets=1, updates=1)
    bench = SwapBench(batch=1, lanes=1, programs=2, ways=[way])
    assert bench.proved
    for name in ("bare", "mixed", "stale", "unjudged"):
        setattr(way, name, 1)
        assert not bench.proved
        setattr(way, name, 0)


def test_command_line_quick() -> None:
    done = run("bench", "swap", "--quick", "--seconds", "0.2")
    last = done.text.strip().splitlines()[-1]
    assert last.endswith("uncovered 0, mixed 0, stale 0"), last
    assert "detach, attach: open" in done.text


def test_command_line_json_and_kernel_row() -> None:
    result = run("bench", "swap", "--seconds", "0.3", "--json").json
    assert result["proved"]
    assert result["ways"][0]["name"] == "pktfilter: publish, wait"
    assert {one["batch"] for one in result["costs"]} == {1, 16, 256}
    kernel = result["kernel"]
    if "skipped" in kernel:
        assert kernel["skipped"].startswith("not measured: ")
        pytest.skip(kernel["skipped"])
    assert kernel["updates"] > 0
    assert kernel["packets"] > 0
    assert kernel["bare"] == kernel["stale"] == 0
    assert result["kernel_wait"]["p50"] >= kernel["update"]["p50"]


def test_what_is_not_permitted_is_a_row_that_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.devnull)  # no `ip` to make the pair with
    result, wait = run_kernel(0.1)
    assert wait is None
    assert result.skipped is not None
    assert result.skipped.startswith("not measured: ")
    bench = SwapBench(1, 1, 2, ways=[WayResult("ours", "", packets=1, updates=1)], kernel=result)
    assert bench.kernel_ratio is None
    assert "skipped" in bench.to_json()["kernel"]


def test_interrupted() -> None:
    """Ctrl-C ends a long run at once."""
    process = start("bench", "swap", "--seconds", "60")
    tasks = Path(f"/proc/{process.pid}/task")
    while process.poll() is None and len(list(tasks.iterdir())) < 2:
        time.sleep(0.01)  # until there is a lane
    process.send_signal(signal.SIGINT)
    assert finish(process).code == 130


def test_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra 'plot' is not installed")
    picture = tmp_path / "swap.svg"
    run("bench", "swap", "--quick", "--seconds", "0.1", "--plot", picture)
    assert picture.read_text().lstrip().startswith("<?xml")
    lost = tmp_path / "nowhere" / "swap.svg"
    done = run("bench", "swap", "--quick", "--seconds", "0.1", "--plot", lost, code=1)
    assert "the picture was not written" in done.error
