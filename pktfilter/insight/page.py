"""Coverage as one HTML page, with nothing beside it."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .coverage import Branch, Coverage, FileCoverage

_MARKS = 4  # of one line, drawn one by one


def coverage_page(of: Coverage, title: str) -> str:
    """The page: totals by file, then each file's lines with counts and branches."""
    style = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{style}</style></head><body>",
        f"<header><h1>{escape(title)}</h1>",
        f"<p>{of.packets:,} packets, {of.instructions:,} instructions</p></header>",
        "<main>",
        _summary(of),
        *(_file(each, number) for number, each in enumerate(of.files)),
        "</main></body></html>",
    ]
    return "\n".join(parts) + "\n"


def _summary(of: Coverage) -> str:
    rows = [
        '<table class="summary"><thead><tr><th>file<th colspan="2">lines<th colspan="2">branches'
        '<th colspan="2">functions</tr></thead><tbody>'
    ]
    for number, each in enumerate(of.files):
        rows.append(_row(f'<a href="#f{number}">{escape(each.name)}</a>', each.totals))
    if len(of.files) > 1:
        rows.append(_row("all", of.totals, "all"))
    rows.append("</tbody></table>")
    rows += [f'<p class="note">{escape(name)}: no line information</p>' for name in of.without]
    rows += [f'<p class="note">{escape(error)}</p>' for error in of.errors]
    return "\n".join(rows)


def _row(name: str, t: object, kind: str = "") -> str:
    cells = []
    for what in ("lines", "branches", "functions"):
        whole, part = getattr(t, what), getattr(t, f"{what}_hit")
        if not whole:
            cells.append('<td class="n">-<td>')
            continue
        share = 100 * part / whole
        cells.append(
            f'<td class="n">{part:,}/{whole:,}<td><span class="bar" role="img" aria-label="{share:.1f} %">'
            f'<span style="width:{share:.1f}%"></span></span> {share:.1f} %'
        )
    return f'<tr class="{kind}"><td>{name}{"".join(cells)}</tr>'


def _file(of: FileCoverage, number: int) -> str:
    out = [f'<section id="f{number}"><h2>{escape(of.name)}</h2>']
    if of.source.note:
        out.append(
            f'<p class="note">{escape(of.source.note)}: only lines that the object has are shown</p>'
        )
    out.append('<table class="source"><tbody>')
    branches: dict[int, list[Branch]] = {}
    for branch in of.branches:
        branches.setdefault(branch.line, []).append(branch)
    last = 0
    for line in sorted(set(of.source.lines) | set(of.lines)):
        if line != last + 1:
            out.append('<tr class="gap"><td><td><td><td></tr>')
        last = line
        out.append(_line(of, line, branches.get(line, [])))
    out.append("</tbody></table></section>")
    return "\n".join(out)


def _line(of: FileCoverage, line: int, branches: list[Branch]) -> str:
    hits = of.lines.get(line)
    half = any(0 in b.outcomes and any(b.outcomes) for b in branches)
    kind = "" if hits is None else "miss" if not hits else "half" if half else "hit"
    count = "" if hits is None else f"{hits:,}"
    marks = _marks(branches)
    text = escape(of.source.lines.get(line, ""))
    return (
        f'<tr class="{kind}"><td class="line">{line}<td class="count">{count}'
        f'<td class="marks">{marks}<td class="text">{text}</tr>'
    )


def _marks(branches: list[Branch]) -> str:
    """The jumps of a line; where there are many, how many of their ways were gone."""
    if len(branches) <= _MARKS:
        return "".join(map(_mark, branches))
    gone = sum(bool(hits) for each in branches for hits in each.outcomes)
    whole = 2 * len(branches)
    title = f"{len(branches)} conditional jumps: {gone} of {whole} ways were gone"
    kind = "on" if gone == whole else "off"
    return f'<span class="ways" title="{title}">{gone}/{whole}<i class="{kind}"></i></span>'


def _mark(branch: Branch) -> str:
    """One conditional jump: two halves, filled for the ways that were gone."""
    ways = f"jumped {branch.taken:,} times, went on {branch.not_taken:,} times"
    title = f"{branch.program}, instruction {branch.insn}: {ways}"
    halves = "".join(f'<i class="{"on" if hits else "off"}"></i>' for hits in branch.outcomes)
    return f'<span class="mark" title="{escape(title)}">{halves}</span>'
