"""The report as Markdown: the same figures without pictures."""

from __future__ import annotations

from collections.abc import Sequence

from . import view
from .groups_names import TITLES
from .history import history
from .methods import METHODS
from .model import Run
from .stats import summary


def _safe(text: str) -> str:
    """Text that cannot end a cell, begin HTML or be read as markup."""
    text = " ".join(text.splitlines())
    out = "".join("\\" + c if c in "\\`*_{}[]|#" else c for c in text)
    return out.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A heading that ends with ":" is a column of numbers."""
    rule = ["---:" if title.endswith(":") else "---" for title in head]
    lines = [[title.rstrip(":") for title in head], rule, *rows]
    return ["| " + " | ".join(line) + " |" for line in lines] + [""]


def _holds(holds: bool | None) -> str:
    return {None: "", True: "holds", False: "**exceeded**"}[holds]


def markdown(runs: Sequence[Run]) -> str:
    """The last run in full, and how each differs from the one before it."""
    run = runs[-1]
    lines = [f"# pktfilter benchmarks: {_safe(run.name)}", ""]
    place = [run.machine.get(key, "") for key in ("processor", "kernel")]
    lines += [_safe(", ".join([run.created, *filter(None, place)])), ""]
    lines += [f"> {_safe(text)}\n" for text in run.warnings]
    if not run.complete:
        lines += ["> interrupted: not everything was measured\n"]
    ratios = list(view.ratio_rows(run))
    if ratios:
        lines += ["## Ratios", "", "Time of the left over time of the right.", ""]
        lines += _table(
            ("benchmark", "ratio", "median:", "95 % interval:", "limit:", ""),
            [
                (
                    _safe(row.benchmark.id), _safe(row.what), view.share(row.interval.value),
                    f"{view.share(row.interval.low)} to {view.share(row.interval.high)}",
                    "" if row.ratio.limit is None else view.amount(row.ratio.limit), _holds(row.holds),
                )
                for row in ratios
            ],
        )  # fmt: skip
    bounds = list(view.bound_rows(run))
    if bounds:
        lines += ["## Limits", ""]
        lines += _table(
            ("benchmark", "series", "measured:", "limit:", "unit", ""),
            [
                (
                    _safe(row.benchmark.id), _safe(row.what), view.amount(row.value),
                    view.amount(row.bound.limit), _safe(row.benchmark.unit), _holds(row.holds),
                )
                for row in bounds
            ],
        )  # fmt: skip
    for found in history(list(runs)):
        lines += [f"## {_safe(found.old.name)} to {_safe(found.new.name)}", ""]
        if found.reason:
            lines += [f"Not comparable: {_safe(found.reason)}.", ""]
            continue
        lines += _table(
            ("benchmark", "series", "old:", "new:", "unit", "change:", "95 % interval:", "p:", "drift:", "verdict"),
            [
                (
                    _safe(c.benchmark), _safe(c.series), view.amount(c.old), view.amount(c.new), _safe(c.unit),
                    f"{c.change.value - 1:+.1%}", f"{c.change.low - 1:+.1%} to {c.change.high - 1:+.1%}",
                    f"{c.p:.2g}", f"{c.drift:.1%}", c.verdict,
                )
                for c in found.changes
            ],
        )  # fmt: skip
    for name, benchmarks in view.groups(run).items():
        lines += [f"## {_safe(TITLES.get(name, name))}", ""]
        rows = []
        for benchmark in benchmarks:
            for series in benchmark.series:
                whole, net = summary(series.values), view.net_summary(benchmark, series.name)
                rows.append(
                    (
                        _safe(benchmark.title), _safe(series.name), view.amount(net.median) if net else "",
                        view.amount(whole.median), view.amount(whole.q1), view.amount(whole.q3),
                        f"{whole.spread:.0%}", str(whole.count), _safe(benchmark.unit),
                    )
                )  # fmt: skip
        lines += _table(
            ("benchmark", "series", "net:", "median:", "q1:", "q3:", "spread:", "rounds:", "unit"),
            rows,
        )
    skips = view.skips(run)
    if skips:
        lines += ["## Not measured", ""]
        lines += _table(
            ("benchmark", "what", "why"), [[_safe(cell) for cell in row] for row in skips]
        )
    lines += ["## Machine and versions", ""]
    facts = {**run.machine, **run.versions}
    lines += [f"- {_safe(key)}: {_safe(value)}" for key, value in facts.items() if value]
    lines += ["", "## Methods", "", *(f"{text}\n" for text in METHODS)]
    return "\n".join(lines).rstrip() + "\n"
