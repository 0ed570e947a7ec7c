"""Options of `replay` about which packets run, how often, and when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from ..errors import InputError
from ..session.options import MAX_GAP
from ..session.pacing import Timing, check_injection
from . import UsageError

Command = Callable[..., Any]
#: What the options below give a command.
NAMES = ("speed", "loop", "limit", "from_time", "to_time", "max_gap")


def timing_options(command: Command) -> Command:
    """`--speed`, `--loop`, `--limit`, `--from`, `--to`, `--max-gap`, `--inject`; see `timing_of`."""
    for option in reversed((
        click.option(
            "--speed", default="max", metavar="SPEED", show_default=True,
            help="max; 1x, 0.5x, ...: as in the capture, or so many times as fast; pps:N packets a second; "
            "mbps:N megabits a second.",
        ),
        click.option(
            "--loop", default=1, type=click.IntRange(0), metavar="N", show_default=True,
            help="Passes over all inputs; 0: until interrupted. Time goes on from pass to pass.",
        ),
        click.option(
            "--limit", type=click.IntRange(1), metavar="N",
            help="End after N packets, over all passes.",
        ),
        click.option(
            "--from", "from_time", metavar="TIME",
            help="Only packets from TIME on: ISO 8601 (UTC without a zone), seconds since the epoch, or "
            "+SECONDS after the first packet.",
        ),
        click.option("--to", "to_time", metavar="TIME", help="Only packets before TIME."),
        click.option(
            "--max-gap", default=f"{MAX_GAP:g}", metavar="SECONDS", show_default=True,
            help="Shorten longer pauses of the capture to this; none: keep them.",
        ),
        click.option(
            "--inject", metavar="IFACE",
            help="Send what the program lets through (PASS, TX, REDIRECT) out of IFACE, as it left it.",
        ),
    )):  # fmt: skip
        command = option(command)
    return command


def timing_of(given: dict[str, Any], workers: int) -> dict[str, Any]:
    """The options as keywords of `Replay`. Raises `UsageError` for what cannot be."""
    options = {name: given[name] for name in NAMES}
    try:
        options["max_gap"] = _seconds(options["max_gap"])
        timing = Timing(**options)
        if given["inject"] is not None:
            check_injection(timing, workers)
    except InputError as error:
        raise UsageError(
            error.message, found=error.found, expected=error.expected, hint=error.hint
        ) from None
    return {**options, "inject": given["inject"]}


def _seconds(text: str) -> float | None:
    if text == "none":
        return None
    try:
        return float(text)
    except ValueError:
        raise UsageError(
            "--max-gap takes seconds", found=text, expected="a number above 0, or none"
        ) from None
