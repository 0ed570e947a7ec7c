"""`pktfilter replay 'pcap:...' F -w /dev/null` beside `tcpdump -r F -w /dev/null` with the same expression.

Whole processes, wall time, in turn. The slope is the difference between 10 M and 2 M packets over 8 M, round by
round; so what it costs to start is in neither. The captures take 0.75 and 3.8 GB.

Sizes are those of IMIX (7 frames of 64 bytes, 4 of 570, 1 of 1,518). "half match": TCP and UDP, every
other packet is what the expression looks for. "all match": each one is. The limits are for both.
"none match": generated IMIX, all of it UDP, of which both programs read the headers and write
nothing; there the time is that of reading the file, which is the same for both.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest
from measure import alternate, machine, ratio
from pytest_benchmark.fixture import BenchmarkFixture

from pktfilter.benchmarks.expression_traffic import write_matching
from pktfilter.benchmarks.groups_io import EXPRESSION, command, pktfilter_command
from pktfilter.errors import PktfilterError
from pktfilter.generate import generate

MILLIONS = 1_000_000
SMALL, LARGE = 2 * MILLIONS, 10 * MILLIONS
ROUNDS = 10
SLOPE, WHOLE = 0.25, 0.5
EVERY = {"all match": 1, "half match": 2}
#: Of the larger capture, and as much again for the page cache to hold it.
BYTES_PER_PACKET = 380


@pytest.fixture(scope="module", params=["all match", "half match", "none match"])
def two_captures(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path, Path]]:
    folder = tmp_path_factory.mktemp("tcpdump")
    need = (SMALL + LARGE) * BYTES_PER_PACKET
    lines = Path("/proc/meminfo").read_text().splitlines()
    memory = next(int(line.split()[1]) * 1024 for line in lines if "MemAvailable" in line)
    if shutil.disk_usage(folder).free < 2 * need or memory < need:
        pytest.skip(f"{need / 1e9:.0f} GB of disk and of free memory are needed")
    paths = (folder / "small.pcap", folder / "large.pcap")
    for path, packets in zip(paths, (SMALL, LARGE), strict=True):
        if request.param in EVERY:
            write_matching(path, packets, EVERY[request.param])
        else:
            generate(path, packets=packets, profile="imix_csit_v4_1", seed=1)
    yield (request.param, *paths)
    for path in paths:
        path.unlink()


@pytest.mark.timeout(3600)
def test_expression_against_tcpdump(
    benchmark: BenchmarkFixture, two_captures: tuple[str, Path, Path]
) -> None:
    if shutil.which("tcpdump") is None:
        pytest.skip("tcpdump is not installed")

    def ours(path: Path) -> float:
        arguments = ("replay", f"pcap:{EXPRESSION}", str(path), "-w", os.devnull)
        return pktfilter_command(*arguments)(1) / 1e9

    def theirs(path: Path) -> float:
        arguments = ("tcpdump", "-r", str(path), "-w", os.devnull, EXPRESSION)
        return command(*arguments)(1) / 1e9

    traffic, small, large = two_captures
    try:
        ours(small)
    except PktfilterError as error:
        pytest.skip(str(error))
    ours_2, theirs_2, ours_10, theirs_10 = alternate(
        ROUNDS,
        lambda: ours(small),
        lambda: theirs(small),
        lambda: ours(large),
        lambda: theirs(large),
    )
    benchmark.pedantic(ours, args=(small,), rounds=1)
    span = LARGE - SMALL
    slopes = [
        [(b - a) / span * 1e9 for a, b in zip(few.seconds, many.seconds, strict=True)]
        for few, many in ((ours_2, ours_10), (theirs_2, theirs_10))
    ]
    slope = median(slopes[0]) / median(slopes[1])
    whole = median(ours_2.seconds) / median(theirs_2.seconds)
    benchmark.extra_info.update(
        machine(),
        rounds=ROUNDS,
        traffic=traffic,
        expression=EXPRESSION,
        slope_ns={"ours": round(median(slopes[0]), 2), "tcpdump": round(median(slopes[1]), 2)},
        slope_ratio=round(slope, 4),
        whole_s={"ours": median(ours_2.seconds), "tcpdump": median(theirs_2.seconds)},
        whole_ratio=round(whole, 4),
        whole_ratio_by_round=ratio(ours_2, theirs_2),
    )
    print(benchmark.extra_info)
    if traffic in EVERY:
        assert slope <= SLOPE
        assert whole <= WHOLE
