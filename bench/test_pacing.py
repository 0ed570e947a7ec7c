"""How close a timed replay onto an interface is to what was asked, by the receiver's clock; beside tcpreplay."""

from __future__ import annotations

import json
import os
import shutil
import socket
import statistics
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from measure import machine
from pytest_benchmark.fixture import BenchmarkFixture

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import readers
from commandline import COMMAND, ENVIRONMENT
from live_net import Net, namespace

from pktfilter.generate import generate

SECONDS = 2
ROUNDS = 3
LIMIT = 0.01
"""Of the rate that was asked for."""
SO_TIMESTAMPNS = 35
#: Speed, its option of tcpreplay, packets, and the capture's packets a second.
SPEEDS = {
    "1x": (["--multiplier=1"], 20_000),
    "0.5x": (["--multiplier=0.5"], 40_000),
    "pps:1000": (["--pps=1000"], 1_000_000),
    "pps:50000": (["--pps=50000"], 1_000_000),
    "mbps:100": (["--mbps=100"], 1_000_000),
}
_PER_SECOND = {
    "1x": 20_000,
    "0.5x": 20_000,
    "pps:1000": 1000,
    "pps:50000": 50_000,
    "mbps:100": 35_000,
}


@pytest.fixture
def net() -> Iterator[Net]:
    with namespace() as made:
        yield made


def due_ns(capture: Path, speed: str) -> list[float]:
    """When each packet is due after the first, from the capture alone."""
    records = readers.walk(capture).records
    kind, _, number = speed.partition(":")
    if kind == "pps":
        return [n * 1e9 / float(number) for n in range(len(records))]
    if kind == "mbps":
        due, bits = [], 0
        for record in records:
            due.append(bits * 1e3 / float(number))
            bits += 8 * record.orig_len
        return due
    factor = float(speed[:-1])
    return [(record.ts_ns - records[0].ts_ns) / factor for record in records]


def arrivals(wire: socket.socket, count: int) -> list[int]:
    """The kernel's times of the packets that wait in the socket."""
    wire.settimeout(2)
    times = []
    for _ in range(count):
        _, extra, _, _ = wire.recvmsg(16, 64)
        ((_, _, stamp),) = extra
        seconds, rest = struct.unpack("=qq", stamp)
        times.append(seconds * 10**9 + rest)
    return times


def _wire(net: Net) -> socket.socket:
    made = net.socket(socket.AF_PACKET, socket.SOCK_RAW)
    made.setsockopt(socket.SOL_SOCKET, 33, 1 << 29)  # SO_RCVBUFFORCE: nobody reads meanwhile
    made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    net.call(made.bind, ("a1", 3))
    return made


def _run(net: Net, arguments: list[str], count: int) -> tuple[list[int], str]:
    wire = _wire(net)
    cpus = range(os.cpu_count() or 1)
    done = net.call(
        subprocess.run, arguments, env=ENVIRONMENT, capture_output=True, text=True, check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cpus),
    )  # fmt: skip
    got = arrivals(wire, count)
    wire.close()
    return got, done.stdout


def _deviation(got: list[int], due: list[float]) -> dict[str, float]:
    """Rate over what was asked for, and how far from its time each packet came, in microseconds."""
    off = sorted(abs(at - got[0] - want) / 1e3 for at, want in zip(got, due, strict=True))
    return {
        "rate": due[-1] / (got[-1] - got[0]),
        "off_median_us": statistics.median(off),
        "off_p99_us": off[len(off) * 99 // 100],
        "off_max_us": off[-1],
    }


def _medians(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(row[name] for row in rows), 6) for name in rows[0]}


@pytest.mark.parametrize("speed", list(SPEEDS))
def test_the_rate_is_what_was_asked_for(
    benchmark: BenchmarkFixture, net: Net, tmp_path: Path, examples: Path, speed: str
) -> None:
    options, rate = SPEEDS[speed]
    count = _PER_SECOND[speed] * SECONDS
    capture = tmp_path / "in.pcap"
    generate(capture, packets=count, profile="imix_csit_v4_1", rate=rate)
    due = due_ns(capture, speed)
    ours = [*COMMAND, "replay", str(examples / "pass.o"), str(capture), "--inject", "a0"]
    ours += ["--speed", speed, "--json"]
    peer = shutil.which("tcpreplay")
    theirs = [] if peer is None else [peer, "-q", "-i", "a0", *options, str(capture)]
    mine, others, reports = [], [], []

    def once() -> None:
        got, report = _run(net, ours, count)
        mine.append(_deviation(got, due))
        reports.append(json.loads(report))
        if theirs:
            got, _ = _run(net, theirs, count)
            others.append(_deviation(got, due))

    benchmark.pedantic(once, rounds=ROUNDS)
    benchmark.extra_info.update(
        machine(),
        packets=count,
        limit=LIMIT,
        replay=_medians(mine),
        tcpreplay=_medians(others) if others else "not installed",
        late_p99_us=[report["timing"]["late_p99_us"] for report in reports],
        stalls=[report["timing"]["stalls"] for report in reports],
    )
    for report in reports:
        assert report["injected"]["sent"] == count
    assert abs(_medians(mine)["rate"] - 1) <= LIMIT, benchmark.extra_info
