"""Captures for the benchmarks, made once per run, and one CPU for all of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from pktfilter.benchmarks.runner import Session
from pktfilter.generate import generate

MILLIONS = 1_000_000


@pytest.fixture(scope="session", autouse=True)
def one_cpu() -> Iterator[int]:
    """Pins the process, and the children it starts, to the last CPU it may use."""
    allowed = os.sched_getaffinity(0)
    cpu = max(allowed)
    os.sched_setaffinity(0, {cpu})
    yield cpu
    os.sched_setaffinity(0, allowed)


@pytest.fixture(scope="session")
def examples() -> Path:
    return Path(__file__).parent.parent / "examples"


@pytest.fixture(scope="session")
def captures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """2 M packets of 64 bytes on the wire (60 captured), and of IMIX; removed at the end."""
    folder = tmp_path_factory.mktemp("captures")
    files = {profile: folder / f"{profile}.pcap" for profile in ("64", "imix_csit_v4_1")}
    for profile, path in files.items():
        generate(path, packets=2 * MILLIONS, profile=profile, seed=1)
    yield files
    for path in files.values():
        path.unlink()


@pytest.fixture
def big_capture(tmp_path: Path) -> Iterator[Path]:
    """20 M packets of 64 bytes: 1.5 GB, removed at once."""
    path = tmp_path / "big.pcap"
    generate(path, packets=20 * MILLIONS, profile="64", seed=1)
    yield path
    path.unlink()


@pytest.fixture
def session(examples: Path, tmp_path: Path) -> Iterator[Session]:
    """What `pktfilter bench` runs in; 2 M packets, 15 rounds."""
    with Session(examples=examples, folder=tmp_path) as session:
        yield session
