"""`pktfilter bench`."""

from __future__ import annotations

import json
import sys

import click

from ..session.options import BATCH_MAX, DEFAULT_BATCH
from ..session.swapbench import SwapBench, swap_bench
from . import EXIT_REFUSED

MAX_LANES = 32


@click.group(name="bench", context_settings={"help_option_names": ["-h", "--help"]})
def bench_command() -> None:
    """Measurements that need nothing but pktfilter."""


@bench_command.command(
    name="swap", short_help="Replace a program under full load, in every way there is."
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
@click.option(
    "--seconds",
    default=2.0,
    type=click.FloatRange(0.05, 3600),
    metavar="S",
    show_default=True,
    help="How long each way runs.",
)
@click.option(
    "--batch",
    default=DEFAULT_BATCH,
    type=click.IntRange(1, BATCH_MAX),
    metavar="N",
    show_default=True,
    help="Packets between two points at which a program can be replaced.",
)
@click.option(
    "--workers",
    default=1,
    type=click.IntRange(1, MAX_LANES),
    metavar="N",
    show_default=True,
    help="Threads that run packets.",
)
@click.option(
    "--pace",
    default=0.0,
    type=click.FloatRange(0, 60),
    metavar="S",
    help="Seconds from one update to the next. [default: as fast as every worker meets them]",
)
@click.option(
    "--quick", is_flag=True, help="End after a few seconds: only a glance at the other ways."
)
@click.option("--plot", metavar="FILE", help="Draw the update times into FILE (.svg, .png, .pdf).")
def swap_command(
    as_json: bool,
    seconds: float,
    batch: int,
    workers: int,
    pace: float,
    quick: bool,
    plot: str | None,
) -> int:
    """Replaces a program under full load, in every way there is, and shows what each costs and breaks.

    Workers run packets in memory without a pause; every program leaves its number in the bytes of
    every packet, and the bytes decide: uncovered packets saw no program, mixed batches saw two, stale
    packets ran an old program after the update had returned. The kernel's own BPF_LINK_UPDATE is
    measured beside them where bpf(2) and a network namespace are permitted.

    Exit status 1 when pktfilter's own way left anything uncovered, mixed or stale.
    """
    if plot is not None:
        from ..session.swapplot import need_matplotlib

        need_matplotlib()
    tell = None if as_json or not sys.stderr.isatty() else _tell
    bench = swap_bench(
        seconds=seconds, batch=batch, lanes=workers, pace_s=pace, quick=quick, on_step=tell
    )
    if tell is not None:
        click.echo("\r\033[K", err=True, nl=False)
    if plot is not None:
        from ..session.swapplot import plot as draw

        draw(bench, plot)
    if as_json:
        click.echo(json.dumps(bench.to_json()))
    else:
        _print(bench)
    if bench.proved:
        return 0
    click.echo(
        "pktfilter: the proof failed: a packet was uncovered or stale, a batch mixed or too long to judge",
        err=True,
    )
    return EXIT_REFUSED


def _tell(step: str) -> None:
    click.echo(f"\r\033[K{step}...", err=True, nl=False)


def _print(bench: SwapBench) -> None:
    from rich.console import Console

    from ..report_swap import swap_report

    Console(highlight=False, markup=False, emoji=False).print(swap_report(bench), soft_wrap=True)
