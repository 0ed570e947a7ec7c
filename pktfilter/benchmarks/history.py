"""Two or more runs compared: what changed, and whether it means anything.

Rounds of one run resemble each other more than they resemble those of another run, on another day: the
machine drifts. So three things must come together before a change is called one (stats.verdict): a
bootstrap interval of new / old that excludes 1; a Mann-Whitney test, Holm-corrected over all series
compared, below 5 %; and more difference than both 2 % and the drift of the machine, which a fixed
computation measured beside every round tells.
"""

from __future__ import annotations

import math
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


def _drift(old: Benchmark, new: Benchmark) -> float:
    """By how much the machine ran differently: |log| of the ratio of calibrations, as a share."""
    if not old.calibration_ns or not new.calibration_ns:
        return 0.0
    before, after = median(old.calibration_ns), median(new.calibration_ns)
    if before <= 0 or after <= 0:
        return 0.0
    return math.exp(abs(math.log(after / before))) - 1


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
    changes = []
    for (before, after, name, a, b, interval), p in zip(found, values, strict=True):
        drift = _drift(before, after)
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
