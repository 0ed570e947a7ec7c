"""Pictures as SVG text: rows of rounds with quartiles, intervals of ratios, pairs of bars.

Colours are classes, so that a page can be light, dark or printed; `STYLE_LIGHT` and `STYLE_DARK` are their
values, `picture.css` has the rules. A picture has a width in pixels and is drawn once wide and once narrow.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from . import view
from .history import Change
from .model import Benchmark, Series
from .stats import summary
from .view import RatioRow

WIDE, NARROW = 900, 360

STYLE_LIGHT = (
    "--bg:#ffffff;--fg:#1c2430;--muted:#5b6675;--faint:#8b95a3;--grid:#e4e8ee;--card:#f6f8fa;--line:#d5dbe3;"
    "--jit:#0b5cad;--interp:#3d8f8a;--checked:#7a6fb0;--peer:#c2620a;--base:#98a2b0;--good:#1a7f4b;--bad:#c02b37;"
    "--warn:#8a5a00;--warnbg:#fff5dc"
)
STYLE_DARK = (
    "--bg:#12161c;--fg:#e6eaf0;--muted:#a3adba;--faint:#7c8795;--grid:#2a313b;--card:#1a2028;--line:#333c48;"
    "--jit:#6cb2ff;--interp:#5fc4bd;--checked:#b0a5ea;--peer:#f0a050;--base:#76818f;--good:#5fce95;--bad:#ff7f88;"
    "--warn:#f0c674;--warnbg:#2c2617"
)


def resource(name: str) -> str:
    """A style sheet beside this module, without its comments."""
    found = Path(__file__).with_name(name).read_text(encoding="utf-8")
    return re.sub(r"/\*.*?\*/", "", found, flags=re.S).strip()


def style() -> str:
    """The rules of every picture."""
    return resource("picture.css")


def tier_class(series: str, role: str) -> str:
    """The colour of a series: its tier's, the peers', the baselines'."""
    if role == "peer":
        return "peer"
    if role == "baseline":
        return "base"
    for name in ("checked", "interp"):
        if name in series:
            return name
    return "jit"


def n(value: float) -> str:
    """A coordinate, short."""
    return f"{value:.1f}".removesuffix(".0")


def text(x: float, y: float, what: str, classes: str = "", anchor: str = "start") -> str:
    """A line of text, escaped."""
    kind = f' class="{classes}"' if classes else ""
    at = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{n(x)}" y="{n(y)}"{kind}{at}>{escape(what)}</text>'


def shorten(what: str, width: float, size: float = 13) -> str:
    """The text cut to a width, by the mean width of a letter."""
    most = max(4, int(width / (size * 0.55)))
    return what if len(what) <= most else what[: most - 1].rstrip() + "…"


class Scale:
    """Values to positions; logarithmic where they span more than a factor of 30."""

    def __init__(
        self, values: Iterable[float], left: float, right: float, *, log: bool | None = None
    ) -> None:
        found = [v for v in values if math.isfinite(v)] or [0.0, 1.0]
        low, high = min(found), max(found)
        self.left, self.right = left, right
        self.log = low > 0 and high / low > 30 if log is None else log and low > 0
        if self.log:
            low, high = low / 1.25, high * 1.25
        else:
            low, high = min(0.0, low), max(0.0, high)
            high += (high - low) * 0.04
        self.low, self.high = low, high if high > low else low + 1

    def __call__(self, value: float) -> float:
        if self.log:
            low, high = math.log(self.low), math.log(self.high)
            part = (math.log(max(value, self.low)) - low) / (high - low)
        else:
            part = (value - self.low) / (self.high - self.low)
        return self.left + (self.right - self.left) * min(1.0, max(0.0, part))

    def ticks(self, most: int) -> list[float]:
        """Round values, at most about `most` of them."""
        if not self.log:
            raw = (self.high - self.low) / most
            power = 10.0 ** math.floor(math.log10(raw))
            step = next(power * f for f in (1, 2, 5, 10) if power * f >= raw)
            first = math.ceil(self.low / step)
            return [i * step for i in range(first, math.floor(self.high / step) + 1)]
        bottom, top = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        for factors in ((1, 2, 5), (1, 3), (1,)):
            found = [f * 10.0**e for e in range(bottom, top + 1) for f in factors]
            found = [v for v in found if self.low <= v <= self.high]
            if len(found) <= most:
                return found
        return found[:: math.ceil(len(found) / most)]


def tick(value: float) -> str:
    """A tick's label."""
    return f"{value:,.0f}" if abs(value) >= 10 else f"{value:g}"


def picture(
    width: float, height: float, parts: Sequence[str], label: str, classes: str = ""
) -> str:
    """The whole picture; `label` is what a screen reader says."""
    kind = f' class="{classes}"' if classes else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {n(width)} {n(height)}"{kind} '
        f'role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )


