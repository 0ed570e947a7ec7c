"""Statistics of rounds: medians, bootstrap intervals of ratios, the Mann-Whitney test, and verdicts.

Nothing here assumes a normal distribution: times are skewed, since other load on the machine only ever adds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

RESAMPLES = 4000
CONFIDENCE = 0.95
#: A difference below this is no change, however certain: two builds of the same source differ by as much.
SMALLEST = 0.02
#: Most pairs of an exact Mann-Whitney distribution; above, its normal approximation.
_EXACT_PAIRS = 2500

Verdict = Literal["faster", "slower", "no change", "not comparable"]


@dataclass(frozen=True)
class Interval:
    """An estimate and its confidence interval (95 %, percentile bootstrap)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Summary:
    """Of one series: quartiles, extremes, and the spread as interquartile range over median."""

    count: int
    median: float
    q1: float
    q3: float
    least: float
    most: float

    @property
    def spread(self) -> float:
        """Interquartile range over median; 0 where the median is 0."""
        return (self.q3 - self.q1) / abs(self.median) if self.median else 0.0


def quantile(values: Sequence[float], part: float) -> float:
    """The quantile by linear interpolation between order statistics; `part` from 0 to 1."""
    ordered = sorted(values)
    place = part * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def summary(values: Sequence[float]) -> Summary:
    """Raises ValueError without values."""
    if not values:
        raise ValueError("a summary needs values")
    return Summary(
        len(values),
        median(values),
        quantile(values, 0.25),
        quantile(values, 0.75),
        min(values),
        max(values),
    )


def ratio_interval(
    over: Sequence[float], under: Sequence[float], *, paired: bool, seed: int = 1
) -> Interval | None:
    """median(over) / median(under) with its interval; None where a median is not positive, or no number
    holds the ratio.

    `paired`: rounds of one run, resampled together, so that what touched both touches both in every
    resample. Otherwise two runs, resampled apart. Percentile bootstrap with `RESAMPLES` resamples.
    """
    import numpy as np

    if not over or not under or median(under) <= 0 or median(over) <= 0:
        return None
    if paired and len(over) != len(under):
        raise ValueError("paired series have the same number of rounds")
    random = np.random.default_rng(seed)
    a, b = np.asarray(over, float), np.asarray(under, float)
    picks_a = random.integers(0, len(a), (RESAMPLES, len(a)))
    picks_b = picks_a if paired else random.integers(0, len(b), (RESAMPLES, len(b)))
    top, bottom = np.median(a[picks_a], axis=1), np.median(b[picks_b], axis=1)
    usable = bottom > 0
    with np.errstate(over="ignore"):
        ratios = top[usable] / bottom[usable]
    ratios = ratios[np.isfinite(ratios)]
    ratio = median(over) / median(under)
    if not len(ratios) or not math.isfinite(ratio):
        return None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(ratios, (tail, 1 - tail))
    return Interval(ratio, float(low), float(high))


def _counts(n: int, m: int) -> list[int]:
    """How many of the orders of n and m different values have U = 0, 1, 2...: the Gaussian binomial."""
    size = n * m + 1
    counts = [1] + [0] * (size - 1)
    # Product over i of (1 - q^(m+i)) / (1 - q^i), cut at q^(n m): every step is exact in integers.
    for i in range(1, n + 1):
        step = m + i
        for k in range(size - 1, step - 1, -1):
            counts[k] -= counts[k - step]
        for k in range(i, size):
            counts[k] += counts[k - i]
    return counts


def mann_whitney(a: Sequence[float], b: Sequence[float]) -> float:
    """Two-sided p-value of the Mann-Whitney U test: both samples come from one distribution.

    Exact where no values are equal and the samples are small, else the normal approximation with
    corrections for ties and continuity.
    """
    n, m = len(a), len(b)
    if not n or not m:
        return 1.0
    both = sorted([(value, 0) for value in a] + [(value, 1) for value in b])
    ranks_a, ties, at = 0.0, 0.0, 0
    while at < len(both):
        end = at
        while end < len(both) and both[end][0] == both[at][0]:
            end += 1
        rank = (at + end + 1) / 2
        ranks_a += rank * sum(1 for _, which in both[at:end] if which == 0)
        ties += (end - at) ** 3 - (end - at)
        at = end
    u = ranks_a - n * (n + 1) / 2
    if ties == 0 and n * m <= _EXACT_PAIRS:
        counts = _counts(n, m)
        small = int(min(u, n * m - u))
        return min(1.0, 2 * sum(counts[: small + 1]) / math.comb(n + m, n))
    total = n + m
    variance = n * m / 12 * (total + 1 - ties / (total * (total - 1)))
    if variance <= 0:
        return 1.0
    distance = max(0.0, abs(u - n * m / 2) - 0.5)
    return math.erfc(distance / math.sqrt(2 * variance))


def holm(values: Sequence[float]) -> list[float]:
    """Holm's correction: p-values of a family of tests, adjusted, in the given order."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    adjusted, largest = [0.0] * len(values), 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, values[index] * (len(values) - place)))
        adjusted[index] = largest
    return adjusted


def verdict(change: Interval, p: float, drift: float, *, higher_is_better: bool = False) -> Verdict:
    """What a change new / old means: nothing, unless three things say otherwise.

    The interval excludes 1; the test (already corrected for the number of tests) is below 5 %; and the
    change exceeds both `SMALLEST` and `drift`, by which the machine itself ran differently.
    """
    sure = (change.low > 1 or change.high < 1) and p < 1 - CONFIDENCE
    if not sure or abs(math.log(change.value)) <= math.log1p(max(SMALLEST, drift)):
        return "no change"
    return "faster" if (change.value < 1) != higher_is_better else "slower"
