"""What every presentation of results shares: numbers in words, rows of ratios, bounds that hold or not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .model import Benchmark, Bound, Ratio, Run
from .stats import Interval, Summary, ratio_interval, summary

#: Share of the baseline below which a net figure is no more than its noise.
LEAST_NET = 0.05


def amount(value: float) -> str:
    """Three significant digits, thousands set apart: 0.0123, 4.31, 215, 12,400."""
    size = abs(value)
    if size >= 1000:
        digits = len(str(int(size))) - 3
        return f"{round(value, -digits):,.0f}"
    if size >= 100:
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}"
    if size >= 0.1 or size == 0:
        return f"{value:.2f}"
    return f"{value:.3g}"


def share(ratio: float) -> str:
    """A ratio in three digits, small ones as one over so many: 0.64, 1/233."""
    return amount(ratio) if ratio >= 0.1 else f"1/{amount(1 / ratio)}" if ratio > 0 else "0"


def title(benchmark: Benchmark) -> str:
    """Its title as a heading has it."""
    return benchmark.title[:1].upper() + benchmark.title[1:]


def times(ratio: float) -> str:
    """A ratio below 1 as a reader says it: 2.5 times as fast; above 1, as slow."""
    if 0.98 <= ratio <= 1.02:
        return "the same"
    factor, word = (1 / ratio, "fast") if ratio < 1 else (ratio, "slow")
    return f"{amount(factor)} times as {word}"


@dataclass(frozen=True)
class RatioRow:
    """A ratio with its interval. `holds`: within its limit, None where there is none."""

    benchmark: Benchmark
    ratio: Ratio
    interval: Interval

    @property
    def holds(self) -> bool | None:
        """Whether the median keeps the limit."""
        return None if self.ratio.limit is None else self.interval.value <= self.ratio.limit

    @property
    def says(self) -> str:
        """The ratio as a reader says it; nothing where the interval has 1 in it."""
        sure = not self.interval.low <= 1 <= self.interval.high
        return times(self.interval.value) if sure else "no sure difference"

    @property
    def first(self) -> bool:
        """Whether it stands beside a peer or has a limit, rather than tier beside tier."""
        peer = self.benchmark.find(self.ratio.under)
        return self.ratio.limit is not None or (peer is not None and peer.role == "peer")

    @property
    def what(self) -> str:
        """Names of both sides."""
        return f"{self.ratio.over} / {self.ratio.under}{', net' if self.ratio.net else ''}"


@dataclass(frozen=True)
class BoundRow:
    """A limit on a median, and whether it holds."""

    benchmark: Benchmark
    bound: Bound
    value: float

    @property
    def holds(self) -> bool:
        """Whether the median keeps the limit."""
        return self.value <= self.bound.limit

    @property
    def what(self) -> str:
        """The series, and what is taken off."""
        return self.bound.series + (f" less {self.bound.minus}" if self.bound.minus else "")


def ratio_rows(run: Run) -> Iterator[RatioRow]:
    """Every ratio that can be formed, those for a first look before the others."""
    rows = [
        RatioRow(benchmark, ratio, interval)
        for benchmark in run.benchmarks
        for ratio in benchmark.ratios
        if (interval := _interval(benchmark, ratio)) is not None
    ]
    yield from sorted(rows, key=lambda row: not row.ratio.main)


def _interval(benchmark: Benchmark, ratio: Ratio) -> Interval | None:
    over = benchmark.values(ratio.over, net=ratio.net)
    under = benchmark.values(ratio.under, net=ratio.net)
    if over is None or under is None:
        return None
    if ratio.net and (_nothing(benchmark, ratio.over) or _nothing(benchmark, ratio.under)):
        return None
    if benchmark.higher:
        over, under = under, over
    return ratio_interval(over, under, paired=True)


def _nothing(benchmark: Benchmark, name: str) -> bool:
    """Whether what is left net of the baseline is too little of it to be put into a ratio."""
    series, net = benchmark.find(name), benchmark.net(name)
    base = benchmark.find(series.baseline) if series and series.baseline else None
    if base is None or not net:
        return False
    return summary(net).median < LEAST_NET * summary(base.values).median


def bound_rows(run: Run) -> Iterator[BoundRow]:
    """Every limit on a median."""
    for benchmark in run.benchmarks:
        for bound in benchmark.bounds:
            values = benchmark.values(bound.series, net=False) or []
            if bound.minus is not None:
                less = benchmark.values(bound.minus, net=False) or []
                values = [a - b for a, b in zip(values, less, strict=True)]
            if values:
                yield BoundRow(benchmark, bound, summary(values).median)


def net_summary(benchmark: Benchmark, name: str) -> Summary | None:
    """Of a series less its baseline; None where it has none."""
    series = benchmark.find(name)
    if series is None or series.baseline is None:
        return None
    values = benchmark.net(name)
    return summary(values) if values else None


def rounds(benchmark: Benchmark) -> int:
    """Rounds measured."""
    return min((len(series.values) for series in benchmark.series), default=0)


def groups(run: Run) -> dict[str, list[Benchmark]]:
    """Benchmarks by group, in the order in which they were measured."""
    found: dict[str, list[Benchmark]] = {}
    for benchmark in run.benchmarks:
        found.setdefault(benchmark.group, []).append(benchmark)
    return found


def skips(run: Run) -> list[tuple[str, str, str]]:
    """(benchmark or group, what was skipped, why), equal reasons once."""
    rows = [(one.name, "", one.reason) for one in run.skipped]
    rows += [(b.id, one.name, one.reason) for b in run.benchmarks for one in b.skipped]
    merged: dict[tuple[str, str, str], list[str]] = {}
    for where, what, why in rows:
        merged.setdefault((where.split("/")[0] if what else where, what, why), []).append(where)
    return list(merged)