def _grid(scale: Scale, top: float, bottom: float, most: int) -> list[str]:
    parts = []
    for value in scale.ticks(most):
        x = scale(value)
        parts.append(f'<path class="g" d="M{n(x)} {n(top)}V{n(bottom)}"/>')
        parts.append(text(x, bottom + 15, tick(value), "t n", "middle"))
    return parts


def _dots(values: Sequence[float], scale: Scale, y: float) -> str:
    """All rounds as one path; every other a little higher, so that equal ones show."""
    moves = "".join(f"M{n(scale(v))} {n(y + (i % 3 - 1) * 3)}h0" for i, v in enumerate(values))
    return f'<path class="d" d="{moves}"/>'


def _row(series: Series, values: Sequence[float], scale: Scale, y: float) -> list[str]:
    found = summary(values)
    left, right = scale(found.q1), scale(found.q3)
    x = scale(found.median)
    return [
        f'<g class="{tier_class(series.name, series.role)}">',
        f'<rect class="box" x="{n(left)}" y="{n(y - 7)}" width="{n(max(1.0, right - left))}" height="14" rx="2"/>',
        _dots(values, scale, y),
        f'<path class="med" d="M{n(x)} {n(y - 9)}v18"/></g>',
    ]


def rounds(benchmarks: Sequence[Benchmark], unit: str, width: int) -> str:
    """Every round of every series of these benchmarks, which have one unit; medians beside the names."""
    wide = width > 600
    names, figures = (235.0, 62.0) if wide else (128.0, 50.0)
    top, step, head = 6.0, 23.0, 27.0
    shown = [s.values for b in benchmarks for s in b.series]
    scale = Scale((v for values in shown for v in values), names + figures + 14, width - 12)
    parts: list[str] = []
    y = top
    for benchmark in benchmarks:
        y += head - 8
        parts.append(text(0, y, shorten(view.title(benchmark), width), "b h"))
        y += 4
        for series in benchmark.series:
            y += step
            kind = tier_class(series.name, series.role)
            base = series.role == "baseline"
            parts.append(text(12, y + 4, shorten(series.name, names - 16), "m" if base else ""))
            median = view.amount(summary(series.values).median)
            parts.append(
                f'<g class="{kind}">{text(names + figures, y + 4, median, "n c" + ("" if base else " b"), "end")}</g>'
            )
            parts += _row(series, series.values, scale, y)
        y += 16
    bottom = y + 2
    grid = _grid(scale, top, bottom, 8 if wide else 4)
    note = unit + (", logarithmic" if scale.log else "")
    parts = [*grid, *parts, text(width - 12, bottom + 31, note, "t", "end")]
    label = f"rounds of {', '.join(b.title for b in benchmarks)} in {unit}"
    return picture(width, bottom + 38, parts, label, "wide" if wide else "narrow")


def intervals(rows: Sequence[RatioRow], width: int) -> str:
    """Ratios with their 95 % intervals on a logarithmic axis; 1 and the limits marked."""
    wide = width > 600
    names = 430.0 if wide else 0.0
    step = 25.0 if wide else 42.0
    values = [
        v
        for r in rows
        for v in (r.interval.value, r.interval.low, r.interval.high, r.ratio.limit or 1.0)
    ]
    scale = Scale([1.0, *(v for v in values if v > 0)], names + 8, width - 62, log=True)
    bottom = 8 + step * len(rows) + 4
    parts = _grid(scale, 4, bottom, 7 if wide else 4)
    parts.append(f'<path class="one" d="M{n(scale(1.0))} 4V{n(bottom)}"/>')
    for index, row in enumerate(rows):
        y = 8 + step * index + (13 if wide else 29)
        kind = "bad" if row.holds is False else "jit" if row.interval.value < 1 else "peer"
        title = row.what if wide else f"{row.benchmark.id}: {row.what}"
        if wide:
            parts.append(text(0, y + 4, shorten(row.benchmark.id, 190), "m"))
            parts.append(text(196, y + 4, shorten(title, names - 200)))
        else:
            parts.append(text(0, y - 13, shorten(title, width), "m h"))
        low, high = scale(row.interval.low), scale(row.interval.high)
        parts.append(
            f'<g class="{kind}"><path class="w" d="M{n(low)} {n(y)}H{n(max(high, low + 1))}"/>'
            f'<circle class="p" cx="{n(scale(row.interval.value))}" cy="{n(y)}" r="4.5"/>'
            + text(width - 2, y + 4, view.share(row.interval.value), "b n c", "end")
            + "</g>"
        )
        if row.ratio.limit:
            x = scale(row.ratio.limit)
            parts.append(f'<path class="lim" d="M{n(x)} {n(y - 9)}v18"/>')
    parts.append(
        text(width - 62, bottom + 31, "left of 1: ours takes less; red mark: limit", "t", "end")
    )
    return picture(
        width, bottom + 38, parts, "ratios with 95 % intervals", "wide" if wide else "narrow"
    )


