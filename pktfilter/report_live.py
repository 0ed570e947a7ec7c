"""Live runs as text for a person: the table of rates while one runs, and the summary of its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .report import events_line, rate, redirect_lines

if TYPE_CHECKING:
    from rich.console import RenderableType

    from .session.live_results import GenerationReport, LiveResult, SentCounts

#: Generations shown while it runs.
ROWS = 8


def _title(result: LiveResult) -> str:
    if result.out is None:
        return f"observing {result.interface}"
    return f"filtering {result.interface} {'<->' if result.both else '->'} {result.out}"


def _name(row: GenerationReport) -> str:
    if not row.programs:
        return "(no program)"
    return row.program if row.programs == 1 else f"{row.program} and {row.programs - 1} more"


class LiveTable:
    """Rates by action, program and generation, from one snapshot to the next."""

    def __init__(self) -> None:
        self._before: dict[int, dict[str, int]] = {}
        self._at = 0.0

    def render(self, result: LiveResult) -> RenderableType:
        """The table for this snapshot."""
        from rich.console import Group
        from rich.table import Table

        table = Table(box=None, pad_edge=False)
        for title in ("program", "generation", "packet/s", *result.actions, "packets"):
            left = title == "program"
            table.add_column(
                title.upper() if title in result.actions else title,
                justify="left" if left else "right",
            )
        elapsed = result.elapsed_s - self._at
        for row in result.generations[-ROWS:]:
            before = self._before.get(row.generation, {})
            rates = {
                action: (count - before.get(action, 0)) / elapsed if elapsed > 0 else 0.0
                for action, count in row.actions.items()
            }
            table.add_row(
                _name(row),
                str(row.link_generation or "-"),
                rate(sum(rates.values())),
                *(rate(value) for value in rates.values()),
                f"{row.packets:,}",
            )
        self._before = {row.generation: dict(row.actions) for row in result.generations}
        self._at = result.elapsed_s
        return Group(
            f"{_title(result)}, {result.elapsed_s:.0f} s, {result.packets:,} packets, "
            f"{_drops(result)}",
            table,
        )


def _drops(result: LiveResult) -> str:
    drops = result.ring_drops
    return "drops unknown" if drops is None else f"{drops:,} dropped by the ring"


def live_summary(result: LiveResult) -> RenderableType:
    """The table of generations and the lines under it."""
    from rich.console import Group
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("program", "generation", *result.actions, "packets", "bytes"):
        table.add_column(
            title.upper() if title in result.actions else title,
            justify="left" if title == "program" else "right",
        )
    if result.generations_left_out:
        kept = sum(row.packets for row in result.generations)
        table.add_row(
            f"({result.generations_left_out:,} before)",
            "",
            *([""] * len(result.actions)),
            f"{result.packets - kept:,}",
            "",
        )
    for row in result.generations:
        table.add_row(
            _name(row),
            str(row.link_generation or "-"),
            *(f"{count:,}" for count in row.actions.values()),
            f"{row.packets:,}",
            f"{row.bytes:,}",
        )
    table.add_row(
        "all",
        "",
        *(f"{count:,}" for count in result.actions.values()),
        f"{result.packets:,}",
        f"{result.bytes:,}",
        style="bold",
    )
    return Group(table, "", *_facts(result))


_ENDS = {"interrupted": "interrupted", "error": "ended by an error"}


def _facts(result: LiveResult) -> list[str]:
    lines = []
    if result.elapsed_s > 0:
        per_second = rate(result.packets / result.elapsed_s)
        space = "" if per_second[-1].isalpha() else " "
        lines.append(
            f"{_title(result)}: {result.elapsed_s:.3f} s, {per_second}{space}packet/s, "
            f"{_ENDS.get(result.ended, f'ended by {result.ended}')}"
        )
    for entry in result.interfaces:
        if entry.received is None:
            continue
        parts = [f"{entry.received:,} received", f"{entry.dropped:,} dropped by the ring"]
        for value, what in (
            (entry.outgoing_left_out, "outgoing left out"),
            (entry.partial_left_out, "with partial checksums left out"),
            (entry.partial, "with partial checksums"),
            (entry.partial_completed, "checksums completed"),
            (entry.vlan, "VLAN tags put back"),
            (entry.unread, "unread at the end"),
        ):
            if value:
                parts.append(f"{value:,} {what}")
        lines.append(f"{entry.name}: " + ", ".join(parts))
    lines += [sent_line(sent) for sent in result.sent if sent.attempted]
    if result.redirects:
        lines += redirect_lines(result.redirects)
    lines += [events_line(result.events)] if result.events is not None else []
    lines += [f"{result.uncovered:,} packets saw no program"] if result.uncovered else []
    lines += [
        f"{count:,} packets written to {'standard output' if path == '-' else path}"
        for path, count in result.written.items()
    ]
    if result.files_removed:
        lines.append(f"{result.files_removed:,} older files removed")
    if result.faults:
        lines.append(
            f"{result.faults:,} runs were stopped by the checked interpreter (counted as ABORTED)"
        )
        lines.append(f"first: {result.first_fault}")
    return lines


def sent_line(sent: SentCounts) -> str:
    """What became of the packets for one interface."""
    parts = [f"{sent.sent:,} sent"]
    for value, what in (
        (sent.dropped, "dropped: the queue was full"),
        (sent.too_long, "too long for the interface"),
        (sent.cut, "not sent: the capture holds only their beginning"),
        (sent.refused, "refused by the kernel"),
    ):
        if value:
            parts.append(f"{value:,} {what}")
    return f"{sent.name}: " + ", ".join(parts)
