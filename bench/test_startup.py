"""What a short command costs as a whole process, from its start to its end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from measure import Sample, alternate, machine
from pytest_benchmark.fixture import BenchmarkFixture

import pktfilter
from pktfilter.generate import generate

ROUNDS = 21
PACKETS = 10
LIMIT_S = 0.2
COMMAND = [
    sys.executable,
    "-c",
    "import sys; sys.argv[0] = 'pktfilter'; from pktfilter.__main__ import main; main()",
]


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A capture of ten packets."""
    path = tmp_path_factory.mktemp("small") / "ten.pcap"
    generate(path, packets=PACKETS, profile="64", seed=1)
    return path


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """As after an installation: modules are compiled, by the round that is dropped."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    own["PYTHONPATH"] = str(Path(pktfilter.__file__).parents[1])
    own["PYTHONPYCACHEPREFIX"] = str(tmp_path_factory.mktemp("modules"))
    own["PKTFILTER_CACHE"] = str(tmp_path_factory.mktemp("cache") / "compiled")
    return own


def _timed(command: list[str], environment: dict[str, str]) -> Callable[[], float]:
    """Wall seconds from before the start of the process until it was waited for."""

    def run() -> float:
        start = time.perf_counter()
        done = subprocess.run(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
        )
        took = time.perf_counter() - start
        assert done.returncode == 0, done.stderr
        return took

    return run


def _ms(sample: Sample) -> dict[str, float]:
    return {name: round(ns / 1e6, 1) for name, ns in sample.ns(1).items()}


@pytest.mark.parametrize("program", ["pass.o", "filter64.o"])
def test_replay_of_ten_packets(
    benchmark: BenchmarkFixture, small: Path, environment: dict[str, str], examples: Path,
    program: str,
) -> None:  # fmt: skip
    subject = _timed([*COMMAND, "replay", str(examples / program), str(small)], environment)
    plain = _timed([sys.executable, "-c", "pass"], environment)
    tcpdump = shutil.which("tcpdump")
    peer = [tcpdump, "-r", str(small), "-w", "/dev/null"] if tcpdump else None
    subjects = [subject, plain, *([_timed(peer, environment)] if peer else [])]
    whole, empty, *others = alternate(ROUNDS, *subjects)
    benchmark.pedantic(subject, rounds=5)
    benchmark.extra_info.update(
        machine(),
        rounds=ROUNDS,
        limit_s=LIMIT_S,
        replay_ms=_ms(whole),
        python_ms=_ms(empty),
        tcpdump_ms=_ms(others[0]) if others else "tcpdump is not installed",
    )
    assert _ms(whole)["median"] <= LIMIT_S * 1e3, benchmark.extra_info
