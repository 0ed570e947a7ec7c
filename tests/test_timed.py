"""Timed replay: which packets run and what time they see, against a model; speeds, passes, swaps, limits."""

from __future__ import annotations

import gzip
import signal
import struct
import tempfile
import threading
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
import readers
from commandline import CLOCK, DEMO, PASS, PCAPS, PORTFW, assembly, finish, program, run, start
from hypothesis import given, settings
from hypothesis import strategies as st
from test_replay import capture, hook_of, pass_all, retvals

import pktfilter as pf
from pktfilter.cli.programs import load_program
from pktfilter.session.spans import Bound

SECOND = 10**9
INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1
#: So fast that nothing waits long, and paced all the same.
FAST = "pps:2000000"


def clock() -> pf.Hook:
    with tempfile.TemporaryDirectory() as folder:
        loaded = load_program(str(program(Path(folder), CLOCK)))[1]
    return hook_of(loaded)[0]


def timed_pcap(times_ns: Sequence[int], *, first: int = 0, nano: bool = True) -> bytes:
    """Packets at these times, numbered from `first` on."""
    out = [struct.pack("<IHHiIII", 0xA1B23C4D if nano else 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)]
    for number, at in enumerate(times_ns, first):
        seconds, rest = divmod(at, SECOND)
        data = struct.pack("<I", number).ljust(20 + number % 50, b"\x5a")
        unit = rest if nano else rest // 1000
        out.append(struct.pack("<IIII", seconds, unit, len(data), len(data) + number % 3) + data)
    return b"".join(out)


Packet = tuple[bytes, int, int]


def packets_of(path: Path) -> list[Packet]:
    return [(r.data, r.ts_ns, r.orig_len) for r in readers.walk(path).records]


