"""The timing of a replay as text for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .session.pacing import TimingReport


def _number(value: float) -> str:
    """Four significant digits at least, thousands set apart: 14,880,952 and 0.05."""
    return f"{value:,.0f}" if value >= 10_000 else f"{value:.4g}"


def _short_time(microseconds: float) -> str:
    if microseconds >= 1e6:
        return f"{microseconds / 1e6:.2f} s"
    if microseconds >= 1e3:
        return f"{microseconds / 1e3:.1f} ms"
    return f"{microseconds:.0f} µs"


def rates(timing: TimingReport) -> str:
    """What was asked and what was achieved."""
    parts = []
    for achieved, asked, unit in (
        (timing.achieved_pps, timing.asked_pps, "packet/s"),
        (timing.achieved_mbps, timing.asked_mbps, "Mbit/s"),
    ):
        if asked is not None:
            got = "-" if achieved is None else _number(achieved)
            parts.append(f"{got} of {_number(asked)} {unit} asked for")
        elif achieved is not None:
            parts.append(f"{_number(achieved)} {unit}")
    return ", ".join(parts)


def timing_lines(timing: TimingReport) -> list[str]:
    """The lines under a replay's table."""
    lines = []
    if rates(timing):
        lines.append(f"speed {timing.speed}: {rates(timing)}")
    if timing.scheduled_s is not None and timing.took_s is not None:
        lines.append(f"scheduled {timing.scheduled_s:.3f} s, took {timing.took_s:.3f} s")
    late = (timing.late_median_us, timing.late_p99_us, timing.late_max_us)
    if late[0] is not None and late[1] is not None and late[2] is not None:
        median, p99, worst = map(_short_time, (late[0], late[1], late[2]))
        lines.append(f"late: median {median}, 99 % within {p99}, worst {worst}")
    for count, text in (
        (timing.stalls, f"stalls put the schedule off, by {timing.stalled_s:.3f} s together"),
        (timing.gaps_shortened, "pauses of the capture were shortened (--max-gap)"),
        (timing.steps_back, "steps back in capture time were taken as new beginnings"),
        (timing.left_out, "packets were outside of the span"),
        (timing.passes if timing.passes > 1 else 0, "passes"),
    ):
        if count:
            lines.append(f"{count:,} {text}")
    return lines


def progress_text(timing: TimingReport) -> str:
    """The same, while it runs, in one piece."""
    text = f"{timing.speed}: {rates(timing)}"
    if timing.late_p99_us is not None:
        text += f", 99 % within {_short_time(timing.late_p99_us)}"
    return text
