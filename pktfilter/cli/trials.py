"""Shadow and canary on the command line: options of `replay`, and the comparison as text."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from . import UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ..handles.links import Link
    from ..handles.program import Program
    from ..handles.trial_report import ArmReport, Sample, TrialReport
    from ..handles.trials import Trial

_SHOWN_SAMPLES = 5


def check_trial_options(
    shadow: str | None,
    canary: str | None,
    fraction: float | None,
    guard: bool,
    swaps: tuple[str, ...],
) -> None:
    """Raises the usage error of options that do not stand together."""
    if shadow is not None and canary is not None:
        raise UsageError("--shadow and --canary are two kinds of trial", hint="give one of them")
    if fraction is not None and canary is None:
        raise UsageError("--fraction is about --canary", hint="add --canary PROG2")
    if shadow is None and canary is None:
        if guard:
            raise UsageError("--guard watches a trial", hint="add --shadow or --canary PROG2")
        return
    if swaps:
        raise UsageError(
            "--swap cannot replace a program on which a trial runs",
            hint="leave --swap out, or the trial",
        )


def begin_trial(
    link: Link,
    shadow: str | None,
    canary: str | None,
    fraction: float | None,
    guard: bool,
    program: Callable[[str], Program],
) -> Trial | None:
    """The trial that the options ask for; None: none."""
    if shadow is None and canary is None:
        return None
    from ..handles.trial_report import Guard

    limits = Guard() if guard else None
    if shadow is not None:
        return link.shadow(program(shadow), guard=limits)
    assert canary is not None
    share = 0.05 if fraction is None else fraction
    return link.canary(program(canary), fraction=share, guard=limits)


def trial_summary(report: TrialReport, guarded: bool = False) -> RenderableType:
    """The arms side by side; of a shadow also the differing actions and a few packets.

    `guarded`: a guard with the usual limits watched it, and whether it saw enough is said.
    """
    from rich.console import Group
    from rich.table import Table

    from ..handles.trial_report import Guard

    arms = Table(box=None, pad_edge=False, title=_title(report), title_justify="left")
    for title in ("", "program", "packets", "drop rate", "faults", "ns/packet"):
        arms.add_column(title, justify="left" if title in ("", "program") else "right")
    for word, arm in (("current", report.current), ("candidate", report.candidate)):
        arms.add_row(word, *_arm(arm))
    parts: list[RenderableType] = [arms]
    seen, wanted = min(report.current.packets, report.candidate.packets), Guard().min_packets
    if guarded and report.state == "running" and seen < wanted:
        parts.append(
            f"the guard judged faults only: for the rest it wants {wanted:,} packets of each "
            f"program, and saw {seen:,}"
        )
    if report.kind == "shadow":
        parts += ["", *_differences(report)]
    return Group(*parts)


def _title(report: TrialReport) -> str:
    if report.state == "tripped":
        return f"{report.kind}, ended by its guard: {report.why}"
    return f"{report.kind}, {'ran to the end' if report.state == 'running' else report.state}"


def _arm(arm: ArmReport) -> list[str]:
    ns = "-" if arm.ns_per_packet is None else f"{arm.ns_per_packet:.0f}"
    rate = f"{100 * arm.drop_rate:.1f} %"
    return [arm.program, f"{arm.packets:,}", rate, f"{arm.faults:,}", ns]


def _differences(report: TrialReport) -> list[RenderableType]:
    from rich.table import Table

    lines: list[RenderableType] = [
        f"{report.compared:,} packets compared, {report.differing:,} differ "
        f"({100 * report.difference_rate:.2f} %): {report.action_differs:,} in action, "
        f"{report.redirect_differs:,} in redirection, {report.bytes_differ:,} in bytes"
    ]
    if report.missed:
        lines.append(f"{report.missed:,} packets were not compared, for want of memory")
    pairs = {pair: n for pair, n in report.pairs.items() if pair[0] != pair[1]}
    if pairs:
        table = Table(box=None, pad_edge=False)
        for title in ("current", "candidate", "packets"):
            table.add_column(title, justify="right" if title == "packets" else "left")
        for (now, then), n in sorted(pairs.items(), key=lambda item: -item[1]):
            table.add_row(now.upper(), then.upper(), f"{n:,}")
        lines += ["", table]
    lines += [""] if report.samples else []
    lines += [_sample(sample) for sample in report.samples[:_SHOWN_SAMPLES]]
    return lines


def _sample(sample: Sample) -> str:
    now, then = sample.actions
    text = f"packet {sample.packet:,} ({sample.length:,} bytes): {now.name} -> {then.name}"
    if sample.lengths[0] != sample.lengths[1]:
        text += f", {sample.lengths[0]:,} -> {sample.lengths[1]:,} bytes after the run"
    if sample.first_difference is not None:
        text += f", bytes differ from offset {sample.first_difference:,} on"
    return text