def model(
    inputs: Sequence[Sequence[Packet]], *, loop: int = 1, limit: int | None = None,
    since: Bound | None = None, before: Bound | None = None, unit: int = 1,
) -> tuple[list[Packet], list[int]]:  # fmt: skip
    """What should be replayed, and the time that programs should see with each packet."""
    every = [packet for packets in inputs for packet in packets]
    first = every[0][1] if every else 0

    def end(bound: Bound | None, none: int) -> int:
        return none if bound is None else bound.ns + (first if bound.relative else 0)

    low, high = end(since, INT64_MIN), end(before, INT64_MAX)
    once = [packet for packet in every if low <= packet[1] < high]
    shift = 0
    out: list[Packet] = []
    for _ in range(loop):
        moved = -(-shift // unit) * unit  # whole units of the file
        out += [(data, ts + moved, length) for data, ts, length in once]
        if once:
            span = max(ts for _, ts, _ in once) - once[0][1]
            shift += span + (span // (len(once) - 1) if len(once) > 1 else 0)
    out = out if limit is None else out[:limit]
    seen = []
    latest = 0
    for _, ts, _ in out:
        latest = max(latest, ts)
        seen.append(latest)
    return out, seen


# Which packets


@settings(max_examples=120, deadline=None)
@given(
    times=st.lists(
        st.lists(st.integers(0, 40) | st.integers(0, 10**10), max_size=12), min_size=1, max_size=3
    ),
    loop=st.integers(1, 4),
    limit=st.none() | st.integers(1, 40),
    since=st.none() | st.builds(Bound, st.integers(-5, 45), st.booleans()),
    length=st.none() | st.integers(1, 50),
    nano=st.booleans(),
    paced=st.booleans(),
    batch=st.sampled_from([1, 3, 256]),
    threads=st.sampled_from([(1, None), (1, True), (2, None), (3, None)]),
)
def test_the_span_the_limit_and_the_passes(
    times: list[list[int]], loop: int, limit: int | None, since: Bound | None, length: int | None,
    nano: bool, paced: bool, batch: int, threads: tuple[int, bool | None],
) -> None:  # fmt: skip
    unit = 1 if nano else 1000
    before = None
    if length is not None:
        before = Bound((since.ns if since else 0) + length, since.relative if since else False)

    def text(bound: Bound | None) -> str | timedelta | None:
        if bound is None:
            return None
        if bound.relative and bound.ns < 0:
            return timedelta(microseconds=bound.ns * unit / 1000) if unit == 1000 else None
        sign = "+" if bound.relative else "-" if bound.ns < 0 else ""
        return f"{sign}0.{abs(bound.ns * unit):09d}"

    def scaled(bound: Bound | None) -> Bound | None:
        return (
            None if text(bound) is None or bound is None else Bound(bound.ns * unit, bound.relative)
        )

    with tempfile.TemporaryDirectory() as folder:
        paths, number = [], 0
        for index, some in enumerate(times):
            path = Path(folder) / f"{index}.pcap"
            path.write_bytes(timed_pcap([at * unit for at in some], first=number, nano=nano))
            number += len(some)
            paths.append(path)
        want, seen = model(
            [packets_of(path) for path in paths], loop=loop, limit=limit, since=scaled(since),
            before=scaled(before), unit=unit,
        )  # fmt: skip
        out = Path(folder) / "out.pcapng"
        result = pf.replay(
            paths, clock(), write=out, write_actions=tuple(pf.XDP), batch=batch, loop=loop, limit=limit,
            from_time=text(since), to_time=text(before), speed="1000000000x" if paced else "max",
            workers=threads[0], overlap=threads[1],
        )  # fmt: skip
        assert packets_of(out) == want
        assert retvals(out) == [at & 0xFFFFFFFF for at in seen]
    assert result.packets == len(want)
    assert sum(report.packets for report in result.inputs) == len(want)
    if result.timing is not None and limit is None and want:
        assert result.timing.passes == loop
        assert result.timing.left_out == loop * number - len(want)


@pytest.mark.parametrize("name", ["big-endian.pcap", "nano.pcap", "two-interfaces.pcapng"])
@pytest.mark.parametrize("extension", ["pcap", "pcapng"])
def test_passes_over_every_format(name: str, extension: str, tmp_path: Path) -> None:
    records = packets_of(PCAPS / name)
    fine = name == "nano.pcap"
    # Two resolutions in one file: each interface's times are moved by whole units of its own.
    mixed = name == "two-interfaces.pcapng"
    want, _ = model([records], loop=3, unit=1 if fine else 1000)
    out = tmp_path / f"out.{extension}"
    result = pf.replay(PCAPS / name, pass_all(), write=out, loop=3)
    got = packets_of(out)
    assert result.packets == 3 * len(records) == len(got)
    assert [(data, length) for data, _, length in got] == [
        (data, length) for data, _, length in want
    ]
    for (_, ts, _), (_, wanted, _) in zip(got, want, strict=True):
        assert abs(ts - wanted) < 1000 if mixed else ts == wanted
    assert got[: len(records)] == records


def test_passes_over_compressed_files_and_several(tmp_path: Path) -> None:
    first = timed_pcap([100, 300, 200])
    second = timed_pcap([900, 400], first=3)
    paths = [
        capture(tmp_path, gzip.compress(first), "a.pcap.gz"),
        capture(tmp_path, second, "b.pcap"),
    ]
    plain = [packets_of(capture(tmp_path, data, "p.pcap")) for data in (first, second)]
    out = tmp_path / "out.pcapng"
    result = pf.replay(paths, pass_all(), write=out, loop=4, limit=17, speed=FAST)
    assert packets_of(out) == model(plain, loop=4, limit=17)[0]
    assert [report.packets for report in result.inputs] == [11, 6]


def test_endless_passes_end_at_the_limit(tmp_path: Path) -> None:
    path = capture(tmp_path, timed_pcap([5, 6, 7]))
    for speed in ("max", FAST):
        result = pf.replay(path, pass_all(), loop=0, limit=1000, speed=speed)
        assert result.packets == 1000
        assert result.timing is not None
        assert result.timing.passes == 334


def test_a_pass_without_a_packet_is_the_last(tmp_path: Path) -> None:
    path = capture(tmp_path, timed_pcap([5, 6, 7]))
    assert pf.replay(path, pass_all(), loop=0, from_time=8).packets == 0
    empty = capture(tmp_path, timed_pcap([]), "empty.pcap")
    assert pf.replay(empty, pass_all(), loop=0, speed="1x").packets == 0
    with pytest.raises(pf.CaptureError, match="No such file"):
        pf.replay(tmp_path / "absent", pass_all(), loop=0)


def test_damage_in_every_pass_is_reported_once(tmp_path: Path) -> None:
    path = capture(tmp_path, timed_pcap([5, 6, 7])[:-1])
    result = pf.replay(path, pass_all(), loop=5)
    assert result.packets == 10
    assert len(result.errors) == 1
    assert result.inputs[0].truncated


def test_damage_behind_the_limit_is_none(tmp_path: Path) -> None:
    path = capture(tmp_path, timed_pcap([5, 6, 7])[:-1])
    for speed in ("max", FAST):
        result = pf.replay(path, pass_all(), limit=2, speed=speed)
        assert (result.packets, result.errors, result.inputs[0].error) == (2, [], None)
    result = pf.replay(path, pass_all(), limit=3)
    assert (result.packets, len(result.errors)) == (2, 1)


def test_only_files_are_read_in_several_passes() -> None:
    done = run("replay", PASS, "-", "--loop", "2", stdin=DEMO.read_bytes(), code=1)
    assert "standard input: only a file can be read in several passes" in done.error
    assert (
        run("replay", PASS, "-", "--limit", "7", "--json", stdin=DEMO.read_bytes()).json["packets"]
        == 7
    )


# When


@pytest.mark.parametrize("workers", [1, 2])
def test_pacing_changes_no_result(tmp_path: Path, workers: int) -> None:
    plain, paced = tmp_path / "plain.pcapng", tmp_path / "paced.pcapng"
    want = pf.replay(DEMO, hook_of(pf.load(PORTFW).program())[0], write=plain, comment=True)
    for speed, batch in ((FAST, 256), ("1x", 1), ("mbps:2000", 7)):
        hook, _ = hook_of(pf.load(PORTFW).program())
        got = pf.replay(
            DEMO, hook, write=paced, comment=True, speed=speed, batch=batch, workers=workers
        )
        assert (got.packets, got.bytes, got.actions) == (want.packets, want.bytes, want.actions)
        assert paced.read_bytes() == plain.read_bytes()


def test_swaps_stay_exact(tmp_path: Path) -> None:
    times = [n // 3 * 10 for n in range(600)]  # three at a time
    path = capture(tmp_path, timed_pcap(times))
    numbers = [0, 1, 7, 8, 300, 599, 900, 1199]
    for batch, workers in ((1, 1), (5, 1), (256, 1), (256, 2)):
        hook, link = hook_of(load_program(str(program(tmp_path, _returning(2), "r2.s")))[1])
        swaps = [
            (n, link, load_program(str(program(tmp_path, _returning(100 + k), f"s{k}.s")))[1])
            for k, n in enumerate(numbers)
        ]
        out = tmp_path / "out.pcapng"
        result = pf.replay(
            path, hook, swaps=swaps, speed="50x", loop=2, batch=batch, write=out, workers=workers,
            write_actions=tuple(pf.XDP),
        )  # fmt: skip
        assert [swap.first_packet for swap in result.swaps] == numbers
        want = []
        for packet in range(1200):
            passed = [k for k, n in enumerate(numbers) if n <= packet]
            want.append(100 + passed[-1] if passed else 2)
        assert retvals(out) == want


def _returning(value: int) -> str:
    return assembly("ret", f"r0 = {value}\nexit\n")


@pytest.mark.parametrize(
    ("speed", "scheduled_ns"),
    [
        ("1x", 30_000_000),
        ("2.5x", 12_000_000),
        ("pps:1000", 59_000_000),
        ("mbps:8", (59 * 20 + sum(n % 50 + n % 3 for n in range(59))) * 1000),
    ],
)
def test_the_schedule_of_a_capture(speed: str, scheduled_ns: int, tmp_path: Path) -> None:
    """Nothing comes before it is due, and what was scheduled is what was asked for."""
    times = [n * 500_000 for n in range(60)]
    times[59] = times[58] + 1_000_000
    path = capture(tmp_path, timed_pcap(times))
    result = pf.replay(path, pass_all(), speed=speed)
    timing = result.timing
    assert timing is not None
    assert timing.scheduled_s is not None
    assert timing.took_s is not None
    assert timing.scheduled_s == pytest.approx(scheduled_ns / 1e9, abs=1e-9)
    assert timing.took_s >= timing.scheduled_s
    assert result.elapsed_s >= timing.scheduled_s
    assert timing.achieved_pps == pytest.approx(59 / timing.took_s)
    assert (timing.asked_pps, timing.asked_mbps) == (
        1000 if speed == "pps:1000" else None, 8 if speed == "mbps:8" else None,
    )  # fmt: skip


def test_later_passes_are_paced_as_the_first(tmp_path: Path) -> None:
    path = capture(tmp_path, timed_pcap([0, 1_000_000, 2_000_000]))
    result = pf.replay(path, pass_all(), speed="1x", loop=10)
    assert result.timing is not None
    assert result.timing.scheduled_s == pytest.approx(0.029)


def test_inputs_years_apart_in_any_order(tmp_path: Path) -> None:
    old = capture(tmp_path, timed_pcap([1_000_000, 2_000_000]), "old.pcap")
    new = capture(
        tmp_path, timed_pcap([1_700_000_000 * SECOND, 1_700_000_000 * SECOND + 1000]), "new.pcap"
    )
    result = pf.replay([new, old], pass_all(), speed="1x")
    assert result.timing is not None
    assert result.timing.scheduled_s == pytest.approx(0.001001)
    assert (result.timing.steps_back, result.timing.gaps_shortened) == (1, 0)
    result = pf.replay([old, new], pass_all(), speed="1x", max_gap=0.005)
    assert result.timing is not None
    assert result.timing.scheduled_s == pytest.approx(0.006001)
    assert (result.timing.steps_back, result.timing.gaps_shortened) == (0, 1)


def test_a_program_is_replaced_while_packets_wait(tmp_path: Path) -> None:
    """The worker is offline meanwhile: the update does not wait for the next packet."""
    path = capture(tmp_path, timed_pcap([0, 1]))
    hook, link = hook_of(pf.load(PASS).program())
    given = threading.Event()
    replay = pf.Replay(
        path, hook, speed="pps:0.001", on_progress=lambda p: given.set() if p.packets else None
    )
    thread = threading.Thread(target=replay.run)
    thread.start()
    assert given.wait(60)
    for _ in range(20):
        link.update(pf.load(PORTFW).program(), timeout=60.0)
    assert thread.is_alive()
    replay.stop()
    thread.join(60)
    assert not thread.is_alive()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_wait(number: int, tmp_path: Path) -> None:
    path = capture(tmp_path, timed_pcap([0, 1, 2]))
    out = tmp_path / "out.pcap"
    process = start("replay", PASS, path, "--speed", "pps:0.001", "-w", out, "--json")
    assert process.stderr is not None
    assert b"control:" in process.stderr.readline()  # it has been running for a second
    process.send_signal(number)
    done = finish(process)
    assert done.code == 130
    assert done.json["packets"] == 1
    assert done.json["interrupted"]
    assert len(readers.walk(out).records) == 1


def test_a_paced_pipe_gets_packets_when_they_come(tmp_path: Path) -> None:
    path = capture(tmp_path, timed_pcap([0, 1]))
    process = start("replay", PASS, path, "--speed", "pps:0.001", "-w", "-")
    assert process.stdout is not None
    first = process.stdout.read(24 + 16 + 20)  # header and first packet
    assert first[-20:-16] == b"\0\0\0\0"
    process.send_signal(signal.SIGINT)
    assert finish(process).code == 130
