"""Two or more runs compared: what changed, and whether it means anything.

Rounds of one run resemble each other more than they resemble those of another run, on another day: the
machine drifts. So three things must come together before a change is called one (stats.verdict): a
bootstrap interval of new / old that excludes 1; a Mann-Whitney test, Holm-corrected over all series
compared, below 5 %; and more difference than both 2 % and the drift of the machine, as told by what did not
change: a fixed computation measured beside every round, and the peers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from .model import Benchmark, Run
from .stats import Interval, Verdict, holm, mann_whitney, ratio_interval, verdict


@dataclass(frozen=True)
class Change:
    """One series in two runs, each net of its baseline where it has one."""

    benchmark: str
    title: str
    series: str
    unit: str
    old: float
    new: float
    change: Interval
    p: float
    drift: float
    verdict: Verdict


@dataclass(frozen=True)
class Comparison:
    """Two runs; `reason` says why nothing can be compared."""

    old: Run
    new: Run
    changes: list[Change]
    drift: float
    reason: str = ""


def _apart(before: Sequence[float], after: Sequence[float]) -> float:
    """By how much two samples of what did not change differ: |log| of the ratio of medians, as a share."""
    if not before or not after or median(before) <= 0 or median(after) <= 0:
        return 0.0
    return math.exp(abs(math.log(median(after) / median(before)))) - 1


def _drift(old: Benchmark, new: Benchmark, everywhere: float) -> float:
    """By how much the machine ran differently, judged by what did not change: the fixed computation, and
    the peers in this benchmark, or `everywhere` where it has none."""
    peers = [
        _apart(before.values, after.values)
        for after in new.series
        if after.role == "peer" and (before := old.find(after.name)) is not None
    ]
    return max(_apart(old.calibration_ns, new.calibration_ns), *(peers or [everywhere]))


def _everywhere(old: Run, new: Run) -> float:
    """The median drift of all peers that both runs measured."""
    found = [
        _apart(first.values, second.values)
        for after in new.benchmarks
        if (before := old.find(after.id)) is not None
        for second in after.series
        if second.role == "peer" and (first := before.find(second.name)) is not None
    ]
    return median(found or [0.0])


def compare(old: Run, new: Run) -> Comparison:
    """Every subject that both runs measured in the same unit."""
    mine, other = new.machine.get("processor"), old.machine.get("processor")
    if mine != other:
        return Comparison(
            old, new, [], 0.0, f"the processors differ ({other or 'unknown'}; {mine or 'unknown'})"
        )
    found: list[tuple[Benchmark, Benchmark, str, list[float], list[float], Interval]] = []
    for after in new.benchmarks:
        before = old.find(after.id)
        if before is None or before.unit != after.unit:
            continue
        for series in after.series:
            if series.role != "subject" or before.find(series.name) is None:
                continue
            a, b = before.net(series.name) or [], after.net(series.name) or []
            interval = ratio_interval(b, a, paired=False)
            if interval is not None:
                found.append((before, after, series.name, a, b, interval))
    values = holm([mann_whitney(a, b) for _, _, _, a, b, _ in found])
    everywhere = _everywhere(old, new)
    changes = []
    for (before, after, name, a, b, interval), p in zip(found, values, strict=True):
        drift = _drift(before, after, everywhere)
        says = verdict(interval, p, drift, higher_is_better=after.higher)
        changes.append(
            Change(
                after.id,
                after.title,
                name,
                after.unit,
                median(a),
                median(b),
                interval,
                p,
                drift,
                says,
            )
        )
    reason = "" if changes else "they have no series in common"
    return Comparison(old, new, changes, median([c.drift for c in changes] or [0.0]), reason)


def history(runs: list[Run]) -> list[Comparison]:
    """Each run with the one before it, in the given order."""
    return [compare(old, new) for old, new in pairwise(runs)]
