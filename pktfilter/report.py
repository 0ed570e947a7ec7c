"""Results as text for a person: the summary of a replay, the description of an object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

    from .session import Progress, ReplayResult


def rate(value: float) -> str:
    """A rate or count with a decimal prefix: 12.3 M."""
    for limit, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= limit:
            return f"{value / limit:.1f}{unit}"
    return f"{value:.0f}"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def summary(result: ReplayResult, bold: Callable[[str], str] = str) -> str:
    """The table of actions and the lines under it.

    Made without rich, which takes longer to import than a small replay takes as a whole; `bold` says
    how a line stands out.
    """
    rows = [("action", "packets", "share", "bytes", "share")]
    for action, packets in result.actions.items():
        size = result.action_bytes[action]
        rows.append(
            (
                action.upper(),
                f"{packets:,}",
                _share(packets, result.packets),
                f"{size:,}",
                _share(size, result.bytes),
            )
        )
    rows.append(("all", f"{result.packets:,}", "", f"{result.bytes:,}", ""))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            text.rjust(width) if place else text.ljust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells))
    lines[0], lines[-1] = bold(lines[0]), bold(lines[-1])
    return "\n".join([*lines, "", *_facts(result)])


def _facts(result: ReplayResult) -> list[str]:
    lines = []
    if result.timing is not None and result.timing.late_max_us is not None:
        lines.append(f"{result.elapsed_s:.3f} s")  # paced: the rate is not what the machine can do
    elif result.packets and result.elapsed_s > 0:
        per_second = result.packets / result.elapsed_s
        lines.append(
            f"{result.elapsed_s:.3f} s, {rate(per_second)}packet/s, {1e9 / per_second:.0f} ns/packet"
        )
    engines = [f"{name} {count:,}" for name, count in result.engine_packets.items() if count]
    if engines:
        lines.append("engine: " + ", ".join(engines))
    lines += [f"{result.uncovered:,} packets saw no program"] if result.uncovered else []
    lines += [
        f"packets {swap.first_packet:,} and later ran '{swap.program}' (generation {swap.generation}; published in "
        f"{swap.publish_ns / 1000:.1f} µs, grace period {swap.grace_ns / 1000:.1f} µs)"
        for swap in result.swaps
    ]
    lines += [
        f"{count:,} packets written to {'standard output' if path == '-' else path}"
        for path, count in result.written.items()
    ]
    if result.redirects:
        lines += redirect_lines(result.redirects)
    if result.timing is not None:
        from .report_timing import timing_lines

        lines += timing_lines(result.timing)
    if result.injected is not None:
        from .report_live import sent_line

        lines.append(sent_line(result.injected))
    if result.events is not None:
        lines.append(events_line(result.events))
    if result.faults:
        lines.append(
            f"{result.faults:,} runs were stopped by the checked interpreter (counted as ABORTED)"
        )
        lines.append(f"first: {result.first_fault}")
    if result.interrupted:
        lines.append("interrupted: the figures are of what was processed before")
    return lines


def events_line(events: Any) -> str:
    """What became of events."""
    lost = f", {events.lost:,} lost for want of room" if events.lost else ""
    return f"{events.delivered:,} events{lost}"


def redirect_lines(redirects: Mapping[str, Any]) -> list[str]:
    """What became of redirected packets, a line a target."""
    lines = []
    for port, row in redirects.items():
        where = port if port.startswith(("cpu:", "xsk:")) else f"port {port}"
        parts = [f"{row.packets:,} packets"] if row.packets else []
        parts += [f"{row.dropped:,} dropped by its own program"] if row.dropped else []
        parts += [f"{row.errors:,} dropped: there is no such port (--port)"] if row.errors else []
        if port == "none":
            where = "no target"
            parts = [f"{row.errors:,} dropped"] if row.errors else []
            parts += [f"{row.dropped:,} broadcasts reached nobody"] if row.dropped else []
        lines.append(f"redirected to {where}: " + ", ".join(parts))
    return lines


def progress_line(progress: Progress) -> str:
    """One line for a terminal: share done, packets, rate, time left."""
    parts = [f"{progress.packets:,} packets"]
    if progress.timing is not None:
        from .report_timing import progress_text

        parts.append(progress_text(progress.timing))
    elif progress.elapsed_s > 0:
        parts.append(f"{rate(progress.packets / progress.elapsed_s)}packet/s")
    return ", ".join(parts)


def object_description(described: Mapping[str, Any]) -> RenderableType:
    """Programs and maps of an object as two tables (`described`: `objects.inspect.describe`)."""
    from rich.console import Group
    from rich.table import Table

    longest = max((len(h) for p in described["programs"] for h in p["helpers"]), default=0)
    programs = Table(box=None, pad_edge=False, title="programs", title_justify="left")
    for title in ("name", "section", "insns", "subprograms", "maps", "helpers", "lines"):
        programs.add_column(
            title,
            justify="right" if title == "insns" else "left",
            overflow="fold",
            no_wrap=title in ("name", "section", "insns"),
            min_width=longest + 1 if title == "helpers" else None,
        )
    for p in described["programs"]:
        section = p["section"] + (" (frags)" if p["frags"] else "")
        programs.add_row(
            p["name"],
            section,
            str(p["insns"]),
            ", ".join(p["subprograms"]) or "-",
            ", ".join(p["maps"]) or "-",
            ", ".join(p["helpers"]) or "-",
            "yes" if p["line_info"] else "no",
        )
    maps = Table(box=None, pad_edge=False, title="maps", title_justify="left")
    for title in ("name", "type", "key", "value", "max_entries", "flags", "types", "notes"):
        maps.add_column(
            title,
            justify="right" if title in ("key", "value", "max_entries") else "left",
            overflow="fold",
            no_wrap=title in ("name", "type", "key", "value", "max_entries", "flags"),
        )
    for m in described["maps"]:
        maps.add_row(*_map_row(m))
    parts: list[RenderableType] = [
        f"{described['path']}: license {described['license'] or 'none'}",
        "",
        programs,
    ]
    if described["maps"]:
        parts += ["", maps]
    parts += [f"skipped: {s['name']} ({s['section']}): {s['reason']}" for s in described["skipped"]]
    return Group(*parts)


def _map_row(m: Mapping[str, Any]) -> list[str]:
    types = " -> ".join(t for t in (m["key_type"], m["value_type"]) if t)
    notes = [word for word in ("frozen", "readonly_prog") if m[word]]
    if m["inner"]:
        i = m["inner"]
        notes.append(f"inner {i['type']} {i['key_size']}/{i['value_size']} x {i['max_entries']}")
    notes += [f"[{slot}] = {name}" for slot, name in m["values"].items()]
    return [
        m["name"],
        m["type"],
        str(m["key_size"]),
        str(m["value_size"]),
        f"{m['max_entries']:,}",
        f"{m['flags']:#x}",
        types or "-",
        ", ".join(notes),
    ]
