"""Measuring: alternating rounds of a subject and its peer, their medians and spread, and the machine."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHUNK = 256 << 10
"""Bytes per read(2), of pktfilter's reader and of the peer alike."""


@dataclass(frozen=True)
class Sample:
    """Seconds of every round, in order."""

    seconds: tuple[float, ...]

    def ns(self, per: int) -> dict[str, float]:
        """Nanoseconds of one of ``per`` equal parts: median, least, and quartiles."""
        values = [s * 1e9 / per for s in self.seconds]
        return _spread(values)


def _spread(values: list[float]) -> dict[str, float]:
    low, middle, high = statistics.quantiles(values, n=4)
    numbers = {"median": middle, "min": min(values), "q1": low, "q3": high}
    return {name: round(value, 3) for name, value in numbers.items()}


def difference_ns(subject: Sample, peer: Sample, per: int) -> dict[str, float]:
    """Of each round's pair: what the subject took more than the peer beside it."""
    pairs = zip(subject.seconds, peer.seconds, strict=True)
    return _spread([(a - b) * 1e9 / per for a, b in pairs])


def ratio(subject: Sample, peer: Sample) -> dict[str, float]:
    """Of each round's pair: subject over peer."""
    return _spread([a / b for a, b in zip(subject.seconds, peer.seconds, strict=True)])


def least_difference_ns(subject: Sample, peer: Sample, per: int) -> float:
    """Least of the subject less least of the peer: other load on the machine only ever adds."""
    return round((min(subject.seconds) - min(peer.seconds)) * 1e9 / per, 3)


def alternate(rounds: int, *subjects: Callable[[], float]) -> list[Sample]:
    """Runs every subject once per round, so that a slow moment of the machine touches all.

    A subject returns the seconds it took. One round before the first warms caches and is dropped.
    """
    taken: list[list[float]] = [[] for _ in subjects]
    for index in range(rounds + 1):
        for subject, times in zip(subjects, taken, strict=True):
            seconds = subject()
            if index:
                times.append(seconds)
    return [Sample(tuple(times)) for times in taken]


def read_file(path: Path) -> float:
    """Processor seconds of read(2) over the whole file into one buffer of a chunk."""
    buffer = bytearray(CHUNK)
    with open(path, "rb", buffering=0) as file:
        start = time.process_time()
        while file.readinto(buffer):
            pass
        return time.process_time() - start


def machine() -> dict[str, Any]:
    """What the figures depend on: processor, its flags, kernel, interpreter, compiler, load."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    info = {key.strip(): value.strip() for key, value in fields.items()}
    compiler = subprocess.run(["cc", "--version"], capture_output=True, text=True, check=False)
    return {
        "processor": info.get("model name", platform.processor()),
        "mhz": info.get("cpu MHz", ""),
        "cpu_flags": info.get("flags", ""),
        "cpus": os.cpu_count(),
        "pinned_to": sorted(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "compiler": compiler.stdout.splitlines()[0] if compiler.stdout else "",
        "load_1min": os.getloadavg()[0],
    }
