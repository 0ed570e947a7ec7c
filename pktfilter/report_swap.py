"""The swap benchmark as text for a person: the table of ways, what replacing costs, the proof line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

    from .session.swapbench import Spread, SwapBench, WayResult


def duration(ns: float) -> str:
    """Nanoseconds in the unit that suits: 85 ns, 3.2 µs, 8.0 ms."""
    for limit, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "µs")):
        if ns >= limit:
            return f"{ns / limit:.1f} {unit}" if ns < 100 * limit else f"{ns / limit:.0f} {unit}"
    return f"{ns:.0f} ns"


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return "-"
    return " / ".join(duration(ns) for ns in (spread.p50, spread.p99, spread.max))


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def proof(bench: SwapBench) -> str:
    """The line that says what was shown."""
    ours = bench.ours
    mixed = ours.mixed or 0
    text = (
        f"{ours.packets:,} packets, {ours.updates:,} updates in {ours.seconds:.1f} s: "
        f"uncovered {ours.bare:,}, mixed {mixed:,}, stale {ours.stale:,}"
    )
    return text + (f", unjudged batches {ours.unjudged:,}" if ours.unjudged else "")


def _counts(ways: list[WayResult]) -> RenderableType:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("way", no_wrap=True)
    for title in ("packets", "updates", "uncovered", "mixed", "stale"):
        table.add_column(title, justify="right", no_wrap=True)
    for way in ways:
        numbers = (way.packets, way.updates, way.bare, way.mixed, way.stale)
        table.add_row(way.name, *(["not measured"] if way.skipped else map(_count, numbers)))
    return table


def _times(ways: list[WayResult]) -> RenderableType:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("way", no_wrap=True)
    table.add_column("time", no_wrap=True)
    for title in ("p50", "p99", "max"):
        table.add_column(title, justify="right", no_wrap=True)
    for way in ways:
        name = way.name
        for title, spread in (
            ("publish", way.publish),
            ("grace period", way.wait),
            ("update, as a whole", way.update),
            ("without a program", way.bare_time),
            ("batch to batch", way.gap),
        ):
            if spread is not None:
                times = (spread.p50, spread.p99, spread.max)
                table.add_row(name, title, *(duration(ns) for ns in times))
                name = ""
    return table


def _preempted(ways: list[WayResult]) -> str:
    counts = [
        f"{way.name} {'-' if way.preempted_lanes is None else way.preempted_lanes} + {way.preempted_writer}"
        for way in ways
        if not way.skipped
    ]
    return "preempted (workers + writer): " + "; ".join(counts)


def _notes(bench: SwapBench) -> list[str]:
    lines = [
        f"being replaceable costs {one.difference_ns:.1f} ns per batch of {one.batch} "
        f"({one.replaceable_ns:.0f} ns; behind a plain pointer {one.plain_ns:.0f} ns)"
        for one in bench.costs
    ]
    if bench.python is not None:
        python = bench.python
        lines += [
            f"from Python: publish {_spread(python.publish)}; link.update(wait=False) "
            f"{_spread(python.call)}; link.update() {_spread(python.waiting)}"
        ]
    kernel = bench.kernel
    if kernel is not None and kernel.skipped:
        lines.append(f"{kernel.name}: {kernel.skipped}")
    if bench.kernel_wait is not None:
        lines.append(
            f"kernel: BPF_LINK_UPDATE and then an RCU grace period: {_spread(bench.kernel_wait)}"
        )
    if bench.kernel_ratio is not None:
        lines.append(
            f"a waiting update takes 1/{bench.kernel_ratio:,.0f} of the kernel's BPF_LINK_UPDATE (medians)"
        )
    return lines


def _glance(ours: WayResult) -> list[str]:
    """The times of our own way in a line each."""
    titles = (("publish", ours.publish), ("update, grace period included", ours.update))
    return [
        f"{title}: {duration(spread.p50)} (p50), {duration(spread.p99)} (p99)"
        for title, spread in titles
        if spread is not None
    ]


def swap_report(bench: SwapBench) -> RenderableType:
    """Counts, times and notes; the proof line comes last."""
    from rich.console import Group

    ways = [*bench.ways, *([] if bench.kernel is None else [bench.kernel])]
    head = f"{bench.lanes} worker{'s' * (bench.lanes > 1)}, batches of {bench.batch} packets"
    if bench.quick:
        return Group(head, "", _counts(ways), "", *_glance(bench.ours), "", proof(bench))
    tables = [_counts(ways), "", _times(ways)]
    return Group(head, "", *tables, "", _preempted(ways), *_notes(bench), "", proof(bench))
