"""Results as text for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import view
from .model import Run
from .stats import summary

if TYPE_CHECKING:
    from rich.console import RenderableType


def _series(run: Run, group: str) -> RenderableType:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("benchmark", "series"):
        table.add_column(title, no_wrap=True)
    for title in ("net", "median", "baseline", "least", "spread", "rounds"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    for benchmark in view.groups(run)[group]:
        label = benchmark.id.split("/", 1)[-1] + (" (partial)" if benchmark.partial else "")
        for series in benchmark.series:
            if series.role == "baseline":
                continue
            whole, net = summary(series.values), view.net_summary(benchmark, series.name)
            base = benchmark.find(series.baseline or "")
            table.add_row(
                label,
                series.name,
                view.amount(net.median) if net else "-",
                view.amount(whole.median),
                view.amount(summary(base.values).median) if base else "-",
                view.amount(whole.least),
                f"{whole.spread:.0%}",
                str(whole.count),
                benchmark.unit,
            )
            label = ""
    return table


def _ratios(run: Run) -> RenderableType:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("benchmark", "ratio"):
        table.add_column(title, no_wrap=True)
    for title in ("", "95 % interval", "limit"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for row in view.ratio_rows(run):
        limit = "" if row.ratio.limit is None else view.amount(row.ratio.limit)
        table.add_row(
            row.benchmark.id,
            row.what,
            view.share(row.interval.value),
            f"{view.share(row.interval.low)} to {view.share(row.interval.high)}",
            limit,
            {None: "", True: "holds", False: "exceeded"}[row.holds],
        )
    return table


def run_table(run: Run) -> RenderableType:
    """Ratios first, then every series by group, limits, what was skipped, warnings."""
    from rich.console import Group

    parts: list[RenderableType] = []
    if any(True for _ in view.ratio_rows(run)):
        parts += ["ratios: time of the left over time of the right", "", _ratios(run), ""]
    for group in view.groups(run):
        parts += [group, "", _series(run, group), ""]
    for row in view.bound_rows(run):
        parts.append(
            f"{row.benchmark.id}: {row.what}: {view.amount(row.value)} {row.benchmark.unit}, limit "
            f"{view.amount(row.bound.limit)}: {'holds' if row.holds else 'exceeded'}"
        )
    for where, what, why in view.skips(run):
        parts.append(f"skipped: {where}{', ' + what if what else ''}: {why}")
    parts += [f"warning: {text}" for text in run.warnings]
    return Group(*parts)
