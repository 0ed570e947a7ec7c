"""The report as one HTML page: no script, no request, light and dark, on a phone and on paper."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from html import escape

from . import svg, view
from .groups_names import TITLES
from .history import Comparison, history
from .methods import METHODS
from .model import Benchmark, Run
from .stats import summary

#: Changes that are drawn; the table has all.
_MOST_CHANGES = 60


def _theme() -> str:
    dark = f"@media screen and (prefers-color-scheme:dark){{:root{{{svg.STYLE_DARK}}}}}"
    return f":root{{{svg.STYLE_LIGHT}}}{dark}{svg.style()}{svg.resource('page.css')}"


def _table(head: Sequence[tuple[str, bool]], rows: Sequence[Sequence[str]]) -> str:
    """Cells are HTML; (title, right-aligned) by column."""
    kinds = [' class="r"' if right else "" for _, right in head]
    titles = "".join(
        f"<th{kind}>{escape(title)}</th>" for (title, _), kind in zip(head, kinds, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(f"<td{k}>{cell}</td>" for cell, k in zip(row, kinds, strict=True))
        + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>'


def _figure(draw: Callable[[int], str], caption: str = "") -> str:
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f"<figure>{draw(svg.WIDE)}{draw(svg.NARROW)}{below}</figure>"


def _holds(holds: bool | None) -> str:
    if holds is None:
        return ""
    return '<span class="good">✓ holds</span>' if holds else '<span class="bad">✗ exceeded</span>'


def _heading(run: Run) -> str:
    machine = run.machine
    place = ", ".join(
        text
        for text in (
            machine.get("processor", ""),
            f"{machine['processors']} processors" if machine.get("processors") else "",
            machine.get("kernel", ""),
        )
        if text
    )
    glance = " A glance only: small captures, short rounds." if run.quick else ""
    cut = "" if run.complete else " Interrupted: not everything was measured."
    parts = [
        "<header><h1>pktfilter benchmarks</h1>",
        f'<p class="sub">{escape(run.name)} · {escape(run.created)} · {escape(place)}.{glance}{cut}</p></header>',
    ]
    parts += [
        f'<p class="warn">{escape(text[:1].upper() + text[1:])}.</p>' for text in run.warnings
    ]
    return "".join(parts)


def _tiles(run: Run) -> str:
    limits = [row.holds for row in view.ratio_rows(run) if row.holds is not None]
    limits += [row.holds for row in view.bound_rows(run)]
    rounds = [view.rounds(b) for b in run.benchmarks]
    tiles = [
        (str(len(run.benchmarks)), "benchmarks"),
        (
            f"{min(rounds)} to {max(rounds)}" if min(rounds) != max(rounds) else str(rounds[0]),
            "rounds each, alternating",
        ),
    ]
    if limits:
        tiles.append((f"{sum(map(bool, limits))} of {len(limits)}", "limits hold"))
    if run.skipped or any(b.skipped for b in run.benchmarks):
        tiles.append((str(len(view.skips(run))), "not measured, with reasons"))
    return '<div class="tiles">' + "".join(
        f'<div class="tile"><b>{escape(big)}</b><span>{escape(small)}</span></div>' for big, small in tiles
    ) + "</div>"  # fmt: skip


def _ratios(run: Run) -> str:
    rows = list(view.ratio_rows(run))
    if not rows:
        return ""
    parts = ['<section id="ratios"><h2>Ratios</h2>']
    main = [row for row in rows if row.ratio.main]
    if main:

        def draw(width: int) -> str:
            inner, height = svg.pairs(main, width)
            return svg.picture(
                width, height, inner, "main ratios", "wide" if width == svg.WIDE else "narrow"
            )

        parts.append(
            _figure(
                draw, "Medians over the rounds of one run; within a pair the bars share a scale."
            )
        )
    first = [row for row in rows if row.first]
    if first:
        parts.append("<h3>Beside the peers, and with limits</h3>")
        caption = "Time of the left over time of the right, with 95 % bootstrap intervals."
        parts.append(_figure(lambda width: svg.intervals(first, width), caption))
    cells = [
        [
            escape(row.benchmark.id), escape(row.what), view.share(row.interval.value),
            f"{view.share(row.interval.low)} to {view.share(row.interval.high)}",
            escape(row.says),
            "" if row.ratio.limit is None else view.amount(row.ratio.limit), _holds(row.holds),
        ]
        for row in rows
    ]  # fmt: skip
    head = (
        ("benchmark", False),
        ("ratio", False),
        ("median", True),
        ("95 % interval", True),
        ("", False),
        ("limit", True),
        ("", False),
    )
    parts.append(
        f"<details><summary>All ratios as a table, tier beside tier too</summary>{_table(head, cells)}</details>"
    )
    return "".join(parts) + "</section>"


def _limits(run: Run) -> str:
    cells = [
        [
            escape(view.title(row.benchmark)), escape(row.what), view.amount(row.interval.value),
            view.amount(row.ratio.limit or 0.0), "", _holds(row.holds),
        ]
        for row in view.ratio_rows(run)
        if row.holds is not None
    ]  # fmt: skip
    cells += [
        [
            escape(view.title(row.benchmark)), escape(row.what), view.amount(row.value),
            view.amount(row.bound.limit), escape(row.benchmark.unit), _holds(row.holds),
        ]
        for row in view.bound_rows(run)
    ]  # fmt: skip
    if not cells:
        return ""
    head = (
        ("benchmark", False),
        ("what", False),
        ("measured", True),
        ("limit", True),
        ("unit", False),
        ("", False),
    )
    says = "What the project has promised itself, and whether this run keeps it."
    return f'<section id="limits"><h2>Limits</h2><p>{says}</p>{_table(head, cells)}</section>'


def _details(benchmarks: Sequence[Benchmark]) -> str:
    cells = []
    for benchmark in benchmarks:
        title = view.title(benchmark) + (" (interrupted)" if benchmark.partial else "")
        for series in benchmark.series:
            found, net = summary(series.values), view.net_summary(benchmark, series.name)
            cells.append(
                [
                    escape(title), escape(series.name), view.amount(net.median) if net else "",
                    view.amount(found.median), f"{view.amount(found.q1)} to {view.amount(found.q3)}",
                    view.amount(found.least), view.amount(found.most), f"{found.spread:.0%}",
                    str(found.count), escape(benchmark.unit),
                ]
            )  # fmt: skip
            title = ""
    head = (
        ("benchmark", False), ("series", False), ("net", True), ("median", True), ("quartiles", True),
        ("least", True), ("most", True), ("spread", True), ("rounds", True), ("unit", False),
    )  # fmt: skip
    return f"<details><summary>Figures: net of the baseline, medians, spread</summary>{_table(head, cells)}</details>"


def _facts(benchmarks: Sequence[Benchmark]) -> str:
    seen: dict[str, None] = {}
    for benchmark in benchmarks:
        if benchmark.note:
            seen.setdefault(benchmark.note)
    common = {
        key: value
        for key, value in benchmarks[0].facts.items()
        if all(b.facts.get(key) == value for b in benchmarks)
    }
    texts = [*seen, *(f"{key}: {value}" for key, value in common.items())]
    return ". ".join(text[:1].upper() + text[1:] for text in texts) + ("." if texts else "")


def _groups(run: Run) -> str:
    parts = []
    for name, benchmarks in view.groups(run).items():
        parts.append(f'<section id="g-{escape(name)}"><h2>{escape(TITLES.get(name, name))}</h2>')
        units: dict[str, list[Benchmark]] = {}
        for benchmark in benchmarks:
            units.setdefault(benchmark.unit, []).append(benchmark)
        for unit, some in units.items():
            parts.append(_figure(partial(svg.rounds, some, unit), _facts(some)))
        parts.append(_details(benchmarks) + "</section>")
    return "".join(parts)


def _comparison(found: Comparison) -> str:
    title = f"<h3>{escape(found.old.name)} → {escape(found.new.name)}</h3>"
    if found.reason:
        return f"{title}<p>Not comparable: {escape(found.reason)}.</p>"
    counts = {
        word: sum(c.verdict == word for c in found.changes)
        for word in ("faster", "slower", "no change")
    }
    says = f"{counts['faster']} faster, {counts['slower']} slower, {counts['no change']} no change"
    order = {"slower": 0, "faster": 1}
    rows = sorted(found.changes, key=lambda c: order.get(c.verdict, 2))
    kinds = {"faster": "good", "slower": "bad"}
    cells = [
        [
            escape(c.benchmark), escape(c.series), view.amount(c.old), view.amount(c.new), escape(c.unit),
            f"{c.change.value - 1:+.1%}", f"{c.change.low - 1:+.1%} to {c.change.high - 1:+.1%}",
            f"{c.p:.2g}", f"{c.drift:.1%}", f'<span class="{kinds.get(c.verdict, "same")}">{escape(c.verdict)}</span>',
        ]
        for c in rows
    ]  # fmt: skip
    head = (
        ("benchmark", False), ("series", False), ("old", True), ("new", True), ("unit", False), ("change", True),
        ("95 % interval", True), ("p, corrected", True), ("drift", True), ("verdict", False),
    )  # fmt: skip
    changed = [c for c in rows if c.verdict != "no change"][:_MOST_CHANGES]
    return (
        f"{title}<p>{says}; the machine itself ran {found.drift:.1%} differently.</p>"
        + (_figure(lambda width: svg.changes(changed, width)) if changed else "")
        + f"<details><summary>Every series compared</summary>{_table(head, cells)}</details>"
    )


def _machine(run: Run) -> str:
    pairs = [
        (key.replace("_", " "), value)
        for key, value in run.machine.items()
        if key != "cpu_flags" and value
    ]
    pairs += [(key, value) for key, value in run.versions.items()]
    loads = [value for b in run.benchmarks for value in b.load]
    if loads:
        pairs.append(("load average while measuring", f"{min(loads):.2f} to {max(loads):.2f}"))
    body = "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in pairs)
    flags = run.machine.get("cpu_flags", "")
    more = (
        f'<details><summary>Processor flags</summary><p class="flags">{escape(flags)}</p></details>'
        if flags
        else ""
    )
    return f"<h3>{escape(run.name)}</h3><dl>{body}</dl>{more}"


def page(runs: Sequence[Run]) -> str:
    """The whole page: the last run in full, and how each differs from the one before it."""
    run = runs[-1]
    compared = history(list(runs))
    links = [("ratios", "Ratios"), ("limits", "Limits")]
    links += [("history", "History")] if compared else []
    links += [(f"g-{name}", TITLES.get(name, name)) for name in view.groups(run)]
    links += [("skipped", "Not measured")] if view.skips(run) else []
    links += [("machine", "Machine"), ("methods", "Methods")]
    parts = [_heading(run)]
    if run.benchmarks:
        body = {"ratios": _ratios(run), "limits": _limits(run)}
        links = [(to, title) for to, title in links if body.get(to, "x")]
        parts.append(
            "<nav>"
            + "".join(f'<a href="#{escape(to)}">{escape(title)}</a>' for to, title in links)
            + "</nav>"
        )
        parts += [_tiles(run), *body.values()]
    else:
        parts.append("<p>Nothing was measured.</p>")
    if compared:
        parts.append(
            '<section id="history"><h2>History</h2>'
            + "".join(map(_comparison, compared))
            + "</section>"
        )
    parts.append(_groups(run))
    skips = view.skips(run)
    if skips:
        cells = [[escape(where), escape(what), escape(why)] for where, what, why in skips]
        parts.append(
            '<section id="skipped"><h2>Not measured</h2>'
            + _table((("benchmark", False), ("what", False), ("why", False)), cells)
            + "</section>"
        )
    parts.append(
        '<section id="machine"><h2>Machine and versions</h2>'
        + "".join(map(_machine, runs))
        + "</section>"
    )
    methods = "".join(f"<p>{escape(text)}</p>" for text in METHODS)
    parts.append(f'<section id="methods"><h2>Methods</h2>{methods}</section>')
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width,initial-scale=1"/>'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"/>"
        f"<title>pktfilter benchmarks: {escape(run.name)}</title><style>{_theme()}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )
