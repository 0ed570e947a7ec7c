"""Timed replay: speeds and times as a user writes them, what is refused, and what is reported."""

from __future__ import annotations

import json
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from commandline import DEMO, PASS, run
from test_replay import capture, pass_all
from test_timed import SECOND, timed_pcap

import pktfilter as pf
from pktfilter.session.options import MAX_GAP
from pktfilter.session.spans import Bound, Speed, parse_speed, parse_time


@pytest.mark.parametrize(
    ("text", "kind", "rate"),
    [
        ("1x", "time", 10**9),
        ("0.5x", "time", 5 * 10**8),
        ("0.0000002x", "time", 200),
        ("1000x", "time", 10**12),
        ("pps:3", "packets", 3 * 10**9),
        ("pps:0.25", "packets", 25 * 10**7),
        ("mbps:9.6", "mbits", 9_600_000_000),
        ("mbps:100000", "mbits", 10**14),
        ("1.0000000004x", "time", 10**9),
        ("1.0000000005x", "time", 10**9 + 1),
    ],
)
def test_speeds(text: str, kind: str, rate: int) -> None:
    assert parse_speed(text) == Speed(kind, rate)


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "1", "-1x", "0x", "0.0000000001x", "1 x", "1e3x", "٣x", "pps:", "pps:0", "pps:-1", "kpps:1",
        "mbps:99999999999", "MAX", "max ", "1x1", "pps:1x", "1.x", ".5x", "9" * 40 + "x",
    ],
)  # fmt: skip
def test_speeds_that_are_none(text: str) -> None:
    done = run("replay", PASS, DEMO, f"--speed={text}", code=2)
    assert "speed" in done.error
    with pytest.raises(pf.InputError):
        pf.replay(DEMO, pass_all(), speed=text)


UTC = timezone.utc
NOON = 1_769_860_800 * SECOND  # 2026-01-31T12:00:00Z


@pytest.mark.parametrize(
    ("value", "want"),
    [
        ("2026-01-31T12:00:00Z", Bound(NOON)),
        ("2026-01-31 12:00", Bound(NOON)),
        ("2026-01-31T13:00+01:00", Bound(NOON)),
        ("2026-01-31T06:30:00-0530", Bound(NOON)),
        ("2026-01-31T12:00:00.123456789Z", Bound(NOON + 123456789)),
        ("2026-01-31T12:00:00,5", Bound(NOON + 5 * 10**8)),
        ("2026-01-31", Bound(NOON - 12 * 3600 * SECOND)),
        ("1969-12-31T23:59:59.9Z", Bound(-(10**8))),
        ("1769860800", Bound(NOON)),
        ("1769860800.000000001", Bound(NOON + 1)),
        ("-1.5", Bound(-15 * 10**8)),
        ("+0", Bound(0, True)),
        ("+2.25", Bound(225 * 10**7, True)),
        (1769860800, Bound(NOON)),
        (1769860800.5, Bound(NOON + 5 * 10**8)),
        (-0.5, Bound(-5 * 10**8)),
        (datetime(2026, 1, 31, 12), Bound(NOON)),
        (datetime(2026, 1, 31, 13, tzinfo=timezone(timedelta(hours=1))), Bound(NOON)),
        (datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), Bound(-1000)),
        (timedelta(days=1, microseconds=1), Bound(86400 * SECOND + 1000, True)),
        (timedelta(seconds=-1), Bound(-SECOND, True)),
    ],
)
def test_times(value: str | int | float | datetime | timedelta, want: Bound) -> None:
    assert parse_time(value, "the time") == want


@pytest.mark.parametrize(
    "text",
    [
        "", "noon", "2026-02-30", "2026-01-31T24:00", "2026-01-31T12:60", "2026-01-31T12:00:00+24:00", "1e9",
        "+-1", "++1", "2026-1-31", "2026-01-31T12", "99999999999", "nan", "inf", "9" * 20, "2500-01-01",
    ],
)  # fmt: skip
def test_times_that_are_none(text: str) -> None:
    for option in ("--from", "--to"):
        done = run("replay", PASS, DEMO, f"{option}={text}", code=2)
        assert "time" in done.error


@pytest.mark.parametrize(
    "options",
    [
        {"speed": 1}, {"loop": -1}, {"loop": 1.5}, {"loop": True}, {"limit": 0}, {"limit": -3},
        {"from_time": 5, "to_time": 5}, {"from_time": "+5", "to_time": "+4"}, {"from_time": [1]},
        {"from_time": float("nan")}, {"to_time": 1 << 70}, {"max_gap": 0}, {"max_gap": -1.0},
        {"max_gap": float("nan")}, {"max_gap": 1e30}, {"inject": "no such interface"},
    ],
)  # fmt: skip
def test_options_that_cannot_be(options: dict[str, object]) -> None:
    with pytest.raises((pf.InputError, TypeError)) as caught:
        pf.replay(DEMO, pass_all(), **options)
    assert str(caught.value)


def test_usage_of_the_command() -> None:
    for options in (
        ["--loop=-1"], ["--loop=many"], ["--limit=0"], ["--max-gap=0"], ["--max-gap=soon"],
        ["--from=10", "--to=9"],
    ):  # fmt: skip
        run("replay", PASS, DEMO, *options, code=2)
    assert run("replay", PASS, DEMO, "--max-gap", "none", "--limit", "1").code == 0


def test_the_report() -> None:
    plain = run("replay", PASS, DEMO, "--json").json
    assert plain["timing"] is None
    assert plain["injected"] is None
    done = run(
        "replay", PASS, DEMO, "--speed", "mbps:500", "--loop", "2", "--from", "+0", "--json"
    ).json
    timing = done["timing"]
    assert done["packets"] == 2 * plain["packets"]
    assert (timing["speed"], timing["asked_mbps"], timing["asked_pps"]) == ("mbps:500", 500, None)
    assert timing["passes"] == 2
    assert 0 <= timing["late_median_us"] <= timing["late_p99_us"] <= timing["late_max_us"]
    assert timing["achieved_mbps"] > 0
    text = run("replay", PASS, DEMO, "--speed", "mbps:500", "--limit", "100").text
    assert "of 500 Mbit/s asked for" in text
    assert "late: median" in text
    text = run("replay", PASS, DEMO, "--from", "+100").text
    assert "2,000 packets were outside of the span" in text


def test_the_default_pause_is_the_documented_one(tmp_path: Path) -> None:
    """A packet a year ahead comes after 60 s of capture time; here at a speed at which that is short."""
    path = capture(tmp_path, timed_pcap([0, 10, 365 * 86400 * SECOND, 20]))
    result = pf.replay(path, pass_all(), speed="10000x")
    assert result.timing is not None
    assert result.timing.scheduled_s == pytest.approx(MAX_GAP / 10000 + 1e-12, abs=1e-8)
    assert result.timing.gaps_shortened == 1
    assert json.dumps(result.to_json())


def test_a_stopped_replay_says_how_far_it_came(tmp_path: Path) -> None:
    path = capture(tmp_path, timed_pcap([0, 1]))
    replay = pf.Replay(path, pass_all(), speed="pps:0.001", on_progress=lambda _: replay.stop())
    before = time.monotonic()
    result = replay.run()
    assert result.interrupted
    assert result.packets == 1
    assert time.monotonic() > before
    assert result.timing is not None
    assert result.timing.achieved_pps is None