def changes(rows: Sequence[Change], width: int) -> str:
    """New over old with 95 % intervals; the colour is the verdict."""
    wide = width > 600
    names = 400.0 if wide else 0.0
    step = 23.0 if wide else 40.0
    values = [v for r in rows for v in (r.change.low, r.change.high)]
    scale = Scale([0.97, 1.03, *(v for v in values if v > 0)], names + 8, width - 66, log=True)
    bottom = 8 + step * len(rows) + 4
    parts = _grid(scale, 4, bottom, 7 if wide else 4)
    parts.append(f'<path class="one" d="M{n(scale(1.0))} 4V{n(bottom)}"/>')
    for index, row in enumerate(rows):
        y = 8 + step * index + (12 if wide else 27)
        kind = {"faster": "good", "slower": "bad"}.get(row.verdict, "same")
        name = f"{row.benchmark}: {row.series}"
        parts.append(
            text(0, y + 4 if wide else y - 13, shorten(name, names or width), "" if wide else "m h")
        )
        low, high = scale(row.change.low), scale(row.change.high)
        parts.append(
            f'<g class="{kind}"><path class="w" d="M{n(low)} {n(y)}H{n(max(high, low + 1))}"/>'
            f'<circle class="p" cx="{n(scale(row.change.value))}" cy="{n(y)}" r="4.5"/>'
            + text(width - 2, y + 4, f"{row.change.value - 1:+.1%}", "b n c", "end")
            + "</g>"
        )
    parts.append(text(width - 66, bottom + 31, "new / old; grey: no change", "t", "end"))
    return picture(
        width, bottom + 38, parts, "new over old with 95 % intervals", "wide" if wide else "narrow"
    )


def _named(row: RatioRow, name: str) -> str:
    """A tier's name says whose it is, where it stands alone."""
    series = row.benchmark.find(name)
    ours = series is not None and series.role == "subject"
    return f"pktfilter, {name}" if ours and not name.startswith(("pktfilter", "pf.")) else name


def pairs(rows: Sequence[RatioRow], width: int, *, top: float = 0.0) -> tuple[list[str], float]:
    """The main ratios as pairs of bars, and the height they take."""
    wide = width > 600
    names = 190.0 if wide else 118.0
    parts: list[str] = []
    y = top
    for row in rows:
        over = summary(row.benchmark.values(row.ratio.over, net=row.ratio.net) or [0.0]).median
        under = summary(row.benchmark.values(row.ratio.under, net=row.ratio.net) or [0.0]).median
        unit = row.benchmark.unit if wide else row.benchmark.unit.split("/")[0]
        y += 24
        room = width - 150 if wide else width
        parts.append(
            text(
                0,
                y,
                shorten(view.title(row.benchmark) + (", net" if row.ratio.net else ""), room),
                "b",
            )
        )
        kind = "jit" if row.interval.high < 1 else "bad" if row.interval.low > 1 else "same"
        says = f'<g class="{kind}">{{}}</g>'
        if wide:
            parts.append(says.format(text(width, y, row.says, "b c", "end")))
        else:
            y += 18
            parts.append(says.format(text(0, y, row.says, "b c")))
        most = max(over, under, 1e-9)
        reach = width - names - (120 if wide else 92)
        for name, value, colour in (
            (row.ratio.over, over, "jit"),
            (row.ratio.under, under, "peer"),
        ):
            y += 9
            length = max(1.5, reach * value / most)
            label = _named(row, name) if wide else name
            parts.append(text(names - 8, y + 11, shorten(label, names - 10), "m", "end"))
            at = f'x="{n(names)}" y="{n(y)}" width="{n(length)}" height="14" rx="2"'
            parts.append(f'<g class="{colour}"><rect class="bar" {at}/></g>')
            figure = f"{view.amount(value)} {unit}"
            parts.append(
                text(names + length + 6, y + 11.5, shorten(figure, 116 if wide else 92), "n")
            )
            y += 10
        y += 12
    return parts, y


def main_picture(rows: Sequence[RatioRow], caption: str) -> str:
    """The main ratios as a file of their own, on a ground of their own: it reads on light and on dark pages."""
    inner, height = pairs(rows, 720, top=44)
    ground = f'<rect width="776" height="{n(height + 42)}" rx="10" fill="var(--bg)" stroke="var(--line)"/>'
    parts = [
        f"<style>svg{{{STYLE_LIGHT}}}{style()}</style>",
        ground,
        '<g transform="translate(28 0)">',
        text(0, 36, "pktfilter beside its peers: the shorter, the better", "b"),
        *inner,
        text(0, height + 22, shorten(caption, 720, 11.5), "t"),
        "</g>",
    ]
    drawn = picture(776, height + 42, parts, "pktfilter beside its peers")
    return drawn.replace("<svg ", f'<svg width="776" height="{n(height + 42)}" ', 1)
